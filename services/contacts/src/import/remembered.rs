//! What running imports and reconciliations remember of their rows. The last steps of a job forget it; what jobs left that
//! ended before them is cleared within minutes, with the reports of jobs that are gone by their age.

use std::collections::HashMap;
use std::time::Duration;

use rapport_kit::db::{Conn, SystemDb};
use rapport_kit::tasks::Tasks;
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// The tables, each with how many rows of it are removed with one statement. Pieces of sheets are large.
const TABLES: [(&str, u64); 3] = [("import_keys", PIECE), ("import_links", PIECE), ("import_pieces", 100)];
const PIECE: u64 = 10_000;
/// Between two looks for what is left over.
const PAUSE: Duration = Duration::from_secs(60);

/// The lines of the first rows about what `keys` stand for.
///
/// # Errors
/// What the database answers.
pub async fn lines(conn: &mut Conn, ctx: &Ctx, job: Uuid, keys: &[String]) -> Result<HashMap<String, i64>, Fault> {
    let lines = sqlx::query!(r#"select key as "key!", line as "line!" from import_lines($1, $2, $3)"#, ctx.tenant(), job, keys);
    let rows = lines.fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.line)).collect())
}

/// Remembers what rows were about, each key with the line of its row.
///
/// # Errors
/// What the database answers.
pub async fn remember(tx: &mut Tx, ctx: &Ctx, job: Uuid, keys: &[String], lines: &[i64]) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into import_keys (tenant_id, job_id, key, line) select $1, $2, k.key, k.line from unnest($3::text[], $4::bigint[]) k(key, line)
         on conflict do nothing",
        ctx.tenant(),
        job,
        keys,
        lines
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets what a job remembers, a piece at a time; true when nothing is left.
///
/// # Errors
/// What the database answers.
pub async fn forget(tx: &mut Tx, ctx: &Ctx, job: Uuid) -> Result<bool, Fault> {
    let mut is_done = true;
    for (table, most) in TABLES {
        let statement = format!(
            "delete from {table} where tenant_id = $1 and ctid = any(array(
               select ctid from {table} where tenant_id = $1 and job_id = $2 limit {most}))"
        );
        let removed = sqlx::query(AssertSqlSafe(statement)).bind(ctx.tenant()).bind(job).execute(tx.conn()).await?;
        is_done &= removed.rows_affected() < most;
    }
    Ok(is_done)
}

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

/// Clears what jobs remembered that have ended, and the reports of jobs that are gone.
///
/// # Errors
/// What the database answers.
pub async fn clear(system: &SystemDb) -> Result<(), Fault> {
    let kinds = [super::KIND, crate::reconcile::KIND.name];
    for (table, most) in TABLES {
        let statement = format!(
            "delete from {table} where ctid = any(array(
               select l.ctid from kit.job j join {table} l on l.tenant_id = j.tenant_id and l.job_id = j.id
               where j.kind = any($1) and j.state not in (1, 2) limit {most}))"
        );
        while sqlx::query(AssertSqlSafe(statement.clone())).bind(kinds).execute(&mut system.conn().await?).await?.rows_affected() >= most {}
    }
    while clear_reports(system).await? >= PIECE {}
    Ok(())
}

async fn clear_reports(system: &SystemDb) -> Result<u64, Fault> {
    let removed = sqlx::query!(
        "delete from import_reports where ctid = any(array(
           select r.ctid from import_reports r where not exists (select from kit.job j where j.tenant_id = r.tenant_id and j.id = r.job_id)
           limit $1))",
        i64::try_from(PIECE).map_err(Fault::internal)?
    )
    .execute(&mut system.conn().await?)
    .await?;
    Ok(removed.rows_affected())
}
