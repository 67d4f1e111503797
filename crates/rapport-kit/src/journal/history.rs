//! What a record was, and who changed what: read from the journal, under today's access and field rules,
//! which the caller of these functions applies.

use chrono::{DateTime, Utc};
use prost::Message;
use uuid::Uuid;

use crate::ctx::Ctx;
use crate::db::Db;
use crate::fault::Fault;

/// One fact of a record's history.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Change {
    /// Version after it.
    pub version: i64,
    /// Position among the facts of one commit.
    pub ordinal: i16,
    /// Event key.
    pub fact: String,
    /// Full name of the message.
    pub message_type: String,
    /// The event; none if it was erased.
    pub message: Option<Vec<u8>>,
    /// Who acted.
    pub actor: String,
    /// For whom.
    pub on_behalf_of: Option<String>,
    /// Request id.
    pub request_id: String,
    /// Trace id.
    pub trace_id: Option<String>,
    /// Job.
    pub job_id: Option<Uuid>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A fact that a job wrote.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Written {
    /// Place in the journal; later facts of a job have greater ones.
    pub id: i64,
    /// Collection of the record.
    pub record_type: String,
    /// The record.
    pub record_id: Uuid,
    /// Version after it.
    pub version: i64,
    /// Event key.
    pub fact: String,
    /// The event; none if it was erased.
    pub message: Option<Vec<u8>>,
}

/// Field 1 of every event that carries state: the record's snapshot, whatever its type.
#[derive(Clone, PartialEq, Eq, Message)]
struct Stated {
    #[prost(bytes = "vec", optional, tag = "1")]
    snapshot: Option<Vec<u8>>,
}

/// The facts of a record, newest first, before (version, ordinal); at most `limit`.
///
/// # Errors
/// What the database answers.
pub async fn changes(db: &Db, ctx: &Ctx, record: Uuid, before: Option<(i64, i16)>, limit: i64) -> Result<Vec<Change>, Fault> {
    let (version, ordinal) = before.unwrap_or((i64::MAX, i16::MAX));
    let mut conn = db.for_tenant(ctx).await?;
    let rows = sqlx::query_as(
        "select version, ordinal, fact, message_type, message, actor, on_behalf_of, request_id, trace_id, job_id, recorded_at
         from kit.journal where tenant_id = $1 and record_id = $2 and (version, ordinal) < ($3, $4)
         order by version desc, ordinal desc limit $5",
    )
    .bind(ctx.tenant())
    .bind(record)
    .bind(version)
    .bind(ordinal)
    .bind(limit)
    .fetch_all(&mut conn)
    .await?;
    Ok(rows)
}

/// The last fact with a snapshot before `version`, against which a change is told.
///
/// # Errors
/// What the database answers.
pub async fn before(db: &Db, ctx: &Ctx, record: Uuid, version: i64) -> Result<Option<Change>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as(
        "select version, ordinal, fact, message_type, message, actor, on_behalf_of, request_id, trace_id, job_id, recorded_at
         from kit.journal where tenant_id = $1 and record_id = $2 and version < $3 and ordinal = 0 order by version desc limit 1",
    )
    .bind(ctx.tenant())
    .bind(record)
    .bind(version)
    .fetch_optional(&mut conn)
    .await?;
    Ok(row)
}

/// What a job wrote about records of `collection`, the last first, before the place `before`; at most `limit`. One
/// process at a time commits steps of a job, so that their order is that of the places.
///
/// # Errors
/// What the database answers.
pub async fn written_by(db: &Db, ctx: &Ctx, job: Uuid, collection: &str, before: Option<i64>, limit: i64) -> Result<Vec<Written>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let rows = sqlx::query_as(
        "select id, record_type, record_id, version, fact, message from kit.journal
         where tenant_id = $1 and job_id = $2 and record_type = $3 and id < $4 order by id desc limit $5",
    )
    .bind(ctx.tenant())
    .bind(job)
    .bind(collection)
    .bind(before.unwrap_or(i64::MAX))
    .bind(limit)
    .fetch_all(&mut conn)
    .await?;
    Ok(rows)
}

/// The record's version and snapshot as recorded at `time`; none if it did not exist then or was deleted.
///
/// # Errors
/// What the database answers.
pub async fn as_of<S: Message + Default>(db: &Db, ctx: &Ctx, record: Uuid, time: DateTime<Utc>) -> Result<Option<(i64, S)>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row: Option<(i64, Option<Vec<u8>>)> = sqlx::query_as(
        "select version, message from kit.journal where tenant_id = $1 and record_id = $2 and recorded_at <= $3 and ordinal = 0
         order by version desc limit 1",
    )
    .bind(ctx.tenant())
    .bind(record)
    .bind(time)
    .fetch_optional(&mut conn)
    .await?;
    let Some((version, Some(message))) = row else { return Ok(None) };
    Ok(snapshot(&message)?.map(|snapshot| (version, snapshot)))
}

/// The snapshots of (id, version) pairs, in their order: the answer of a repeated request. A version that a share
/// made has none of its own and shows the one before it.
///
/// # Errors
/// What the database answers; FAILED_PRECONDITION (ANSWER_EXPIRED) if one of them was erased since.
pub async fn snapshots<S: Message + Default>(db: &Db, ctx: &Ctx, pairs: &[(Uuid, i64)]) -> Result<Vec<S>, Fault> {
    let (ids, versions): (Vec<Uuid>, Vec<i64>) = pairs.iter().copied().unzip();
    let messages: Vec<Option<Vec<u8>>> = sqlx::query_scalar(
        "select j.message from unnest($2::uuid[], $3::bigint[]) with ordinality asked(id, version, place)
           left join lateral (select message from kit.journal where tenant_id = $1 and record_id = asked.id and version <= asked.version
             and ordinal = 0 order by version desc limit 1) j on true
         order by asked.place",
    )
    .bind(ctx.tenant())
    .bind(ids)
    .bind(versions)
    .fetch_all(&mut db.for_tenant(ctx).await?)
    .await?;
    let expired = || Fault::precondition("ANSWER_EXPIRED", "The request was carried out before, but what it wrote has been erased since.");
    messages.into_iter().map(|message| snapshot(&message.ok_or_else(expired)?)?.ok_or_else(expired)).collect()
}

/// The snapshot of one record at a version.
///
/// # Errors
/// As [`snapshots`].
pub async fn at_version<S: Message + Default>(db: &Db, ctx: &Ctx, id: Uuid, version: i64) -> Result<S, Fault> {
    let snapshot = snapshots(db, ctx, &[(id, version)]).await?.pop();
    snapshot.ok_or_else(|| Fault::internal("a snapshot was asked for and not answered"))
}

/// The snapshot inside an event message.
///
/// # Errors
/// INTERNAL if the message cannot be read.
fn snapshot<S: Message + Default>(message: &[u8]) -> Result<Option<S>, Fault> {
    snapshot_bytes(message)?.map(|bytes| S::decode(bytes.as_slice()).map_err(Fault::internal)).transpose()
}

/// The same, not decoded.
///
/// # Errors
/// INTERNAL if the message cannot be read.
pub(crate) fn snapshot_bytes(message: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    Ok(Stated::decode(message).map_err(Fault::internal)?.snapshot)
}
