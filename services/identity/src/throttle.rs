//! Lock-out by waiting: after too many failed sign-ins an address has to wait, longer each time.
//!
//! Guarantees: addresses without a user wait like those with one, so that the answer does not tell which exist;
//! of many failures at once one makes the lock; nobody is locked out for ever.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rapport_kit::db::{Conn, Tx};
use rapport_kit::{Ctx, Fault, SystemDb};

use crate::events::UserFact;
use crate::security_policy::SecurityPolicy;
use crate::user::{self, User, email_key};
use crate::{Identity, events};

/// Longest wait, unless the policy's first one is longer.
const LONGEST: i32 = 3600;

/// Refuses an address that has to wait.
///
/// # Errors
/// RESOURCE_EXHAUSTED (SIGN_IN_LOCKED) with the time to wait.
pub(crate) async fn require_open(conn: &mut Conn, own: &Identity, ctx: &Ctx, email: &str) -> Result<(), Fault> {
    let until =
        sqlx::query_scalar!("select locked_until from sign_in_failure where tenant_id = $1 and address = $2", ctx.tenant(), address(own, email));
    match until.fetch_optional(conn).await?.flatten() {
        Some(until) if until > ctx.now() => Err(locked(until, ctx.now())),
        _ => Ok(()),
    }
}

/// Counts a failure. The one that reaches the limit, and each after the wait, locks; the user, if there is one,
/// is marked by the same transaction.
pub(crate) async fn count_failure(own: &Identity, ctx: &Ctx, policy: &SecurityPolicy, email: &str, user: Option<&User>) -> Result<(), Fault> {
    let mut tx = own.db.begin(ctx).await?;
    // First the user, then the address, as whoever changes both has it: nobody waits in a circle.
    user::stand_still(&mut tx, ctx, email).await?;
    // A failure that was under way when another one made the lock counts for nothing more.
    let locked_until = sqlx::query_scalar!(
        "insert into sign_in_failure as f (tenant_id, address, failures, locks, locked_until, failed_at) values ($1, $2, 1, 0, null, $3)
         on conflict (tenant_id, address) do update set failures = f.failures + 1, failed_at = excluded.failed_at,
           locks = f.locks + case when f.failures + 1 >= $4 then 1 else 0 end,
           locked_until = case when f.failures + 1 >= $4
             then $3::timestamptz + make_interval(secs => least($5::double precision * power(2, least(f.locks, 20)), greatest($6, $5)::double precision)) end
           where f.locked_until is null or f.locked_until <= $3
         returning locked_until",
        ctx.tenant(),
        address(own, email),
        ctx.now(),
        policy.lockout_attempts,
        f64::from(policy.lockout_base_seconds),
        f64::from(LONGEST)
    )
    .fetch_optional(tx.conn())
    .await?
    .flatten();
    let mut entries = Vec::new();
    if let (Some(until), Some(user)) = (locked_until, user)
        && let Some(mut user) = user::find(tx.conn(), ctx, user.id).await?
    {
        user.locked_until = Some(until);
        user.touch(ctx.now());
        entries = events::user(ctx, &user, UserFact::Locked)?;
        // The request failed, so its key, if it had one, is not used up by what is written here.
        for entry in &mut entries {
            (entry.key, entry.key_hash) = (None, None);
        }
        if !user::update_in(tx.conn(), ctx, &user, &entries).await? {
            return Err(Fault::contended());
        }
    }
    tx.commit().await?;
    own.heed(&entries).await;
    Ok(())
}

/// Begins anew: after a sign-in, a new password or an administrator's word.
pub(crate) async fn forget(tx: &mut Tx, own: &Identity, ctx: &Ctx, email: &str) -> Result<(), Fault> {
    sqlx::query!("delete from sign_in_failure where tenant_id = $1 and address = $2", ctx.tenant(), address(own, email)).execute(tx.conn()).await?;
    Ok(())
}

/// Rows of one piece of [`purge`].
const PIECE: u64 = 10_000;

/// Forgets failures that nobody repeated since `before`: piece by piece, at most a million at a time.
pub(crate) async fn purge(db: &SystemDb, before: DateTime<Utc>) -> Result<(), Fault> {
    for _ in 0..100 {
        if purge_piece(db, before).await? < PIECE {
            break;
        }
    }
    Ok(())
}

async fn purge_piece(db: &SystemDb, before: DateTime<Utc>) -> Result<u64, Fault> {
    let mut conn = db.conn().await?;
    let gone = sqlx::query!(
        "delete from sign_in_failure where ctid = any(array(
           select ctid from sign_in_failure where failed_at < $1 and (locked_until is null or locked_until < $1) limit 10000))",
        before
    )
    .execute(&mut conn)
    .await?;
    Ok(gone.rows_affected())
}

fn address(own: &Identity, email: &str) -> Vec<u8> {
    own.sealer.mac(&[b"address of a sign-in", email_key(email).as_bytes()])
}

fn locked(until: DateTime<Utc>, now: DateTime<Utc>) -> Fault {
    let wait = (until - now).to_std().unwrap_or(Duration::from_secs(1));
    Fault::exhausted("SIGN_IN_LOCKED", "Wait for the given time: too many sign-ins with this address have failed.").retry_after(wait)
}
