//! The seal: chained, salted digests over the journal behind the transaction horizon.
//!
//! Guarantees: a changed, removed, added or reordered row behind a checkpoint is found by [`verify`]. Each
//! row is digested by the digest of its payload, so that an erased payload can be told from a changed one.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::fill;
use sqlx::{AssertSqlSafe, Row};

use crate::db::SystemDb;
use crate::fault::Fault;
use crate::page::Sealer;

/// Rows digested by one checkpoint at most, so that sealing never holds a connection for long.
const ROWS: i64 = 10_000;
/// What the signature is about, so that it is good for nothing else.
const SIGNED: &[u8] = b"journal checkpoint";
/// Which key signs.
const KEY: &str = "sealing";

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that were compared.
    pub checked: i64,
    /// The first checkpoint whose rows do not give its digest; none if all do.
    pub broken_seal: Option<i64>,
}

/// Seals what lies behind the horizon and is not sealed yet, at most 10,000 rows; answers how many.
/// The checkpoint is signed with the service's sealing secret, which the database does not hold.
///
/// # Errors
/// What the database answers.
pub async fn seal(db: &SystemDb, sealer: &Sealer) -> Result<i64, Fault> {
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rapport.seal', 0))").execute(tx.conn()).await?;
    let last =
        sqlx::query("select id, through_xid::text, through_id, digest from kit.seal order by id desc limit 1").fetch_optional(tx.conn()).await?;
    let (after_xid, after_id, previous): (String, i64, Vec<u8>) = match last {
        Some(row) => (row.get(1), row.get(2), row.get(3)),
        None => ("0".to_owned(), 0, Vec::new()),
    };
    let rows = sqlx::query(rows(AFTER)).bind(&after_xid).bind(after_id).bind(ROWS).fetch_all(tx.conn()).await?;
    let Some(end) = rows.last() else { return Ok(0) };
    let mut salt = vec![0; 16];
    fill(&mut salt).map_err(Fault::internal)?;
    let digest = chain(&previous, &salt, &rows);
    let signature = sealer.mac(&[SIGNED, &digest]);
    let entries = i64::try_from(rows.len()).map_err(Fault::internal)?;
    sqlx::query(
        "insert into kit.seal (through_xid, through_id, era, entries, digest, salt, signature, key_id)
         values ($1::text::xid8, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(end.get::<String, _>("xid"))
    .bind(end.get::<i64, _>("id"))
    .bind(end.get::<i32, _>("era"))
    .bind(entries)
    .bind(&digest)
    .bind(&salt)
    .bind(&signature)
    .bind(KEY)
    .execute(tx.conn())
    .await?;
    tx.commit().await?;
    Ok(entries)
}

/// Digests every sealed row again and compares with the checkpoints, in order.
///
/// # Errors
/// What the database answers.
pub async fn verify(db: &SystemDb, sealer: &Sealer) -> Result<Verdict, Fault> {
    let mut conn = db.conn().await?;
    let seals = sqlx::query("select id, through_xid::text as xid, through_id, entries, digest, salt, signature from kit.seal order by id")
        .fetch_all(&mut conn)
        .await?;
    let mut verdict = Verdict { checked: 0, broken_seal: None };
    let (mut after_xid, mut after_id, mut previous) = ("0".to_owned(), 0_i64, Vec::new());
    for seal in &seals {
        let (through_xid, through_id): (String, i64) = (seal.get("xid"), seal.get("through_id"));
        let rows = sqlx::query(rows(BETWEEN)).bind(&after_xid).bind(after_id).bind(&through_xid).bind(through_id).fetch_all(&mut conn).await?;
        let digest: Vec<u8> = seal.get("digest");
        let complete = i64::try_from(rows.len()).is_ok_and(|count| count == seal.get::<i64, _>("entries"));
        let signed = sealer.mac(&[SIGNED, &digest]) == seal.get::<Vec<u8>, _>("signature");
        if !complete || !signed || chain(&previous, &seal.get::<Vec<u8>, _>("salt"), &rows) != digest {
            verdict.broken_seal = Some(seal.get("id"));
            return Ok(verdict);
        }
        verdict.checked += seal.get::<i64, _>("entries");
        (after_xid, after_id, previous) = (through_xid, through_id, digest);
    }
    Ok(verdict)
}

/// Rows with everything that must not move: their head as one text, and the digest of their payload. A row's
/// text quotes and tells null from empty, so that nothing can move from one column to the next unseen.
fn rows(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "select xid::text as xid, id, era, coalesce(sha256(message), '') as payload,
           row(tenant_id, record_type, record_id, version, ordinal, fact, message_type, actor, on_behalf_of,
             request_id, trace_id, job_id, era, extract(epoch from recorded_at), subjects)::text as head
         from kit.journal where {condition}"
    ))
}
const AFTER: &str = "xid < pg_snapshot_xmin(pg_current_snapshot()) and (xid, id) > ($1::text::xid8, $2) order by xid, id limit $3";
const BETWEEN: &str = "(xid, id) > ($1::text::xid8, $2) and (xid, id) <= ($3::text::xid8, $4) order by xid, id";

fn chain(previous: &[u8], salt: &[u8], rows: &[sqlx::postgres::PgRow]) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    digest.update(previous);
    digest.update(salt);
    for row in rows {
        digest.update(row.get::<&str, _>("xid").as_bytes());
        digest.update(&row.get::<i64, _>("id").to_be_bytes());
        digest.update(row.get::<&str, _>("head").as_bytes());
        digest.update(row.get::<&[u8], _>("payload"));
    }
    digest.finish().as_ref().to_vec()
}
