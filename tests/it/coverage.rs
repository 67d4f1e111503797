//! What every method must do, walked over the rule tables of every service: a method that nobody wrote a valid
//! request for fails here by name.

mod contacts;
mod dead_letters;
mod doors;
mod duplicates;
pub(crate) mod errors;
mod identity;
mod jobs;
mod lists;
mod mappings;
mod merges;
mod repeats;
mod scene;
mod shape;
pub(crate) mod wire;
mod work;

use std::collections::BTreeSet;

use rapport_kit::Service;
use tonic::Code;

use self::scene::Scene;
use self::wire::Caller;

#[test]
fn everything_that_is_served_has_a_rule_and_everything_with_a_rule_is_served() {
    let ruled = |service: &Service| -> BTreeSet<&str> { service.methods.iter().flat_map(|table| table.iter()).map(|rule| rule.path).collect() };
    let tables = [(&rapport_contacts::SERVICE, rapport_contacts_api::METHODS), (&rapport_identity::SERVICE, rapport_identity_api::METHODS)];
    for (service, own) in tables {
        let missing: Vec<&str> =
            own.iter().chain(rapport_proto::METHODS).map(|rule| rule.path).filter(|path| !ruled(service).contains(path)).collect();
        assert!(missing.is_empty(), "{} has no rule for: {missing:?}", service.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_has_a_valid_request_that_succeeds() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods() {
            let Some(valid) = scene.valid(rule.path).await else {
                problems.push(format!("{}: no builder of a valid request in coverage/{{contacts,identity}}.rs", rule.path));
                continue;
            };
            let caller = scene.caller(rule, &valid);
            if let Err(status) = scene.wire.send(rule.path, &caller, valid.request).await {
                problems.push(format!("{}: {}", rule.path, errors::told(&status)));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_walked_over_is_not_served() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.absent() {
            for caller in [Caller::of(&scene.administrator), Caller::operator()] {
                match scene.wire.send(rule.path, &caller, Vec::new()).await {
                    Err(status) if matches!(status.code(), Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied) => {}
                    answer => problems.push(format!("{}: is answered: {:?}", rule.path, answer.err().map(|status| errors::told(&status)))),
                }
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_the_same_contract() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods() {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            // Field 1 with a length that runs past the end.
            let answer = scene.wire.send(rule.path, &scene.caller(rule, &valid), vec![0x0a, 0x7f, 0x01]).await;
            match answer {
                Ok(_) => problems.push(format!("{}: took a message that cannot be read", rule.path)),
                Err(status) if status.code() != Code::InvalidArgument => problems.push(format!("{}: {}", rule.path, errors::told(&status))),
                Err(status) => problems.extend(errors::problems(&status).into_iter().map(|problem| format!("{}: {problem}", rule.path))),
            }
        }
    }
    assert_none(problems);
}

/// Fails with everything that was found, so that one run tells all of it.
fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
