//! From a committed change to its effect elsewhere: exactly once, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rapport_kit::Fault;
use rapport_kit::bus::Publisher;
use rapport_kit::clock;
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::PolicyChange;
use uuid::Uuid;

use crate::line::{Line, note, write};
use crate::support::{SERVICE, ctx, gate};

#[tokio::test]
async fn a_committed_event_takes_effect_once_and_a_rolled_back_one_never() {
    let line = Line::running().await;
    let (kept, given_up) = (clock::new_id(), clock::new_id());
    let mut tx = line.db.begin(&ctx(line.tenant)).await.unwrap();
    write(&mut tx, line.entry(given_up, 1)).await;
    drop(tx);
    line.record([(kept, 1)]).await;
    assert_eq!(line.all_effects(1).await, [(kept, 1)]);
    line.record([(kept, 2)]).await;
    assert_eq!(line.all_effects(2).await, [(kept, 1), (kept, 2)]);
}

#[tokio::test]
async fn events_of_one_record_take_effect_in_version_order() {
    let line = Line::running().await;
    let records: Vec<Uuid> = (0..200).map(|_| clock::new_id()).collect();
    for version in 1..=3 {
        line.record(records.iter().map(|record| (*record, version))).await;
    }
    // Two versions in one commit are in order too.
    line.record(records.iter().flat_map(|record| [(*record, 4), (*record, 5)])).await;
    assert_in_order(&line.all_effects(1000).await, 200, 5);
}

#[tokio::test]
async fn bulk_work_leaves_behind_others_but_never_behind_its_own_records_later_versions() {
    let line = Line::new().await;
    let (imported, other) = (clock::new_id(), clock::new_id());
    let mut tx = line.db.begin(&ctx(line.tenant)).await.unwrap();
    let mut bulk = line.entry(imported, 1);
    bulk.bulk = true;
    write(&mut tx, bulk).await;
    write(&mut tx, line.entry(imported, 2)).await;
    let mut again = line.entry(imported, 3);
    again.bulk = true;
    write(&mut tx, again).await;
    write(&mut tx, line.entry(other, 1)).await;
    tx.commit().await.unwrap();
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    let effects = line.all_effects(4).await;
    let versions: Vec<i64> = effects.iter().filter(|(record, _)| *record == imported).map(|(_, version)| *version).collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test]
async fn an_event_that_is_delivered_twice_has_one_effect() {
    let line = Line::new().await;
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    let mut publisher = Publisher::new(line.broker.clone(), "by hand".to_owned());
    let record = clock::new_id();
    let (first, second) = (line.message("probe:1:1", "", record, 1), line.message("probe:1:2", "", record, 2));
    publisher.publish(std::slice::from_ref(&first)).await.unwrap();
    eventually("the first effect", async || (line.effects().await.len() == 1).then_some(())).await;
    publisher.publish(std::slice::from_ref(&first)).await.unwrap();
    publisher.publish(std::slice::from_ref(&first)).await.unwrap();
    publisher.publish(&[second]).await.unwrap();
    eventually("the event after them", async || (line.effects().await.last() == Some(&(record, 2))).then_some(())).await;
    assert_eq!(line.effects().await, [(record, 1), (record, 2)]);
}

#[tokio::test]
async fn an_event_that_can_never_work_becomes_a_dead_letter_and_other_records_go_on() {
    let line = Line::new().await;
    line.consume(|tx, received: Received<PolicyChange>| {
        Box::pin(async move {
            match received.event.name.as_str() {
                "forbidden" => Err(Fault::denied("NOT_FOR_YOU", "No.")),
                "nonsense" => Err(Fault::argument("MAKES_NO_SENSE", "What?")),
                "panic" => panic!("this reaction was asked to panic"),
                _ => note(tx, received).await,
            }
        })
    })
    .await;
    let record = clock::new_id();
    let mut unreadable = line.message("probe:1:4", "", clock::new_id(), 1);
    unreadable.body = vec![0xff; 7];
    let batch = [
        line.message("probe:1:1", "forbidden", clock::new_id(), 1),
        line.message("probe:1:2", "nonsense", clock::new_id(), 1),
        line.message("probe:1:3", "panic", clock::new_id(), 1),
        unreadable,
        line.message("probe:1:5", "", record, 1),
    ];
    Publisher::new(line.broker.clone(), "by hand".to_owned()).publish(&batch).await.unwrap();
    eventually("the effect of the good one", async || (line.effects().await == [(record, 1)]).then_some(())).await;
    let dead = line.dead_letters().await;
    let reasons: HashMap<&str, &str> = dead.iter().map(|(id, reason)| (id.as_str(), reason.split(':').next().unwrap_or_default())).collect();
    let expected = [("probe:1:1", "NOT_FOR_YOU"), ("probe:1:2", "MAKES_NO_SENSE"), ("probe:1:3", "INTERNAL"), ("probe:1:4", "EVENT_UNREADABLE")];
    assert_eq!(reasons, HashMap::from(expected));
    assert_eq!(dead.len(), expected.len());
}

