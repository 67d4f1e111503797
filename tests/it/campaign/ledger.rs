//! Compares what was acknowledged with what took effect.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::stage::Stage;
use super::workload::Acknowledged;

/// What is wrong; all zero means that the promise held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Acknowledged changes without effect.
    pub(super) lost: usize,
    /// Changes with more than one effect.
    pub(super) doubled: usize,
    /// Effects of a record that came after a later one.
    pub(super) reordered: usize,
}

/// Waits until every acknowledged change has had its effect, at most a minute, and judges.
pub(super) async fn settle(stage: &Stage, acknowledged: &[Acknowledged]) -> Verdict {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let effects = effects(stage).await;
        let verdict = judge(acknowledged, &effects);
        let waiting = stage.count("contacts", "select count(*) from kit.outbox").await;
        if (verdict.lost == 0 && waiting == Some(0)) || Instant::now() > end {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many changes had more than one effect so far.
pub(super) async fn doubled(stage: &Stage) -> usize {
    judge(&[], &effects(stage).await).doubled
}

/// Effects in the order in which they happened.
async fn effects(stage: &Stage) -> Vec<Acknowledged> {
    let Some(mut connection) = stage.database("ledger").await else { return Vec::new() };
    sqlx::query_as("select record_id, version from effects order by position").fetch_all(&mut connection).await.unwrap_or_default()
}

fn judge(acknowledged: &[Acknowledged], effects: &[Acknowledged]) -> Verdict {
    let mut counts: HashMap<Acknowledged, usize> = HashMap::new();
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut verdict = Verdict::default();
    for (record, version) in effects {
        let count = counts.entry((*record, *version)).or_default();
        *count += 1;
        if *count > 1 {
            verdict.doubled += 1;
            continue;
        }
        let before = last.insert(*record, *version).unwrap_or(0);
        if before > *version {
            verdict.reordered += 1;
        }
    }
    verdict.lost = acknowledged.iter().filter(|change| !counts.contains_key(*change)).count();
    verdict
}

#[test]
fn the_judge_sees_losses_doubles_and_inversions() {
    let record = Uuid::from_u128(1);
    let change = |version| (record, version);
    assert_eq!(judge(&[change(1), change(2)], &[change(1), change(2)]), Verdict::default());
    assert_eq!(judge(&[change(1), change(2)], &[change(1)]).lost, 1);
    assert_eq!(judge(&[], &[change(1), change(1)]).doubled, 1);
    assert_eq!(judge(&[], &[change(2), change(1)]).reordered, 1);
}
