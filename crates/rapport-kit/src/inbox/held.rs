//! Events that are held back: dead ones, those that wait behind them, and those that are due again.
//!
//! Guarantees: the effect of a held event and the end of its row commit together, so that it takes effect once
//! whatever process handles it; the first held event of a record goes before the others, and new ones of that
//! record stand behind them until none is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::types::Json;
use uuid::Uuid;

use super::take::survived;
use super::{Consumers, LONGEST_WAIT, key, passes, subject};
use crate::bus::Delivery;
use crate::db::{Db, SystemDb, Tx};
use crate::fault::Fault;
use crate::tasks::Tasks;
use crate::{clock, metrics};

/// How long what became due may wait for its turn.
const POLL: Duration = Duration::from_millis(500);
/// Events handled in one round.
const ROUND: i64 = 100;
/// Letters of the reason that are kept.
const REASON: usize = 2000;

/// Why an event is held.
pub(super) enum Held<'a> {
    /// Nobody handles it until somebody decides.
    Dead {
        /// Why the last attempt failed.
        reason: &'a str,
        /// How often it was tried.
        attempts: i32,
    },
    /// An earlier event of its record is held.
    Waiting,
}

/// An event that is due, as it is stored.
#[derive(sqlx::FromRow)]
struct Due {
    event_id: String,
    subject: String,
    routing_key: String,
    headers: Json<HashMap<String, String>>,
    body: Vec<u8>,
}

