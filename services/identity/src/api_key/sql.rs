//! Every statement about keys of service accounts.

use chrono::{DateTime, Utc};
use rapport_kit::db::Tx;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

use super::ApiKey;

/// The key, live or not.
pub(crate) async fn find(db: &Db, ctx: &Ctx, id: Uuid) -> Result<Option<ApiKey>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as!(
        ApiKey,
        "select id, version, service_account_id as account, display_name, scopes, secret_hash, secret_prefix, expires_at, last_use_at, revoked_at,
           created_at
         from api_key where tenant_id = $1 and id = $2",
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(&mut conn).await?)
}

/// Keys of a service account, newest first, before `before`.
pub(super) async fn list(db: &Db, ctx: &Ctx, account: Uuid, before: Uuid, limit: i64) -> Result<Vec<ApiKey>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let rows = sqlx::query_as!(
        ApiKey,
        "select id, version, service_account_id as account, display_name, scopes, secret_hash, secret_prefix, expires_at, last_use_at, revoked_at,
           created_at
         from api_key where tenant_id = $1 and service_account_id = $2 and id < $3 order by id desc limit $4",
        ctx.tenant(),
        account,
        before,
        limit
    );
    Ok(rows.fetch_all(&mut conn).await?)
}

/// Live keys of a service account, which stands still meanwhile; none if it is gone.
pub(super) async fn count_live(tx: &mut Tx, ctx: &Ctx, account: Uuid) -> Result<Option<i64>, Fault> {
    let locked = sqlx::query_scalar!("select id from service_account where tenant_id = $1 and id = $2 for no key update", ctx.tenant(), account);
    if locked.fetch_optional(tx.conn()).await?.is_none() {
        return Ok(None);
    }
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from api_key where tenant_id = $1 and service_account_id = $2 and revoked_at is null and expires_at > $3"#,
        ctx.tenant(),
        account,
        ctx.now()
    );
    Ok(Some(count.fetch_one(tx.conn()).await?))
}

/// Stores a new key.
pub(super) async fn insert(tx: &mut Tx, ctx: &Ctx, key: &ApiKey, entries: &[Entry]) -> Result<(), Fault> {
    sqlx::query_scalar!(
        "with w as (
           insert into api_key (tenant_id, id, version, service_account_id, display_name, scopes, secret_hash, secret_prefix, expires_at, created_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning 1)
         select kit.record_all($11) from w",
        ctx.tenant(),
        key.id,
        key.version,
        key.account,
        key.display_name,
        &key.scopes,
        key.secret_hash,
        key.secret_prefix,
        key.expires_at,
        key.created_at,
        entries as _
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// Revokes the version that was read; false if another one came first.
pub(super) async fn revoke(db: &Db, ctx: &Ctx, key: &ApiKey, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (update api_key set version = $3, revoked_at = $4 where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($5) from w",
        ctx.tenant(),
        key.id,
        key.version,
        key.revoked_at,
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}

/// Notes the use of a key, at most once a minute.
pub(super) async fn touch(db: &Db, ctx: &Ctx, id: Uuid, minute_ago: DateTime<Utc>) -> Result<(), Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    sqlx::query!(
        "update api_key set last_use_at = $3 where tenant_id = $1 and id = $2 and (last_use_at is null or last_use_at < $4)",
        ctx.tenant(),
        id,
        ctx.now(),
        minute_ago
    )
    .execute(&mut conn)
    .await?;
    Ok(())
}
