//! Statements about what waits for its keys and to be compared: records that somebody changed one by one, and in pieces what
//! came in bulk.

use std::collections::BTreeSet;

use rapport_kit::db::Conn;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::sweep;

/// Records that are taken at once; so many were taken that more may wait.
pub const FULL: usize = 200;
const BATCH: i64 = 200;

/// A record that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queued {
    /// Its tenant.
    pub tenant: Uuid,
    /// What it is, as it is stored.
    pub kind: i16,
    /// Its id.
    pub id: Uuid,
}

/// Records that were taken, each once, with the last row that they stood in.
pub type Taken = (BTreeSet<Queued>, Option<i64>);

/// Whether any record waits.
///
/// # Errors
/// What the database answers.
pub async fn is_any_waiting(conn: &mut Conn) -> Result<bool, Fault> {
    let first = sqlx::query_scalar!(
        r#"(select id as "id!" from duplicate_queue order by id limit 1) union all (select id from duplicate_bulk order by id limit 1) limit 1"#
    );
    Ok(first.fetch_optional(conn).await?.is_some())
}

/// Whether keys are looked for at once: a rule of anybody refuses duplicates, or a sweep reads the keys of all records.
///
/// # Errors
/// What the database answers.
pub async fn are_keys_wanted(conn: &mut Conn) -> Result<bool, Fault> {
    let wanted = sqlx::query_scalar!(
        r#"select exists (select from duplicate_rules where blocks and not disabled)
             or exists (select from kit.job where kind = $1 and state in (1, 2)) as "wanted!""#,
        sweep::KIND.name
    );
    Ok(wanted.fetch_one(conn).await?)
}

/// Records that wait for their keys, of those that somebody changed, the longest waiting behind row `after` first; they wait
/// to be compared from then on.
///
/// # Errors
/// What the database answers.
pub async fn take_unkeyed(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    // Those that another process takes at this moment are left to it.
    let rows = sqlx::query!(
        "update duplicate_queue set keyed = true
         where id = any(array(select id from duplicate_queue where not keyed and id > $2 order by id limit $1 for update skip locked))
         returning id, tenant_id, kind, record_id",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(taken(rows.into_iter().map(|row| (row.id, row.tenant_id, row.kind, vec![row.record_id]))))
}

/// Takes records that wait to be compared out of the queue, of those that somebody changed, the longest waiting behind row
/// `after` first.
///
/// # Errors
/// What the database answers.
pub async fn take_keyed(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    let rows = sqlx::query!(
        "delete from duplicate_queue
         where id = any(array(select id from duplicate_queue where keyed and id > $2 order by id limit $1 for update skip locked))
         returning id, tenant_id, kind, record_id",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(taken(rows.into_iter().map(|row| (row.id, row.tenant_id, row.kind, vec![row.record_id]))))
}

/// As [`take_unkeyed`], of what came in bulk: as many pieces as fit if all are as large as the first one, since those that are
/// locked and not taken are kept from other processes.
///
/// # Errors
/// What the database answers.
pub async fn take_unkeyed_pieces(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    let rows = sqlx::query!(
        "with first as (
           select cardinality(record_ids) as size from duplicate_bulk where not keyed and id > $2 order by id limit 1
         ), next as (
           select id, cardinality(record_ids) as size from duplicate_bulk where not keyed and id > $2 order by id
             limit (select greatest($1::bigint / max(size), 1) from first) for update skip locked
         ), added as (
           select id, size, sum(size) over (order by id) as reached from next
         )
         update duplicate_bulk set keyed = true where id = any(array(select id from added where reached <= $1 or reached = size))
         returning id, tenant_id, kind, record_ids",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(taken(rows.into_iter().map(|row| (row.id, row.tenant_id, row.kind, row.record_ids))))
}

/// As [`take_keyed`], of what came in bulk.
///
/// # Errors
/// What the database answers.
pub async fn take_keyed_pieces(tx: &mut Tx, after: i64) -> Result<Taken, Fault> {
    let rows = sqlx::query!(
        "with first as (
           select cardinality(record_ids) as size from duplicate_bulk where keyed and id > $2 order by id limit 1
         ), next as (
           select id, cardinality(record_ids) as size from duplicate_bulk where keyed and id > $2 order by id
             limit (select greatest($1::bigint / max(size), 1) from first) for update skip locked
         ), added as (
           select id, size, sum(size) over (order by id) as reached from next
         )
         delete from duplicate_bulk where id = any(array(select id from added where reached <= $1 or reached = size))
         returning id, tenant_id, kind, record_ids",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(taken(rows.into_iter().map(|row| (row.id, row.tenant_id, row.kind, row.record_ids))))
}

fn taken(rows: impl Iterator<Item = (i64, Uuid, i16, Vec<Uuid>)>) -> Taken {
    let (mut records, mut last) = (BTreeSet::new(), None);
    for (id, tenant, kind, ids) in rows {
        last = last.max(Some(id));
        records.extend(ids.into_iter().map(|id| Queued { tenant, kind, id }));
    }
    (records, last)
}
