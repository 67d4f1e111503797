//! Every statement about merges, and about where external ids of merged records lead.

use chrono::{DateTime, TimeDelta, Utc};
use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{FieldRules, Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::filter::{self, Column, Field};
use rapport_kit::journal::Entry;
use rapport_kit::list::{self, Asked, Listing};
use rapport_kit::{Ctx, Db, Fault};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{Merge, State, convert};
use crate::search::Kind;
use crate::{account, contact};

/// What lists can be filtered by.
const FIELDS: &[Field] = &[
    Field { path: "survivor", column: Column::Plain("m.survivor_id"), kind: filter::Kind::AnyUuid { collections: RECORDS }, sort: false },
    Field { path: "loser", column: Column::Plain("m.loser_id"), kind: filter::Kind::AnyUuid { collections: RECORDS }, sort: false },
    Field { path: "state", column: Column::Plain("m.state"), kind: filter::Kind::Enum(STATES), sort: false },
    Field { path: "create_time", column: Column::Plain("m.created_at"), kind: filter::Kind::Time, sort: true },
];
const RECORDS: &[&str] = &[contact::COLLECTION, account::COLLECTION];
const STATES: &[(&str, i16)] = &[("STATE_MERGED", 1), ("STATE_UNMERGED", 2)];
const COLUMNS: &str = "m.id, m.version, m.collection, m.survivor_id, m.loser_id, m.from_loser, m.survivor_version, m.loser_version, m.state, \
    m.creator, m.created_at, m.updated_at";
const LISTING: Listing =
    Listing { columns: COLUMNS, from: " from merges m where m.tenant_id = ", id: "m.id", fields: FIELDS, search: None, order: "create_time desc" };
/// Longer than a merge waits for locks.
const A_MOMENT: TimeDelta = TimeDelta::seconds(10);
const READ_CONTACTS: &str = "contacts.contact.read";
const READ_ACCOUNTS: &str = "contacts.account.read";
const SURVIVOR: Table = Table { tenant: "s.tenant_id", id: "s.id", owner: "s.owner_id" };

fn read(row: &PgRow) -> Result<Merge, Fault> {
    Ok(Merge {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        collection: row.try_get(2)?,
        survivor: row.try_get(3)?,
        loser: row.try_get(4)?,
        from_loser: row.try_get(5)?,
        survivor_version: row.try_get(6)?,
        loser_version: row.try_get(7)?,
        state: State::from_number(row.try_get(8)?).ok_or_else(|| Fault::internal("a stored merge is in no known state"))?,
        creator: row.try_get(9)?,
        created_at: row.try_get(10)?,
        updated_at: row.try_get(11)?,
    })
}

/// Appends a condition that is true for the merges whose survivor the caller may read.
fn push_seen(query: &mut QueryBuilder<Postgres>, ctx: &Ctx) {
    query.push(" and (");
    push_survivor(query, ctx, contact::COLLECTION, "contacts", &ctx.scope_of(READ_CONTACTS));
    query.push(" or ");
    push_survivor(query, ctx, account::COLLECTION, "accounts", &ctx.scope_of(READ_ACCOUNTS));
    query.push(")");
}

fn push_survivor(query: &mut QueryBuilder<Postgres>, ctx: &Ctx, collection: &str, table: &str, reads: &Scope) {
    query.push("(m.collection = ").push_bind(collection.to_owned());
    query.push(format!(" and exists (select from {table} s where s.tenant_id = m.tenant_id and s.id = m.survivor_id"));
    for scope in [&ctx.scope(), reads] {
        scope.push(query, SURVIVOR);
    }
    // Looked up one by one: with an `or` around it, the planner would rather read the whole table first.
    query.push(" offset 0))");
}

/// The merge, if the caller may read its survivor.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<Merge>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from merges m where m.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and m.id = ").push_bind(id);
    push_seen(&mut query, ctx);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// A page of the merges whose survivors the caller may read.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListMergesRequest) -> Result<pb::ListMergesResponse, Fault> {
    let pb::ListMergesRequest { page_size, page_token, filter, order_by } = request;
    let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
    // Merges are shown whole: there are no rules on their fields.
    let rules = FieldRules::none();
    let (rows, next_page_token) = list::page(db, ctx, &LISTING, asked, &rules, |query| push_seen(query, ctx)).await?;

    let merges: Result<Vec<Merge>, Fault> = rows.iter().map(read).collect();
    Ok(pb::ListMergesResponse { merges: merges?.iter().map(convert::to_proto).collect(), next_page_token })
}

