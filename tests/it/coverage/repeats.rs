//! Changes sent again, changes at once, and what they leave in the journal.

use futures_util::future::join_all;
use rapport_proto::{MethodRule, Repeat};
use tonic::Code;

use super::scene::Scene;
use super::wire::{Answer, Caller};
use super::{assert_none, contacts, errors, methods, shape};

/// Calls at once.
const CROWD: usize = 50;
/// Bytes of an answer that are shown on either side of a difference.
const SHOWN: usize = 160;

fn changes() -> Vec<&'static MethodRule> {
    methods().into_iter().filter(|rule| rule.repeat != Repeat::Safe).collect()
}

fn told(answer: &Answer) -> String {
    answer.as_ref().map_or_else(errors::told, |bytes| format!("{} bytes", bytes.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_its_journal_rows_with_actor_and_request() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    for rule in methods() {
        let Some(valid) = contacts::valid(&scene, rule.path) else { continue };
        let valid = valid.await;
        let caller = Caller::of(&scene.administrator);
        let answer = scene.wire.send(rule.path, &caller, valid.request).await;
        let expected = vec![scene.administrator.name(); valid.facts];
        let written = scene.journal(std::slice::from_ref(&caller.request_id)).await;
        if written != expected {
            problems.push(format!(
                "{}: {} by {written:?} in the journal, expected {} by {:?}",
                rule.path,
                written.len(),
                valid.facts,
                scene.administrator.name()
            ));
        }
        if answer.is_err() {
            problems.push(format!("{}: {}", rule.path, told(&answer)));
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sent_again_under_its_key_answers_the_same_and_changes_nothing() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    for rule in changes().into_iter().filter(|rule| rule.repeat == Repeat::Keyed) {
        let (Some(valid), Some(other)) = (contacts::valid(&scene, rule.path), contacts::valid(&scene, rule.path)) else { continue };
        let (valid, other) = (valid.await, other.await);
        let key = format!("key-{}", scene.number());
        let calls: Vec<Caller> = (0..2).map(|_| Caller::keyed(&scene.administrator, &key)).collect();
        let mut answers = Vec::new();
        for call in &calls {
            answers.push(scene.wire.send(rule.path, call, valid.request.clone()).await);
        }
        let requests: Vec<String> = calls.into_iter().map(|call| call.request_id).collect();
        let written = scene.journal(&requests).await.len();
        problems.extend(unequal(rule, &answers));
        if written != valid.facts {
            problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
        }
        let reused = scene.wire.send(rule.path, &Caller::keyed(&scene.administrator, &key), other.request).await;
        match &reused {
            Err(status) if status.code() == Code::InvalidArgument && errors::reason(status) == "IDEMPOTENCY_KEY_REUSED" => {
                problems.extend(errors::problems(status).into_iter().map(|problem| format!("{}: {problem}", rule.path)));
            }
            _ => problems.push(format!("{}: a key used for another request: {}", rule.path, told(&reused))),
        }
        // Whoever else uses the same key has a key of their own.
        let fresh = contacts::valid(&scene, rule.path).expect("there is a builder").await;
        let answer = scene.wire.send(rule.path, &Caller::keyed(&scene.colleague, &key), fresh.request).await;
        if answer.is_err() {
            problems.push(format!("{}: the same key from a colleague: {}", rule.path, told(&answer)));
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_identical_keyed_changes_has_one_effect_and_one_answer() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    for rule in changes().into_iter().filter(|rule| rule.repeat == Repeat::Keyed) {
        let Some(valid) = contacts::valid(&scene, rule.path) else { continue };
        let valid = valid.await;
        let key = format!("key-{}", scene.number());
        let calls: Vec<Caller> = (0..CROWD).map(|_| Caller::keyed(&scene.administrator, &key)).collect();
        let answers = join_all(calls.iter().map(|call| scene.wire.send(rule.path, call, valid.request.clone()))).await;
        let requests: Vec<String> = calls.into_iter().map(|call| call.request_id).collect();
        let written = scene.journal(&requests).await.len();
        problems.extend(unequal(rule, &answers));
        if written != valid.facts {
            problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_crowd_with_one_etag_exactly_one_changes_the_record() {
    let scene = Scene::open().await;
    let mut problems = Vec::new();
    let mut covered = 0;
    for rule in changes() {
        let Some(valid) = contacts::valid(&scene, rule.path) else { continue };
        let valid = valid.await;
        if !shape::has_etag(&shape::request(rule.path, &valid.request)) {
            continue;
        }
        covered += 1;
        let calls: Vec<Caller> = (0..CROWD).map(|_| Caller::of(&scene.administrator)).collect();
        let answers = join_all(calls.iter().map(|call| scene.wire.send(rule.path, call, valid.request.clone()))).await;
        let done = answers.iter().filter(|answer| answer.is_ok()).count();
        let lost: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        if done != 1 {
            problems.push(format!("{}: {done} of {CROWD} changed the record", rule.path));
        }
        let others = lost.iter().filter(|status| status.code() != Code::Aborted || errors::reason(status) != "ETAG_MISMATCH");
        problems.extend(others.take(1).map(|status| format!("{}: a loser is told {}", rule.path, errors::told(status))));
        problems.extend(lost.first().iter().flat_map(|status| errors::problems(status)).map(|problem| format!("{}: {problem}", rule.path)));
        let requests: Vec<String> = calls.into_iter().map(|call| call.request_id).collect();
        let written = scene.journal(&requests).await.len();
        if written != valid.facts {
            problems.push(format!("{}: {written} journal rows instead of {}", rule.path, valid.facts));
        }
    }
    assert!(covered > 0, "no method carries an etag");
    assert_none(problems);
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
