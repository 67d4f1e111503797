//! The moments at which a process can die with an event under way, each met many times: messages may come
//! twice, effects never.

use std::collections::HashMap;
use std::time::Duration;

use rapport_kit::clock;
use rapport_kit::inbox::Consumers;
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::PolicyChange;
use uuid::Uuid;

use crate::line::{Line, note};
use crate::support::SERVICE;

/// Deaths at each moment; `RAPPORT_WINDOW_RUNS` asks for another number.
const RUNS: usize = 200;
/// All events go this way, so that one consumer is enough.
const PARTITION: u8 = 0;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_relay_dies_before_sending_it() {
    assert_once(&effects(Window::BeforePublish, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_relay_dies_before_forgetting_what_it_sent() {
    assert_once(&effects(Window::BeforeMark, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_relay_dies_after_forgetting_what_it_sent() {
    assert_once(&effects(Window::AfterMark, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_consumer_dies_before_its_commit() {
    assert_once(&effects(Window::BeforeCommit, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_consumer_dies_between_commit_and_acknowledgement() {
    assert_once(&effects(Window::BeforeAck, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_takes_effect_once_if_the_consumer_dies_after_its_acknowledgement() {
    assert_once(&effects(Window::AfterAck, runs(), consumers).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_inbox_an_event_takes_effect_twice_wherever_it_comes_twice() {
    for window in [Window::BeforeMark, Window::BeforeAck] {
        let effects = effects(window, 5, || consumers().forgetful()).await;
        assert!(effects.values().all(|count| *count == 2), "the message did not come twice, so the inbox is not tested: {effects:?}");
    }
}

fn assert_once(effects: &HashMap<Uuid, usize>) {
    let others: Vec<_> = effects.iter().filter(|(_, count)| **count != 1).collect();
    assert!(others.is_empty(), "effects of {} events, other than one: {others:?}", effects.len());
}

fn consumers() -> Consumers {
    Consumers::new(SERVICE.name).on::<PolicyChange, _>(|tx, received| Box::pin(note(tx, received)))
}

/// Has a process die at `window` with each of `runs` events under way; answers how many effects each one had.
async fn effects(window: Window, runs: usize, consumers: impl Fn() -> Consumers) -> HashMap<Uuid, usize> {
    let line = Line::new().await;
    let relay_dies = matches!(window, Window::BeforePublish | Window::BeforeMark | Window::AfterMark);
    let start = |relays: bool, tasks: &Tasks| match relays {
        true => line.relay_again(tasks),
        false => line.consume_apart(consumers(), PARTITION, tasks),
    };
    start(!relay_dies, &line.tasks);
    let mut process = Tasks::default();
    start(relay_dies, &process);
    line.consumed_on(PARTITION).await;
    let mut effects = HashMap::new();
    for _ in 0..runs {
        process.die_at(window);
        let record = record(&line).await;
        tokio::time::timeout(Duration::from_secs(20), process.dead()).await.expect("the process dies with the event under way");
        process = Tasks::default();
        start(relay_dies, &process);
        // What the dead one left is done before the next one dies, so that every event meets its death.
        eventually("what was left is done", async || {
            let handled = window != Window::BeforeAck || process.has_passed(Window::AfterAck);
            (handled && line.waiting().await == 0 && count(&line, record).await > 0).then_some(())
        })
        .await;
        effects.insert(record, 0);
    }
    // One queue keeps its order: with the effect of this one, everything before it has been handled.
    let last = record(&line).await;
    eventually("the effect of the last event", async || (count(&line, last).await > 0).then_some(())).await;
    for (record, _) in line.effects().await {
        effects.entry(record).and_modify(|count| *count += 1);
    }
    effects
}

/// Records a fact about a new record of the partition.
async fn record(line: &Line) -> Uuid {
    let mut id = clock::new_id().into_bytes();
    id[15] = PARTITION;
    let record = Uuid::from_bytes(id);
    line.record([(record, 1)]).await;
    record
}

async fn count(line: &Line, record: Uuid) -> usize {
    line.effects().await.iter().filter(|(of, _)| *of == record).count()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
fn runs() -> usize {
    std::env::var("RAPPORT_WINDOW_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}
