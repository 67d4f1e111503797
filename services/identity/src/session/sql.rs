//! Every statement about sessions.

use chrono::{DateTime, Utc};
use rapport_kit::db::Tx;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault, SystemDb};
use uuid::Uuid;

use super::model::Session;

/// The session, ended or not.
pub(super) async fn find(db: &Db, ctx: &Ctx, id: Uuid) -> Result<Option<Session>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as!(
        Session,
        r#"select id, user_id as "user", user_agent, ip_address, refresh_hash, previous_hash, last_use_at, idle_expires_at, expires_at,
             revoked_at, created_at
           from session where tenant_id = $1 and id = $2"#,
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(&mut conn).await?)
}

/// Open sessions of a user, newest first, before `before`.
pub(super) async fn open(db: &Db, ctx: &Ctx, user: Uuid, before: Uuid, limit: i64) -> Result<Vec<Session>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let rows = sqlx::query_as!(
        Session,
        r#"select id, user_id as "user", user_agent, ip_address, refresh_hash, previous_hash, last_use_at, idle_expires_at, expires_at,
             revoked_at, created_at
           from session where tenant_id = $1 and user_id = $2 and id < $3 and revoked_at is null and idle_expires_at > $4
           order by id desc limit $5"#,
        ctx.tenant(),
        user,
        before,
        ctx.now(),
        limit
    );
    Ok(rows.fetch_all(&mut conn).await?)
}

/// Stores a new session.
pub(super) async fn insert(tx: &mut Tx, ctx: &Ctx, session: &Session) -> Result<(), Fault> {
    sqlx::query!(
        "insert into session (tenant_id, id, user_id, user_agent, ip_address, refresh_hash, previous_hash, last_use_at, idle_expires_at, expires_at,
           created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        ctx.tenant(),
        session.id,
        session.user,
        session.user_agent,
        session.ip_address,
        session.refresh_hash,
        session.previous_hash,
        session.last_use_at,
        session.idle_expires_at,
        session.expires_at,
        session.created_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores a refreshed session; false if its token was used, or the session ended, meanwhile.
pub(super) async fn refresh(db: &Db, ctx: &Ctx, session: &Session) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query!(
        "update session set refresh_hash = $4, previous_hash = $3, last_use_at = $5, idle_expires_at = $6, expires_at = $7
         where tenant_id = $1 and id = $2 and refresh_hash = $3 and revoked_at is null",
        ctx.tenant(),
        session.id,
        session.previous_hash,
        session.refresh_hash,
        session.last_use_at,
        session.idle_expires_at,
        session.expires_at
    );
    Ok(done.execute(&mut conn).await?.rows_affected() == 1)
}

/// Notes that the session is in use; false if it has ended.
pub(super) async fn touch(db: &Db, ctx: &Ctx, id: Uuid) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done =
        sqlx::query!("update session set last_use_at = $3 where tenant_id = $1 and id = $2 and revoked_at is null", ctx.tenant(), id, ctx.now());
    Ok(done.execute(&mut conn).await?.rows_affected() == 1)
}

/// Ends a session; false if it had ended already.
pub(super) async fn end(db: &Db, ctx: &Ctx, id: Uuid, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (update session set revoked_at = $3 where tenant_id = $1 and id = $2 and revoked_at is null returning 1)
         select kit.record_all($4) from w",
        ctx.tenant(),
        id,
        ctx.now(),
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}

/// Ends all sessions of a user but `kept`; answers those whose tokens may still be valid.
pub(crate) async fn end_all(tx: &mut Tx, ctx: &Ctx, user: Uuid, kept: Option<Uuid>) -> Result<Vec<Uuid>, Fault> {
    let ended = sqlx::query_scalar!(
        "update session set revoked_at = $3 where tenant_id = $1 and user_id = $2 and revoked_at is null and id is distinct from $4
         returning case when last_use_at > $3::timestamptz - interval '10 minutes' then id end",
        ctx.tenant(),
        user,
        ctx.now(),
        kept
    );
    Ok(ended.fetch_all(tx.conn()).await?.into_iter().flatten().collect())
}

/// Forgets sessions that ended before `before`, at most 10,000 at a time.
pub(crate) async fn purge(db: &SystemDb, before: DateTime<Utc>) -> Result<(), Fault> {
    let mut conn = db.conn().await?;
    sqlx::query!("delete from session where ctid = any(array(select ctid from session where expires_at < $1 limit 10000))", before)
        .execute(&mut conn)
        .await?;
    Ok(())
}
