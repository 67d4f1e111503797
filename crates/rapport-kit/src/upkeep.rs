//! What every service does on the side: partitions ahead of time, rows away that have been kept long enough
//! (access log, inbox, idempotency keys, ended sessions, dead letters of no tenant), the seal, and the figures of
//! the outbox and of the dead letters.
//!
//! Guarantees: each statement takes at most 10,000 rows and each round a bounded number of statements, so that
//! neither a lock nor a connection is held for long however much there is.

use std::time::Duration;

use crate::config::Retention;
use crate::db::SystemDb;
use crate::fault::Fault;
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

/// Starts the upkeep of one process. Several processes may do it at once.
pub(crate) fn run(db: &SystemDb, sealer: &Sealer, retention: &Retention, tasks: &Tasks) {
    let (db, sealer, retention, waiting) = (db.clone(), sealer.clone(), retention.clone(), tasks.clone());
    tasks.spawn("upkeep", async move {
        let mut round = 0_u32;
        loop {
            if round.is_multiple_of(CLEAN_EVERY) {
                // Each on its own: what keeps rows from going must not keep the months ahead from coming.
                for done in [partitions(&db).await, clean(&db, &retention).await] {
                    if let Err(error) = done {
                        tracing::warn!(%error, "upkeep of the database did not succeed; it is tried again");
                    }
                }
            }
            if round.is_multiple_of(SEAL_EVERY)
                && let Err(error) = all(|| seal(&db, &sealer)).await
            {
                tracing::warn!(%error, "the journal could not be sealed; it is tried again");
            }
            if let Err(error) = figures(&db).await {
                tracing::debug!(%error, "the figures of the outbox could not be read");
            }
            round = round.wrapping_add(1);
            if !waiting.pause(AGE_EVERY).await {
                return;
            }
        }
    });
}

async fn clean(db: &SystemDb, retention: &Retention) -> Result<(), Fault> {
    all(|| delete(db, INBOX, retention.inbox_days)).await?;
    all(|| delete(db, ACCESS_LOG, retention.access_log_days)).await?;
    all(|| delete(db, NOBODYS_DEAD_LETTERS, retention.nobodys_dead_letter_days)).await?;
    // Only the last hour is ever read.
    all(|| delete(db, ENDED_SESSIONS, 1)).await?;
    all(|| journal::purge_idempotency(db)).await
}

/// Gives the journal its partitions for the months ahead, and for months whose rows lie in the default one.
pub(crate) async fn partitions(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    sqlx::query("select kit.ensure_journal_partitions()").execute(&mut conn).await?;
    Ok(())
}

/// Repeats a bounded piece of work until a piece was not full, at most a hundred times.
async fn all<F: Future<Output = Result<u64, Fault>>>(piece: impl Fn() -> F) -> Result<(), Fault> {
    for _ in 0..100 {
        if piece().await? < PIECE {
            break;
        }
    }
    Ok(())
}

const INBOX: &str = "delete from kit.inbox where ctid = any(array(
    select ctid from kit.inbox where received_at < now() - make_interval(days => $1) limit $2))";
const ACCESS_LOG: &str = "delete from kit.access_log where ctid = any(array(
    select ctid from kit.access_log where logged_at < now() - make_interval(days => $1) limit $2))";
const NOBODYS_DEAD_LETTERS: &str = "delete from kit.dead_letter where ctid = any(array(
    select ctid from kit.dead_letter where tenant_id = '00000000-0000-0000-0000-000000000000' and last_failed_at < now() - make_interval(days => $1) limit $2))";
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

/// The oldest row of each shard is its first one, give or take the moment between taking an id and committing.
async fn figures(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    let milliseconds: Option<i64> = sqlx::query_scalar(
        "select (extract(epoch from now() - min(first.recorded_at)) * 1000)::bigint
         from generate_series(0, 7) shard (shard), unnest(array[true, false]) kind (kind), lateral (
           select recorded_at from kit.outbox o where o.shard = shard.shard and o.bulk = kind.kind order by o.id limit 1) first",
    )
    .fetch_one(&mut conn)
    .await?;
    metrics::outbox_age().set(milliseconds.unwrap_or(0));
    let dead: i64 = sqlx::query_scalar("select count(*) from (select from kit.dead_letter where state = 'dead' limit 10000) letters")
        .fetch_one(&mut conn)
        .await?;
    metrics::dead_letters().set(dead);
    Ok(())
}
