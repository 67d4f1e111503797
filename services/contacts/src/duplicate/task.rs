//! Keeps keys and pairs: takes records that were written out of the queue, writes their keys, and compares them with the
//! records that they share one with.
//!
//! Guarantees: a record leaves the queue in the transaction that writes what was found, so that nothing is lost when a
//! process dies or gives way to a caller; its keys are committed before it is compared, so that of two records that are
//! written at once, one at least meets the other, however many processes work. What came in bulk comes after what somebody
//! changed, which waits for it no longer than for a batch of it; and gives way to jobs that run, but for the keys that a
//! rule or a sweep looks for.
//!
//! At most 200 records are held at a time with 12 keys each; pairs are scored 1,000 at a time, beside what the service
//! answers, and those that the rules take for the same are kept until all are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rapport_kit::db::SystemDb;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::found_sql::{self, Compared};
use super::queue_sql::{self, FULL, Queued};
use super::rule::{Details, matches};
use super::sql::{self, Candidate, Keyed};
use super::{keys, rules};
use crate::in_bulk::Rest;
use crate::search::Kind;

const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(200);
/// Wait after the database refused or could not be reached.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Pairs that are scored at once.
const PAIRS: usize = 1_000;
/// Rounds after which the queue is read from its beginning.
const ROUNDS: u32 = 64;

/// How far a lane of the queue was read: rows before that are gone but for a few, and going through what is left of them
/// costs more than taking the next.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lane {
    unkeyed: i64,
    keyed: i64,
}

/// How far both were, of those that did not come in bulk and those that did. Rows that were committed late are found from
/// the beginning, again and again.
#[derive(Debug, Default)]
struct Place {
    own: Lane,
    bulk: Lane,
    rounds: u32,
    /// Of what came in bulk.
    rest: Rest,
}

impl Place {
    fn is_beginning(&self) -> bool {
        self.own == Lane::default() && self.bulk == Lane::default()
    }
}

/// Starts keeping keys and pairs, until the process ends.
pub fn run(system: &SystemDb, tasks: &Tasks) {
    let (system, waiting) = (system.clone(), tasks.clone());
    tasks.spawn("duplicates", async move {
        let mut place = Place::default();
        loop {
            let wait = match round(&system, &mut place).await {
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

/// Works on the records that wait longest; answers whether there may be more.
async fn round(system: &SystemDb, place: &mut Place) -> Result<bool, Fault> {
    let begun = Instant::now();
    let begun_at_beginning = place.is_beginning();
    if begun_at_beginning && !queue_sql::is_any_waiting(&mut system.conn().await?).await? {
        return Ok(false);
    }
    let is_resting = !place.rest.is_over();
    let own = (key(system, false, &mut place.own).await?, compare(system, false, &mut place.own).await?);
    let mut bulk = (0, 0);
    if own.0.max(own.1) < FULL {
        if !is_resting || queue_sql::are_keys_wanted(&mut system.conn().await?).await? {
            bulk.0 = key(system, true, &mut place.bulk).await?;
        }
        if !is_resting {
            bulk.1 = compare(system, true, &mut place.bulk).await?;
        }
        if !is_resting && bulk.0 + bulk.1 > 0 {
            place.rest.follow(system, begun).await?;
        }
    }
    place.rounds += 1;
    if place.rounds.is_multiple_of(ROUNDS) {
        (place.own, place.bulk) = (Lane::default(), Lane::default());
    }
    Ok(own.0 + own.1 + bulk.0 + bulk.1 > 0 || !begun_at_beginning && !is_resting)
}

/// Makes the keys of those of a lane that wait longest; answers how many there were.
async fn key(system: &SystemDb, is_bulk: bool, lane: &mut Lane) -> Result<usize, Fault> {
    let mut tx = system.begin().await?;
    sql::give_way(&mut tx).await?;
    let (unkeyed, last) = match is_bulk {
        true => queue_sql::take_unkeyed_pieces(&mut tx, lane.unkeyed).await?,
        false => queue_sql::take_unkeyed(&mut tx, lane.unkeyed).await?,
    };
    for ((tenant, kind), ids) in by_kind(&unkeyed) {
        let records = sql::profiles(tx.conn(), tenant, kind, &ids).await?;
        let keyed = records.into_iter().map(|record| {
            let keys = if record.lives { keys::of(kind, &record.profile) } else { Vec::new() };
            Keyed { tenant, id: record.id, version: record.version, keys }
        });
        sql::put_keys(&mut tx, keyed.collect()).await?;
    }
    tx.commit().await?;
    lane.unkeyed = last.unwrap_or_default();
    Ok(unkeyed.len())
}

/// Compares those of a lane that wait longest and have their keys; answers how many there were.
async fn compare(system: &SystemDb, is_bulk: bool, lane: &mut Lane) -> Result<usize, Fault> {
    let mut tx = system.begin().await?;
    sql::give_way(&mut tx).await?;
    let (keyed, last) = match is_bulk {
        true => queue_sql::take_keyed_pieces(&mut tx, lane.keyed).await?,
        false => queue_sql::take_keyed(&mut tx, lane.keyed).await?,
    };
    // Contacts before accounts, as merges lock them.
    for ((tenant, kind), ids) in by_kind(&keyed).into_iter().rev() {
        compare_with_others(&mut tx, tenant, kind, &ids).await?;
    }
    tx.commit().await?;
    lane.keyed = last.unwrap_or_default();
    Ok(keyed.len())
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
async fn compare_with_others(tx: &mut Tx, tenant: Uuid, kind: Kind, ids: &[Uuid]) -> Result<(), Fault> {
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
    let pairs: Vec<(Uuid, Uuid)> = pairs.into_iter().collect();
    let mut compared = Vec::new();
    for some in pairs.chunks(PAIRS) {
        let own = |id: &Uuid| records.iter().any(|record| record.id == *id);
        let others: BTreeSet<Uuid> = some.iter().flat_map(|(one, other)| [*one, *other]).filter(|id| !own(id)).collect();
        let mut compared_records = sql::profiles(tx.conn(), tenant, kind, &others.into_iter().collect::<Vec<_>>()).await?;
        compared_records.extend(records.iter().cloned());
        let (rules, some) = (rules.clone(), some.to_vec());
        let scored = tokio::task::spawn_blocking(move || score(&rules, compared_records.into_iter(), some));
        let scored = scored.await.map_err(Fault::internal)?;
        compared.extend(scored.into_iter().filter(|pair| pair.found.is_some() || known.contains(&in_order((pair.one.0, pair.other.0)))));
    }
    // At once behind all of them: a second part would lock records before those that the first one has locked.
    found_sql::put(tx, tenant, kind, ids, compared).await?;
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
