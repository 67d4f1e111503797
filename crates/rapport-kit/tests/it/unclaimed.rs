//! Events from before anybody asked for them: the first consumer gets them, and nobody else pays for them.

use std::time::Duration;

use rapport_kit::clock;
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::journal::Entry;
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::eventually;
use rapport_proto::Event;
use rapport_proto::common::v1::{PolicyChange, RecordShared};
use uuid::Uuid;

use crate::delivery::assert_in_order;
use crate::line::{Line, note, write};
use crate::support::{SERVICE, ctx, superuser};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_first_consumer_gets_what_was_written_before_it_and_then_what_was_written_since() {
    let line = Line::new().await;
    line.relay(&line.tasks);
    let records = new_records(50);
    for version in 1..=3 {
        line.record(records.iter().map(|record| (*record, version))).await;
    }
    passed_over(&line).await;
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    // These come while the earlier ones are on their way, and must not overtake them.
    for version in 4..=8 {
        line.record(records.iter().map(|record| (*record, version))).await;
    }
    assert_in_order(&line.all_effects(400).await, 50, 8);
    eventually("nothing is left of the key", async || unclaimed(&line).await.is_empty().then_some(())).await;
    line.record(records.iter().map(|record| (*record, 9))).await;
    assert_in_order(&line.all_effects(450).await, 50, 9);
}

#[tokio::test]
async fn events_of_one_record_stay_in_order_over_their_keys() {
    let line = Line::new().await;
    let relay = Tasks::default();
    line.relay(&relay);
    let records = new_records(20);
    let mut tx = line.db.begin(&ctx(line.tenant)).await.unwrap();
    for record in &records {
        write(&mut tx, line.entry(*record, 1)).await;
    }
    for record in &records {
        write(&mut tx, shared(&line, *record, 2)).await;
        write(&mut tx, line.entry(*record, 3)).await;
    }
    tx.commit().await.unwrap();
    passed_over(&line).await;
    assert_eq!(unclaimed(&line).await.len(), 2);
    assert!(relay.stop(PATIENCE).await);

    both_keys().run(&line.db, &line.system, &line.broker, &line.tasks);
    line.consumed().await;
    line.relay(&line.tasks);
    assert_in_order(&line.all_effects(60).await, 20, 3);
}

#[tokio::test]
async fn a_replay_that_dies_again_and_again_loses_nothing_and_repeats_nothing() {
    let line = Line::new().await;
    let mut process = Tasks::default();
    line.relay_again(&process);
    let records = new_records(20);
    for version in 1..=3 {
        line.record(records.iter().map(|record| (*record, version))).await;
        // As if many other events had been written between them: more than one piece of the replay goes through.
        let skip = sqlx::query("select setval('kit.journal_id', last_value + 1500) from kit.journal_id");
        skip.execute(&mut superuser(line.logins()).await).await.unwrap();
    }
    passed_over(&line).await;
    assert!(process.stop(PATIENCE).await);
    line.consume(|tx, received| Box::pin(note(tx, received))).await;

    for window in [Window::AfterReplay, Window::BeforeMark, Window::AfterReplay, Window::BeforeMark] {
        process = Tasks::default();
        process.die_at(window);
        line.relay_again(&process);
        tokio::time::timeout(PATIENCE, process.dead()).await.expect("the relay dies in the middle of the replay");
        assert_eq!(unclaimed(&line).await.len(), 1, "the replay is not over yet");
    }
    line.relay_again(&line.tasks);
    assert_in_order(&line.all_effects(60).await, 20, 3);
}

#[tokio::test]
async fn a_key_that_nobody_wants_takes_one_row_and_is_asked_for_ever_more_rarely() {
    let line = Line::new().await;
    line.relay(&line.tasks);
    let records = new_records(40);
    for version in 1..=5 {
        line.record(records.iter().map(|record| (*record, version))).await;
    }
    passed_over(&line).await;
    assert_eq!(unclaimed(&line).await, [PolicyChange::KEY]);
    eventually("rare probes", async || (next_probe(&line).await > 5.0).then_some(())).await;
    assert!(next_probe(&line).await <= 60.0);
    assert_eq!(line.waiting().await, 0);
    // An event that is new has it asked for soon again.
    line.record([(clock::new_id(), 1)]).await;
    eventually("an early probe", async || (next_probe(&line).await < 3.0).then_some(())).await;
    passed_over(&line).await;
    assert_eq!(unclaimed(&line).await, [PolicyChange::KEY]);
}

