//! Who may enter, who finds nothing, and what a request must hold.

use std::collections::BTreeSet;

use rapport_proto::{Door, MethodRule, Repeat};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::scene::{About, Scene};
use super::wire::{Answer, Caller, bytes, ids};
use super::{assert_none, errors, shape};

/// The refusal, if it has the code; what is wrong goes to `problems`.
fn refused(problems: &mut Vec<String>, rule: &MethodRule, who: &str, answer: Answer, code: Code) -> Option<Status> {
    let told = answer.as_ref().err().map_or_else(|| "succeeds".to_owned(), errors::told);
    match answer {
        Err(status) if status.code() == code => {
            problems.extend(errors::problems(&status).into_iter().map(|problem| format!("{} {who}: {problem}: {told}", rule.path)));
            Some(status)
        }
        _ => {
            problems.push(format!("{} {who}: expected {code:?}, {told}", rule.path));
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_answers_somebody_without_a_credential() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods().into_iter().filter(|rule| rule.door != Door::Public) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let answer = scene.wire.send(rule.path, &Caller::anonymous(), valid.request).await;
            refused(&mut problems, rule, "without a credential", answer, Code::Unauthenticated);
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_answers_somebody_who_lacks_its_permission() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods() {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            if rule.door == Door::Permission {
                let caller = Caller::of(scene.lacking.get(rule.permission).expect("somebody lacks each permission"));
                let who = format!("without {}", rule.permission);
                let answer = scene.wire.send(rule.path, &caller, valid.request).await;
                lacking(&mut problems, rule, &who, answer);
            } else if valid.about == About::Record {
                let answer = scene.wire.send(rule.path, &Caller::of(&scene.nobody), valid.request).await;
                refused(&mut problems, rule, "without a role", answer, Code::NotFound);
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_credential_opens_what_it_names_and_nothing_else() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        let (limited, permission) = &scene.limited;
        let mut opened = 0;
        for rule in scene.methods().into_iter().filter(|rule| matches!(rule.door, Door::Authenticated | Door::Permission)) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let answer = scene.wire.send(rule.path, &Caller::of(limited), valid.request).await;
            if rule.permission != *permission {
                lacking(&mut problems, rule, &format!("limited to {permission}"), answer);
                continue;
            }
            opened += 1;
            if let Err(status) = answer {
                problems.push(format!("{} limited to its own permission: {}", rule.path, errors::told(&status)));
            }
        }
        assert!(opened > 0, "no method asks for {permission}");
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenants_administrator_passes_the_operators_door() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods().into_iter().filter(|rule| rule.door == Door::Operator) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let answer = scene.send(rule.path, valid.request).await;
            refused(&mut problems, rule, "with an administrator's token", answer, Code::Unauthenticated);
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_a_security_policy_is_served_its_set_up_alone() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        let mut methods = scene.methods();
        methods.retain(|rule| matches!(rule.door, Door::Authenticated | Door::Permission));
        // Signing out, which is part of the set-up, comes last: nobody is there after it.
        methods.sort_by_key(|rule| (rule.set_up, rule.repeat != Repeat::Safe, rule.path.ends_with("SignOut")));
        for rule in methods {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let answer = scene.wire.send(rule.path, &Caller::of(&scene.early), valid.request).await;
            let held_back = answer.as_ref().is_err_and(|status| errors::reason(status) == "SECURITY_POLICY_MISSING");
            if held_back == rule.set_up {
                problems.push(format!("{}: part of the set-up: {}, held back: {held_back}", rule.path, rule.set_up));
            }
            if held_back {
                refused(&mut problems, rule, "before the set-up", answer, Code::FailedPrecondition);
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_finds_nothing_and_changes_nothing() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods().into_iter().filter(|rule| matches!(rule.door, Door::Authenticated | Door::Permission)) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let caller = Caller::of(&scene.foreigner);
            // What is about the caller would be about another one here.
            let answer = if valid.by.is_some() { None } else { Some(scene.wire.send(rule.path, &caller, valid.request.clone()).await) };
            let own = scene.wire.send(rule.path, &scene.caller(rule, &valid), valid.request.clone()).await;
            if let Err(status) = &own {
                problems.push(format!("{}: after a call from another tenant: {}", rule.path, errors::told(status)));
            }
            let Some(answer) = answer else { continue };
            let known: BTreeSet<uuid::Uuid> = ids(&bytes(&own)).into_iter().collect();
            let sent = ids(&valid.request);
            let leaked: Vec<_> = ids(&bytes(&answer)).into_iter().filter(|id| known.contains(id) && !sent.contains(id)).collect();
            if !leaked.is_empty() {
                problems.push(format!("{}: shows ids of another tenant: {leaked:?}", rule.path));
            }
            // A request that names a second record, such as whom to share with, may be refused for that one.
            let names_another = sent.len() > 1 && answer.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument);
            if valid.about != About::Nothing && !names_another {
                refused(&mut problems, rule, "from another tenant", answer, Code::NotFound);
            } else if let Err(status) = answer {
                let told = errors::told(&status);
                problems.extend(errors::problems(&status).into_iter().map(|problem| format!("{} from another tenant: {problem}: {told}", rule.path)));
            }
            let written = scene.journal(&[caller.request_id]).await;
            if valid.about != About::Nothing && !written.is_empty() {
                problems.push(format!("{}: a call from another tenant left a trace", rule.path));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_field_that_is_left_out_is_named() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods() {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let request = shape::request(rule.path, &valid.request);
            let whole = shape::method(rule.path).name().starts_with("Create");
            for (path, without) in shape::gaps(&request, whole) {
                let answer = scene.wire.send(rule.path, &scene.caller(rule, &valid), shape::encoded(&without)).await;
                let Some(status) = refused(&mut problems, rule, &format!("without {path}"), answer, Code::InvalidArgument) else { continue };
                let fields: Vec<String> =
                    status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default().into_iter().map(|one| one.field).collect();
                if !fields.iter().any(|field| names(field, &path)) {
                    problems.push(format!("{} without {path}: names {fields:?} instead", rule.path));
                }
            }
        }
    }
    assert_none(problems);
}

fn lacking(problems: &mut Vec<String>, rule: &MethodRule, who: &str, answer: Answer) {
    let refusal = refused(problems, rule, who, answer, Code::PermissionDenied);
    if refusal.is_some_and(|status| errors::reason(&status) != "PERMISSION_MISSING") {
        problems.push(format!("{} {who}: another reason than PERMISSION_MISSING", rule.path));
    }
}

/// Whether a violation's field is the one at `path`, lies in it, or is it as seen from the record.
fn names(field: &str, path: &str) -> bool {
    let inside = field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    inside || path.split_once('.').is_some_and(|(_, within)| field == within || field.starts_with(&format!("{within}.")))
}
