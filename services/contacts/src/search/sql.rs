//! Every statement about the search index and its queue.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::Kind;
use super::query::{Fitting, Sought};
use crate::account::{self, Account};
use crate::contact::{self, Contact};

/// Records that are ranked at most: so many that fit without a slip, and where few do, so many with one.
const CANDIDATES: usize = 500;
/// Where so many fit without a slip, none with one are looked for.
const ENOUGH: usize = 100;
/// Records that are taken out of the queue at once.
const BATCH: i64 = 500;
/// So many were taken that more may wait.
pub const FULL: usize = 500;
const TABLE: Table = Table { tenant: "d.tenant_id", id: "d.record_id", owner: "d.owner_id" };

/// A record that fits.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Its keys, in order.
    pub keys: Vec<i64>,
}

/// A record in its tenant.
pub type RecordKey = (Uuid, Uuid);

/// A row of the index.
#[derive(Debug, Clone)]
pub struct Document {
    /// The record.
    pub record: RecordKey,
    /// What it is.
    pub kind: Kind,
    /// Its version.
    pub version: i64,
    /// Who owns it.
    pub owner: Uuid,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Its keys, in order.
    pub keys: Vec<i64>,
}

/// Records of `scopes` that fit, in no order. Those with a slip are among them where few fit without one.
///
/// # Errors
/// What the database answers.
pub async fn candidates(conn: &mut Conn, ctx: &Ctx, scopes: &[(Kind, Scope)], sought: &Sought) -> Result<Vec<Candidate>, Fault> {
    let close = sought.close();
    let mut found = fitting(conn, ctx, scopes, &close, None).await?;
    if let Some(with_slips) = sought.with_slips().filter(|_| found.len() < ENOUGH) {
        found.extend(fitting(conn, ctx, scopes, &with_slips, Some(&close)).await?);
    }
    Ok(found)
}

/// Records that fit `words` and not `others`.
async fn fitting(
    conn: &mut Conn,
    ctx: &Ctx,
    scopes: &[(Kind, Scope)],
    words: &[Fitting],
    others: Option<&[Fitting]>,
) -> Result<Vec<Candidate>, Fault> {
    // Planned as if all were wanted, and read as far as the limit: for a few of many the planner would scan the table and
    // come to the end of it where there are none.
    let mut query = QueryBuilder::new(
        "with fitting as materialized (select d.kind, d.record_id, d.updated_at, d.keys from own_search_doc d where d.tenant_id = ",
    );
    query.push_bind(ctx.tenant());
    push_words(&mut query, words);
    if let Some(others) = others {
        query.push(" and not (true");
        push_words(&mut query, others);
        query.push(")");
    }
    query.push(" and (false");
    for (kind, scope) in scopes {
        query.push(format_args!(" or d.kind = {}", kind.number()));
        scope.push(&mut query, TABLE);
    }
    // In the text: a plan for any limit would be made anew for each.
    query.push(format_args!(")) select kind, record_id, updated_at, keys from fitting limit {CANDIDATES}"));
    let rows = query.build().fetch_all(conn).await?;
    let read = |row: &PgRow| -> Result<Candidate, Fault> {
        let kind = Kind::from_number(row.try_get(0)?).ok_or_else(|| Fault::internal("an indexed record is of no known kind"))?;
        Ok(Candidate { kind, id: row.try_get(1)?, updated_at: row.try_get(2)?, keys: row.try_get(3)? })
    };
    rows.iter().map(read).collect()
}

fn push_words(query: &mut QueryBuilder<Postgres>, words: &[Fitting]) {
    for word in words {
        query.push(" and (d.keys && ").push_bind(word.one_of.clone());
        for keys in &word.all_of {
            query.push(" or d.keys @> ").push_bind(keys.clone());
        }
        query.push(")");
    }
}

