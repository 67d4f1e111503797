//! Every statement about teams.

use chrono::{DateTime, Utc};
use rapport_kit::db::Conn;
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

use super::Team;
use super::convert::FIELDS;
use crate::list::Listing;

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "t.id, t.version, t.display_name, t.description, t.members, t.created_at, t.updated_at",
        from: " from team t where t.tenant_id = ",
        id: "t.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.team",
    scoped: None,
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    description: String,
    members: Vec<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Team {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            description: row.description,
            members: row.members,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The team.
pub(super) async fn find(db: &Db, ctx: &Ctx, id: Uuid) -> Result<Option<Team>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as!(
        Row,
        "select id, version, display_name, description, members, created_at, updated_at from team where tenant_id = $1 and id = $2",
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(&mut conn).await?.map(Team::from))
}

/// How many of these users there are. Users are never deleted, so the answer stays true.
pub(super) async fn count_users(conn: &mut Conn, ctx: &Ctx, ids: &[Uuid]) -> Result<i64, Fault> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from users where tenant_id = $1 and id = any($2)"#, ctx.tenant(), ids);
    Ok(count.fetch_one(conn).await?)
}

/// Stores a new team.
pub(super) async fn insert(db: &Db, ctx: &Ctx, team: &Team, entries: &[Entry]) -> Result<(), Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    sqlx::query_scalar!(
        "with w as (
           insert into team (tenant_id, id, version, display_name, name_folded, description, members, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning 1)
         select kit.record_all($10) from w",
        ctx.tenant(),
        team.id,
        team.version,
        team.display_name,
        fold(&team.display_name),
        team.description,
        &team.members,
        team.created_at,
        team.updated_at,
        entries as _
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(())
}

/// Stores the next version; false if another one came first.
pub(super) async fn update(db: &Db, ctx: &Ctx, team: &Team, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (
           update team set version = $3, display_name = $4, name_folded = $5, description = $6, members = $7, updated_at = $8
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($9) from w",
        ctx.tenant(),
        team.id,
        team.version,
        team.display_name,
        fold(&team.display_name),
        team.description,
        &team.members,
        team.updated_at,
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}

/// Deletes the version that was read; false if another one came first.
pub(super) async fn delete(db: &Db, ctx: &Ctx, team: &Team, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (delete from team where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1) select kit.record_all($4) from w",
        ctx.tenant(),
        team.id,
        team.version,
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}
