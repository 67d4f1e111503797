//! Statements about pairs as callers see and review them.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_pair::State;
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::journal::Entry;
use rapport_kit::page::{self, Cursor, KeyValue};
use rapport_kit::{Ctx, Db, Fault, name};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::pair::{Pair, Verdict};
use super::rule::{Field, Reason};
use super::{convert, rule_convert};
use crate::owner::{self, Owner};
use crate::search::Kind;

const COLUMNS: &str = "p.id, p.version, p.kind, p.first_id, p.second_id, p.score, p.reasons, p.state, p.later_on, p.gone, p.reviewer_kind, \
    p.reviewer_id, p.created_at, p.reviewed_at";
const FIRST: Table = Table { tenant: "f.tenant_id", id: "f.id", owner: "f.owner_id" };
const SECOND: Table = Table { tenant: "s.tenant_id", id: "s.id", owner: "s.owner_id" };

fn read(row: &PgRow) -> Result<Pair, Fault> {
    let reviewer = match (row.try_get::<Option<i16>, _>(10)?.and_then(owner::Kind::from_number), row.try_get::<Option<Uuid>, _>(11)?) {
        (Some(kind), Some(id)) => Some(Owner { kind, id }),
        _ => None,
    };
    Ok(Pair {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        kind: Kind::from_number(row.try_get(2)?).ok_or_else(|| Fault::internal("a stored pair is of no known kind"))?,
        first: row.try_get(3)?,
        second: row.try_get(4)?,
        score: row.try_get(5)?,
        reasons: row.try_get::<Json<Vec<Reason>>, _>(6)?.0,
        verdict: Verdict::from_stored(row.try_get(7)?, row.try_get(8)?).ok_or_else(|| Fault::internal("a stored pair has no known state"))?,
        gone: row.try_get(9)?,
        reviewer,
        created_at: row.try_get(12)?,
        reviewed_at: row.try_get(13)?,
    })
}

/// `select … from duplicate_pairs p … where …` for the pairs of the caller's tenant whose records are both in `scope`.
fn select(ctx: &Ctx, kind: Kind, scope: &Scope) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(format!(
        "select {COLUMNS} from duplicate_pairs p join {table} f on f.tenant_id = p.tenant_id and f.id = p.first_id
           join {table} s on s.tenant_id = p.tenant_id and s.id = p.second_id where p.tenant_id = ",
        table = kind.collection()
    ));
    query.push_bind(ctx.tenant()).push(" and p.kind = ").push_bind(kind.number());
    scope.push(&mut query, FIRST);
    scope.push(&mut query, SECOND);
    query
}

/// What a pair is of, whoever may see it; none if there is no such pair.
///
/// # Errors
/// What the database answers.
pub async fn kind(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<Kind>, Fault> {
    let number =
        sqlx::query_scalar!("select kind from duplicate_pairs where tenant_id = $1 and id = $2", ctx.tenant(), id).fetch_optional(conn).await?;
    Ok(number.and_then(Kind::from_number))
}

/// The pair, if both records are in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, kind: Kind, scope: &Scope, id: Uuid) -> Result<Option<Pair>, Fault> {
    let mut query = select(ctx, kind, scope);
    query.push(" and p.id = ").push_bind(id);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// A page of the pairs whose records the caller may both read.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, PAGE_TOKEN_INVALID); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListDuplicatePairsRequest) -> Result<pb::ListDuplicatePairsResponse, Fault> {
    let kind = if request.collection.is_empty() { Some(Kind::Contact) } else { rule_convert::kind(&request.collection) };
    let kind = kind.ok_or_else(|| Fault::invalid("collection", "must be accounts or contacts"))?;
    let record = name::parse_optional(kind.collection(), &request.record, "record")?;
    let size = page::size(request.page_size)?;
    let asked = page::Query::of(ctx).with("collection", kind.collection()).with("state", request.state).with("record", &request.record);
    let after = ctx.call().sealer.open(&request.page_token, &asked)?;
    let (today, fields) = (ctx.now().date_naive(), ctx.fields(kind.resource()));

    let mut query = select(ctx, kind, &ctx.scope_of(&format!("{}.read", kind.resource())));
    match request.state() {
        State::Unspecified | State::Open => {
            query.push(" and not p.gone and f.deleted_at is null and s.deleted_at is null and (p.state = 1 or p.state = 3 and p.later_on <= ");
            query.push_bind(today).push(")");
        }
        State::NotDuplicate => {
            query.push(" and not p.gone and p.state = 2");
        }
        State::Later => {
            query.push(" and not p.gone and p.state = 3 and p.later_on > ").push_bind(today);
        }
        State::Merged => {
            query.push(" and p.gone");
        }
    }
    if let Some(record) = record {
        query.push(" and (p.first_id = ").push_bind(record).push(" or p.second_id = ").push_bind(record).push(")");
    }
    // An order by the score would tell of hidden fields.
    let by_score = !Field::is_any_hidden(kind, fields);
    match after.as_ref().map(|cursor| (cursor.keys.as_slice(), cursor.id)) {
        Some(([KeyValue::Int(score)], id)) if by_score => {
            let score = i32::try_from(*score).unwrap_or_default();
            query.push(" and (p.score, p.id) < (").push_bind(score).push(", ").push_bind(id).push(")");
        }
        Some(([KeyValue::Time(time)], id)) if !by_score => {
            query.push(" and (p.created_at, p.id) < (").push_bind(*time).push(", ").push_bind(id).push(")");
        }
        _ => {}
    }
    query.push(if by_score { " order by p.score desc, p.id desc" } else { " order by p.created_at desc, p.id desc" });
    let place = |last: &PgRow| {
        let last = read(last)?;
        let key = if by_score { KeyValue::Int(last.score.into()) } else { KeyValue::Time(last.created_at) };
        Ok(Cursor { keys: vec![key], id: last.id })
    };
    let (rows, next_page_token) = page::read(ctx, &asked, &mut query, &mut db.for_tenant(ctx).await?, size, place).await?;

    let mut duplicate_pairs = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut shown = convert::to_proto(&read(row)?, today);
        convert::hide(&mut shown, fields);
        duplicate_pairs.push(shown);
    }
    Ok(pb::ListDuplicatePairsResponse { duplicate_pairs, next_page_token })
}

