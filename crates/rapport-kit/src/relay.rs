//! The relay: sends what the outbox points at and forgets it once the broker confirmed.
//!
//! Guarantees: an event leaves if and only if its transaction committed; events of one record leave in
//! version order, with the exception below, because a record's next event waits for the confirm of the one before; while the broker is
//! away rows wait. Events may leave twice (a process died between confirm and delete), which inboxes absorb.
//! Rows of bulk work leave behind other records' rows, never behind later rows of their own record.
//!
//! An event that no queue wants is held and retried if its key was ever claimed by a queue: then a consumer
//! has lost its binding. An event whose key nobody ever claimed is passed over and kept by the journal, from which the
//! key's first consumer gets it (`relay/unclaimed.rs`). Such events come in version order among those of their key, but
//! can come after newer events of their record whose keys were claimed earlier: reactions over several keys compare
//! versions. Claims are stored, so that a relay that starts while a binding is missing holds the events too; an operator
//! who takes a consumer away for good, or whose last consumer of a key wants it no more, deletes the key from
//! `kit.claimed_key`.

mod unclaimed;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::bus::{Broker, Outcome, Outgoing, PARTITIONS, Publisher};
use crate::db::SystemDb;
use crate::fault::Fault;
use crate::lease::{Leases, TERM};
use crate::metrics;
use crate::tasks::{Tasks, Window};
use unclaimed::Keys;

/// Rows sent in one round; also the window of unconfirmed messages.
const BATCH: i64 = 500;
const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(250);
const LONGEST_ROUND: Duration = Duration::from_secs(60);
/// Wait after the broker refused or could not be reached.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Held records remembered at most.
const HELD: usize = 5_000;

/// Sends the events of one service.
#[derive(Debug)]
pub struct Relay {
    service: String,
    db: SystemDb,
    leases: Leases,
    publisher: Publisher,
    keys: Keys,
    /// Age in days beyond which an event that was passed over is not sent any more.
    unclaimed_days: i32,
    probe_wait: Duration,
    /// Records whose next event was not taken; tried again together after a while.
    held: HashSet<RecordKey>,
    held_since: Instant,
}

/// The first rows of each shard, ordinary ones before bulk ones; without held records, and without rows whose
/// record has earlier rows of the other kind waiting, so that nothing overtakes. Every branch follows the primary key.
const BATCH_OF_ROWS: &str = "
    select o.shard, o.bulk, o.id, j.tenant_id, j.record_type, j.record_id, j.version, j.ordinal, j.fact, j.message_type, j.message,
      j.actor, j.request_id, j.trace_id, j.era, j.recorded_at
    from (
      select waiting.* from unnest($1::smallint[]) mine (shard) cross join lateral (
        (select * from kit.outbox n where n.shard = mine.shard and not n.bulk and n.record_id <> all($3)
           and not exists (select from kit.outbox b where b.bulk and b.record_id = n.record_id and b.id < n.id)
         order by n.id limit $2)
        union all
        (select * from kit.outbox n where n.shard = mine.shard and n.bulk and n.record_id <> all($3)
           and not exists (select from kit.outbox e where e.shard = n.shard and not e.bulk and e.id < n.id and e.record_id = n.record_id)
         order by n.id limit $2)
      ) waiting order by waiting.bulk, waiting.id limit $2) o
    join kit.journal j on j.xid = o.xid and j.id = o.id and j.recorded_at = o.recorded_at
    order by o.bulk, o.id";

/// A record among those of all tenants.
type RecordKey = (Uuid, Uuid);

#[derive(Debug, sqlx::FromRow)]
struct Row {
    shard: i16,
    bulk: bool,
    id: i64,
    tenant_id: Uuid,
    record_type: String,
    record_id: Uuid,
    version: i64,
    ordinal: i16,
    fact: String,
    message_type: String,
    message: Option<Vec<u8>>,
    actor: String,
    request_id: String,
    trace_id: Option<String>,
    era: i32,
    recorded_at: DateTime<Utc>,
}

