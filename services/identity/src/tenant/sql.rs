//! Every statement about tenants.

use rapport_kit::db::Tx;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault, SystemDb};
use uuid::Uuid;

use super::Tenant;

/// The caller's tenant.
pub(super) async fn get(db: &Db, ctx: &Ctx) -> Result<Option<Tenant>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as!(
        Tenant,
        "select tenant_id as id, version, slug, display_name, created_at, updated_at from tenant where tenant_id = $1",
        ctx.tenant()
    );
    Ok(row.fetch_optional(&mut conn).await?)
}

/// The tenant with this slug, or this id; before sign-in nobody stands in a tenant yet.
pub(crate) async fn find(db: &SystemDb, id: Option<Uuid>, slug: &str) -> Result<Option<Uuid>, Fault> {
    let mut conn = db.conn().await?;
    let found = match id {
        Some(id) => sqlx::query_scalar!("select tenant_id from tenant where tenant_id = $1", id).fetch_optional(&mut conn).await?,
        None => sqlx::query_scalar!("select tenant_id from tenant where slug = $1", slug).fetch_optional(&mut conn).await?,
    };
    Ok(found)
}

/// Holds off every other change that needs the tenant to stand still: the tree, the last administrator.
pub(crate) async fn lock(tx: &mut Tx, ctx: &Ctx) -> Result<(), Fault> {
    sqlx::query_scalar!(r#"select 1 as "one!" from tenant where tenant_id = $1 for no key update"#, ctx.tenant()).fetch_optional(tx.conn()).await?;
    Ok(())
}

pub(super) async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<(), Fault> {
    sqlx::query!(
        "insert into tenant (tenant_id, version, slug, display_name, created_at, updated_at) values ($1, $2, $3, $4, $5, $6)",
        tenant.id,
        tenant.version,
        tenant.slug,
        tenant.display_name,
        tenant.created_at,
        tenant.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes the entries of everything that a new tenant comes with.
pub(super) async fn record(tx: &mut Tx, entries: &[Entry]) -> Result<(), Fault> {
    sqlx::query_scalar!("select kit.record_all($1)", entries as _).fetch_one(tx.conn()).await?;
    Ok(())
}

/// The first user: a new tenant has no other, so this is its administrator.
pub(super) async fn administrator(db: &Db, ctx: &Ctx) -> Result<Option<Uuid>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_scalar!("select id from users where tenant_id = $1 order by created_at, id limit 1", ctx.tenant());
    Ok(row.fetch_optional(&mut conn).await?)
}
