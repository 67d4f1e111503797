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

/// Starts the upkeep of one process. Several processes may do it at once.
pub(crate) fn run(db: &SystemDb, sealer: &Sealer, tasks: &Tasks) {
    let (db, sealer, waiting) = (db.clone(), sealer.clone(), tasks.clone());
    tasks.spawn("upkeep", async move {
        let mut round = 0_u32;
        loop {
            if round.is_multiple_of(CLEAN_EVERY)
                && let Err(error) = clean(&db).await
            {
                tracing::warn!(%error, "upkeep of the database did not succeed; it is tried again");
            }
            if round.is_multiple_of(SEAL_EVERY)
                && let Err(error) = journal::seal::seal(&db, &sealer).await
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
    {
        let mut conn = db.conn().await?;
        sqlx::query("select kit.ensure_journal_partitions()").execute(&mut conn).await?;
        // An event can come again as long as a broker keeps it; two weeks is longer than any queue's limit.
        sqlx::query(
            "delete from kit.inbox where ctid = any(array(select ctid from kit.inbox where received_at < now() - interval '14 days' limit 10000))",
        )
        .execute(&mut conn)
        .await?;
    }
    journal::purge_idempotency(db).await?;
    Ok(())
}

async fn age(db: &SystemDb) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    let milliseconds: Option<i64> =
        sqlx::query_scalar("select (extract(epoch from now() - min(recorded_at)) * 1000)::bigint from kit.outbox").fetch_one(&mut conn).await?;
    metrics::outbox_age().set(milliseconds.unwrap_or(0));
    Ok(())
}
