//! Events: how many leave in a second, and how soon they take effect elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rapport_contacts_api::v1::{Contact, ContactCreated, ContactPoint, Person};
use rapport_kit::bus::{self, Outcome as Sent, Outgoing, PARTITIONS, Publisher, Queue};
use rapport_kit::db::{self, Db, Migrations, PoolConfig, SystemDb};
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::journal::Entry;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Fault, clock, name};
use rapport_proto::Event;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{micros, quantile};
use crate::report::{Figure, Goal, Pairs};
use crate::stage::{PASSWORD, Stage};
use crate::writes::sent;
use crate::{Outcome, meter, trouble};

/// The service that listens here.
const LISTENER: &str = "listener";
/// Events of a second while latency is measured, by so many writers.
const RATE: u32 = 500;
const WRITERS: u32 = 10;
/// Before it a relay that had nothing to send may still be asleep; such events are told apart.
const WAKING: Duration = Duration::from_secs(1);
/// Messages that are published before their confirms are waited for.
const WINDOW: usize = 1000;
static NONE: Migrations = Migrations::DEFAULT;

type Times = Arc<Mutex<HashMap<Uuid, Instant>>>;

fn entry(tenant: Uuid, record: Uuid) -> Entry {
    let email = ContactPoint { value: format!("{record}@bench.example"), normalized: format!("{record}@bench.example"), ..ContactPoint::default() };
    let person = Person { given_name: "Bench".to_owned(), family_name: "Event".to_owned(), contact_points: vec![email], ..Person::default() };
    let contact = Contact { name: format!("contacts/{record}"), person: Some(person), etag: "1".to_owned(), ..Contact::default() };
    Entry {
        tenant_id: tenant,
        record_type: "contacts".to_owned(),
        record_id: record,
        version: 1,
        ordinal: 0,
        fact: ContactCreated::KEY.to_owned(),
        message_type: ContactCreated::MESSAGE.to_owned(),
        message: Some(prost::Message::encode_to_vec(&ContactCreated { contact: Some(contact) })),
        actor: "services/bench".to_owned(),
        on_behalf_of: None,
        request_id: "bench".to_owned(),
        trace_id: None,
        job_id: None,
        subjects: vec![record],
        bulk: false,
        key: None,
        key_hash: None,
    }
}

