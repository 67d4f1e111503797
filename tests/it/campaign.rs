//! The crash campaign: services, relay, consumer, broker and database are killed at random moments while
//! commands run; a ledger outside remembers what was acknowledged.
//!
//! Promise under test: nothing acknowledged is lost, nothing takes effect twice, and the events of one record
//! take effect in the order of its versions.

mod ledger;
mod stage;
mod workload;

use std::time::{Duration, Instant};

use ledger::Verdict;
use stage::{Stage, Victim};

/// Length of the short form; `RAPPORT_CAMPAIGN_SECONDS` asks for another.
const SECONDS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_reordered_while_everything_is_killed() {
    let mut stage = Stage::set("campaign", false).await;
    let workload = workload::start(&stage).await;
    let end = Instant::now() + Duration::from_secs(stage::setting("RAPPORT_CAMPAIGN_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(SECONDS));
    let mut random = stage::Random::seeded();
    let mut interrupted = std::collections::BTreeMap::new();
    let mut kills = 0_u32;
    // Every victim in turn, then any; so the shortest run has killed each at least once.
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500 + random.below(2_000))).await;
        let victim = Victim::ALL.get(usize::try_from(kills).unwrap_or_default()).copied().unwrap_or_else(|| random.pick(&Victim::ALL));
        let steps = stage.kill(victim, &workload).await;
        stage::tell(&format!("killed {victim:?} during: {}", steps.join(", ")));
        for step in steps {
            *interrupted.entry(step).or_insert(0_u32) += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
        stage.revive(victim).await;
        kills += 1;
    }
    let acknowledged = workload.finish().await;
    let verdict = ledger::settle(&stage, &acknowledged).await;
    stage::tell(&format!("{kills} kills, {} acknowledged changes, {verdict:?}, interrupted: {interrupted:?}", acknowledged.len()));
    stage.clear().await;
    assert_eq!(verdict, Verdict::default(), "lost, doubled or reordered effects");
    for step in ["a command under way", "events waiting for the broker"] {
        assert!(interrupted.contains_key(step), "no kill interrupted {step}: the campaign proved nothing about it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_campaign_notices_a_consumer_that_forgets_what_it_has_handled() {
    let mut stage = Stage::set("forgetful", true).await;
    let workload = workload::start(&stage).await;
    let end = Instant::now() + Duration::from_secs(60);
    let mut doubled = 0;
    while doubled == 0 && Instant::now() < end {
        for victim in [Victim::Contacts, Victim::Consumer] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            stage.kill(victim, &workload).await;
            stage.revive(victim).await;
        }
        doubled = ledger::doubled(&stage).await;
    }
    drop(workload.finish().await);
    stage.clear().await;
    assert!(doubled > 0, "a consumer without memory had no double effect: the campaign would not notice a lost inbox");
}