impl Consumers {
    /// Handles what is due until the process stops.
    pub(super) async fn run_held(self: Arc<Self>, db: Db, system: SystemDb, tasks: Tasks) {
        let mut wait = POLL;
        while tasks.pause(wait).await {
            wait = match self.round(&db, &system).await {
                Ok(0) => POLL,
                // What waited behind those is due now.
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, "held events could not be handled yet");
                    (wait.max(POLL) * 2).min(LONGEST_WAIT)
                }
            };
        }
    }

    /// Tries what is due, in the order of arrival; answers how many found an end. One that fails for a passing
    /// reason stays due and does not keep the others.
    async fn round(&self, db: &Db, system: &SystemDb) -> Result<usize, Fault> {
        let due: Vec<(Uuid, Uuid)> = {
            let mut conn = system.conn().await?;
            let due = sqlx::query_as("select tenant_id, id from kit.dead_letter where consumer = $1 and state = 'due' order by seq limit $2");
            due.bind(&self.service).bind(ROUND).fetch_all(&mut conn).await?
        };
        let (mut ended, mut last) = (0, None);
        for (tenant, id) in due {
            match self.again(db, tenant, id).await {
                Ok(has_ended) => ended += usize::from(has_ended),
                Err(fault) => last = Some(fault),
            }
        }
        match last {
            Some(fault) if ended == 0 => Err(fault),
            _ => Ok(ended),
        }
    }

    /// Tries a due event once; whether it is done or dead now, rather than in the hands of another process.
    async fn again(&self, db: &Db, tenant: Uuid, id: Uuid) -> Result<bool, Fault> {
        let mut has_ended = false;
        let tried = survived(async {
            has_ended = self.end(db, tenant, id).await?;
            Ok(())
        })
        .await;
        let Err(fault) = tried else { return Ok(has_ended) };
        if matches!(fault.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted) {
            return Err(fault);
        }
        let attempts = count(db, tenant, id).await?;
        if passes(&fault, attempts) {
            return Err(fault);
        }
        die(db, tenant, id, &fault).await?;
        Ok(true)
    }

    /// Effect and end of a due event, in one transaction; false if it is not to be had.
    async fn end(&self, db: &Db, tenant: Uuid, id: Uuid) -> Result<bool, Fault> {
        let mut tx = db.begin_for(tenant).await?;
        let due: Option<Due> = sqlx::query_as(
            "select event_id, subject, routing_key, headers, body from kit.dead_letter
             where tenant_id = $1 and id = $2 and state = 'due' for update skip locked",
        )
        .bind(tenant)
        .bind(id)
        .fetch_optional(tx.conn())
        .await?;
        let Some(due) = due else { return Ok(false) };
        let delivery = Delivery { id: due.event_id, routing_key: due.routing_key, headers: due.headers.0, body: due.body };
        // The reaction may have gone with a release; such an event has no effect.
        if let Some(reaction) = self.reactions.get(key(&delivery.routing_key)) {
            reaction(&mut tx, &delivery, tenant).await?;
        }
        sqlx::query("delete from kit.dead_letter where tenant_id = $1 and id = $2").bind(tenant).bind(id).execute(tx.conn()).await?;
        go_on(&mut tx, tenant, std::slice::from_ref(&self.service), &[due.subject]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Holds an event, which the inbox knows already.
pub(super) async fn hold(tx: &mut Tx, tenant: Uuid, consumer: &str, delivery: &Delivery, held: Held<'_>) -> Result<(), Fault> {
    let (state, reason, attempts) = match held {
        Held::Dead { reason, attempts } => ("dead", reason, attempts),
        Held::Waiting => ("waiting", "", 0),
    };
    let subject_version: i64 = delivery.headers.get("rapport-version").and_then(|version| version.parse().ok()).unwrap_or_default();
    sqlx::query(
        "insert into kit.dead_letter (tenant_id, id, state, consumer, event_id, fact, subject, subject_version, routing_key, headers, body,
           reason, attempts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(tenant)
    .bind(clock::new_id())
    .bind(state)
    .bind(consumer)
    .bind(&delivery.id)
    .bind(key(&delivery.routing_key))
    .bind(subject(delivery))
    .bind(subject_version)
    .bind(&delivery.routing_key)
    .bind(Json(&delivery.headers))
    .bind(&delivery.body)
    .bind(short(reason))
    .bind(attempts)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lets the first held event of each of these records go on, now that the one before it has an end.
/// `consumers` and `subjects` are pairs.
pub(crate) async fn go_on(tx: &mut Tx, tenant: Uuid, consumers: &[String], subjects: &[String]) -> Result<(), Fault> {
    sqlx::query(
        "update kit.dead_letter d set state = 'due' from (
           select distinct next.id from unnest($2::text[], $3::text[]) ended (consumer, subject) cross join lateral (
             select h.id, h.state from kit.dead_letter h
             where h.tenant_id = $1 and h.consumer = ended.consumer and h.subject = ended.subject order by h.seq limit 1) next
           where next.state = 'waiting') first
         where d.tenant_id = $1 and d.id = first.id",
    )
    .bind(tenant)
    .bind(consumers)
    .bind(subjects)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Counts an attempt that failed; answers how many there were, none if another process ended the event.
async fn count(db: &Db, tenant: Uuid, id: Uuid) -> Result<i32, Fault> {
    let mut conn = db.tenant(tenant).await?;
    let attempts: Option<i32> = sqlx::query_scalar(
        "update kit.dead_letter set attempts = attempts + 1, last_failed_at = now(),
           -- One that is handed over again has its reason still, and has failed before.
           first_failed_at = case when attempts = 0 and reason = '' then now() else first_failed_at end
         where tenant_id = $1 and id = $2 and state = 'due' returning attempts",
    )
    .bind(tenant)
    .bind(id)
    .fetch_optional(&mut conn)
    .await?;
    Ok(attempts.unwrap_or_default())
}

async fn die(db: &Db, tenant: Uuid, id: Uuid, fault: &Fault) -> Result<(), Fault> {
    let mut conn = db.tenant(tenant).await?;
    let event: Option<String> = sqlx::query_scalar(
        "update kit.dead_letter set state = 'dead', reason = $3 where tenant_id = $1 and id = $2 and state = 'due' returning event_id",
    )
    .bind(tenant)
    .bind(id)
    .bind(short(&fault.to_string()))
    .fetch_optional(&mut conn)
    .await?;
    if let Some(event) = event {
        tell(&event, fault);
    }
    Ok(())
}

/// Says once that an event is dead.
pub(super) fn tell(event: &str, fault: &Fault) {
    metrics::dead_events().inc();
    tracing::error!(event, %fault, "an event can never be handled; it is kept as a dead letter");
}

fn short(reason: &str) -> String {
    reason.chars().take(REASON).collect()
}
