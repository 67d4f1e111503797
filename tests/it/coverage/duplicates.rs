//! A valid request for each method about duplicates.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::duplicate_comparison::{Field, Method};
use rapport_kit::clock;
use rapport_kit::testing::eventually;

use super::scene::{Scene, Valid};

/// A record that was made for a request.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "40")]
    etag: String,
}

fn rule(display_name: String) -> contacts::DuplicateRule {
    let comparison = contacts::DuplicateComparison {
        field: Field::Email.into(),
        method: Method::Exact.into(),
        weight: 60,
        ..contacts::DuplicateComparison::default()
    };
    contacts::DuplicateRule {
        display_name,
        // Of accounts, so that contacts are compared as shipped.
        collection: "accounts".to_owned(),
        comparisons: vec![comparison],
        threshold: 60,
        ..contacts::DuplicateRule::default()
    }
}

/// Rules of a tenant at most that are made here, and how many of them are left where there would be more: a scene asks for
/// many, a tenant may have few.
const MANY: usize = 15;
const KEPT: usize = 10;

async fn make_rule(scene: &Scene) -> Stored {
    const SERVICE: &str = "/rapport.contacts.v1.DuplicateRuleService";
    let request = contacts::ListDuplicateRulesRequest::default().encode_to_vec();
    let answer = scene.send(&format!("{SERVICE}/ListDuplicateRules"), request).await.expect("an administrator lists rules");
    let mut listed = contacts::ListDuplicateRulesResponse::decode(answer.as_slice()).expect("a list").duplicate_rules;
    listed.sort_by_key(|rule| rule.create_time.as_ref().map(|time| (time.seconds, time.nanos)));
    let old = if listed.len() < MANY { 0 } else { listed.len() - KEPT };
    for rule in listed.into_iter().take(old) {
        let request = contacts::DeleteDuplicateRuleRequest { name: rule.name, etag: String::new() }.encode_to_vec();
        // Another call may have deleted it.
        scene.send(&format!("{SERVICE}/DeleteDuplicateRule"), request).await.ok();
    }
    let request = contacts::CreateDuplicateRuleRequest { duplicate_rule: Some(rule(format!("rule {}", scene.number()))) }.encode_to_vec();
    let answer = scene.send(&format!("{SERVICE}/CreateDuplicateRule"), request).await.expect("an administrator creates a rule");
    Stored::decode(answer.as_slice()).expect("a rule")
}

pub(super) async fn get_rule(scene: &Scene) -> Valid {
    Valid::read(&contacts::GetDuplicateRuleRequest { name: make_rule(scene).await.name }).about_a_record()
}

pub(super) async fn list_rules(scene: &Scene) -> Valid {
    for _ in 0..3 {
        make_rule(scene).await;
    }
    Valid::read(&contacts::ListDuplicateRulesRequest::default())
}

pub(super) async fn create_rule(scene: &Scene) -> Valid {
    Valid::change(&contacts::CreateDuplicateRuleRequest { duplicate_rule: Some(rule(format!("rule {}", scene.number()))) }, 1)
}

pub(super) async fn update_rule(scene: &Scene) -> Valid {
    let Stored { name, etag } = make_rule(scene).await;
    let duplicate_rule = contacts::DuplicateRule { name, etag, threshold: 50, ..contacts::DuplicateRule::default() };
    Valid::change(&contacts::UpdateDuplicateRuleRequest { duplicate_rule: Some(duplicate_rule), update_mask: None }, 1).about_a_record()
}

pub(super) async fn delete_rule(scene: &Scene) -> Valid {
    let Stored { name, etag } = make_rule(scene).await;
    Valid { removes: true, ..Valid::change(&contacts::DeleteDuplicateRuleRequest { name, etag }, 1).about_a_record() }
}

fn person() -> contacts::Contact {
    let word = clock::new_id().simple().to_string();
    let point = contacts::ContactPoint {
        kind: contacts::contact_point::Kind::Email.into(),
        value: format!("{word}@example.com"),
        ..contacts::ContactPoint::default()
    };
    let person = contacts::Person { given_name: "Ada".to_owned(), family_name: word, contact_points: vec![point], ..contacts::Person::default() };
    contacts::Contact { person: Some(person), ..contacts::Contact::default() }
}

pub(super) async fn find() -> Valid {
    Valid::read(&contacts::FindDuplicatesRequest { record: Some(contacts::find_duplicates_request::Record::Contact(person())) })
}

/// A contact that others are taken for, and their pairs once they are listed.
async fn pairs(scene: &Scene, others: usize) -> (String, Vec<contacts::DuplicatePair>) {
    let contact = person();
    let mut last = String::new();
    for _ in 0..=others {
        let request = contacts::CreateContactRequest { contact: Some(contact.clone()), allow_duplicates: true }.encode_to_vec();
        let answer = scene.send("/rapport.contacts.v1.ContactService/CreateContact", request).await.expect("an administrator creates a contact");
        last = Stored::decode(answer.as_slice()).expect("a contact").name;
    }
    let request = contacts::ListDuplicatePairsRequest { record: last.clone(), ..contacts::ListDuplicatePairsRequest::default() }.encode_to_vec();
    let pairs = eventually("the pairs are listed", async || {
        let answer =
            scene.send("/rapport.contacts.v1.DuplicateService/ListDuplicatePairs", request.clone()).await.expect("an administrator lists pairs");
        let pairs = contacts::ListDuplicatePairsResponse::decode(answer.as_slice()).expect("a list").duplicate_pairs;
        (pairs.len() == others).then_some(pairs)
    })
    .await;
    (last, pairs)
}

/// For the pairs of one contact with three others.
pub(super) async fn list_pairs(scene: &Scene) -> Valid {
    let (record, _) = pairs(scene, 3).await;
    Valid::read(&contacts::ListDuplicatePairsRequest { record, ..contacts::ListDuplicatePairsRequest::default() })
}

pub(super) async fn review_pair(scene: &Scene) -> Valid {
    let (_, mut pairs) = pairs(scene, 1).await;
    let pair = pairs.remove(0);
    let state = contacts::duplicate_pair::State::NotDuplicate.into();
    let request = contacts::ReviewDuplicatePairRequest { name: pair.name, etag: pair.etag, state, later_date: None };
    Valid::change(&request, 1).about_a_record()
}

pub(super) async fn start_sweep() -> Valid {
    Valid::change(&contacts::StartDuplicateSweepRequest::default(), 1)
}
