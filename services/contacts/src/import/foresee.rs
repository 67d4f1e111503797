//! What a dry run foresees of the tree: the parents that accounts would get, one after the other, as the real run would
//! give them.
//!
//! The accounts of the file are not there. Each row's account stands in `import_links` with the id that it would have,
//! and with its parent as soon as that is decided: together with the accounts that are there, these are the tree as it
//! would be.

use std::collections::HashMap;

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

use crate::account::tree;
use crate::limits;

/// The accounts that the rows on `lines` would be.
///
/// # Errors
/// What the database answers.
pub async fn records(conn: &mut Conn, ctx: &Ctx, job: Uuid, lines: &[i64]) -> Result<HashMap<i64, Uuid>, Fault> {
    let rows =
        sqlx::query!("select line, record_id from import_links where tenant_id = $1 and job_id = $2 and line = any($3)", ctx.tenant(), job, lines)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.line, row.record_id)).collect())
}

/// Puts the account of the row on `line` below `parent`.
///
/// # Errors
/// FAILED_PRECONDITION (HIERARCHY_CYCLE, HIERARCHY_TOO_DEEP) as the real run would; what the database answers.
pub async fn place(conn: &mut Conn, ctx: &Ctx, job: Uuid, line: i64, account: Uuid, parent: Uuid) -> Result<(), Fault> {
    let above = sqlx::query_scalar!(
        r#"with recursive above(id, level) as (
             select $3::uuid, 1
             union all
             select coalesce(l.parent_id, a.parent_id), above.level + 1 from above
               left join import_links l on l.tenant_id = $1 and l.job_id = $2 and l.record_id = above.id and l.parent_id is not null
               left join accounts a on a.tenant_id = $1 and a.id = above.id
               where above.level <= $4 and coalesce(l.parent_id, a.parent_id) is not null
           )
           select id as "id!" from above"#,
        ctx.tenant(),
        job,
        parent,
        limits::LEVELS
    )
    .fetch_all(&mut *conn)
    .await?;
    if above.contains(&account) {
        return Err(tree::cycle());
    }
    let height = sqlx::query_scalar!(
        r#"with recursive below(id, level) as (
             select $3::uuid, 1
             union all
             select child.id, below.level + 1 from below cross join lateral (
               select l.record_id as id from import_links l where l.tenant_id = $1 and l.job_id = $2 and l.parent_id = below.id
               union
               select a.id from accounts a where a.tenant_id = $1 and a.parent_id = below.id and a.deleted_at is null and not exists (
                 select from import_links m where m.tenant_id = $1 and m.job_id = $2 and m.record_id = a.id and m.parent_id is not null)
             ) child where below.level <= $4
           )
           select max(level) as "height!" from below"#,
        ctx.tenant(),
        job,
        account,
        limits::LEVELS
    )
    .fetch_one(&mut *conn)
    .await?;
    if i32::try_from(above.len()).unwrap_or(i32::MAX).saturating_add(height) > limits::LEVELS {
        return Err(tree::too_deep());
    }
    sqlx::query!("update import_links set parent_id = $4 where tenant_id = $1 and job_id = $2 and line = $3", ctx.tenant(), job, line, parent)
        .execute(conn)
        .await?;
    Ok(())
}
