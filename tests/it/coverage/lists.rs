//! Lists: pages of one against one big page, and tokens that are not the caller's to use.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use rapport_kit::testing::eventually;
use rapport_proto::MethodRule;
use tonic::Code;
use tonic_types::StatusExt;

use super::scene::Scene;
use super::wire::{Answer, Caller};
use super::{assert_none, errors, shape};

const LIST_CONTACTS: &str = "/rapport.contacts.v1.ContactService/ListContacts";

/// Methods that answer page by page, each with a request that finds several entries.
async fn lists(scene: &Scene) -> Vec<(&'static MethodRule, DynamicMessage)> {
    let mut lists = Vec::new();
    for rule in scene.methods() {
        let fields = shape::method(rule.path).input();
        let paged = ["page_size", "page_token"].iter().all(|field| fields.get_field_by_name(field).is_some());
        let Some(valid) = scene.valid(rule.path).await.filter(|_| paged) else { continue };
        lists.push((rule, shape::request(rule.path, &valid.request)));
    }
    assert!(!lists.is_empty(), "no method answers page by page");
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_one_entry_are_the_one_big_page() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for (rule, request) in lists(&scene).await {
            let whole = scene.send(rule.path, shape::with(&request, "page_size", Value::I32(1000))).await.expect("a list");
            let (whole, rest) = shape::entries(rule.path, &whole);
            if whole.len() < 2 || !rest.is_empty() {
                problems.push(format!("{}: {} entries on the big page, next token {rest:?}", rule.path, whole.len()));
            }
            let mut walked = Vec::new();
            let mut token = String::new();
            loop {
                let mut page = request.clone();
                page.set_field_by_name("page_size", Value::I32(1));
                page.set_field_by_name("page_token", Value::String(token));
                let answer = scene.send(rule.path, shape::encoded(&page)).await.expect("a page");
                let (entries, next) = shape::entries(rule.path, &answer);
                if entries.len() != 1 {
                    problems.push(format!("{}: a page of {} entries", rule.path, entries.len()));
                }
                walked.extend(entries);
                token = next;
                if token.is_empty() || walked.len() > whole.len() {
                    break;
                }
            }
            if walked != whole {
                problems.push(format!("{}: {} entries page by page, {} at once, or in another order", rule.path, walked.len(), whole.len()));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_page_size_is_refused_and_a_huge_one_cut() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        for (rule, request) in lists(&scene).await {
            let answer = scene.send(rule.path, shape::with(&request, "page_size", Value::I32(-1))).await;
            let named = answer.as_ref().err().and_then(StatusExt::get_details_bad_request).map(|bad| bad.field_violations).unwrap_or_default();
            if !is_refused(&answer, "FIELD_INVALID") || !named.iter().any(|violation| violation.field == "page_size") {
                problems.push(format!("{}: a page of -1 entries: {}", rule.path, told(&answer)));
            }
            let answer = scene.send(rule.path, shape::with(&request, "page_size", Value::I32(i32::MAX))).await;
            if answer.is_err() {
                problems.push(format!("{}: a page of {} entries: {}", rule.path, i32::MAX, told(&answer)));
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_good_for_its_own_list_and_caller_alone() {
    let mut problems = Vec::new();
    for scene in Scene::all().await {
        let lists = lists(&scene).await;
        let mut tokens = Vec::new();
        for (rule, request) in &lists {
            let answer = scene.send(rule.path, shape::with(request, "page_size", Value::I32(1))).await.expect("a page");
            tokens.push(shape::entries(rule.path, &answer).1);
        }
        for (index, (rule, request)) in lists.iter().enumerate() {
            let own = tokens.get(index).expect("each list gave a token");
            let other = tokens.get((index + 1) % tokens.len()).expect("each list gave a token");
            let mut changed = own.clone().into_bytes();
            if let Some(letter) = changed.get_mut(own.len() / 2) {
                *letter = if *letter == b'A' { b'B' } else { b'A' };
            }
            let changed = String::from_utf8(changed).expect("a token is ASCII");
            let with = |token: &str| shape::with(request, "page_token", Value::String(token.to_owned()));
            for (what, token) in [("made up", "bWFkZSB1cA"), ("no base64", "!!"), ("changed", changed.as_str()), ("another list's", other.as_str())] {
                let answer = scene.send(rule.path, with(token)).await;
                if !is_refused(&answer, "PAGE_TOKEN_INVALID") {
                    problems.push(format!("{}: a token that is {what}: {}", rule.path, told(&answer)));
                }
            }
            for (who, caller) in [("a colleague", &scene.colleague), ("another tenant", &scene.foreigner)] {
                let answer = scene.wire.send(rule.path, &Caller::of(caller), with(own)).await;
                if !is_refused(&answer, "PAGE_TOKEN_INVALID") {
                    problems.push(format!("{}: the token in the hands of {who}: {}", rule.path, told(&answer)));
                }
            }
            if request.descriptor().get_field_by_name("filter").is_some() {
                let mut filtered = request.clone();
                filtered.set_field_by_name("filter", Value::String("create_time > \"2001-01-01T00:00:00Z\"".to_owned()));
                let answer = scene.send(rule.path, shape::with(&filtered, "page_token", Value::String(own.clone()))).await;
                if !is_refused(&answer, "PAGE_TOKEN_INVALID") {
                    problems.push(format!("{}: the token under another filter: {}", rule.path, told(&answer)));
                }
            }
        }
    }
    assert_none(problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_word_finds_contacts_by_the_beginning_of_their_family_name() {
    let scene = Scene::contacts().await;
    let request = scene.valid(LIST_CONTACTS).await.expect("there is a builder").request;
    let request = shape::request(LIST_CONTACTS, &request);
    // As every contact of the scene is called, without case and accents.
    for word in ["Yıldız", "yildiz", "YIL"] {
        let sought = shape::with(&request, "filter", Value::String(format!("\"{word}\"")));
        eventually(&format!("a contact found by {word:?}"), || async {
            let answer = scene.send(LIST_CONTACTS, sought.clone()).await.expect("a search");
            (!shape::entries(LIST_CONTACTS, &answer).0.is_empty()).then_some(())
        })
        .await;
    }
}

fn is_refused(answer: &Answer, reason: &str) -> bool {
    let proper =
        |status: &tonic::Status| status.code() == Code::InvalidArgument && errors::reason(status) == reason && errors::problems(status).is_empty();
    answer.as_ref().err().is_some_and(proper)
}

fn told(answer: &Answer) -> String {
    answer.as_ref().map_or_else(errors::told, |bytes| format!("{} bytes", bytes.len()))
}
