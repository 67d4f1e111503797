//! The sweep: compares all records of a tenant that share a key, under the rules of the moment.
//!
//! Guarantees: a step is a range of keys, or of pairs that were there before, and commits what it found with its checkpoint; a
//! sweep that is cancelled or killed leaves pairs that are true, since each is written only while both records are what
//! was compared. What people said of a pair stays. At most 40,000 rows of keys, 220,000 pairs and their
//! records are held at a time.
//!
//! First come the keys in their order, then the pairs: those that the rules do not take for the same any more go.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_kit::Fault;
use rapport_kit::jobs::{self, Committed, Run, Step};
use uuid::Uuid;

use super::rule::Details;
use super::{found_sql, rule_convert, rules, sql, task};
use crate::search::Kind;

/// Rows of keys that a step looks at, and pairs after which it stops before.
const ROWS: i64 = 40_000;
const COMPARED: usize = 20_000;
/// Pairs that are compared and written at once.
const PAIRS: i64 = 2_000;
/// Records that are read at once.
const CHUNK: usize = 5_000;

/// The kind of job.
pub const KIND: jobs::Kind =
    jobs::Kind { name: "contacts.sweep", permission: "contacts.duplicate_pair.sweep", step: |run| Box::pin(step(run)), undo: None };

/// Where a step begins.
#[derive(Clone, PartialEq, Message)]
struct Checkpoint {
    /// The last key that was looked at; none at the beginning.
    #[prost(sint64, optional, tag = "1")]
    key: Option<i64>,
    /// Whether all keys were.
    #[prost(bool, tag = "2")]
    keys_done: bool,
    /// The last pair that was looked at, if all keys were.
    #[prost(bytes = "vec", tag = "3")]
    pair: Vec<u8>,
    /// Pairs that are true, of those that were looked at.
    #[prost(int64, tag = "4")]
    pairs: i64,
    /// Keys that too many records share.
    #[prost(int64, tag = "5")]
    left_out: i64,
}

async fn step(run: &Run) -> Result<Committed, Fault> {
    let request: pb::StartDuplicateSweepRequest = run.request()?;
    let kind = rule_convert::kind(&request.collection).ok_or_else(|| Fault::internal("a sweep is of no known collection"))?;
    let checkpoint: Checkpoint = run.checkpoint()?;
    let mut conn = run.db().for_tenant(run.ctx()).await?;
    let rules: Vec<Details> = rules::in_force(&mut conn, run.ctx().tenant()).await?.into_iter().filter(|rule| rule.kind == kind).collect();
    drop(conn);
    if checkpoint.keys_done { over_pairs(run, kind, &rules, checkpoint).await } else { over_keys(run, kind, &rules, checkpoint).await }
}

/// The records of each key of a range of keys, without those of one or too many records; the last key, and how many were
/// looked at and left out. No last key: there are no more.
#[derive(Debug, Default, PartialEq, Eq)]
struct Range {
    pairs: BTreeSet<(Uuid, Uuid)>,
    last: Option<i64>,
    keys: i64,
    left_out: i64,
    /// Whether nothing was left to the next range.
    is_whole: bool,
}

async fn over_keys(run: &Run, kind: Kind, rules: &[Details], checkpoint: Checkpoint) -> Result<Committed, Fault> {
    let tenant = run.ctx().tenant();
    let rows = sqlx::query!(
        "select key, record_id from duplicate_keys where tenant_id = $1 and key > $2 order by key limit $3",
        tenant,
        checkpoint.key.unwrap_or(i64::MIN),
        ROWS
    )
    .fetch_all(&mut run.db().for_tenant(run.ctx()).await?)
    .await?;
    let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < ROWS);
    let range = range(rows.into_iter().map(|row| (row.key, row.record_id)).collect(), is_last);
    let mut compared = compare(run, kind, rules, range.pairs).await?;
    // Pairs that are there and not true any more come after the keys.
    compared.retain(|pair| pair.found.is_some());
    let mut tx = run.begin().await?;
    found_sql::put(&mut tx, tenant, kind, &[], compared).await?;
    let left_out = checkpoint.left_out + range.left_out;
    let next = Checkpoint { key: range.last.or(checkpoint.key), keys_done: is_last && range.is_whole, left_out, ..Checkpoint::default() };
    run.commit(tx, Step { done: range.keys, message: Some(told(&next)), ..Step::to(&next) }).await
}

