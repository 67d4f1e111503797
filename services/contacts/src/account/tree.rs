//! The trees that accounts form.
//!
//! Guarantees: what moves, deletes, merges or brings back an account holds the tenant's tree lock until it commits, so
//! that two moves cannot make a cycle together.

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, Tx, name};
use uuid::Uuid;

use super::COLLECTION;
use super::merge::Nesting;
use crate::limits;

/// Waits for the tree of the tenant and holds it until the transaction ends.
///
/// # Errors
/// What the database answers.
pub async fn lock(tx: &mut Tx, ctx: &Ctx) -> Result<(), Fault> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1::uuid::text || 'accounts', 0))", ctx.tenant()).execute(tx.conn()).await?;
    Ok(())
}

/// Refuses a place below `parent` that would make a cycle or more than 32 levels.
///
/// # Errors
/// FAILED_PRECONDITION (PARENT_DELETED, HIERARCHY_CYCLE, HIERARCHY_TOO_DEEP).
pub async fn require_place(tx: &mut Tx, ctx: &Ctx, account: Uuid, parent: Uuid) -> Result<(), Fault> {
    let above = sqlx::query!(
        r#"with recursive above(id, parent_id, deleted, level) as (
             select id, parent_id, deleted_at is not null, 1 from accounts where tenant_id = $1 and id = $2
             union all
             select a.id, a.parent_id, a.deleted_at is not null, above.level + 1 from above
               join accounts a on a.tenant_id = $1 and a.id = above.parent_id where above.level <= $3
           )
           select id as "id!", deleted as "deleted!" from above order by level"#,
        ctx.tenant(),
        parent,
        limits::LEVELS
    )
    .fetch_all(tx.conn())
    .await?;
    if above.first().is_none_or(|parent| parent.deleted) {
        return Err(Fault::precondition("PARENT_DELETED", "The parent is deleted; bring it back first or choose another one.")
            .with("parent", name::format(COLLECTION, parent)));
    }
    if above.iter().any(|ancestor| ancestor.id == account) {
        return Err(cycle());
    }
    let height = sqlx::query_scalar!(
        r#"with recursive below(id, level) as (
             select $2::uuid, 1
             union all
             select a.id, below.level + 1 from below join accounts a on a.tenant_id = $1 and a.parent_id = below.id
               where below.level <= $3 and a.deleted_at is null
           )
           select max(level) as "height!" from below"#,
        ctx.tenant(),
        account,
        limits::LEVELS
    )
    .fetch_one(tx.conn())
    .await?;
    let depth = i32::try_from(above.len()).unwrap_or(i32::MAX);
    if depth.saturating_add(height) > limits::LEVELS {
        return Err(too_deep());
    }
    Ok(())
}

/// The refusal of a parent that lies below the account.
#[must_use]
pub fn cycle() -> Fault {
    Fault::precondition("HIERARCHY_CYCLE", "The parent lies below the account; choose one that does not.")
}

/// The refusal of a place that is too far down.
#[must_use]
pub fn too_deep() -> Fault {
    Fault::precondition("HIERARCHY_TOO_DEEP", format!("Accounts form at most {} levels; choose a parent further up.", limits::LEVELS))
        .with("max", limits::LEVELS.to_string())
}

/// Refuses to delete an account that live ones name as parent.
///
/// # Errors
/// FAILED_PRECONDITION (ACCOUNT_HAS_CHILDREN).
pub async fn require_no_children(tx: &mut Tx, ctx: &Ctx, account: Uuid) -> Result<(), Fault> {
    let has_children = sqlx::query_scalar!(
        r#"select exists (select from accounts where tenant_id = $1 and parent_id = $2 and deleted_at is null) as "exists!""#,
        ctx.tenant(),
        account
    )
    .fetch_one(tx.conn())
    .await?;
    if has_children {
        return Err(Fault::precondition("ACCOUNT_HAS_CHILDREN", "Other accounts are part of this one; move or delete them first."));
    }
    Ok(())
}

/// How two accounts that are to be merged lie to each other.
///
/// # Errors
/// What the database answers.
pub async fn nesting(conn: &mut Conn, ctx: &Ctx, survivor: Uuid, loser: Uuid) -> Result<Nesting, Fault> {
    let found = sqlx::query!(
        r#"with recursive above(start, id, parent_id, level) as (
             select id, id, parent_id, 1 from accounts where tenant_id = $1 and id = any(array[$2, $3]::uuid[])
             union all
             select above.start, a.id, a.parent_id, above.level + 1 from above
               join accounts a on a.tenant_id = $1 and a.id = above.parent_id where above.level <= $4
           )
           select coalesce(bool_or(start = $2 and id = $3), false) as "survivor_below!", coalesce(bool_or(start = $3 and id = $2), false) as "loser_below!"
           from above"#,
        ctx.tenant(),
        survivor,
        loser,
        limits::LEVELS
    )
    .fetch_one(conn)
    .await?;
    Ok(match (found.survivor_below, found.loser_below) {
        (true, _) => Nesting::SurvivorBelow,
        (false, true) => Nesting::LoserBelow,
        (false, false) => Nesting::Apart,
    })
}

/// Refuses a merge that would make more than 32 levels: `survivor` below `parent`, and below it what lies below either.
///
/// # Errors
/// FAILED_PRECONDITION (HIERARCHY_TOO_DEEP).
pub async fn require_levels(conn: &mut Conn, ctx: &Ctx, survivor: Uuid, loser: Uuid, parent: Option<Uuid>) -> Result<(), Fault> {
    let levels = sqlx::query_scalar!(
        r#"with recursive above(parent_id, level) as (
             select parent_id, 1 from accounts where tenant_id = $1 and id = $4
             union all
             select a.parent_id, above.level + 1 from above
               join accounts a on a.tenant_id = $1 and a.id = above.parent_id where above.level <= $5
           ), below(id, level) as (
             select $2::uuid, 1
             union all
             select a.id, below.level + 1 from below
               join accounts a on a.tenant_id = $1 and a.parent_id = any(case below.id when $2 then array[$2, $3]::uuid[] else array[below.id] end)
               where below.level <= $5 and a.deleted_at is null and a.id <> $2 and a.id <> $3
           )
           select coalesce((select max(level) from above), 0) + (select max(level) from below) as "levels!""#,
        ctx.tenant(),
        survivor,
        loser,
        parent,
        limits::LEVELS
    )
    .fetch_one(conn)
    .await?;
    if levels > limits::LEVELS { Err(too_deep()) } else { Ok(()) }
}

/// Live accounts right below `account`, at most `limit`.
///
/// # Errors
/// What the database answers.
pub async fn children(conn: &mut Conn, ctx: &Ctx, account: Uuid, limit: i64) -> Result<Vec<Uuid>, Fault> {
    let children = sqlx::query_scalar!(
        "select id from accounts where tenant_id = $1 and parent_id = $2 and deleted_at is null order by id limit $3",
        ctx.tenant(),
        account,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(children)
}
