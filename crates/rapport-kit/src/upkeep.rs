//! What every service does on the side: partitions ahead of time, rows away that have been kept long enough
//! (access log, inbox, idempotency keys, ended sessions, dead letters of no tenant, jobs, files), the seal and its verification,
//! and the figures of the database, the outbox, the dead letters and the jobs.
//!
//! Guarantees: each statement takes at most 10,000 rows and each round a bounded number of statements, so that
//! neither a lock nor a connection is held for long however much there is.

use std::time::Duration;

use uuid::Uuid;

use crate::clock;
use crate::config::Retention;
use crate::db::{Db, SystemDb};
use crate::fault::Fault;
use crate::files;
use crate::journal;
use crate::metrics;
use crate::page::Sealer;
use crate::tasks::Tasks;

const AGE_EVERY: Duration = Duration::from_secs(5);
/// Rounds of the age between two rounds of cleaning.
const CLEAN_EVERY: u32 = 120;
/// Rounds of the age between two seals.
const SEAL_EVERY: u32 = 12;
/// Rows of one piece of cleaning or sealing.
const PIECE: u64 = 10_000;
/// Pieces of the journal that are verified between two rounds of cleaning.
const VERIFIED: u32 = 10;

/// Starts the upkeep of one process. Several processes may do it at once.
pub(crate) fn run(app: &Db, db: &SystemDb, sealer: &Sealer, retention: &Retention, tasks: &Tasks) {
    let (app, db, sealer, retention, waiting) = (app.clone(), db.clone(), sealer.clone(), retention.clone(), tasks.clone());
    // Figures with labels are there from the start too, not with the first round.
    connections(&app, &db);
    tasks.spawn("upkeep", async move {
        let (mut round, mut pass) = (0_u32, Pass::default());
        loop {
            connections(&app, &db);
            let told = figures(&db).await;
            metrics::database_up().set(i64::from(told.is_ok()));
            if let Err(error) = told {
                tracing::debug!(%error, "the figures of the outbox could not be read");
            }
            if round.is_multiple_of(CLEAN_EVERY) {
                // Each on its own: what keeps rows from going must not keep the months ahead from coming.
                for done in [partitions(&db).await, clean(&db, &retention).await] {
                    if let Err(error) = done {
                        tracing::warn!(%error, "upkeep of the database did not succeed; it is tried again");
                    }
                }
            }
            if round.is_multiple_of(SEAL_EVERY) {
                match all(PIECE, || seal(&db, &sealer)).await {
                    Ok(false) => {} // More is left than one round takes: the figure tells when all was sealed.
                    Ok(true) => metrics::sealed().set(clock::now().timestamp()),
                    Err(error) => tracing::warn!(%error, "the journal could not be sealed; it is tried again"),
                }
            }
            if round.is_multiple_of(CLEAN_EVERY)
                && let Err(error) = pass.go_on(&db, &sealer).await
            {
                tracing::warn!(%error, "the journal's seal could not be verified; it is tried again");
            }
            round = round.wrapping_add(1);
            if !waiting.pause(AGE_EVERY).await {
                return;
            }
        }
    });
}

async fn clean(db: &SystemDb, retention: &Retention) -> Result<(), Fault> {
    all(PIECE, || delete(db, INBOX, retention.inbox_days)).await?;
    all(PIECE, || delete(db, ACCESS_LOG, retention.access_log_days)).await?;
    all(PIECE, || delete(db, NOBODYS_DEAD_LETTERS, retention.nobodys_dead_letter_days)).await?;
    all(PIECE, || delete(db, JOBS, retention.job_days)).await?;
    all(files::PIECE, || files::purge(db)).await?;
    // Only the last hour is ever read.
    all(PIECE, || delete(db, ENDED_SESSIONS, 1)).await?;
    all(PIECE, || journal::purge_idempotency(db)).await?;
    Ok(())
}

/// Gives the journal its partitions for the months ahead, and for months whose rows lie in the default one.
pub(crate) async fn partitions(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    sqlx::query("select kit.ensure_journal_partitions()").execute(&mut conn).await?;
    Ok(())
}

/// Repeats a piece of work of at most `full` rows until one was not full, at most a hundred times; answers whether all
/// was done.
async fn all<F: Future<Output = Result<u64, Fault>>>(full: u64, piece: impl Fn() -> F) -> Result<bool, Fault> {
    for _ in 0..100 {
        if piece().await? < full {
            return Ok(true);
        }
    }
    Ok(false)
}

const INBOX: &str = "delete from kit.inbox where ctid = any(array(
    select ctid from kit.inbox where received_at < now() - make_interval(days => $1) limit $2))";
