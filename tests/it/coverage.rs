//! What every method must do, walked over the rule tables: a method that nobody wrote a valid request for
//! fails here by name.

mod contacts;
mod doors;
pub(crate) mod errors;
mod lists;
mod repeats;
mod scene;
mod shape;
pub(crate) mod wire;

use std::collections::BTreeSet;

use rapport_proto::MethodRule;
use tonic::Code;

use self::scene::Scene;
use self::wire::Caller;

/// Services of the shared contract that every service serves for its own records.
const SHARED: &[&str] = &["/rapport.common.v1.AccessService/", "/rapport.common.v1.AuditService/"];

/// Every method that the contacts service offers to callers.
fn methods() -> Vec<&'static MethodRule> {
    let shared = rapport_proto::METHODS.iter().filter(|rule| SHARED.iter().any(|service| rule.path.starts_with(service)));
    rapport_contacts_api::METHODS.iter().chain(shared).collect()
}

#[test]
fn everything_that_is_served_has_a_rule_and_everything_with_a_rule_is_served() {
    let ruled: BTreeSet<&str> = rapport_contacts::SERVICE.methods.iter().flat_map(|table| table.iter()).map(|rule| rule.path).collect();
    let missing: Vec<&str> = methods().iter().map(|rule| rule.path).filter(|path| !ruled.contains(path)).collect();
    assert!(missing.is_empty(), "the service has no rule for: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_has_a_valid_request_that_succeeds() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    for rule in methods() {
        let Some(valid) = contacts::valid(&scene, rule.path) else {
            problems.push(format!("{}: no builder of a valid request in coverage/contacts.rs", rule.path));
            continue;
        };
        let request = valid.await.request;
        if let Err(status) = scene.wire.send(rule.path, &Caller::of(&scene.administrator), request).await {
            problems.push(format!("{}: {}", rule.path, errors::told(&status)));
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_the_same_contract() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    for rule in methods() {
        // Field 1 with a length that runs past the end.
        let answer = scene.wire.send(rule.path, &Caller::of(&scene.administrator), vec![0x0a, 0x7f, 0x01]).await;
        match answer {
            Ok(_) => problems.push(format!("{}: took a message that cannot be read", rule.path)),
            Err(status) if status.code() != Code::InvalidArgument => problems.push(format!("{}: {}", rule.path, errors::told(&status))),
            Err(status) => problems.extend(errors::problems(&status).into_iter().map(|problem| format!("{}: {problem}", rule.path))),
        }
    }
    assert_none(problems);
}

/// Fails with everything that was found, so that one run tells all of it.
fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
