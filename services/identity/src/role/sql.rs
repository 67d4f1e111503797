//! Every statement about roles.

use chrono::{DateTime, Utc};
use rapport_kit::db::{Conn, Tx};
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use sqlx::types::Json;
use uuid::Uuid;

use super::Role;
use super::convert::FIELDS;
use super::model::Rule;
use crate::list::Listing;

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "r.id, r.version, r.display_name, r.description, r.shipped, r.permissions, r.field_rules, r.created_at, r.updated_at",
        from: " from role r where r.tenant_id = ",
        id: "r.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.role",
    scoped: None,
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    description: String,
    shipped: bool,
    permissions: Vec<String>,
    field_rules: Json<Vec<Rule>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            description: row.description,
            shipped: row.shipped,
            permissions: row.permissions,
            rules: row.field_rules.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The role, on a connection of the caller's tenant.
pub(crate) async fn find(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<Role>, Fault> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, version, display_name, description, shipped, permissions, field_rules as "field_rules: Json<Vec<Rule>>", created_at, updated_at
           from role where tenant_id = $1 and id = $2"#,
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(conn).await?.map(Role::from))
}

/// Stores a new role.
pub(super) async fn insert(db: &Db, ctx: &Ctx, role: &Role, entries: &[Entry]) -> Result<(), Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    sqlx::query_scalar!(
        "with w as (
           insert into role (tenant_id, id, version, display_name, name_folded, description, shipped, permissions, field_rules, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning 1)
         select kit.record_all($12) from w",
        ctx.tenant(),
        role.id,
        role.version,
        role.display_name,
        fold(&role.display_name),
        role.description,
        role.shipped,
        &role.permissions,
        Json(&role.rules) as _,
        role.created_at,
        role.updated_at,
        entries as _
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(())
}

/// Stores a role of a tenant that is being created; its entries are recorded with the tenant's.
pub(crate) async fn insert_in(tx: &mut Tx, ctx: &Ctx, role: &Role) -> Result<(), Fault> {
    sqlx::query!(
        "insert into role (tenant_id, id, version, display_name, name_folded, description, shipped, permissions, field_rules, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        ctx.tenant(),
        role.id,
        role.version,
        role.display_name,
        fold(&role.display_name),
        role.description,
        role.shipped,
        &role.permissions,
        Json(&role.rules) as _,
        role.created_at,
        role.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores the next version; false if another one came first.
pub(super) async fn update(db: &Db, ctx: &Ctx, role: &Role, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (
           update role set version = $3, display_name = $4, name_folded = $5, description = $6, permissions = $7, field_rules = $8, updated_at = $9
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($10) from w",
        ctx.tenant(),
        role.id,
        role.version,
        role.display_name,
        fold(&role.display_name),
        role.description,
        &role.permissions,
        Json(&role.rules) as _,
        role.updated_at,
        entries as _
    )
    .fetch_optional(&mut conn)
    .await?;
    Ok(done.is_some())
}

/// Whether anybody holds the role. Stands in a transaction that locked the tenant, as every grant does.
pub(super) async fn held(tx: &mut Tx, ctx: &Ctx, id: Uuid) -> Result<bool, Fault> {
    let held = sqlx::query_scalar!(
        r#"select exists (select from users u, jsonb_array_elements(u.grants) g where u.tenant_id = $1 and g->>'role' = $2)
             or exists (select from service_account a, jsonb_array_elements(a.grants) g where a.tenant_id = $1 and g->>'role' = $2) as "held!""#,
        ctx.tenant(),
        id.to_string()
    );
    Ok(held.fetch_one(tx.conn()).await?)
}

/// Deletes the version that was read; false if another one came first.
pub(super) async fn delete(tx: &mut Tx, ctx: &Ctx, role: &Role, entries: &[Entry]) -> Result<bool, Fault> {
    let done = sqlx::query_scalar!(
        "with w as (delete from role where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1) select kit.record_all($4) from w",
        ctx.tenant(),
        role.id,
        role.version,
        entries as _
    );
    Ok(done.fetch_optional(tx.conn()).await?.is_some())
}