const ACCESS_LOG: &str = "delete from kit.access_log where ctid = any(array(
    select ctid from kit.access_log where logged_at < now() - make_interval(days => $1) limit $2))";
const NOBODYS_DEAD_LETTERS: &str = "delete from kit.dead_letter where ctid = any(array(
    select ctid from kit.dead_letter where tenant_id = '00000000-0000-0000-0000-000000000000' and last_failed_at < now() - make_interval(days => $1) limit $2))";
const JOBS: &str = "delete from kit.job where ctid = any(array(
    select ctid from kit.job where ended_at < now() - make_interval(days => $1) limit $2))";
const ENDED_SESSIONS: &str = "delete from kit.policy_revoked_session where ctid = any(array(
    select ctid from kit.policy_revoked_session where revoked_at < now() - make_interval(days => $1) limit $2))";

async fn delete(db: &SystemDb, statement: &'static str, days: u16) -> Result<u64, Fault> {
    let mut conn = db.conn().await?;
    let piece = i64::try_from(PIECE).map_err(Fault::internal)?;
    Ok(sqlx::query(statement).bind(i32::from(days)).bind(piece).execute(&mut conn).await?.rows_affected())
}

async fn seal(db: &SystemDb, sealer: &Sealer) -> Result<u64, Fault> {
    journal::seal::seal(db, sealer).await.map(i64::unsigned_abs)
}

/// A pass over the whole journal, piece by piece, and then the next one.
#[derive(Default)]
struct Pass {
    after: Option<i64>,
    /// Whether a checkpoint of this pass did not agree with its rows.
    broken: bool,
}

impl Pass {
    /// Compares the next pieces of the journal with their checkpoints. A broken checkpoint is told until a whole pass
    /// has found none; what stands behind it is compared all the same.
    async fn go_on(&mut self, db: &SystemDb, sealer: &Sealer) -> Result<(), Fault> {
        for _ in 0..VERIFIED {
            let rows = i64::try_from(PIECE).map_err(Fault::internal)?;
            let range = journal::seal::Range { tenant: Uuid::nil(), after: self.after, rows, anchor: None };
            let verdict = journal::seal::verify(db, sealer, range).await?;
            metrics::verified().set(clock::now().timestamp());
            if let Some(checkpoint) = verdict.broken_seal {
                tracing::error!(checkpoint, "the journal is not what was sealed");
                metrics::broken_checkpoint().set(checkpoint);
                self.broken = true;
            }
            // Where the checkpoint at which it stood is gone, the next pass begins.
            self.after = verdict.broken_seal.filter(|broken| self.after != Some(*broken)).or(verdict.next);
            if self.after.is_none() {
                if !self.broken {
                    metrics::broken_checkpoint().set(0);
                }
                self.broken = false;
                break;
            }
        }
        Ok(())
    }
}

fn connections(app: &Db, system: &SystemDb) {
    for (role, (used, most)) in [("app", app.used()), ("system", system.used())] {
        for (state, count) in [("used", used), ("most", most)] {
            metrics::connections().with_label_values(&[role, state]).set(count.try_into().unwrap_or(i64::MAX));
        }
    }
}

/// The oldest row of each shard is its first one, give or take the moment between taking an id and committing.
async fn figures(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    let milliseconds: Option<i64> = sqlx::query_scalar(
        "select (extract(epoch from now() - min(first.waits_since)) * 1000)::bigint
         from generate_series(0, 7) shard (shard), unnest(array[true, false]) kind (kind), lateral (
           select coalesce(replayed_at, recorded_at) as waits_since from kit.outbox o where o.shard = shard.shard and o.bulk = kind.kind order by o.id limit 1) first",
    )
    .fetch_one(&mut conn)
    .await?;
    metrics::outbox_age().set(milliseconds.unwrap_or(0));
    let rows: i64 = sqlx::query_scalar("select count(*) from (select from kit.outbox limit 10000) events").fetch_one(&mut conn).await?;
    metrics::outbox_rows().set(rows);
    let unclaimed: i64 = sqlx::query_scalar("select count(*) from kit.unclaimed_key").fetch_one(&mut conn).await?;
    metrics::unclaimed_keys().set(unclaimed);
    let dead: i64 = sqlx::query_scalar("select count(*) from (select from kit.dead_letter where state = 'dead' limit 10000) letters")
        .fetch_one(&mut conn)
        .await?;
    metrics::dead_letters().set(dead);
    let waits: Option<i64> =
        sqlx::query_scalar("select extract(epoch from now() - min(due_at))::bigint from kit.job where state in (1, 2) and due_at <= now()")
            .fetch_one(&mut conn)
            .await?;
    metrics::jobs_age().set(waits.unwrap_or(0));
    Ok(())
}