/// Whether any record waits in the queue.
///
/// # Errors
/// What the database answers.
pub async fn is_any_waiting(conn: &mut Conn) -> Result<bool, Fault> {
    let first = sqlx::query_scalar!(
        r#"(select id as "id!" from search_queue order by id limit 1) union all (select id from search_bulk order by id limit 1) limit 1"#
    );
    Ok(first.fetch_optional(conn).await?.is_some())
}

/// Records out of the queue, each once with its collection, and the last row that was taken.
pub type Taken = (BTreeSet<(String, RecordKey)>, Option<i64>);

/// Takes records out of the queue, of those that somebody changed, those that wait longest behind row `after` first.
///
/// # Errors
/// What the database answers.
pub async fn take(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    // Those that another process takes at this moment are left to it.
    let rows = sqlx::query!(
        "delete from search_queue where id = any(array(select id from search_queue where id > $2 order by id limit $1 for update skip locked))
         returning id, collection, tenant_id, record_id",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    let last = rows.iter().map(|row| row.id).max();
    Ok((rows.into_iter().map(|row| (row.collection, (row.tenant_id, row.record_id))).collect(), last))
}

/// The same of what came in bulk, which waits in pieces: as many as fit if all are as large as the first one, since those
/// that are locked and not taken are kept from other processes.
///
/// # Errors
/// What the database answers.
pub async fn take_pieces(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    let rows = sqlx::query!(
        "with first as (
           select cardinality(record_ids) as size from search_bulk where id > $2 order by id limit 1
         ), next as (
           select id, cardinality(record_ids) as size from search_bulk where id > $2 order by id
             limit (select greatest($1::bigint / max(size), 1) from first) for update skip locked
         ), added as (
           select id, size, sum(size) over (order by id) as reached from next
         )
         delete from search_bulk where id = any(array(select id from added where reached <= $1 or reached = size))
         returning id, tenant_id, kind, record_ids",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    let (mut records, mut last) = (BTreeSet::new(), None);
    for row in rows {
        last = last.max(Some(row.id));
        let Some(kind) = Kind::from_number(row.kind) else { continue };
        records.extend(row.record_ids.into_iter().map(|id| (kind.collection().to_owned(), (row.tenant_id, id))));
    }
    Ok((records, last))
}

/// Queues the next records of a tenant whose keys are to be made again; answers whether there was such a tenant.
///
/// # Errors
/// What the database answers.
pub async fn queue_again(tx: &mut Tx) -> Result<bool, Fault> {
    let Some(tenant) = sqlx::query!("select tenant_id, after, rounds from search_again where not_before <= now() limit 1 for update skip locked")
        .fetch_optional(tx.conn())
        .await?
    else {
        return Ok(false);
    };
    let last = sqlx::query_scalar!(
        r#"with next as (
           select record_id, kind from search_doc where tenant_id = $1 and record_id > $2 order by record_id limit $3
         ), queued as (
           insert into search_bulk (tenant_id, kind, record_ids)
           select $1, n.kind, piece from (select kind, array_agg(record_id) as ids from next group by kind) n cross join lateral pieces(n.ids) piece
         )
         select record_id as "last!" from next order by record_id desc limit 1"#,
        tenant.tenant_id,
        tenant.after,
        BATCH
    )
    .fetch_optional(tx.conn())
    .await?;
    match last {
        Some(last) => sqlx::query!("update search_again set after = $2 where tenant_id = $1", tenant.tenant_id, last).execute(tx.conn()).await?,
        // Processes of the release before, which still run for a while, made keys as they know them.
        None if tenant.rounds > 1 => {
            sqlx::query!(
                "update search_again set after = default, rounds = rounds - 1, not_before = now() + interval '1 hour' where tenant_id = $1",
                tenant.tenant_id
            )
            .execute(tx.conn())
            .await?
        }
        None => sqlx::query!("delete from search_again where tenant_id = $1", tenant.tenant_id).execute(tx.conn()).await?,
    };
    Ok(true)
}

