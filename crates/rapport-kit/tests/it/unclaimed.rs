//! Events from before anybody asked for them: the first consumer gets them, and nobody else pays for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rapport_kit::clock;
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::journal::Entry;
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::eventually;
use rapport_proto::Event;
use rapport_proto::common::v1::{PolicyChange, RecordShared};
use tokio::task::JoinSet;
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
    let (line, relay) = relayed().await;
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
        // More than one piece of the replay goes through.
        skip_ids(&line, 1500).await;
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
    let (line, relay) = relayed().await;
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
    let (line, relay) = relayed().await;
    let (old, young) = (new_records(10), new_records(10));
    for records in [&old, &young] {
        line.record(records.iter().map(|record| (*record, 1))).await;
        passed_over(&line).await;
    }
    assert!(relay.stop(PATIENCE).await);
    age(&line, &old).await;

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
    let record = clock::new_id();
    line.record([(record, 1)]).await;
    passed_over(&line).await;
    age(&line, &[record]).await;
    eventually("no key", async || unclaimed(&line).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_key_whose_first_event_is_too_old_finds_a_younger_one_however_many_events_lie_between() {
    let (line, relay) = relayed().await;
    let (old, young) = (new_records(1), new_records(10));
    line.record([(old[0], 1)]).await;
    passed_over(&line).await;
    skip_ids(&line, 200_000).await;
    line.record(young.iter().map(|record| (*record, 1))).await;
    passed_over(&line).await;
    assert!(relay.stop(PATIENCE).await);
    age(&line, &old).await;

    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    line.all_effects(10).await;
    eventually("the end of the replay", async || unclaimed(&line).await.is_empty().then_some(())).await;
    assert_in_order(&line.all_effects(10).await, 10, 1);
    assert!(line.effects().await.iter().all(|(record, _)| young.contains(record)));
}

#[tokio::test]
async fn two_relays_bring_a_first_consumer_everything_in_order_while_writers_write_and_one_of_them_ends() {
    const WRITERS: usize = 4;
    const RECORDS: usize = 5;
    let line = Arc::new(Line::new().await);
    let one = Tasks::default();
    share_out(&line, "one", "other").await;
    line.relay_as("one", &one);
    line.relay_as("other", &line.tasks);
    let enough = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (line, enough) = (Arc::clone(&line), Arc::clone(&enough));
        writers.spawn(async move { write_until(&line, &enough, new_records(RECORDS)).await });
    }
    eventually("both keys", async || (unclaimed(&line).await.len() == 2).then_some(())).await;
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    eventually("first effects", async || (!line.effects().await.is_empty()).then_some(())).await;
    assert_eq!(holders(&line).await, ["one", "other"]);
    assert!(one.stop(PATIENCE).await);
    eventually("the end of the replay", async || (!unclaimed(&line).await.iter().any(|key| key == PolicyChange::KEY)).then_some(())).await;
    enough.store(true, Ordering::SeqCst);
    let written = writers.join_all().await;

    let versions: i64 = written.iter().map(|(_, last)| *last).sum();
    let count = RECORDS * usize::try_from(versions).unwrap();
    let effects = line.all_effects(count).await;
    assert_eq!(effects.len(), count);
    for (records, last) in written {
        let own: Vec<(Uuid, i64)> = effects.iter().copied().filter(|(record, _)| records.contains(record)).collect();
        assert_in_order(&own, RECORDS, last);
    }
    assert_eq!(unclaimed(&line).await, [RecordShared::KEY]);
}

/// A line with a relay that can be stopped.
async fn relayed() -> (Line, Tasks) {
    let (line, relay) = (Line::new().await, Tasks::default());
    line.relay(&relay);
    (line, relay)
}

/// Writes one version of each record after the other until it is enough; answers the records and their last version.
async fn write_until(line: &Line, enough: &AtomicBool, records: Vec<Uuid>) -> (Vec<Uuid>, i64) {
    const MOST: i64 = 1_000;
    let mut last = 0;
    while last < MOST && !enough.load(Ordering::SeqCst) {
        last += 1;
        let mut tx = line.db.begin(&ctx(line.tenant)).await.expect("a transaction");
        for record in &records {
            write(&mut tx, line.entry(*record, last)).await;
        }
        // Of a key that nobody ever wants, so that each relay deals with two.
        write(&mut tx, shared(line, clock::new_id(), 1)).await;
        // Time between the taking of numbers and the commit, in which the replay goes past them.
        sqlx::query("select pg_sleep(0.05)").execute(tx.conn()).await.expect("a pause");
        tx.commit().await.expect("a commit");
    }
    (records, last)
}

/// Gives each of two relays half of the shards before they start; the first also gets what is done once for all.
async fn share_out(line: &Line, one: &str, other: &str) {
    let leases = sqlx::query(
        "insert into kit.lease (name, holder, expires_at)
         select 'relay/' || shard, case when shard < 4 then $1 else $2 end, now() + interval '5 seconds' from generate_series(0, 7) shard",
    );
    leases.bind(one).bind(other).execute(&mut superuser(line.logins()).await).await.expect("leases");
}

async fn holders(line: &Line) -> Vec<String> {
    let mut conn = line.system.conn().await.expect("a connection");
    let holders = sqlx::query_scalar("select distinct holder from kit.lease where name like 'relay/%' and expires_at > now() order by holder");
    holders.fetch_all(&mut conn).await.expect("an answer")
}

/// As if that many other events had been written.
async fn skip_ids(line: &Line, count: i64) {
    let skip = sqlx::query("select setval('kit.journal_id', last_value + $1) from kit.journal_id");
    skip.bind(count).execute(&mut superuser(line.logins()).await).await.expect("a higher place");
}

/// Has the events of `records`, the first of their key among them, recorded eight days earlier.
async fn age(line: &Line, records: &[Uuid]) {
    let mut owner = superuser(line.logins()).await;
    let journal = sqlx::query("update kit.journal set recorded_at = recorded_at - interval '8 days' where record_id = any($1)");
    journal.bind(records).execute(&mut owner).await.expect("older events");
    let first = sqlx::query("update kit.unclaimed_key set first_recorded_at = first_recorded_at - interval '8 days'");
    first.execute(&mut owner).await.expect("an older first event");
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
