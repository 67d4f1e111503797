//! Every statement about service accounts.

use chrono::{DateTime, Utc};
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::{Conn, Tx};
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::ServiceAccount;
use super::convert::FIELDS;
use crate::list::Listing;
use crate::user::Grant;

pub(super) const TABLE: Table = Table { tenant: "a.tenant_id", id: "a.id", owner: "a.id" };

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "a.id, a.version, a.display_name, a.description, a.unit_id, a.grants, a.created_at, a.updated_at",
        from: " from service_account a where a.tenant_id = ",
        id: "a.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.service_account",
    scoped: Some(TABLE),
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    description: String,
    unit_id: Option<Uuid>,
    grants: Json<Vec<Grant>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for ServiceAccount {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            description: row.description,
            unit: row.unit_id,
            grants: row.grants.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The service account if it lies in `scope`; with `lock` it stands still until the transaction ends.
pub(super) async fn visible(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid, lock: bool) -> Result<Option<ServiceAccount>, Fault> {
    let mut sql = QueryBuilder::new(format!("select {}{}", LISTING.of.columns, LISTING.of.from));
    sql.push_bind(ctx.tenant()).push(" and a.id = ").push_bind(id);
    scope.push(&mut sql, TABLE);
    if lock {
        sql.push(" for no key update of a");
    }
    let row: Option<Row> = sql.build_query_as().fetch_optional(conn).await?;
    Ok(row.map(ServiceAccount::from))
}

/// The service account, whoever asks.
pub(crate) async fn find(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<ServiceAccount>, Fault> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, version, display_name, description, unit_id, grants as "grants: Json<Vec<Grant>>", created_at, updated_at
           from service_account where tenant_id = $1 and id = $2"#,
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(conn).await?.map(ServiceAccount::from))
}

/// Stores a new service account.
pub(super) async fn insert(db: &Db, ctx: &Ctx, account: &ServiceAccount, entries: &[Entry]) -> Result<(), Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    sqlx::query_scalar!(
        "with w as (
           insert into service_account (tenant_id, id, version, display_name, name_folded, description, unit_id, grants, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning 1)
         select kit.record_all($11) from w",
        ctx.tenant(),
        account.id,
        account.version,
        account.display_name,
        fold(&account.display_name),
        account.description,
        account.unit,
        Json(&account.grants) as _,
        account.created_at,
        account.updated_at,
        entries as _
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(())
}

/// Stores other grants; false if another version came first.
pub(super) async fn update_grants(tx: &mut Tx, ctx: &Ctx, account: &ServiceAccount, entries: &[Entry]) -> Result<bool, Fault> {
    let done = sqlx::query_scalar!(
        "with w as (
           update service_account set version = $3, grants = $4, updated_at = $5 where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($6) from w",
        ctx.tenant(),
        account.id,
        account.version,
        Json(&account.grants) as _,
        account.updated_at,
        entries as _
    );
    Ok(done.fetch_optional(tx.conn()).await?.is_some())
}

/// Deletes the version that was read, with its keys; false if another one came first.
pub(super) async fn delete(db: &Db, ctx: &Ctx, account: &ServiceAccount, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (delete from service_account where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($4) from w",
        ctx.tenant(),
        account.id,
        account.version,
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}
