//! Shares in merges: whom the loser is shared with is given the survivor too, until the merge is taken back.
//!
//! Guarantees: a share that the survivor has already stays as it is, so that a merge never widens what somebody was given
//! on purpose; each share that is given or taken back is a fact of the survivor's own version, behind its own fact.

use prost::Message;
use rapport_kit::db::Conn;
use rapport_kit::journal::{self, Record};
use rapport_kit::{Ctx, Db, Fault, clock, name};
use rapport_proto::Event;
use rapport_proto::common::v1::{AccessLevel, RecordShared, RecordUnshared, Share};
use uuid::Uuid;

/// Shares of one record at most, as for those that people give.
const SHARES: i64 = 200;

/// Gives the survivor's shares that the loser has and the survivor has not. Both records are locked.
///
/// # Errors
/// FAILED_PRECONDITION (TOO_MANY_SHARES); what the database answers.
pub async fn give(conn: &mut Conn, ctx: &Ctx, survivor: Record, loser: Uuid) -> Result<(), Fault> {
    let rows = sqlx::query!(
        "insert into kit.share (tenant_id, record_id, subject_id, subject_kind, can_write, role, created_by, created_at)
         select tenant_id, $2, subject_id, subject_kind, can_write, role, $4, $5 from kit.share where tenant_id = $1 and record_id = $3
         on conflict (tenant_id, record_id, subject_id) do nothing
         returning subject_id, subject_kind, can_write, role",
        ctx.tenant(),
        survivor.id,
        loser,
        ctx.actor().name,
        ctx.now()
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from kit.share where tenant_id = $1 and record_id = $2"#, ctx.tenant(), survivor.id)
            .fetch_one(&mut *conn)
            .await?;
    if count > SHARES {
        let text = format!("Together they are shared with more than {SHARES}; take some shares back first: a record has at most {SHARES}.");
        return Err(Fault::precondition("TOO_MANY_SHARES", text));
    }
    let record = name::format(survivor.collection, survivor.id);
    for (place, row) in rows.into_iter().enumerate() {
        let share = Share {
            name: format!("{record}/shares/{}", row.subject_id),
            subject: name::format(&row.subject_kind, row.subject_id),
            access_level: if row.can_write { AccessLevel::Write } else { AccessLevel::Read }.into(),
            role: row.role,
            creator: ctx.actor().name.clone(),
            create_time: Some(clock::timestamp(ctx.now())),
        };
        tell(conn, ctx, survivor, place, &RecordShared { record: record.clone(), share: Some(share) }).await?;
    }
    Ok(())
}

/// The shares that the version of a merge gave its survivor.
///
/// # Errors
/// What the database answers.
pub async fn given(db: &Db, ctx: &Ctx, survivor: Uuid, version: i64) -> Result<Vec<Share>, Fault> {
    let facts = journal::changes(db, ctx, survivor, Some((version + 1, 0)), SHARES + 1).await?;
    let of_merge = facts.into_iter().filter(|fact| fact.version == version && fact.fact == RecordShared::KEY);
    let shares = of_merge.filter_map(|fact| fact.message).map(|message| RecordShared::decode(message.as_slice()).map_err(Fault::internal));
    Ok(shares.collect::<Result<Vec<_>, Fault>>()?.into_iter().filter_map(|event| event.share).collect())
}

/// Takes those of `shares` back that stand as they were given.
///
/// # Errors
/// What the database answers.
pub async fn take_back(conn: &mut Conn, ctx: &Ctx, survivor: Record, shares: &[Share]) -> Result<(), Fault> {
    let record = name::format(survivor.collection, survivor.id);
    let mut place = 0;
    for share in shares {
        let Some((_, subject)) = name::split(&share.subject) else { continue };
        let gone = sqlx::query!(
            "delete from kit.share where tenant_id = $1 and record_id = $2 and subject_id = $3 and can_write = $4 and role = $5 and created_at = $6",
            ctx.tenant(),
            survivor.id,
            subject,
            share.access_level() == AccessLevel::Write,
            share.role,
            share.create_time.and_then(clock::time)
        )
        .execute(&mut *conn)
        .await?;
        if gone.rows_affected() > 0 {
            tell(conn, ctx, survivor, place, &RecordUnshared { record: record.clone(), subject: share.subject.clone() }).await?;
            place += 1;
        }
    }
    Ok(())
}

/// A fact behind the survivor's own one.
async fn tell<E: Event>(conn: &mut Conn, ctx: &Ctx, survivor: Record, place: usize, event: &E) -> Result<(), Fault> {
    let ordinal = i16::try_from(place + 1).map_err(Fault::internal)?;
    let entry = journal::entry(ctx, survivor, event, Vec::new())?.after(ordinal);
    sqlx::query_scalar!("select kit.record($1)", entry as _).fetch_one(conn).await?;
    Ok(())
}
