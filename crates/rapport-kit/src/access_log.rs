//! The access log: authenticated refusals and sensitive reads, which no journal holds because nothing changed.
//!
//! Guarantees: no call waits for its row, but for exports, of which no byte leaves before their row is stored; the other
//! rows are written within a second and at the end of the process.
//! Refusals of one subject at one method are listed ten times a minute, beyond that counted. What does not fit
//! into the waiting room is counted as a figure, never waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::clock;
use crate::ctx::Ctx;
use crate::db::{Conn, SystemDb};
use crate::fault::Fault;
use crate::metrics;
use crate::tasks::Tasks;

/// Refusals listed for one subject and method in a minute.
const LISTED: u32 = 10;
/// Rows that may wait to be written.
const WAITING: usize = 10_000;
/// Names in one row at most.
const NAMES: usize = 100;
const EVERY: Duration = Duration::from_millis(500);
const MINUTE: Duration = Duration::from_secs(60);

/// One row to come.
#[derive(Debug, Clone)]
struct Row {
    tenant: Uuid,
    kind: &'static str,
    subject: String,
    method: &'static str,
    reason: String,
    names: Vec<String>,
    calls: i32,
    request_id: String,
}

#[derive(Debug, Default)]
struct Room {
    rows: Vec<Row>,
    /// Refusals of this minute by subject and method, with the row that counts the rest.
    refusals: HashMap<(Uuid, String, &'static str), u32>,
    minute: Option<Instant>,
}

/// Where calls leave what is to be logged.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessLog {
    room: Arc<Mutex<Room>>,
}

impl AccessLog {
    /// Notes that a known subject was refused, at the door of a method or within.
    pub(crate) fn denied(&self, tenant: Uuid, subject: &str, method: &'static str, reason: &str, request_id: &str) {
        let row = Row {
            tenant,
            kind: "denied",
            subject: subject.to_owned(),
            method,
            reason: reason.to_owned(),
            names: Vec::new(),
            calls: 1,
            request_id: request_id.to_owned(),
        };
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.minute.is_none_or(|begun| begun.elapsed() > MINUTE) {
            room.refusals.clear();
            room.minute = Some(Instant::now());
        }
        let count = room.refusals.entry((tenant, row.subject.clone(), method)).or_default();
        *count += 1;
        if *count <= LISTED {
            room.add(row);
            return;
        }
        // Counted in the last row that still waits; if that one is written already, a new row counts on.
        let same = |other: &&mut Row| other.kind == "denied" && other.tenant == tenant && other.subject == row.subject && other.method == method;
        match room.rows.iter_mut().rev().find(same) {
            Some(other) => other.calls = other.calls.saturating_add(1),
            None => room.add(row),
        }
    }

    /// Notes that a subject read something sensitive.
    pub(crate) fn read(&self, tenant: Uuid, subject: &str, method: &'static str, names: &[String], request_id: &str) {
        let row = Row {
            tenant,
            kind: "read",
            subject: subject.to_owned(),
            method,
            reason: String::new(),
            names: names.iter().take(NAMES).cloned().collect(),
            calls: 1,
            request_id: request_id.to_owned(),
        };
        self.room.lock().unwrap_or_else(PoisonError::into_inner).add(row);
    }

    /// Writes until the process stops, and once more then.
    pub(crate) fn run(&self, db: &SystemDb, tasks: &Tasks) {
        let (log, db, waiting) = (self.clone(), db.clone(), tasks.clone());
        tasks.spawn("access log", async move {
            loop {
                let go_on = waiting.pause(EVERY).await;
                if let Err(error) = log.write(&db).await {
                    tracing::warn!(%error, "the access log could not be written; it is tried again");
                }
                if !go_on {
                    return;
                }
            }
        });
    }

    async fn write(&self, db: &SystemDb) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner).rows);
        if rows.is_empty() {
            return Ok(());
        }
        let written = insert(db, &rows).await;
        if written.is_err() {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            rows.into_iter().for_each(|row| room.add(row));
        }
        written
    }
}

impl Room {
    fn add(&mut self, row: Row) {
        if self.rows.len() < WAITING { self.rows.push(row) } else { metrics::unlogged_accesses().inc() }
    }
}

/// Stores at once, or with the transaction that `conn` is in, that the caller takes these records out.
pub(crate) async fn exported(conn: &mut Conn, ctx: &Ctx, names: &[String]) -> Result<(), Fault> {
    sqlx::query(
        "insert into kit.access_log (tenant_id, id, kind, subject, method, reason, names, calls, request_id) values ($1, $2, 'read', $3, $4, '', $5, 1, $6)",
    )
    .bind(ctx.tenant())
    .bind(clock::new_id())
    .bind(ctx.actor().subject())
    .bind(ctx.call().method)
    .bind(names.get(..NAMES).unwrap_or(names))
    .bind(&ctx.call().request_id)
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert(db: &SystemDb, rows: &[Row]) -> Result<(), Fault> {
    let mut tx = db.begin().await?;
    for chunk in rows.chunks(1000) {
        let mut query = sqlx::QueryBuilder::<sqlx::Postgres>::new(
            "insert into kit.access_log (tenant_id, id, kind, subject, method, reason, names, calls, request_id) ",
        );
        query.push_values(chunk, |mut values, row| {
            values
                .push_bind(row.tenant)
                .push_bind(clock::new_id())
                .push_bind(row.kind)
                .push_bind(&row.subject)
                .push_bind(row.method)
                .push_bind(&row.reason)
                .push_bind(&row.names)
                .push_bind(row.calls)
                .push_bind(&row.request_id);
        });
        query.build().execute(tx.conn()).await?;
    }
    tx.commit().await
}
