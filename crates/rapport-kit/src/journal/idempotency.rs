//! Idempotency keys: a repeated request finds what the first one wrote.
//!
//! No look-up before the write: the write itself inserts the key and fails if it was used. With a key
//! present, every refusal after parsing looks the key up before it is given, because the first request may
//! have changed what the second is refused for. A request that finds everything as it asks for uses its key
//! up too. A key belongs to who acts and for whom: what a service does for one user is no answer to another.

use uuid::Uuid;

use super::Record;
use crate::ctx::Ctx;
use crate::db::{Conn, Db, SystemDb};
use crate::fault::Fault;

/// What an earlier request with the same key left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Records in the order they were written: collection, id, version.
    pub written: Vec<(String, Uuid, i64)>,
    /// Records that were as the request asks for: the same.
    pub found: Vec<(String, Uuid, i64)>,
}

impl Earlier {
    /// What the caller's key left before, if it was used.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (IDEMPOTENCY_KEY_REUSED) if the key came with another request.
    pub async fn find(db: &Db, ctx: &Ctx) -> Result<Option<Self>, Fault> {
        let Some(key) = ctx.key() else { return Ok(None) };
        let mut conn = db.for_tenant(ctx).await?;
        let row: Option<(Vec<u8>, Vec<String>, Vec<String>)> =
            sqlx::query_as("select request_hash, written, found from kit.idempotency where tenant_id = $1 and actor = $2 and key = $3")
                .bind(ctx.tenant())
                .bind(holder(ctx))
                .bind(&key.key)
                .fetch_optional(&mut conn)
                .await?;
        let Some((hash, written, found)) = row else { return Ok(None) };
        if hash != key.hash {
            return Err(Fault::argument("IDEMPOTENCY_KEY_REUSED", "Use a new idempotency key: this one came with another request before.")
                .with("key", &key.key));
        }
        let parsed = |texts: Vec<String>| texts.iter().map(|text| parse(text)).collect::<Option<Vec<_>>>();
        match (parsed(written), parsed(found)) {
            (Some(written), Some(found)) => Ok(Some(Self { written, found })),
            _ => Err(Fault::internal("an idempotency row cannot be read")),
        }
    }

    /// Uses the caller's key up for records that are as the request asks for, beside what it wrote in the same
    /// transaction; false if the key was used before.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn keep(conn: &mut Conn, ctx: &Ctx, found: &[Record]) -> Result<bool, Fault> {
        let Some(key) = ctx.key() else { return Ok(true) };
        let found: Vec<String> = found.iter().map(|record| format!("{}/{}@{}", record.collection, record.id, record.version)).collect();
        let done = sqlx::query(
            "insert into kit.idempotency as kept (tenant_id, actor, key, request_hash, written, found) values ($1, $2, $3, $4, '{}', $5)
             on conflict on constraint idempotency_key do update set found = excluded.found where kept.xid = pg_current_xact_id()",
        )
        .bind(ctx.tenant())
        .bind(holder(ctx))
        .bind(&key.key)
        .bind(&key.hash)
        .bind(found)
        .execute(conn)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Id and version of the one record that a command on one record wrote, or found as it should be.
    ///
    /// # Errors
    /// INTERNAL if there is none.
    pub fn record(&self) -> Result<(Uuid, i64), Fault> {
        let first = self.written.first().or(self.found.first());
        first.map(|(_, id, version)| (*id, *version)).ok_or_else(|| Fault::internal("an idempotency row names no record"))
    }
}

/// Whose a key is, as `kit.record` stores it.
fn holder(ctx: &Ctx) -> String {
    let actor = ctx.actor();
    match &actor.on_behalf_of {
        Some(user) => format!("{}/{user}", actor.name),
        None => actor.name.clone(),
    }
}

fn parse(text: &str) -> Option<(String, Uuid, i64)> {
    let (name, version) = text.rsplit_once('@')?;
    let (collection, id) = name.split_once('/')?;
    Some((collection.to_owned(), Uuid::try_parse(id).ok()?, version.parse().ok()?))
}

/// Forgets keys older than a day, at most 10,000 at a time; answers how many.
///
/// # Errors
/// What the database answers.
pub async fn purge(db: &SystemDb) -> Result<u64, Fault> {
    let mut conn = db.conn().await?;
    let done = sqlx::query(
        "delete from kit.idempotency where ctid = any(array(
           select ctid from kit.idempotency where created_at < now() - interval '24 hours' limit 10000))",
    )
    .execute(&mut conn)
    .await?;
    Ok(done.rows_affected())
}
