//! The seal: chained, salted digests over the journal behind the transaction horizon.
//!
//! Guarantees: a row that was changed, removed, added or put elsewhere behind a checkpoint is found by
//! [`verify`], a removed or changed checkpoint likewise. A payload that is emptied is a changed row too, since no
//! digest of it is kept: whoever lets payloads be erased has to store one first. Order is (era, transaction id, id), and a
//! checkpoint's rows are of one era, so that the chain goes on after a restore has begun a new one.
//!
//! What the chain cannot show by itself is that it once was longer: whoever removes the newest checkpoints
//! together with their rows leaves a shorter chain that is sound. Hence the anchor: the digest of the newest
//! checkpoint, which verification answers and the log of each sealing tells. Kept outside the database and
//! handed in with a later verification, it must still be in the chain. What was recorded after the newest
//! anchor that anybody keeps, and what is not sealed yet (about a minute's changes), is not covered.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::fill;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::db::{Conn, SystemDb, Tx};
use crate::fault::Fault;
use crate::page::Sealer;

/// Rows digested by one checkpoint at most, so that sealing never holds a connection for long.
const ROWS: i64 = 10_000;
/// Checkpoints looked at by one verification at most; an idle service seals few rows at a time.
const CHECKPOINTS: i64 = 1_000;
/// What the signature is about, so that it is good for nothing else.
const SIGNED: &[u8] = b"journal checkpoint";
/// Which key signs.
const KEY: &str = "sealing";

/// What one verification is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// Rows of this tenant are counted.
    pub tenant: Uuid,
    /// The checkpoint after which to begin; none for the first one.
    pub after: Option<i64>,
    /// Ends with the checkpoint that brings the digested rows to this number; at least one is looked at.
    pub rows: i64,
    /// Digest of a checkpoint that must be in the chain.
    pub anchor: Option<&'a [u8]>,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows of the tenant that were compared.
    pub checked: i64,
    /// The first checkpoint whose rows do not give its digest; none if all do.
    pub broken_seal: Option<i64>,
    /// The anchor is not in the chain.
    pub anchor_missing: bool,
    /// The last checkpoint that was looked at, if there are more behind it.
    pub next: Option<i64>,
    /// Digest of the newest checkpoint, once verification has come to it and found all intact.
    pub newest: Option<Vec<u8>>,
}

/// A place in the journal's order.
#[derive(Debug, Clone)]
struct Place {
    era: i32,
    xid: String,
    id: i64,
}

/// Seals what lies behind the horizon and is not sealed yet, at most 10,000 rows; answers how many.
/// The checkpoint is signed with the service's sealing secret, which the database does not hold.
///
/// # Errors
/// What the database answers.
pub async fn seal(db: &SystemDb, sealer: &Sealer) -> Result<i64, Fault> {
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rapport.seal', 0))").execute(tx.conn()).await?;
    let last = sqlx::query("select era, through_xid::text as xid, through_id as id, digest from kit.seal order by id desc limit 1")
        .fetch_optional(tx.conn())
        .await?;
    let previous = last.as_ref().map(|row| row.get("digest")).unwrap_or_default();
    let rows = unsealed(&mut tx, last.as_ref().map(place)).await?;
    let Some(end) = rows.last().map(place) else { return Ok(0) };
    let mut salt = vec![0; 16];
    fill(&mut salt).map_err(Fault::internal)?;
    let digest = chain(previous, &salt, &rows);
    let signature = sealer.mac(&[SIGNED, &digest]);
    let entries = i64::try_from(rows.len()).map_err(Fault::internal)?;
    let number: i64 = sqlx::query_scalar(
        "insert into kit.seal (through_xid, through_id, era, entries, digest, salt, signature, key_id)
         values ($1::text::xid8, $2, $3, $4, $5, $6, $7, $8) returning id",
    )
    .bind(&end.xid)
    .bind(end.id)
    .bind(end.era)
    .bind(entries)
    .bind(&digest)
    .bind(&salt)
    .bind(&signature)
    .bind(KEY)
    .fetch_one(tx.conn())
    .await?;
    tx.commit().await?;
    // The log leaves the machine: it keeps the anchor where the database cannot reach it.
    tracing::info!(checkpoint = number, anchor = hex::encode(&digest), "the journal was sealed");
    Ok(entries)
}

/// The first rows after `last`, of one era. Those of past eras are all committed; the horizon is this era's.
async fn unsealed(tx: &mut Tx, last: Option<Place>) -> Result<Vec<PgRow>, Fault> {
    let current: i32 = sqlx::query_scalar("select kit.current_era()").fetch_one(tx.conn()).await?;
    let mut after = last.unwrap_or(Place { era: 1, xid: "0".to_owned(), id: 0 });
    loop {
        let rows = sqlx::query(rows(AFTER))
            .bind(Uuid::nil())
            .bind(after.era)
            .bind(&after.xid)
            .bind(after.id)
            .bind(current)
            .bind(ROWS)
            .fetch_all(tx.conn())
            .await?;
        if !rows.is_empty() || after.era >= current {
            return Ok(rows);
        }
        after = Place { era: after.era + 1, xid: "0".to_owned(), id: 0 };
    }
}

