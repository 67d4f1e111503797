//! Every statement about business units.

use chrono::{DateTime, Utc};
use rapport_kit::db::{Conn, Tx};
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

use super::BusinessUnit;
use super::convert::FIELDS;
use crate::list::Listing;

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "b.id, b.version, b.display_name, b.parent_id, b.legal_entity_id, b.created_at, b.updated_at",
        from: " from business_unit b where b.tenant_id = ",
        id: "b.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.business_unit",
    scoped: None,
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    parent_id: Option<Uuid>,
    legal_entity_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for BusinessUnit {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            parent: row.parent_id,
            legal_entity: row.legal_entity_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The unit, on a connection of the caller's tenant.
pub(super) async fn find(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<BusinessUnit>, Fault> {
    let row = sqlx::query_as!(
        Row,
        "select id, version, display_name, parent_id, legal_entity_id, created_at, updated_at from business_unit where tenant_id = $1 and id = $2",
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(conn).await?.map(BusinessUnit::from))
}

/// `id` and the units above it, the nearest first; empty if there is no such unit.
pub(crate) async fn upwards(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Vec<Uuid>, Fault> {
    let ids = sqlx::query_scalar!(
        r#"with recursive up (id, parent_id, level) as (
             select id, parent_id, 1 from business_unit where tenant_id = $1 and id = $2
             union all
             select b.id, b.parent_id, up.level + 1 from up join business_unit b on b.tenant_id = $1 and b.id = up.parent_id where up.level < 100)
           select id as "id!" from up order by level"#,
        ctx.tenant(),
        id
    );
    Ok(ids.fetch_all(conn).await?)
}

/// Levels from the unit down, itself included.
pub(super) async fn height(tx: &mut Tx, ctx: &Ctx, id: Uuid) -> Result<i32, Fault> {
    let height = sqlx::query_scalar!(
        r#"with recursive down (id, level) as (
             select $2::uuid, 1
             union all
             select b.id, down.level + 1 from down join business_unit b on b.tenant_id = $1 and b.parent_id = down.id where down.level < 100)
           select max(level) as "height!" from down"#,
        ctx.tenant(),
        id
    );
    Ok(height.fetch_one(tx.conn()).await?)
}

/// Stores a new unit, whose entries are recorded apart in the same transaction.
pub(crate) async fn insert_in(tx: &mut Tx, ctx: &Ctx, unit: &BusinessUnit) -> Result<(), Fault> {
    sqlx::query!(
        "insert into business_unit (tenant_id, id, version, display_name, name_folded, parent_id, legal_entity_id, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        ctx.tenant(),
        unit.id,
        unit.version,
        unit.display_name,
        fold(&unit.display_name),
        unit.parent,
        unit.legal_entity,
        unit.created_at,
        unit.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes entries of this transaction.
pub(super) async fn record(tx: &mut Tx, entries: &[Entry]) -> Result<(), Fault> {
    sqlx::query_scalar!("select kit.record_all($1)", entries as _).fetch_one(tx.conn()).await?;
    Ok(())
}

/// Stores the next version; false if another one came first.
pub(super) async fn update(tx: &mut Tx, ctx: &Ctx, unit: &BusinessUnit, entries: &[Entry]) -> Result<bool, Fault> {
    let done = sqlx::query_scalar!(
        "with w as (
           update business_unit set version = $3, display_name = $4, name_folded = $5, parent_id = $6, legal_entity_id = $7, updated_at = $8
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($9) from w",
        ctx.tenant(),
        unit.id,
        unit.version,
        unit.display_name,
        fold(&unit.display_name),
        unit.parent,
        unit.legal_entity,
        unit.updated_at,
        entries as _
    );
    Ok(done.fetch_optional(tx.conn()).await?.is_some())
}

/// Deletes the version that was read; false if another one came first. What still hangs on it refuses by its
/// foreign key.
pub(super) async fn delete(conn: &mut Conn, ctx: &Ctx, unit: &BusinessUnit, entries: &[Entry]) -> Result<bool, Fault> {
    let done = sqlx::query_scalar!(
        "with w as (delete from business_unit where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1) select kit.record_all($4) from w",
        ctx.tenant(),
        unit.id,
        unit.version,
        entries as _
    );
    Ok(done.fetch_optional(conn).await?.is_some())
}