impl Relay {
    /// A relay of `service` that calls itself `holder` among its pods. Events that nobody asked for are sent to a first
    /// consumer if they are at most `unclaimed_days` old.
    #[must_use]
    pub fn new(service: &str, holder: String, db: SystemDb, broker: Broker, unclaimed_days: u16) -> Self {
        let leases = Leases::new(db.clone(), holder);
        let publisher = Publisher::new(broker, format!("{service} relay"));
        Self {
            service: service.to_owned(),
            db,
            leases,
            publisher,
            keys: Keys::default(),
            unclaimed_days: unclaimed_days.into(),
            probe_wait: unclaimed::FIRST_WAIT,
            held: HashSet::new(),
            held_since: Instant::now(),
        }
    }

    /// Sends until the process stops, then gives its shards back.
    pub async fn run(mut self, tasks: Tasks) {
        let names: Vec<String> = (0..PARTITIONS).map(|shard| format!("relay/{shard}")).collect();
        let mut held: Vec<i16> = Vec::new();
        let mut renewed: Option<Instant> = None;
        let mut wait = BUSY;
        loop {
            if renewed.is_none_or(|at| at.elapsed() > TERM / 3) {
                held = self.hold(&names).await;
                // Shards that another process had come with the keys that it passed over.
                self.keys.forget();
                renewed = Some(Instant::now());
            }
            // A database that vanished without a word must not hold the relay for longer.
            let round = tokio::time::timeout(LONGEST_ROUND, self.round(&held, &tasks)).await;
            wait = match round.unwrap_or_else(|_| Err(Fault::deadline())) {
                Ok(0) => (wait * 2).min(IDLE),
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "events wait: they could not be sent");
                    BACK_OFF
                }
            };
            if !tasks.pause(wait).await {
                break;
            }
        }
        let _ = self.leases.release(&names).await;
        self.publisher.close().await;
    }

    async fn hold(&self, names: &[String]) -> Vec<i16> {
        match self.leases.hold(names).await {
            Ok(held) => held.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect(),
            Err(error) => {
                tracing::warn!(%error, "the relay could not renew its leases");
                Vec::new()
            }
        }
    }

    /// Sends one batch; answers how many rows left.
    async fn round(&mut self, shards: &[i16], tasks: &Tasks) -> Result<usize, Fault> {
        if shards.is_empty() {
            metrics::held_records().set(0);
            return Ok(0);
        }
        self.release_held();
        let (rows, were_read): (Vec<Row>, bool) = {
            let mut conn = self.db.conn().await?;
            let were_read = self.keys.refresh(&mut conn).await?;
            let held: Vec<Uuid> = self.held.iter().map(|(_, record)| *record).collect();
            (sqlx::query_as(BATCH_OF_ROWS).bind(shards).bind(BATCH).bind(held).fetch_all(&mut conn).await?, were_read)
        };
        let mut left = 0;
        for mut wave in waves(rows) {
            // What follows a held event of its record waits with it; other records go on.
            wave.retain(|row| !self.held.contains(&row.record()));
            let (unclaimed, wanted): (Vec<&Row>, Vec<&Row>) = wave.iter().partition(|row| self.keys.is_passed_over(&row.fact, row.id));
            left += self.pass_over(&unclaimed, false).await?;
            left += self.send(&wanted, tasks).await?;
        }
        if were_read && shards.contains(&0) {
            match self.catch_up(tasks).await {
                Ok(goes_on) => left += usize::from(goes_on),
                // What others want goes on without it.
                Err(error) => tracing::warn!(%error, "events that nobody asked for before could not be looked after; it is tried again"),
            }
        }
        Ok(left)
    }

    /// Tries held records again after a while, and those beyond what is worth remembering at once.
    fn release_held(&mut self) {
        if self.held_since.elapsed() < BACK_OFF && self.held.len() < HELD {
            return;
        }
        metrics::held_records().set(self.held.len().try_into().unwrap_or(i64::MAX));
        if !self.held.is_empty() {
            tracing::warn!(records = self.held.len(), "events could not be routed or were refused; they are tried again");
        }
        self.held.clear();
        self.held_since = Instant::now();
    }

    /// Sends rows of different records and forgets those that were confirmed; the records of others are held.
    async fn send(&mut self, rows: &[&Row], tasks: &Tasks) -> Result<usize, Fault> {
        if rows.is_empty() {
            return Ok(0);
        }
        let batch: Vec<Outgoing> = rows.iter().map(|row| self.outgoing(row)).collect();
        tasks.at(Window::BeforePublish).await;
        let outcomes = self.publish(&batch).await?;
        tasks.at(Window::BeforeMark).await;
        let (mut gone, mut unclaimed): (Vec<&Row>, Vec<&Row>) = (Vec::with_capacity(rows.len()), Vec::new());
        let confirmed = rows.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Confirmed);
        self.claim(confirmed.map(|(row, _)| row.fact.as_str()).collect()).await?;
        for (row, outcome) in rows.iter().copied().zip(outcomes) {
            match outcome {
                Outcome::Confirmed => gone.push(row),
                Outcome::Unroutable if !self.keys.is_claimed(&row.fact) => unclaimed.push(row),
                Outcome::Unroutable => {
                    metrics::unroutable_events().inc();
                    self.held.insert(row.record());
                }
                Outcome::Failed => {
                    self.held.insert(row.record());
                }
            }
        }
        self.forget(&gone).await?;
        let passed_over = self.pass_over(&unclaimed, true).await?;
        tasks.at(Window::AfterMark).await;
        metrics::relayed_events().inc_by(gone.len().try_into().unwrap_or(u64::MAX));
        Ok(gone.len() + passed_over)
    }

    async fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<Outcome>, Fault> {
        let away = |error| Fault::unavailable("BROKER_AWAY", "The broker does not answer; events wait.").because(error);
        self.publisher.publish(batch).await.map_err(away)
    }

    async fn forget(&self, gone: &[&Row]) -> Result<(), Fault> {
        let shards: Vec<i16> = gone.iter().map(|row| row.shard).collect();
        let bulks: Vec<bool> = gone.iter().map(|row| row.bulk).collect();
        let ids: Vec<i64> = gone.iter().map(|row| row.id).collect();
        let mut conn = self.db.conn().await?;
        sqlx::query(
            "delete from kit.outbox o using unnest($1::smallint[], $2::boolean[], $3::bigint[]) g (shard, bulk, id)
             where o.shard = g.shard and o.bulk = g.bulk and o.id = g.id",
        )
        .bind(shards)
        .bind(bulks)
        .bind(ids)
        .execute(&mut conn)
        .await?;
        Ok(())
    }

    fn outgoing(&self, row: &Row) -> Outgoing {
        let id = format!("{}:{}:{}", self.service, row.era, row.id);
        let mut headers = vec![
            ("cloudEvents:specversion", "1.0".to_owned()),
            ("cloudEvents:id", id.clone()),
            ("cloudEvents:source", format!("/rapport/{}", self.service)),
            ("cloudEvents:type", row.fact.clone()),
            ("cloudEvents:subject", format!("{}/{}", row.record_type, row.record_id)),
            ("cloudEvents:time", row.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true)),
            ("cloudEvents:dataschema", row.message_type.clone()),
            ("rapport-tenant", row.tenant_id.to_string()),
            ("rapport-version", row.version.to_string()),
            ("rapport-ordinal", row.ordinal.to_string()),
            ("rapport-actor", row.actor.clone()),
            ("rapport-request", row.request_id.clone()),
        ];
        if let Some(trace) = &row.trace_id {
            // The journal's row is the span that the consumer's work hangs on.
            headers.push(("traceparent", format!("00-{trace}-{:016x}-01", row.id)));
        }
        Outgoing { id, routing_key: format!("{}.p{:02}", row.fact, row.shard), headers, body: row.message.clone().unwrap_or_default() }
    }
}

impl Row {
    fn record(&self) -> RecordKey {
        (self.tenant_id, self.record_id)
    }
}

/// Splits rows so that no record appears twice in one wave; waves are sent one after the other.
fn waves(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut depth: HashMap<RecordKey, usize> = HashMap::new();
    let mut waves: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let wave = depth.entry(row.record()).and_modify(|wave| *wave += 1).or_insert(0);
        if waves.len() == *wave {
            waves.push(Vec::new());
        }
        if let Some(rows) = waves.get_mut(*wave) {
            rows.push(row);
        }
    }
    waves
}
