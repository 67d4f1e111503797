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
use super::query::Sought;
use crate::account::{self, Account};
use crate::contact::{self, Contact};

/// Records that are ranked at most.
const CANDIDATES: i64 = 500;
/// Records that are taken out of the queue at once.
const BATCH: i64 = 500;
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

/// Records of `scopes` that fit, those of which every word begins a word of the record before others; in no order else.
///
/// # Errors
/// What the database answers.
pub async fn candidates(conn: &mut Conn, ctx: &Ctx, scopes: &[(Kind, Scope)], sought: &Sought) -> Result<Vec<Candidate>, Fault> {
    let (beginnings, any) = (sought.beginnings(), sought.any());
    let mut query = QueryBuilder::new("(");
    push_fitting(&mut query, ctx, scopes, &beginnings);
    query.push(") union all (");
    push_fitting(&mut query, ctx, scopes, &any);
    query.push(" and not (true");
    push_words(&mut query, &beginnings);
    query.push(format_args!(")) limit {CANDIDATES}"));
    let rows = query.build().fetch_all(conn).await?;
    let read = |row: &PgRow| -> Result<Candidate, Fault> {
        let kind = Kind::from_number(row.try_get(0)?).ok_or_else(|| Fault::internal("an indexed record is of no known kind"))?;
        Ok(Candidate { kind, id: row.try_get(1)?, updated_at: row.try_get(2)?, keys: row.try_get(3)? })
    };
    rows.iter().map(read).collect()
}

fn push_fitting(query: &mut QueryBuilder<Postgres>, ctx: &Ctx, scopes: &[(Kind, Scope)], words: &[Vec<i64>]) {
    query.push("select d.kind, d.record_id, d.updated_at, d.keys from own_search_doc d where d.tenant_id = ").push_bind(ctx.tenant());
    push_words(query, words);
    query.push(" and (false");
    for (kind, scope) in scopes {
        query.push(format_args!(" or d.kind = {}", kind.number()));
        scope.push(query, TABLE);
    }
    query.push(")");
}

fn push_words(query: &mut QueryBuilder<Postgres>, words: &[Vec<i64>]) {
    for keys in words {
        query.push(" and d.keys && ").push_bind(keys.clone());
    }
}

/// Whether any record waits in the queue.
///
/// # Errors
/// What the database answers.
pub async fn is_any_waiting(conn: &mut Conn) -> Result<bool, Fault> {
    let first = sqlx::query_scalar!("select id from search_queue order by id limit 1").fetch_optional(conn).await?;
    Ok(first.is_some())
}

/// Takes records out of the queue, those that wait longest first; each stands once.
///
/// # Errors
/// What the database answers.
pub async fn take(tx: &mut Tx) -> Result<BTreeSet<(String, RecordKey)>, Fault> {
    // Those that another process takes at this moment are left to it.
    let rows = sqlx::query!(
        "delete from search_queue where id = any(array(select id from search_queue order by id limit $1 for update skip locked))
         returning collection, tenant_id, record_id",
        BATCH
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.collection, (row.tenant_id, row.record_id))).collect())
}

/// The accounts as they are now, each with its tenant.
///
/// # Errors
/// What the database answers.
pub async fn accounts(tx: &mut Tx, records: &[RecordKey]) -> Result<Vec<(Uuid, Account)>, Fault> {
    let mut query = read(account::sql::COLUMNS, "accounts", records);
    let rows = query.build().fetch_all(tx.conn()).await?;
    let with_tenant = |row: &PgRow| -> Result<(Uuid, Account), Fault> { Ok((row.try_get("tenant_id")?, account::sql::read(row)?)) };
    rows.iter().map(with_tenant).collect()
}

/// The contacts as they are now, each with its tenant.
///
/// # Errors
/// What the database answers.
pub async fn contacts(tx: &mut Tx, records: &[RecordKey]) -> Result<Vec<(Uuid, Contact)>, Fault> {
    let mut query = read(contact::sql::COLUMNS, "contacts", records);
    let rows = query.build().fetch_all(tx.conn()).await?;
    let with_tenant = |row: &PgRow| -> Result<(Uuid, Contact), Fault> { Ok((row.try_get("tenant_id")?, contact::sql::read(row)?)) };
    rows.iter().map(with_tenant).collect()
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
