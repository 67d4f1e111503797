//! Keeps keys and pairs: takes records that were written out of the queue, writes their keys, and compares them with the
//! records that they share one with.
//!
//! Guarantees: a record leaves the queue in the transaction that writes what was found, so that nothing is lost when a
//! process dies; its keys are committed before it is compared, so that of two records that are written at once, one at
//! least meets the other, however many processes work. At most 200 records are held at a time with 12 keys each, and as
//! many others as share those.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rapport_kit::db::SystemDb;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::rule::{Details, matches};
use super::sql::{self, Candidate, Compared, Keyed, Queued};
use super::{keys, rules};
use crate::search::Kind;

const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(200);
/// Wait after the database refused or could not be reached.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Starts keeping keys and pairs, until the process ends.
pub fn run(system: &SystemDb, tasks: &Tasks) {
    let (system, waiting) = (system.clone(), tasks.clone());
    tasks.spawn("duplicates", async move {
        loop {
            let wait = match round(&system).await {
                Ok(false) => IDLE,
                Ok(true) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "changed records could not be compared with others; they are tried again");
                    BACK_OFF
                }
            };
            if !waiting.pause(wait).await {
                return;
            }
        }
    });
}

/// Works on the records that wait longest; answers whether there were any.
async fn round(system: &SystemDb) -> Result<bool, Fault> {
    if !sql::is_any_waiting(&mut system.conn().await?).await? {
        return Ok(false);
    }
    let mut tx = system.begin().await?;
    let unkeyed = sql::take_unkeyed(&mut tx).await?;
    for ((tenant, kind), ids) in by_kind(&unkeyed) {
        let records = sql::profiles(tx.conn(), tenant, kind, &ids).await?;
        let keyed = records.into_iter().map(|record| {
            let keys = if record.lives { keys::of(kind, &record.profile) } else { Vec::new() };
            Keyed { tenant, id: record.id, version: record.version, keys }
        });
        sql::put_keys(&mut tx, keyed.collect()).await?;
    }
    tx.commit().await?;

    let mut tx = system.begin().await?;
    let keyed = sql::take_keyed(&mut tx).await?;
    for ((tenant, kind), ids) in by_kind(&keyed) {
        compare(&mut tx, tenant, kind, &ids).await?;
    }
    tx.commit().await?;
    Ok(!unkeyed.is_empty() || !keyed.is_empty())
}

fn by_kind(queued: &BTreeSet<Queued>) -> BTreeMap<(Uuid, Kind), Vec<Uuid>> {
    let mut by_kind: BTreeMap<(Uuid, Kind), Vec<Uuid>> = BTreeMap::new();
    for record in queued {
        if let Some(kind) = Kind::from_number(record.kind) {
            by_kind.entry((record.tenant, kind)).or_default().push(record.id);
        }
    }
    by_kind
}

/// Compares records with those that they share a key or already a pair with.
async fn compare(tx: &mut Tx, tenant: Uuid, kind: Kind, ids: &[Uuid]) -> Result<(), Fault> {
    sql::settle_gone(tx, tenant, kind, ids).await?;
    let of_kind = |rule: &Details| rule.kind == kind;
    let rules: Vec<Details> = rules::in_force(tx.conn(), tenant).await?.into_iter().filter(of_kind).collect();
    let mut records = sql::profiles(tx.conn(), tenant, kind, ids).await?;
    records.retain(|record| record.lives);
    let sets: Vec<Vec<i64>> = records.iter().map(|record| keys::of(kind, &record.profile)).collect();
    let (shared, left_out) = sql::candidates(tx.conn(), tenant, &sets).await?;
    if left_out > 0 {
        tracing::debug!(left_out, "keys that too many records share were left out");
    }
    let shared = shared.into_iter().filter_map(|(position, other)| Some((records.get(position)?.id, other)));
    let known: BTreeSet<(Uuid, Uuid)> = sql::paired(tx.conn(), tenant, ids).await?.into_iter().map(in_order).collect();
    let shared = shared.filter(|(one, other)| one != other).map(in_order);
    let pairs: BTreeSet<(Uuid, Uuid)> = shared.chain(known.iter().copied()).collect();
    let mut others: BTreeSet<Uuid> = pairs.iter().flat_map(|(one, other)| [*one, *other]).collect();
    records.iter().for_each(|record| {
        others.remove(&record.id);
    });
    let others = sql::profiles(tx.conn(), tenant, kind, &others.into_iter().collect::<Vec<_>>()).await?;
    let mut compared = score(&rules, records.into_iter().chain(others), pairs);
    compared.retain(|pair| pair.found.is_some() || known.contains(&in_order((pair.one.0, pair.other.0))));
    sql::put_pairs(tx, tenant, kind, compared).await?;
    Ok(())
}

/// Two records in the order in which a pair has them.
pub(super) fn in_order((one, other): (Uuid, Uuid)) -> (Uuid, Uuid) {
    (one.min(other), one.max(other))
}

/// What the rules say about pairs of live records.
pub(super) fn score(rules: &[Details], records: impl Iterator<Item = Candidate>, pairs: impl IntoIterator<Item = (Uuid, Uuid)>) -> Vec<Compared> {
    let records: HashMap<Uuid, Candidate> = records.filter(|record| record.lives).map(|record| (record.id, record)).collect();
    let compared = pairs.into_iter().filter_map(|(one, other)| {
        let (one, other) = (records.get(&one)?, records.get(&other)?);
        let found = matches(rules, &one.profile, &other.profile);
        Some(Compared { one: (one.id, one.version), other: (other.id, other.version), found })
    });
    compared.collect()
}
