//! Every statement about security policies.

use rapport_kit::db::Tx;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};

use super::SecurityPolicy;

/// The tenant's policy, or the defaults.
pub(crate) async fn get(db: &Db, ctx: &Ctx) -> Result<SecurityPolicy, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let stored = sqlx::query_as!(
        SecurityPolicy,
        "select version, password_min_length, lockout_attempts, lockout_base_seconds, session_idle_seconds, session_absolute_seconds,
           history_retention_days, data_owner, created_at, updated_at
         from security_policy where tenant_id = $1",
        ctx.tenant()
    )
    .fetch_optional(&mut conn)
    .await?;
    Ok(stored.unwrap_or_else(|| SecurityPolicy::defaults(ctx.now())))
}

/// Stores the policy if the stored one is its predecessor; false if it is not.
pub(super) async fn put(db: &Db, ctx: &Ctx, policy: &SecurityPolicy, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (
           insert into security_policy as p (tenant_id, version, password_min_length, lockout_attempts, lockout_base_seconds,
             session_idle_seconds, session_absolute_seconds, history_retention_days, data_owner, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           on conflict (tenant_id) do update set version = excluded.version, password_min_length = excluded.password_min_length,
             lockout_attempts = excluded.lockout_attempts, lockout_base_seconds = excluded.lockout_base_seconds,
             session_idle_seconds = excluded.session_idle_seconds, session_absolute_seconds = excluded.session_absolute_seconds,
             history_retention_days = excluded.history_retention_days, data_owner = excluded.data_owner, updated_at = excluded.updated_at
             where p.version = excluded.version - 1
           returning 1)
         select kit.record_all($12) from w",
        ctx.tenant(),
        policy.version,
        policy.password_min_length,
        policy.lockout_attempts,
        policy.lockout_base_seconds,
        policy.session_idle_seconds,
        policy.session_absolute_seconds,
        policy.history_retention_days,
        policy.data_owner,
        policy.created_at,
        policy.updated_at,
        entries as _
    )
    .fetch_optional(&mut conn)
    .await?;
    Ok(done.is_some())
}

/// Stores the first policy of a tenant that is being created; its entries are recorded with the tenant's.
pub(crate) async fn insert_in(tx: &mut Tx, ctx: &Ctx, policy: &SecurityPolicy) -> Result<(), Fault> {
    sqlx::query!(
        "insert into security_policy (tenant_id, version, password_min_length, lockout_attempts, lockout_base_seconds,
           session_idle_seconds, session_absolute_seconds, history_retention_days, data_owner, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        ctx.tenant(),
        policy.version,
        policy.password_min_length,
        policy.lockout_attempts,
        policy.lockout_base_seconds,
        policy.session_idle_seconds,
        policy.session_absolute_seconds,
        policy.history_retention_days,
        policy.data_owner,
        policy.created_at,
        policy.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