/// Digests sealed rows again and compares with the checkpoints, in order, as far as `range` says.
///
/// # Errors
/// What the database answers.
pub async fn verify(db: &SystemDb, sealer: &Sealer, range: Range<'_>) -> Result<Verdict, Fault> {
    let mut conn = db.conn().await?;
    let mut verdict = Verdict { checked: 0, broken_seal: None, anchor_missing: false, next: None, newest: None };
    if let Some(anchor) = range.anchor {
        let found: bool = sqlx::query_scalar("select exists (select from kit.seal where digest = $1)").bind(anchor).fetch_one(&mut conn).await?;
        verdict.anchor_missing = !found;
    }
    let mut previous = checkpoints(&mut conn, "id = $1", range.after.unwrap_or_default(), 1).await?.pop();
    // Where an earlier call came to a checkpoint that is gone now, nothing that follows can be told.
    if range.after.is_some() && previous.is_none() {
        verdict.broken_seal = range.after;
        return Ok(verdict);
    }
    let seals = checkpoints(&mut conn, "id > $1", range.after.unwrap_or_default(), CHECKPOINTS + 1).await?;
    let most = usize::try_from(CHECKPOINTS).map_err(Fault::internal)?;
    let mut digested = 0;
    for (position, seal) in seals.into_iter().enumerate() {
        if position >= most || (position > 0 && digested >= range.rows) {
            verdict.next = previous.map(|previous| previous.id);
            return Ok(verdict);
        }
        let rows = between(&mut conn, range.tenant, previous.as_ref(), &seal).await?;
        if !seal.holds(sealer, previous.as_ref(), &rows) {
            verdict.broken_seal = Some(seal.id);
            return Ok(verdict);
        }
        digested += seal.entries;
        verdict.checked += i64::try_from(rows.iter().filter(|row| row.get("own")).count()).map_err(Fault::internal)?;
        previous = Some(seal);
    }
    verdict.newest = previous.filter(|_| !verdict.anchor_missing).map(|newest| newest.digest);
    Ok(verdict)
}

/// A stored checkpoint.
#[derive(Debug)]
struct Checkpoint {
    id: i64,
    through: Place,
    entries: i64,
    digest: Vec<u8>,
    salt: Vec<u8>,
    signature: Vec<u8>,
}

impl Checkpoint {
    /// Whether it is signed and these rows, after `previous`, give its digest.
    fn holds(&self, sealer: &Sealer, previous: Option<&Self>, rows: &[PgRow]) -> bool {
        let complete = i64::try_from(rows.len()).is_ok_and(|count| count == self.entries);
        let previous = previous.map(|previous| previous.digest.as_slice()).unwrap_or_default();
        complete && sealer.mac(&[SIGNED, &self.digest]) == self.signature && chain(previous, &self.salt, rows) == self.digest
    }
}

/// Checkpoints in order.
async fn checkpoints(conn: &mut Conn, condition: &str, id: i64, limit: i64) -> Result<Vec<Checkpoint>, Fault> {
    let statement = format!(
        "select id as seal, era, through_xid::text as xid, through_id as id, entries, digest, salt, signature
         from kit.seal where {condition} order by kit.seal.id limit $2"
    );
    let rows = sqlx::query(AssertSqlSafe(statement)).bind(id).bind(limit).fetch_all(conn).await?;
    let checkpoint = |row: &PgRow| Checkpoint {
        id: row.get("seal"),
        through: place(row),
        entries: row.get("entries"),
        digest: row.get("digest"),
        salt: row.get("salt"),
        signature: row.get("signature"),
    };
    Ok(rows.iter().map(checkpoint).collect())
}

/// The rows behind `previous` up to `seal`; one more than it says at most, which is enough to see that it does
/// not hold. Where an era ends, rows that were added to an earlier one are among them.
async fn between(conn: &mut Conn, tenant: Uuid, previous: Option<&Checkpoint>, seal: &Checkpoint) -> Result<Vec<PgRow>, Fault> {
    let start = Place { era: i32::MIN, xid: "0".to_owned(), id: 0 };
    let after = previous.map_or(&start, |previous| &previous.through);
    let statement = if after.era == seal.through.era { rows(BETWEEN) } else { across() };
    let query = sqlx::query(statement).bind(tenant).bind(after.era).bind(&after.xid).bind(after.id);
    let query = query.bind(seal.through.era).bind(&seal.through.xid).bind(seal.through.id).bind(seal.entries + 1);
    Ok(query.fetch_all(conn).await?)
}

/// Rows with everything that must not move: their head as one text, and the digest of their payload. A row's
/// text quotes and tells null from empty, so that nothing can move from one column to the next unseen.
fn rows(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{ROW} where {condition}"))
}

/// The same where an era begins: the rows of this one, and all of earlier ones that no checkpoint covers.
fn across() -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "select * from (
           ({ROW} where era = $5 and (xid, id) <= ($6::text::xid8, $7) order by kit.journal.xid, id limit $8)
           union all
           ({ROW} where era < $5 and (era > $2 or (era = $2 and (xid, id) > ($3::text::xid8, $4))) limit $8)) covered
         order by era, xid::xid8, id"
    ))
}

const ROW: &str = "select xid::text as xid, id, era, tenant_id = $1 as own, coalesce(sha256(message), '') as payload,
    row(tenant_id, record_type, record_id, version, ordinal, fact, message_type, actor, on_behalf_of,
      request_id, trace_id, job_id, era, extract(epoch from recorded_at), subjects)::text as head
  from kit.journal";
// By the column and not by its text of the same name, in which 10 stands before 9.
const AFTER: &str = "era = $2 and (xid, id) > ($3::text::xid8, $4) and (era < $5 or xid < pg_snapshot_xmin(pg_current_snapshot()))
  order by kit.journal.xid, id limit $6";
const BETWEEN: &str = "era = $2 and era = $5 and (xid, id) > ($3::text::xid8, $4) and (xid, id) <= ($6::text::xid8, $7)
  order by kit.journal.xid, id limit $8";

fn place(row: &PgRow) -> Place {
    Place { era: row.get("era"), xid: row.get("xid"), id: row.get("id") }
}

fn chain(previous: &[u8], salt: &[u8], rows: &[PgRow]) -> Vec<u8> {
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
