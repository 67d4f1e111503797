//! What every service does on the side: partitions ahead of time, old idempotency and inbox rows away, the
//! seal, and the age of the oldest waiting event as a figure.

use std::time::Duration;

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
pub(crate) fn run(db: &SystemDb, sealer: &Sealer, tasks: &Tasks) {
    let (db, sealer, waiting) = (db.clone(), sealer.clone(), tasks.clone());
    tasks.spawn("upkeep", async move {
        let mut round = 0_u32;
        loop {
            if round.is_multiple_of(CLEAN_EVERY) {
                // Each on its own: what keeps rows from going must not keep the months ahead from coming.
                for done in [partitions(&db).await, clean(&db).await] {
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
            if let Err(error) = age(&db).await {
                tracing::debug!(%error, "the age of the outbox could not be read");
            }
            round = round.wrapping_add(1);
            if !waiting.pause(AGE_EVERY).await {
                return;
            }
        }
    });
}

async fn clean(db: &SystemDb) -> Result<(), Fault> {
    // An event can come again as long as a broker keeps it; two weeks is longer than any queue's limit.
    all(|| {
        delete(
            db,
            "delete from kit.inbox where ctid = any(array(select ctid from kit.inbox where received_at < now() - interval '14 days' limit 10000))",
        )
    })
    .await?;
    // Only the last hour is ever read.
    all(|| delete(db, "delete from kit.policy_revoked_session where ctid = any(array(select ctid from kit.policy_revoked_session where revoked_at < now() - interval '1 day' limit 10000))"))
        .await?;
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

async fn delete(db: &SystemDb, statement: &'static str) -> Result<u64, Fault> {
    let mut conn = db.conn().await?;
    Ok(sqlx::query(statement).execute(&mut conn).await?.rows_affected())
}

async fn seal(db: &SystemDb, sealer: &Sealer) -> Result<u64, Fault> {
    journal::seal::seal(db, sealer).await.map(i64::unsigned_abs)
}

/// The oldest row of each shard is its first one, give or take the moment between taking an id and committing.
async fn age(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    let milliseconds: Option<i64> = sqlx::query_scalar(
        "select (extract(epoch from now() - min(first.recorded_at)) * 1000)::bigint
         from generate_series(0, 7) shard (shard), unnest(array[true, false]) kind (kind), lateral (
           select recorded_at from kit.outbox o where o.shard = shard.shard and o.bulk = kind.kind order by o.id limit 1) first",
    )
    .fetch_one(&mut conn)
    .await?;
    metrics::outbox_age().set(milliseconds.unwrap_or(0));
    Ok(())
}