/// Merges into one of `survivors` that were taken back at `time` or later, or a moment before it by a clock that is behind or
/// while they waited for their turn; in that order, at most 100.
///
/// # Errors
/// What the database answers.
pub async fn undone_since(conn: &mut Conn, ctx: &Ctx, survivors: &[Uuid], time: DateTime<Utc>) -> Result<Vec<Merge>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from merges m where m.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and m.survivor_id = any(").push_bind(survivors.to_vec());
    query.push(") and m.state = 2 and m.updated_at >= ").push_bind(time - A_MOMENT).push(" order by m.updated_at, m.id limit 100");
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// Writes a new merge with its journal entry.
///
/// # Errors
/// What the database answers.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, merge: &Merge, entry: Entry) -> Result<(), Fault> {
    sqlx::query_scalar!(
        "with w as (
           insert into merges (tenant_id, id, version, collection, survivor_id, loser_id, from_loser, survivor_version, loser_version, state,
             creator, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) returning 1)
         select kit.record($14) from w",
        ctx.tenant(),
        merge.id,
        merge.version,
        merge.collection,
        merge.survivor,
        merge.loser,
        &merge.from_loser,
        merge.survivor_version,
        merge.loser_version,
        merge.state.number(),
        merge.creator,
        merge.created_at,
        merge.updated_at,
        entry as _
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Writes a changed merge with its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, merge: &Merge, entry: Entry) -> Result<bool, Fault> {
    let written = sqlx::query_scalar!(
        "with w as (
           update merges set version = $3::bigint, state = $4, updated_at = $5
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($6) from w",
        ctx.tenant(),
        merge.id,
        merge.version,
        merge.state.number(),
        merge.updated_at,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(written.is_some())
}

/// Whether the survivor of `merge` took in others after it, in merges that hold. The survivor is locked, so that the
/// answer stays.
///
/// # Errors
/// What the database answers.
pub async fn has_later(conn: &mut Conn, ctx: &Ctx, merge: &Merge) -> Result<bool, Fault> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from merges where tenant_id = $1 and survivor_id = $2 and survivor_version > $3 and state = 1) as "found!""#,
        ctx.tenant(),
        merge.survivor,
        merge.survivor_version
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Where external ids of merged records lead: each pair with the live record that goes on. In no scope yet.
///
/// # Errors
/// What the database answers.
pub async fn followed(conn: &mut Conn, ctx: &Ctx, kind: Kind, systems: &[String], ids: &[String]) -> Result<Vec<(String, String, Uuid)>, Fault> {
    let (table, goes_on_in) = match kind {
        Kind::Account => ("accounts", "merged_account"),
        Kind::Contact => ("contacts", "merged_contact"),
    };
    let statement = format!(
        "select e.system, e.external_id, s.id
         from external_ids e join unnest($2::text[], $3::text[]) sent(system, id) on e.system = sent.system and e.external_id = sent.id
           join {table} c on c.tenant_id = e.tenant_id and c.id = e.record_id
           -- Looked up one by one: the planner, which knows nothing of the function, would read every record.
           cross join lateral (select l.id from {table} l where l.tenant_id = c.tenant_id
             and l.id = {goes_on_in}(c.tenant_id, c.merged_into) and l.deleted_at is null offset 0) s
         where e.tenant_id = $1 and e.collection = '{table}' and not e.live and c.merged_into is not null
         order by c.deleted_at"
    );
    Ok(sqlx::query_as(AssertSqlSafe(statement)).bind(ctx.tenant()).bind(systems).bind(ids).fetch_all(conn).await?)
}

/// Where numbers of merged accounts lead, each with the live account that goes on. In no scope yet.
///
/// # Errors
/// What the database answers.
pub async fn followed_numbers(conn: &mut Conn, ctx: &Ctx, numbers: &[String]) -> Result<Vec<(String, Uuid)>, Fault> {
    let rows = sqlx::query!(
        r#"select c.number, s.id as into
           from unnest($2::text[]) sent(number) join accounts c on c.number = sent.number
             cross join lateral (select l.id from accounts l where l.tenant_id = c.tenant_id
               and l.id = merged_account(c.tenant_id, c.merged_into) and l.deleted_at is null offset 0) s
           where c.tenant_id = $1 and c.merged_into is not null"#,
        ctx.tenant(),
        numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.number, row.into)).collect())
}
