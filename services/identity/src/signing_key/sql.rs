//! Every statement about signing keys. They run as the system role: keys belong to no tenant.

use chrono::{DateTime, Utc};
use rapport_kit::db::Tx;
use rapport_kit::{Fault, SystemDb};

pub(super) const NEXT: i16 = 1;
pub(super) const CURRENT: i16 = 2;
pub(super) const PREVIOUS: i16 = 3;

/// A stored key.
#[derive(Debug, Clone)]
pub(crate) struct KeyRow {
    pub(crate) kid: String,
    pub(crate) state: i16,
    pub(crate) sealed: Vec<u8>,
    pub(crate) public_key: String,
    pub(crate) state_at: DateTime<Utc>,
}

/// All keys: current, next, then previous ones, the newest first.
pub(super) async fn all(db: &SystemDb) -> Result<Vec<KeyRow>, Fault> {
    let mut conn = db.conn().await?;
    let rows = sqlx::query_as!(
        KeyRow,
        "select kid, state, sealed, public_key, state_at from signing_key order by array_position(array[2, 1, 3], state::integer), state_at desc"
    );
    Ok(rows.fetch_all(&mut conn).await?)
}

/// One rotation, or first creation, at a time over all processes.
pub(super) async fn lock(tx: &mut Tx) -> Result<(), Fault> {
    sqlx::query_scalar!(r#"select 1 as "one!" from pg_advisory_xact_lock(hashtextextended('rapport.signing_key', 0))"#).fetch_one(tx.conn()).await?;
    Ok(())
}

/// The key in this state.
pub(super) async fn in_state(tx: &mut Tx, state: i16) -> Result<Option<KeyRow>, Fault> {
    let row = sqlx::query_as!(KeyRow, "select kid, state, sealed, public_key, state_at from signing_key where state = $1 limit 1", state);
    Ok(row.fetch_optional(tx.conn()).await?)
}

/// Stores a new key.
pub(super) async fn insert(tx: &mut Tx, key: &KeyRow) -> Result<(), Fault> {
    sqlx::query!(
        "insert into signing_key (kid, state, sealed, public_key, state_at) values ($1, $2, $3, $4, $5)",
        key.kid,
        key.state,
        key.sealed,
        key.public_key,
        key.state_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Moves the key in state `from` on.
pub(super) async fn advance(tx: &mut Tx, from: i16, to: i16, now: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query!("update signing_key set state = $2, state_at = $3 where state = $1", from, to, now).execute(tx.conn()).await?;
    Ok(())
}

/// Drops keys that have signed nothing since `before`.
pub(super) async fn delete_previous(tx: &mut Tx, before: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query!("delete from signing_key where state = 3 and state_at < $1", before).execute(tx.conn()).await?;
    Ok(())
}

/// The hash of the request that asked for a rotation with `key`, if there was one.
pub(super) async fn rotation(tx: &mut Tx, key: &str) -> Result<Option<Vec<u8>>, Fault> {
    Ok(sqlx::query_scalar!("select request_hash from signing_key_rotation where key = $1", key).fetch_optional(tx.conn()).await?)
}

/// Remembers a rotation.
pub(super) async fn remember(tx: &mut Tx, key: &str, hash: &[u8], now: DateTime<Utc>) -> Result<(), Fault> {
    sqlx::query!("insert into signing_key_rotation (key, request_hash, rotated_at) values ($1, $2, $3)", key, hash, now).execute(tx.conn()).await?;
    Ok(())
}

/// Drops keys whose last tokens expired, and forgets rotations older than a day.
pub(crate) async fn drop_previous(db: &SystemDb, before: DateTime<Utc>, day_ago: DateTime<Utc>) -> Result<(), Fault> {
    let mut tx = db.begin().await?;
    lock(&mut tx).await?;
    delete_previous(&mut tx, before).await?;
    sqlx::query!("delete from signing_key_rotation where rotated_at < $1", day_ago).execute(tx.conn()).await?;
    tx.commit().await
}

/// Whether the current key has signed since before `limit`.
pub(crate) async fn rotate_older(db: &SystemDb, limit: DateTime<Utc>) -> Result<bool, Fault> {
    let mut conn = db.conn().await?;
    let old = sqlx::query_scalar!(r#"select exists (select from signing_key where state = 2 and state_at < $1) as "old!""#, limit);
    Ok(old.fetch_one(&mut conn).await?)
}