#[tokio::test]
async fn an_event_that_fails_for_a_passing_reason_is_tried_until_it_works() {
    let line = Line::new().await;
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&attempts);
    line.consume(move |tx, received| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            // What the failing attempts wrote must not stay.
            note(tx, received).await?;
            if seen.fetch_add(1, Ordering::SeqCst) < 3 { Err(Fault::unavailable("NOT_YET", "Later.")) } else { Ok(()) }
        })
    })
    .await;
    line.relay(&line.tasks);
    let record = clock::new_id();
    line.record([(record, 1)]).await;
    assert_eq!(line.all_effects(1).await, [(record, 1)]);
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    assert!(line.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_consumer_that_ends_in_the_middle_of_its_work_leaves_the_rest_to_the_next() {
    let line = Line::new().await;
    let (ending, name) = (Tasks::default(), clock::new_id().to_string());
    let middle = gate(&name);
    let consumers = Consumers::new(SERVICE.name).on::<PolicyChange, _>(move |tx, received| {
        let middle = gate(&name);
        Box::pin(async move {
            middle.pass().await;
            note(tx, received).await
        })
    });
    consumers.run(&line.db, &line.system, &line.broker, &ending);
    line.consumed().await;
    line.relay(&line.tasks);
    // More than a consumer holds at once.
    const EVENTS: usize = 2400;
    line.record((0..EVENTS).map(|_| (clock::new_id(), 1))).await;
    eventually("events at the consumers", async || (line.waiting().await == 0).then_some(())).await;
    middle.reached_by(1).await;
    let patience = std::time::Duration::from_secs(20);
    let (ended, ()) = tokio::join!(ending.stop(patience), async { middle.let_pass(EVENTS * 2) });
    assert!(ended);
    let done = line.effects().await.len();
    assert!(done > 0 && done < EVENTS, "{done} effects");
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    let mut records: Vec<Uuid> = line.all_effects(EVENTS).await.into_iter().map(|(record, _)| record).collect();
    assert_eq!(records.len(), EVENTS);
    records.sort_unstable();
    records.dedup();
    assert_eq!(records.len(), EVENTS);
}

#[tokio::test]
async fn no_committed_event_is_missed_while_writers_hold_transactions_open() {
    let line = Arc::new(Line::running().await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u32 {
        let line = Arc::clone(&line);
        writers.spawn(async move {
            let mut committed = Vec::new();
            for turn in 0..60_u32 {
                let record = clock::new_id();
                let mut tx = line.db.begin(&ctx(line.tenant)).await.unwrap();
                write(&mut tx, line.entry(record, 1)).await;
                // Up to 50 ms between the taking of a number and the commit, in an order that jumps about.
                let work = f64::from((writer * 31 + turn * 17) % 51) / 1000.0;
                sqlx::query("select pg_sleep($1)").bind(work).execute(tx.conn()).await.unwrap();
                if turn % 10 == 9 {
                    continue;
                }
                tx.commit().await.unwrap();
                committed.push((record, 1_i64));
            }
            committed
        });
    }
    let mut committed: Vec<(Uuid, i64)> = writers.join_all().await.concat();
    let mut effects = line.all_effects(committed.len()).await;
    committed.sort_unstable();
    effects.sort_unstable();
    assert_eq!(effects.len(), committed.len());
    assert_eq!(effects, committed);
}

/// Each of `records` records has `versions` effects, 1 to `versions` in order.
pub(crate) fn assert_in_order(effects: &[(Uuid, i64)], records: usize, versions: i64) {
    let mut next: HashMap<Uuid, i64> = HashMap::new();
    for (record, version) in effects {
        let expected = next.entry(*record).or_insert(1);
        assert_eq!(version, expected, "effects of {record}");
        *expected += 1;
    }
    assert_eq!(next.len(), records);
    assert!(next.values().all(|next| *next == versions + 1));
}
