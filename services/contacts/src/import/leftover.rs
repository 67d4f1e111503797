//! What imports and reconciliations that ended before their last step remembered of rows: it is cleared within minutes.

use std::time::Duration;

use rapport_kit::Fault;
use rapport_kit::db::SystemDb;
use rapport_kit::tasks::Tasks;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(60);
/// Rows that are removed with one statement.
const PIECE: i64 = 10_000;
/// Pieces of sheets that are removed with one statement; each is large.
const SHEETS: i64 = 100;

/// Clears what is left over, until the process ends.
pub fn run(system: &SystemDb, tasks: &Tasks) {
    let (system, waiting) = (system.clone(), tasks.clone());
    tasks.spawn("left over rows of imports", async move {
        loop {
            if let Err(error) = clear(&system).await {
                tracing::warn!(%error, "what ended imports remembered of rows could not be cleared; it is tried again");
            }
            if !waiting.pause(PAUSE).await {
                return;
            }
        }
    });
}

/// Clears what jobs remembered that have ended.
///
/// # Errors
/// What the database answers.
pub async fn clear(system: &SystemDb) -> Result<(), Fault> {
    loop {
        let keys = sqlx::query!(
            "delete from import_keys where ctid = any(array(
               select k.ctid from kit.job j join import_keys k on k.tenant_id = j.tenant_id and k.job_id = j.id
               where j.kind in ('contacts.import', 'contacts.reconciliation') and j.state not in (1, 2) limit $1))",
            PIECE
        )
        .execute(&mut system.conn().await?)
        .await?;
        let links = sqlx::query!(
            "delete from import_links where ctid = any(array(
               select l.ctid from kit.job j join import_links l on l.tenant_id = j.tenant_id and l.job_id = j.id
               where j.kind = 'contacts.import' and j.state not in (1, 2) limit $1))",
            PIECE
        )
        .execute(&mut system.conn().await?)
        .await?;
        let pieces = sqlx::query!(
            "delete from import_pieces where ctid = any(array(
               select p.ctid from kit.job j join import_pieces p on p.tenant_id = j.tenant_id and p.job_id = j.id
               where j.kind = 'contacts.import' and j.state not in (1, 2) limit $1))",
            SHEETS
        )
        .execute(&mut system.conn().await?)
        .await?;
        let is_done = keys.rows_affected().max(links.rows_affected()) < PIECE.unsigned_abs();
        if is_done && pieces.rows_affected() < SHEETS.unsigned_abs() {
            return Ok(());
        }
    }
}