/// From the commit of a change to the end of a handler elsewhere, at a steady rate.
pub(crate) async fn latency(stage: &Stage) -> Outcome<()> {
    let told = |fault: Fault| trouble(fault.to_string());
    let logins = db::provision(&stage.admin, LISTENER, "listener_bench", None, &PASSWORD.into()).await.map_err(told)?;
    db::migrate(&logins.migrator, &NONE).await.map_err(told)?;
    let listener = Db::new(logins.app.expose_secret(), PoolConfig::default()).map_err(told)?;
    let system = SystemDb::new(logins.system.expose_secret(), PoolConfig::default()).map_err(told)?;
    let (handled, committed, tasks) = (Times::default(), Times::default(), Tasks::default());
    let noted = Arc::clone(&handled);
    let consumers = Consumers::new(LISTENER).on::<ContactCreated, _>(move |_, received: Received<ContactCreated>| {
        if let Some((_, record)) = name::split(&received.subject) {
            note(&noted, record);
        }
        Box::pin(async { Ok(()) })
    });
    consumers.run(&listener, &system, &stage.broker(), &tasks);
    let tenant = clock::new_id();
    bound(stage, tenant).await?;

    let mut writers = JoinSet::new();
    let begun = Instant::now();
    for writer in 0..WRITERS {
        let connection = PgConnection::connect(stage.contacts.logins.app.expose_secret()).await?;
        writers.spawn(write(connection, tenant, Arc::clone(&committed), begun + Duration::from_secs(1) * writer / RATE, WAKING + stage.plan.length));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let committed: HashMap<Uuid, Instant> = std::mem::take(&mut *committed.lock().unwrap_or_else(PoisonError::into_inner));
    let patience = Instant::now();
    let missing = || {
        let handled = handled.lock().unwrap_or_else(PoisonError::into_inner);
        committed.keys().filter(|id| !handled.contains_key(*id)).count()
    };
    while missing() > 0 {
        if patience.elapsed() > Duration::from_secs(30) {
            return Err(trouble(format!("{} of {} events did not take effect", missing(), committed.len())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tasks.stop(Duration::from_secs(5)).await;
    let (mut waking, mut steady) = (Vec::new(), Vec::new());
    let handled = handled.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, at) in &committed {
        let Some(latency) = handled.get(id).map(|handled| micros(handled.saturating_duration_since(*at))) else { continue };
        if at.saturating_duration_since(begun) < WAKING { waking.push(latency) } else { steady.push(latency) }
    }
    waking.sort_unstable();
    steady.sort_unstable();
    let millis = |latencies: &[u64], share: f64| meter::count(quantile(latencies, share)) / 1000.0;
    let rate = meter::count(u64::try_from(committed.len())?) / seconds;
    let figure = Figure::alone("event_latency", millis(&steady, 0.99), Goal::AtMost(20.0)).with("unit", "ms").with("p50", millis(&steady, 0.5));
    let figure = figure.with("slowest", millis(&steady, 1.0)).with("p99_of_first_second", millis(&waking, 0.99));
    figure.with("events", steady.len()).with("rate", format!("{rate:.0}")).tell();
    Ok(())
}

fn note(times: &Times, record: Uuid) {
    times.lock().unwrap_or_else(PoisonError::into_inner).entry(record).or_insert_with(Instant::now);
}

/// One writer's share of the events, each in a transaction of its own, as the application role writes them.
async fn write(mut connection: PgConnection, tenant: Uuid, committed: Times, begin: Instant, length: Duration) -> Outcome<()> {
    sqlx::query("select set_config('rapport.tenant', $1, false)").bind(tenant.to_string()).execute(&mut connection).await?;
    let step = Duration::from_secs(1) * WRITERS / RATE;
    let mut due = begin;
    while due < begin + length {
        tokio::time::sleep_until(due.into()).await;
        let record = clock::new_id();
        sqlx::query("select kit.record($1)").bind(entry(tenant, record)).execute(&mut connection).await?;
        note(&committed, record);
        due += step;
    }
    Ok(())
}

/// Events that leave one process against bare publishing of the same messages.
pub(crate) async fn relay(stage: &Stage) -> Outcome<()> {
    let mut database = stage.superuser(&stage.contacts).await?;
    let tenant = clock::new_id();
    drain(stage, tenant).await?;
    let (mut pairs, mut spread) = (Pairs::default(), Vec::new());
    for _ in 0..stage.plan.pairs {
        let entries: Vec<Entry> = (0..stage.plan.events).map(|_| entry(tenant, clock::new_id())).collect();
        sqlx::query("select kit.record_all($1)").bind(&entries).execute(&mut database).await?;
        let begun = Instant::now();
        sent(&mut database).await?;
        let ours = rate(entries.len(), begun)?;
        drain(stage, tenant).await?;
        let limit = publish(stage, &entries, 1).await?;
        drain(stage, tenant).await?;
        spread.push(publish(stage, &entries, PARTITIONS).await?);
        drain(stage, tenant).await?;
        pairs.push(ours, limit);
    }
    let figure = pairs.figure("relay", Goal::AtLeast(0.6)).with("unit", "1/s").with("events", stage.plan.events).with("window", WINDOW);
    figure.with("limit_over_all_partitions", crate::report::short(crate::report::median(spread))).tell();
    Ok(())
}

fn rate(events: usize, begun: Instant) -> Outcome<f64> {
    Ok(meter::count(u64::try_from(events)?) / begun.elapsed().as_secs_f64())
}

/// Publishes and waits for confirms, a window at a time, to so many partitions.
async fn publish(stage: &Stage, entries: &[Entry], partitions: u8) -> Outcome<f64> {
    let mut publisher = Publisher::new(stage.broker(), "bench".to_owned());
    let messages: Vec<Outgoing> = entries.iter().zip((0..partitions).cycle()).map(|(entry, partition)| outgoing(entry, partition)).collect();
    // The connection is no part of it.
    publisher.publish(messages.get(..1).unwrap_or_default()).await?;
    let begun = Instant::now();
    for window in messages.chunks(WINDOW) {
        if publisher.publish(window).await?.iter().any(|outcome| *outcome != Sent::Confirmed) {
            return Err(trouble("the broker did not confirm a message"));
        }
    }
    let rate = rate(entries.len(), begun)?;
    publisher.close().await;
    Ok(rate)
}

/// The message as the relay sends it.
fn outgoing(entry: &Entry, partition: u8) -> Outgoing {
    let id = format!("contacts:1:{}", entry.record_id);
    let headers = vec![
        ("cloudEvents:specversion", "1.0".to_owned()),
        ("cloudEvents:id", id.clone()),
        ("cloudEvents:source", "/rapport/contacts".to_owned()),
        ("cloudEvents:type", entry.fact.clone()),
        ("cloudEvents:subject", format!("contacts/{}", entry.record_id)),
        ("cloudEvents:time", "2026-01-01T00:00:00.000000Z".to_owned()),
        ("cloudEvents:dataschema", entry.message_type.clone()),
        ("rapport-tenant", entry.tenant_id.to_string()),
        ("rapport-version", "1".to_owned()),
        ("rapport-ordinal", "0".to_owned()),
        ("rapport-actor", entry.actor.clone()),
        ("rapport-request", entry.request_id.clone()),
    ];
    Outgoing { id, routing_key: format!("{}.p{partition:02}", entry.fact), headers, body: entry.message.clone().unwrap_or_default() }
}

/// Waits until every partition has its queue.
async fn bound(stage: &Stage, tenant: Uuid) -> Outcome<()> {
    let mut publisher = Publisher::new(stage.broker(), "bench".to_owned());
    let begun = Instant::now();
    for partition in 0..PARTITIONS {
        let message = [outgoing(&entry(tenant, clock::new_id()), partition)];
        while publisher.publish(&message).await?.first() != Some(&Sent::Confirmed) {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(trouble("no queue is bound to the events"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    publisher.close().await;
    asked_for(stage).await
}

/// Has the relay take the event's key for one that was always asked for: what was passed over before is no part of it.
async fn asked_for(stage: &Stage) -> Outcome<()> {
    let mut database = stage.superuser(&stage.contacts).await?;
    let passed_over = sqlx::query(
        "with claimed as (insert into kit.claimed_key (key) values ($1) on conflict do nothing)
         delete from kit.unclaimed_key where key = $1",
    );
    if passed_over.bind(ContactCreated::KEY).execute(&mut database).await?.rows_affected() > 0 {
        // The relay reads its keys anew once in a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Declares the queues of the listener, binds them, and empties them.
async fn drain(stage: &Stage, tenant: Uuid) -> Outcome<()> {
    let (tasks, last) = (Tasks::default(), Arc::new(Mutex::new(Instant::now())));
    for partition in 0..PARTITIONS {
        let queue = Queue::Partition { service: LISTENER.to_owned(), partition, keys: vec![ContactCreated::KEY.to_owned()], unwanted: Vec::new() };
        let last = Arc::clone(&last);
        let emptying = bus::consume(stage.broker(), queue, tasks.clone(), move |deliveries| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            async move { deliveries.len() }
        });
        tasks.spawn("emptying", emptying);
    }
    bound(stage, tenant).await?;
    while last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < Duration::from_millis(700) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tasks.stop(Duration::from_secs(5)).await;
    Ok(())
}