#[tokio::test]
async fn a_key_that_still_nobody_wants_stays_behind_when_another_finds_its_consumer() {
    let line = Line::new().await;
    let relay = Tasks::default();
    line.relay(&relay);
    let records = new_records(20);
    let mut tx = line.db.begin(&ctx(line.tenant)).await.unwrap();
    for record in &records {
        write(&mut tx, shared(&line, *record, 1)).await;
        write(&mut tx, line.entry(*record, 2)).await;
    }
    tx.commit().await.unwrap();
    passed_over(&line).await;
    assert!(relay.stop(PATIENCE).await);

    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    let mut effects = line.all_effects(20).await;
    let mut expected: Vec<(Uuid, i64)> = records.iter().map(|record| (*record, 2)).collect();
    effects.sort_unstable();
    expected.sort_unstable();
    assert_eq!(effects, expected);
    eventually("the other key alone", async || (unclaimed(&line).await == [RecordShared::KEY]).then_some(())).await;
}

#[tokio::test]
async fn what_is_too_old_is_not_sent_to_a_first_consumer() {
    let line = Line::new().await;
    let relay = Tasks::default();
    line.relay(&relay);
    let (old, young) = (new_records(10), new_records(10));
    for records in [&old, &young] {
        line.record(records.iter().map(|record| (*record, 1))).await;
        passed_over(&line).await;
    }
    assert!(relay.stop(PATIENCE).await);
    let mut owner = superuser(line.logins()).await;
    sqlx::query("update kit.journal set recorded_at = recorded_at - interval '8 days' where record_id = any($1)")
        .bind(&old)
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::query("update kit.unclaimed_key set first_recorded_at = first_recorded_at - interval '8 days'").execute(&mut owner).await.unwrap();

    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    line.all_effects(10).await;
    eventually("the end of the replay", async || unclaimed(&line).await.is_empty().then_some(())).await;
    let mut effects = line.all_effects(10).await;
    let mut expected: Vec<(Uuid, i64)> = young.iter().map(|record| (*record, 1)).collect();
    effects.sort_unstable();
    expected.sort_unstable();
    assert_eq!(effects, expected);
}

#[tokio::test]
async fn a_key_whose_events_are_all_too_old_is_forgotten() {
    let line = Line::new().await;
    line.relay(&line.tasks);
    line.record([(clock::new_id(), 1)]).await;
    passed_over(&line).await;
    let mut owner = superuser(line.logins()).await;
    for aged in [
        "update kit.journal set recorded_at = recorded_at - interval '8 days'",
        "update kit.unclaimed_key set first_recorded_at = first_recorded_at - interval '8 days'",
    ] {
        sqlx::query(aged).execute(&mut owner).await.unwrap();
    }
    eventually("no key", async || unclaimed(&line).await.is_empty().then_some(())).await;
}

fn new_records(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| clock::new_id()).collect()
}

/// The entry of a fact with another key.
fn shared(line: &Line, record: Uuid, version: i64) -> Entry {
    Entry { fact: RecordShared::KEY.to_owned(), message: Some(Vec::new()), ..line.entry(record, version) }
}

fn both_keys() -> Consumers {
    Consumers::new(SERVICE.name).on::<PolicyChange, _>(|tx, received| Box::pin(note(tx, received))).on::<RecordShared, _>(|tx, received| {
        let Received { tenant, subject, version, id, .. } = received;
        Box::pin(note(tx, Received { event: PolicyChange::default(), tenant, subject, version, id }))
    })
}

/// Ready when the relay has passed over everything.
async fn passed_over(line: &Line) {
    line.all_effects(0).await;
}

async fn unclaimed(line: &Line) -> Vec<String> {
    let mut conn = line.system.conn().await.expect("a connection");
    sqlx::query_scalar("select key from kit.unclaimed_key order by key").fetch_all(&mut conn).await.expect("an answer")
}

/// Seconds until a key is asked for again.
async fn next_probe(line: &Line) -> f64 {
    let mut conn = line.system.conn().await.expect("a connection");
    let seconds = sqlx::query_scalar("select extract(epoch from probe_at - now())::float8 from kit.unclaimed_key");
    seconds.fetch_one(&mut conn).await.expect("one key")
}