/// The pairs of a range of rows in the order of keys. Unless it is the last one, its last key may go on behind it and is left
/// to the next range; a key that fills a range alone has too many records.
fn range(rows: Vec<(i64, Uuid)>, is_last: bool) -> Range {
    let mut by_key: BTreeMap<i64, Vec<Uuid>> = BTreeMap::new();
    for (key, record) in rows {
        by_key.entry(key).or_default().push(record);
    }
    if !is_last && by_key.len() > 1 {
        by_key.pop_last();
    }
    let mut range = Range { is_whole: true, ..Range::default() };
    for (key, records) in by_key {
        if range.pairs.len() > COMPARED {
            range.is_whole = false;
            break;
        }
        range.last = Some(key);
        range.keys += 1;
        if i64::try_from(records.len()).is_ok_and(|count| count > sql::MOST) {
            range.left_out += 1;
            continue;
        }
        for (position, one) in records.iter().enumerate() {
            range.pairs.extend(records.iter().skip(position + 1).map(|other| task::in_order((*one, *other))));
        }
    }
    range
}

async fn over_pairs(run: &Run, kind: Kind, rules: &[Details], checkpoint: Checkpoint) -> Result<Committed, Fault> {
    let tenant = run.ctx().tenant();
    let after = Uuid::from_slice(&checkpoint.pair).unwrap_or_default();
    let rows = sqlx::query!(
        "select id, first_id, second_id from duplicate_pairs where tenant_id = $1 and id > $2 and kind = $3 order by id limit $4",
        tenant,
        after,
        kind.number(),
        PAIRS
    )
    .fetch_all(&mut run.db().for_tenant(run.ctx()).await?)
    .await?;
    let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < PAIRS);
    let last = rows.last().map(|row| row.id.as_bytes().to_vec());
    let pairs: BTreeSet<(Uuid, Uuid)> = rows.into_iter().map(|row| (row.first_id, row.second_id)).collect();
    let compared = compare(run, kind, rules, pairs).await?;
    let mut tx = run.begin().await?;
    let pairs = found_sql::put(&mut tx, tenant, kind, &[], compared).await?;
    let pairs = checkpoint.pairs + i64::try_from(pairs).unwrap_or_default();
    let next = Checkpoint { pair: last.unwrap_or_default(), pairs, ..checkpoint };
    run.commit(tx, Step { ended: is_last, message: Some(told(&next)), ..Step::to(&next) }).await
}

/// What the rules say about pairs of records.
async fn compare(run: &Run, kind: Kind, rules: &[Details], pairs: BTreeSet<(Uuid, Uuid)>) -> Result<Vec<found_sql::Compared>, Fault> {
    let ids: BTreeSet<Uuid> = pairs.iter().flat_map(|(one, other)| [*one, *other]).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let mut records = Vec::with_capacity(ids.len());
    let mut conn = run.db().for_tenant(run.ctx()).await?;
    for chunk in ids.chunks(CHUNK) {
        records.extend(sql::profiles(&mut conn, run.ctx().tenant(), kind, chunk).await?);
    }
    Ok(task::score(rules, records.into_iter(), pairs))
}

fn told(checkpoint: &Checkpoint) -> String {
    let Checkpoint { pairs, left_out, .. } = checkpoint;
    format!("Pairs: {pairs}. Keys that more than {} records share, and that were left out: {left_out}.", sql::MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(keys: &[(i64, u128)]) -> Vec<(i64, Uuid)> {
        keys.iter().map(|(key, id)| (*key, Uuid::from_u128(*id))).collect()
    }

    #[test]
    fn records_of_one_key_are_pairs_and_the_last_key_of_a_range_waits_for_the_next_one() {
        let sent = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2)];
        let whole = range(rows(&sent), true);
        assert_eq!((whole.pairs.len(), whole.last, whole.keys), (3, Some(3), 3));
        let part = range(rows(&sent[..5]), false);
        assert_eq!((part.pairs.len(), part.last, part.keys), (3, Some(2), 2));
    }

    #[test]
    fn a_key_that_very_many_records_share_is_left_out_and_the_sweep_goes_on_behind_it() {
        let many: Vec<(i64, u128)> = (0..300).map(|id| (7, id)).collect();
        let range = range(rows(&many), false);
        assert_eq!(range, Range { last: Some(7), keys: 1, left_out: 1, is_whole: true, ..Range::default() });
    }
}