/// Brings keys that were put aside to their places in the index, so that no search has to look through them.
///
/// # Errors
/// What the database answers.
pub async fn settle(conn: &mut Conn) -> Result<(), Fault> {
    sqlx::query!("select settle_search()").fetch_one(conn).await?;
    Ok(())
}

/// The accounts as they are now, each with its tenant.
///
/// # Errors
/// What the database answers.
pub async fn accounts(tx: &mut Tx, records: &[RecordKey]) -> Result<Vec<(Uuid, Account)>, Fault> {
    let rows = read(account::sql::COLUMNS, "accounts", records).build().fetch_all(tx.conn()).await?;
    Ok(rows.iter().filter_map(|row| readable(row, account::sql::read)).collect())
}

/// The contacts as they are now, each with its tenant.
///
/// # Errors
/// What the database answers.
pub async fn contacts(tx: &mut Tx, records: &[RecordKey]) -> Result<Vec<(Uuid, Contact)>, Fault> {
    let rows = read(contact::sql::COLUMNS, "contacts", records).build().fetch_all(tx.conn()).await?;
    Ok(rows.iter().filter_map(|row| readable(row, contact::sql::read)).collect())
}

/// A record with its tenant. One that cannot be read must not keep all others out of the index.
fn readable<R>(row: &PgRow, read: fn(&PgRow) -> Result<R, Fault>) -> Option<(Uuid, R)> {
    let id = row.try_get::<Uuid, _>("id").ok();
    let found = row.try_get("tenant_id").map_err(Fault::from).and_then(|tenant| Ok((tenant, read(row)?)));
    found.inspect_err(|error| tracing::error!(%error, ?id, "a record cannot be read; search does not find it as it is now")).ok()
}

fn read(columns: &str, table: &str, records: &[RecordKey]) -> QueryBuilder<Postgres> {
    let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = records.iter().copied().unzip();
    let mut query = QueryBuilder::new(format!("select {columns}, c.tenant_id from {table} c join unnest("));
    query.push_bind(tenants).push(", ").push_bind(ids).push(") q(tenant_id, id) on c.tenant_id = q.tenant_id and c.id = q.id");
    query
}

/// Writes rows of the index; those of earlier versions than are there change nothing.
///
/// # Errors
/// What the database answers.
pub async fn put(tx: &mut Tx, mut documents: Vec<Document>) -> Result<(), Fault> {
    // In one order, so that two processes never wait for each other.
    documents.sort_unstable_by_key(|document| document.record);
    let column = |of: fn(&Document) -> Uuid| -> Vec<Uuid> { documents.iter().map(of).collect() };
    let (tenants, ids, owners) = (column(|one| one.record.0), column(|one| one.record.1), column(|one| one.owner));
    let kinds: Vec<i16> = documents.iter().map(|one| one.kind.number()).collect();
    let versions: Vec<i64> = documents.iter().map(|one| one.version).collect();
    let times: Vec<DateTime<Utc>> = documents.iter().map(|one| one.updated_at).collect();
    // An array of arrays of different lengths is none.
    let keys: Vec<String> =
        documents.iter().map(|one| format!("{{{}}}", one.keys.iter().map(i64::to_string).collect::<Vec<_>>().join(","))).collect();
    sqlx::query!(
        "insert into search_doc as known (tenant_id, record_id, kind, version, owner_id, updated_at, keys)
         select tenant_id, record_id, kind, version, owner_id, updated_at, keys::bigint[]
         from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bigint[], $5::uuid[], $6::timestamptz[], $7::text[])
           d(tenant_id, record_id, kind, version, owner_id, updated_at, keys)
         on conflict (tenant_id, record_id) do update set version = excluded.version, owner_id = excluded.owner_id,
           updated_at = excluded.updated_at, keys = excluded.keys
         where known.version <= excluded.version",
        &tenants,
        &ids,
        &kinds,
        &versions,
        &owners,
        &times,
        &keys
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
