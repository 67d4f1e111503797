//! Changes sent again, changes at once, and what they leave in the journal.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rapport_proto::{Door, MethodRule, Repeat};
use tonic::{Code, Status};

use super::scene::{Scene, Valid};
use super::wire::{Answer, Caller};
use super::{assert_none, errors, shape};

/// Calls at once.
const CROWD: usize = 50;
/// Bytes of an answer that are shown on either side of a difference.
const SHOWN: usize = 160;

fn changes(scene: &Scene) -> Vec<&'static MethodRule> {
    scene.methods().into_iter().filter(|rule| rule.repeat != Repeat::Safe).collect()
}

fn told(answer: &Answer) -> String {
    answer.as_ref().map_or_else(errors::told, |bytes| format!("{} bytes", bytes.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_its_journal_rows_with_actor_and_request() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in scene.methods() {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let (caller, actor) = (scene.caller(rule, &valid), scene.actor(rule, &valid));
            let answer = scene.wire.send(rule.path, &caller, valid.request).await;
            let expected = vec![actor.clone(); valid.facts];
            let written = scene.journal(std::slice::from_ref(&caller.request_id)).await;
            if written != expected {
                problems.push(format!("{}: {} by {written:?} in the journal, expected {} by {actor}", rule.path, written.len(), valid.facts));
            }
            if answer.is_err() {
                problems.push(format!("{}: {}", rule.path, told(&answer)));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sent_again_under_its_key_answers_the_same_and_changes_nothing() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in changes(&scene).into_iter().filter(|rule| rule.repeat == Repeat::Keyed) {
            let (Some(valid), Some(other)) = (scene.valid(rule.path).await, scene.valid(rule.path).await) else { continue };
            let key = format!("key-{}", scene.number());
            let calls: Vec<Caller> = (0..2).map(|_| scene.caller(rule, &valid).with_key(&key)).collect();
            let mut answers = Vec::new();
            for call in &calls {
                answers.push(scene.wire.send(rule.path, call, valid.request.clone()).await);
            }
            let requests: Vec<String> = calls.into_iter().map(|call| call.request_id).collect();
            let written = scene.journal(&requests).await.len();
            problems.extend(if valid.ends_caller { not_shut_out(rule, &answers) } else { unequal(rule, &answers) });
            if written != valid.facts {
                problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
            }
            if other.request != valid.request {
                let reused = scene.wire.send(rule.path, &scene.caller(rule, &valid).with_key(&key), other.request).await;
                match &reused {
                    Err(status) if status.code() == Code::InvalidArgument && errors::reason(status) == "IDEMPOTENCY_KEY_REUSED" => {
                        problems.extend(errors::problems(status).into_iter().map(|problem| format!("{}: {problem}", rule.path)));
                    }
                    _ => problems.push(format!("{}: a key used for another request: {}", rule.path, told(&reused))),
                }
            }
            // Whoever else uses the same key has a key of their own; there is one operator.
            if rule.door != Door::Operator {
                let fresh = scene.valid(rule.path).await.expect("there is a builder");
                let colleague = Caller::of(fresh.by.as_ref().unwrap_or(&scene.colleague)).with_key(&key);
                let answer = scene.wire.send(rule.path, &colleague, fresh.request).await;
                if answer.is_err() {
                    problems.push(format!("{}: the same key from a colleague: {}", rule.path, told(&answer)));
                }
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_identical_keyed_changes_has_one_effect_and_one_answer() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in changes(&scene).into_iter().filter(|rule| rule.repeat == Repeat::Keyed) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let key = format!("key-{}", scene.number());
            let (answers, written) = at_once(&scene, rule, &valid, || scene.caller(rule, &valid).with_key(&key)).await;
            problems.extend(if valid.ends_caller { not_shut_out(rule, &answers) } else { unequal(rule, &answers) });
            if written != valid.facts {
                problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
            }
        }
    }
    assert_none(problems);
}

/// What answers with a secret cannot answer the same again; each such method has its own way of saying so.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_never_answered_from_memory() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for rule in changes(&scene).into_iter().filter(|rule| rule.repeat == Repeat::Never) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            let key = format!("key-{}", scene.number());
            let (answers, written) = at_once(&scene, rule, &valid, || scene.caller(rule, &valid).with_key(&key)).await;
            let given: Vec<&Vec<u8>> = answers.iter().flatten().collect();
            let refusals: BTreeSet<String> = answers.iter().filter_map(|answer| answer.as_ref().err()).map(errors::reason).collect();
            let refusals: Vec<&str> = refusals.iter().map(String::as_str).collect();
            let refresh_tokens: BTreeSet<Vec<u8>> = given.iter().map(|answer| shape::text(rule.path, answer, "refresh_token")).collect();
            let right = match shape::method(rule.path).name() {
                // One key is made; whoever asks again is told to revoke it.
                "CreateApiKey" => (given.len(), refusals.as_slice()) == (1, &["SECRET_SHOWN_BEFORE"]),
                // Each call opens a session of its own.
                "SignIn" => given.len() == CROWD && refresh_tokens.len() == CROWD,
                // The same token follows, by the rotation's own rule.
                "RefreshSession" => given.len() == CROWD && refresh_tokens.len() == 1,
                _ => false,
            };
            if !right || written != valid.facts {
                let (answered, tokens) = (given.len(), refresh_tokens.len());
                problems.push(format!("{}: {answered} answers, {tokens} tokens, {written} journal rows, refused with {refusals:?}", rule.path));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_crowd_with_one_etag_exactly_one_changes_the_record() {
    let mut problems = Vec::new();
    let mut covered = 0;
    for scene in Scene::all().await {
        for rule in changes(&scene).into_iter().filter(|rule| shape::takes_etag(rule.path)) {
            let Some(valid) = scene.valid(rule.path).await else { continue };
            if !shape::has_etag(&shape::request(rule.path, &valid.request)) {
                problems.push(format!("{}: its valid request says no etag", rule.path));
                continue;
            }
            covered += 1;
            let (answers, written) = at_once(&scene, rule, &valid, || scene.caller(rule, &valid)).await;
            let done = answers.iter().filter(|answer| answer.is_ok()).count();
            let lost: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
            if done != 1 {
                problems.push(format!("{}: {done} of {CROWD} changed the record", rule.path));
            }
            let late = |status: &Status| status.code() == Code::Aborted && errors::reason(status) == "ETAG_MISMATCH";
            // Whoever comes after a removal finds nothing that an etag could be compared with.
            let gone = |status: &Status| valid.removes && status.code() == Code::NotFound;
            let others = lost.iter().filter(|status| !late(status) && !gone(status));
            problems.extend(others.take(1).map(|status| format!("{}: a loser is told {}", rule.path, errors::told(status))));
            problems.extend(lost.first().iter().flat_map(|status| errors::problems(status)).map(|problem| format!("{}: {problem}", rule.path)));
            if written != valid.facts {
                problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
            }
        }
    }
    assert!(covered > 0, "no method carries an etag");
    assert_none(problems);
}

/// Answers of a crowd that sends one request, and how many journal rows it left.
async fn at_once(scene: &Scene, rule: &MethodRule, valid: &Valid, caller: impl Fn() -> Caller) -> (Vec<Answer>, usize) {
    let calls: Vec<Caller> = (0..CROWD).map(|_| caller()).collect();
    let answers = join_all(calls.iter().map(|call| scene.wire.send(rule.path, call, valid.request.clone()))).await;
    let requests: Vec<String> = calls.into_iter().map(|call| call.request_id).collect();
    (answers, scene.journal(&requests).await.len())
}

/// Whoever ends the own session is turned away afterwards, with or without a key, and by nothing else than that.
fn not_shut_out(rule: &MethodRule, answers: &[Answer]) -> Option<String> {
    let wrong = answers.iter().find(|answer| answer.as_ref().is_err_and(|status| status.code() != Code::Unauthenticated));
    if answers.iter().all(Result::is_err) {
        return Some(format!("{}: none of {} succeeded", rule.path, answers.len()));
    }
    wrong.map(|answer| format!("{}: {}", rule.path, told(answer)))
}

/// The answers must be the same to the last byte, and none a refusal.
fn unequal(rule: &MethodRule, answers: &[Answer]) -> Option<String> {
    if let Some(refused) = answers.iter().find(|answer| answer.is_err()) {
        let count = answers.iter().filter(|answer| answer.is_err()).count();
        return Some(format!("{}: {count} of {} refused: {}", rule.path, answers.len(), told(refused)));
    }
    let mut answers = answers.iter().flatten();
    let first = answers.next()?;
    let other = answers.find(|answer| *answer != first)?;
    // From a little before the place where they part.
    let parts = first.iter().zip(other).take_while(|(one, two)| one == two).count();
    let shown = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.get(parts.saturating_sub(SHOWN)..bytes.len().min(parts + SHOWN)).unwrap_or_default()).escape_debug().to_string()
    };
    Some(format!("{}: one request, two answers:\n    {}\n    {}", rule.path, shown(first), shown(other)))
}