/// Writes a review with its journal entry; false if somebody else reviewed the pair, or it is gone, since it was read.
///
/// # Errors
/// What the database answers.
pub async fn review(conn: &mut Conn, ctx: &Ctx, pair: &Pair, entry: Entry) -> Result<bool, Fault> {
    let written = sqlx::query_scalar!(
        "with w as (
           update duplicate_pairs set version = $3::bigint, state = $4, later_on = $5, reviewer_kind = $6, reviewer_id = $7, reviewed_at = $8
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($9) from w",
        ctx.tenant(),
        pair.id,
        pair.version,
        pair.verdict.number(),
        pair.verdict.day(),
        pair.reviewer.map(|reviewer| reviewer.kind.number()),
        pair.reviewer.map(|reviewer| reviewer.id),
        pair.reviewed_at,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(written.is_some())
}

/// The last `most` pairs of a record whose records people have told apart.
///
/// # Errors
/// What the database answers.
pub async fn told_apart(conn: &mut Conn, ctx: &Ctx, kind: Kind, record: Uuid, most: i64) -> Result<Vec<Pair>, Fault> {
    let mut query = QueryBuilder::<Postgres>::new(format!("select {COLUMNS} from duplicate_pairs p where p.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and p.kind = ").push_bind(kind.number());
    query.push(" and (p.first_id = ").push_bind(record).push(" or p.second_id = ").push_bind(record);
    query.push(") and p.state = ").push_bind(Verdict::NotDuplicate.number());
    query.push(" order by p.reviewed_at desc, p.id limit ").push_bind(most);
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// Writes pairs as somebody's first judgement of them, but for those that people have judged already; answers what was
/// written. They are in the order of their ids.
///
/// # Errors
/// What the database answers.
pub async fn put_followed(conn: &mut Conn, ctx: &Ctx, pairs: &[Pair]) -> Result<Vec<Pair>, Fault> {
    let of = |value: fn(&Pair) -> Uuid| -> Vec<Uuid> { pairs.iter().map(value).collect() };
    let reviewers: (Vec<Option<i16>>, Vec<Option<Uuid>>) =
        pairs.iter().map(|pair| (pair.reviewer.map(|reviewer| reviewer.kind.number()), pair.reviewer.map(|reviewer| reviewer.id))).unzip();
    let written = sqlx::query_scalar!(
        r#"insert into duplicate_pairs as known (tenant_id, id, version, kind, first_id, second_id, score, reasons, state, gone,
             reviewer_kind, reviewer_id, created_at, reviewed_at)
           select $1, id, 1, kind, first_id, second_id, score, reasons, 2, gone, reviewer_kind, reviewer_id, $2, reviewed_at
           from unnest($3::uuid[], $4::smallint[], $5::uuid[], $6::uuid[], $7::integer[], $8::jsonb[], $9::boolean[], $10::smallint[],
             $11::uuid[], $12::timestamptz[])
             f(id, kind, first_id, second_id, score, reasons, gone, reviewer_kind, reviewer_id, reviewed_at)
           on conflict (tenant_id, id) do update set version = 1, state = 2, reviewer_kind = excluded.reviewer_kind,
             reviewer_id = excluded.reviewer_id, reviewed_at = excluded.reviewed_at where known.version = 0
           returning id"#,
        ctx.tenant(),
        ctx.now(),
        &of(|pair| pair.id),
        &pairs.iter().map(|pair| pair.kind.number()).collect::<Vec<i16>>(),
        &of(|pair| pair.first),
        &of(|pair| pair.second),
        &pairs.iter().map(|pair| pair.score).collect::<Vec<i32>>(),
        &pairs.iter().map(|pair| Json(pair.reasons.as_slice())).collect::<Vec<_>>() as _,
        &pairs.iter().map(|pair| pair.gone).collect::<Vec<bool>>(),
        &reviewers.0 as _,
        &reviewers.1 as _,
        &pairs.iter().map(|pair| pair.reviewed_at).collect::<Vec<_>>() as _
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut query = QueryBuilder::<Postgres>::new(format!("select {COLUMNS} from duplicate_pairs p where p.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and p.id = any(").push_bind(written).push(") order by p.id");
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// Writes the journal entries of pairs that were written in the same transaction.
///
/// # Errors
/// What the database answers.
pub async fn record(conn: &mut Conn, entries: Vec<Entry>) -> Result<(), Fault> {
    sqlx::query_scalar!("select kit.record_all($1)", entries as _).fetch_one(conn).await?;
    Ok(())
}
