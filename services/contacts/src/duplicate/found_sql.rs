//! Statements about what is found by comparing.
//!
//! Guarantees: whoever writes here locks records in the order of their ids and then pairs in the order of theirs, each at
//! once, as merges do: none of them waits for one that waits for it.

use std::collections::{BTreeMap, BTreeSet};

use rapport_kit::{Fault, Tx};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::pair::identify;
use super::rule::{Match, Reason};
use crate::search::Kind;

/// Two records that were compared in these versions.
#[derive(Debug, Clone)]
pub struct Compared {
    /// One record with its version.
    pub one: (Uuid, i64),
    /// The other one.
    pub other: (Uuid, i64),
    /// What the rules say; none if they do not take them for the same.
    pub found: Option<Match>,
}

/// Writes what was found: pairs that the rules take for the same, and no longer those that they do not, but for reviewed
/// ones. What was compared in another version than it has is left to whoever compares that one. All pairs of `records` tell
/// then whether one of each is in the bin. Answers how many pairs the rules took for the same.
///
/// # Errors
/// What the database answers.
pub async fn put(tx: &mut Tx, tenant: Uuid, kind: Kind, records: &[Uuid], mut compared: Vec<Compared>) -> Result<usize, Fault> {
    let versions = if compared.is_empty() { BTreeMap::new() } else { lock(tx, tenant, kind, &compared).await? };
    let is_any_there = lock_pairs(tx, tenant, records, &compared).await?;
    let stands = |(id, version): (Uuid, i64)| versions.get(&id) == Some(&version);
    compared.retain(|pair| stands(pair.one) && stands(pair.other));
    let (found, other): (Vec<Compared>, Vec<Compared>) = compared.into_iter().partition(|pair| pair.found.is_some());
    remove(tx, tenant, &other).await?;
    let count = keep(tx, tenant, kind, found).await?;
    if is_any_there {
        settle_gone(tx, tenant, kind, records).await?;
    }
    Ok(count)
}

/// Removes pairs that nobody has reviewed.
async fn remove(tx: &mut Tx, tenant: Uuid, pairs: &[Compared]) -> Result<(), Fault> {
    if pairs.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = pairs.iter().map(|pair| identify(pair.one.0, pair.other.0).0).collect();
    sqlx::query!("delete from duplicate_pairs where tenant_id = $1 and id = any($2) and version = 0", tenant, &ids).execute(tx.conn()).await?;
    Ok(())
}

/// Writes pairs that the rules took for the same, in the order of their ids; answers how many.
async fn keep(tx: &mut Tx, tenant: Uuid, kind: Kind, found: Vec<Compared>) -> Result<usize, Fault> {
    let mut rows: BTreeMap<Uuid, (Uuid, Uuid, Match)> = BTreeMap::new();
    for pair in found {
        let (id, first, second) = identify(pair.one.0, pair.other.0);
        rows.extend(pair.found.map(|found| (id, (first, second, found))));
    }
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = rows.keys().copied().collect();
    let (firsts, seconds): (Vec<Uuid>, Vec<Uuid>) = rows.values().map(|(first, second, _)| (*first, *second)).unzip();
    let scores: Vec<i32> = rows.values().map(|(_, _, found)| found.score).collect();
    let reasons: Vec<Json<&[Reason]>> = rows.values().map(|(_, _, found)| Json(found.reasons.as_slice())).collect();
    sqlx::query!(
        "insert into duplicate_pairs as known (tenant_id, id, version, kind, first_id, second_id, score, reasons, state, gone, created_at)
         select $1, id, 0, $2, first_id, second_id, score, reasons, 1, false, now()
         from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::integer[], $7::jsonb[]) f(id, first_id, second_id, score, reasons)
         on conflict (tenant_id, id) do update set score = excluded.score, reasons = excluded.reasons, gone = false
         where (known.score, known.reasons, known.gone) is distinct from (excluded.score, excluded.reasons, false)",
        tenant,
        kind.number(),
        &ids,
        &firsts,
        &seconds,
        &scores,
        &reasons as _
    )
    .execute(tx.conn())
    .await?;
    Ok(ids.len())
}

/// The versions of live records, which stay so until the transaction ends: whoever changes one of them then comes to find
/// what is written now.
async fn lock(tx: &mut Tx, tenant: Uuid, kind: Kind, compared: &[Compared]) -> Result<BTreeMap<Uuid, i64>, Fault> {
    let ids: BTreeSet<Uuid> = compared.iter().flat_map(|pair| [pair.one.0, pair.other.0]).collect();
    let mut query = QueryBuilder::<Postgres>::new(format!("select id, version from {} where tenant_id = ", kind.collection()));
    query.push_bind(tenant).push(" and id = any(").push_bind(ids.into_iter().collect::<Vec<Uuid>>());
    query.push(") and deleted_at is null order by id for share");
    query.build().fetch_all(tx.conn()).await?.iter().map(|row| Ok((row.try_get("id")?, row.try_get("version")?))).collect()
}

/// Locks what is there of the pairs of `records` and of what was compared; answers whether anything is.
async fn lock_pairs(tx: &mut Tx, tenant: Uuid, records: &[Uuid], compared: &[Compared]) -> Result<bool, Fault> {
    if records.is_empty() && compared.is_empty() {
        return Ok(false);
    }
    let ids: Vec<Uuid> = compared.iter().map(|pair| identify(pair.one.0, pair.other.0).0).collect();
    let there = sqlx::query_scalar!(
        "select id from duplicate_pairs where tenant_id = $1 and (id = any($2) or first_id = any($3) or second_id = any($3))
         order by id for update",
        tenant,
        &ids,
        records
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(!there.is_empty())
}

/// Says of the pairs of a tenant's records whether one of each is in the bin. They are locked.
async fn settle_gone(tx: &mut Tx, tenant: Uuid, kind: Kind, records: &[Uuid]) -> Result<(), Fault> {
    let mut query = QueryBuilder::<Postgres>::new(format!(
        "update duplicate_pairs p set gone = s.gone from (
           select q.id, not (f.deleted_at is null and s.deleted_at is null) as gone from duplicate_pairs q
             join {table} f on f.tenant_id = q.tenant_id and f.id = q.first_id join {table} s on s.tenant_id = q.tenant_id and s.id = q.second_id
           where q.tenant_id = ",
        table = kind.collection()
    ));
    query.push_bind(tenant).push(" and (q.first_id = any(").push_bind(records.to_vec());
    query.push(") or q.second_id = any(").push_bind(records.to_vec()).push("))) s where p.tenant_id = ").push_bind(tenant);
    query.push(" and p.id = s.id and p.gone <> s.gone");
    query.build().execute(tx.conn()).await?;
    Ok(())
}
