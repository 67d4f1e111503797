//! Identity's own records, compared with the model: every method by every user and service account of a random
//! organisation, before and after it changes. `RAPPORT_ORACLE_SEED` repeats a run.

mod changes;
mod compare;
mod grants;
mod rules;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;

use self::compare::Comparison;
use self::world::World;
use super::world::Dice;

#[test]
fn every_method_of_identity_has_a_rule_in_the_oracle() {
    let unknown: Vec<&str> = methods().filter(|path| rules::rule(path).is_none()).collect();
    assert!(unknown.is_empty(), "write the rules of these methods into oracle/identity/rules.rs: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_reads_and_changes_of_identity_exactly_what_the_model_says() {
    let seed = super::seed();
    let mut dice = Dice::new(seed);
    let mut world = World::found(&mut dice).await;
    let mut comparison = Comparison { when: "at first", called: Mutex::default(), mismatches: Mutex::default() };
    comparison.of(&mut world).await;
    world.change(&mut dice).await;
    comparison.when = "after the changes";
    comparison.of(&mut world).await;

    let called = comparison.called.into_inner().expect("nobody holds the lock");
    let missed: BTreeSet<&str> = methods().filter(|path| !called.contains(*path)).collect();
    assert!(missed.is_empty(), "the oracle calls nothing of: {missed:?}");
    let mismatches = comparison.mismatches.into_inner().expect("nobody holds the lock");
    let told = mismatches.iter().take(super::TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(mismatches.is_empty(), "seed {seed}: {} mismatches\n{told}", mismatches.len());
}

/// Every method that identity serves.
fn methods() -> impl Iterator<Item = &'static str> {
    let of_policy = rapport_proto::METHODS.iter().filter(|rule| rule.path.starts_with("/rapport.common.v1.PolicyService/"));
    rapport_identity_api::METHODS.iter().chain(of_policy).map(|rule| rule.path)
}
