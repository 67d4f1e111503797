//! Duplicates: which records are taken for the same, who learns of it, and what people say of it.

mod followed;
mod killed;
mod people;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_comparison::{Field, Method};
use rapport_contacts_api::v1::duplicate_pair::State;
use rapport_contacts_api::v1::duplicate_reason::Closeness;
use rapport_contacts_api::v1::duplicate_rule::Action;
use rapport_contacts_api::v1::duplicate_rule_service_client::DuplicateRuleServiceClient;
use rapport_contacts_api::v1::duplicate_service_client::DuplicateServiceClient;
use rapport_contacts_api::v1::find_duplicates_request::Record;
use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GetJobRequest, GrantLevel, JobState};
use rapport_proto::google_type::Date;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{Desk, named, refusal};

pub(crate) fn client(desk: &Desk) -> DuplicateServiceClient<Channel> {
    DuplicateServiceClient::new(desk.service.channel.clone())
}

fn rules(desk: &Desk) -> DuplicateRuleServiceClient<Channel> {
    DuplicateRuleServiceClient::new(desk.service.channel.clone())
}

/// Somebody who was born on a day of 1984.
fn person(given_name: &str, family_name: &str, (month, day): (i32, i32)) -> pb::Contact {
    let birth_date = Some(Date { year: 1984, month, day });
    let person = pb::Person { given_name: given_name.to_owned(), family_name: family_name.to_owned(), birth_date, ..pb::Person::default() };
    pb::Contact { person: Some(person), ..pb::Contact::default() }
}

async fn listed(desk: &Desk, who: &Subject, state: State) -> Vec<pb::DuplicatePair> {
    let request = pb::ListDuplicatePairsRequest { state: state.into(), ..pb::ListDuplicatePairsRequest::default() };
    client(desk).list_duplicate_pairs(who.request(request)).await.expect("a list").into_inner().duplicate_pairs
}

/// The one pair that stands so, once it does.
async fn pair(desk: &Desk, state: State) -> pb::DuplicatePair {
    eventually("a pair is listed", async || {
        let mut pairs = listed(desk, &desk.clerk, state).await;
        assert!(pairs.len() < 2, "{pairs:?}");
        pairs.pop()
    })
    .await
}

/// Waits until everything that was written is compared.
pub(crate) async fn compared(desk: &Desk) {
    eventually("nothing waits to be compared", async || {
        let waiting: i64 = sqlx::query_scalar("select (select count(*) from duplicate_queue) + (select count(*) from duplicate_bulk)")
            .fetch_one(&mut desk.superuser().await)
            .await
            .expect("an answer");
        (waiting == 0).then_some(())
    })
    .await;
}

async fn review(desk: &Desk, who: &Subject, name: &str, state: State, later_date: Option<Date>) -> Result<pb::DuplicatePair, Status> {
    let request =
        pb::ReviewDuplicatePairRequest { name: name.to_owned(), state: state.into(), later_date, ..pb::ReviewDuplicatePairRequest::default() };
    Ok(client(desk).review_duplicate_pair(who.request(request)).await?.into_inner())
}

/// Sweeps contacts; answers what the job says in the end.
pub(crate) async fn sweep(desk: &Desk) -> String {
    let started =
        client(desk).start_duplicate_sweep(desk.clerk.request(pb::StartDuplicateSweepRequest::default())).await.expect("a job").into_inner();
    let mut seen = 0;
    loop {
        // Of thousands of records a sweep may take longer than other waits may, but it has to go on.
        let job = eventually("the sweep goes on", async || {
            let request = desk.clerk.request(GetJobRequest { name: started.name.clone() });
            let job = JobServiceClient::new(desk.service.channel.clone()).get_job(request).await.expect("the job").into_inner();
            (job.done_count > seen || job.end_time.is_some()).then_some(job)
        })
        .await;
        if job.end_time.is_some() {
            assert_eq!(job.state(), JobState::Succeeded, "{job:?}");
            return job.message;
        }
        seen = job.done_count;
    }
}

async fn rule(desk: &Desk, action: Action) -> pb::DuplicateRule {
    let listed = rules(desk).list_duplicate_rules(desk.clerk.request(pb::ListDuplicateRulesRequest::default())).await.expect("a list").into_inner();
    let shipped = listed.shipped_rules.into_iter().find(|rule| rule.collection == "contacts").expect("a shipped rule");
    let own = pb::DuplicateRule { action: action.into(), ..shipped };
    let request = pb::CreateDuplicateRuleRequest { duplicate_rule: Some(own) };
    rules(desk).create_duplicate_rule(desk.clerk.request(request)).await.expect("a rule").into_inner()
}

/// Waits until a rule that refuses duplicates holds.
async fn duplicates_are_refused(desk: &Desk) {
    eventually("a duplicate is refused", async || {
        let status = desk.create(person("Some", "Body", (5, 5))).await.err()?;
        assert_eq!(refusal(&status), (Code::AlreadyExists, "DUPLICATE_FOUND".to_owned()));
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_there_already_is_told_with_reasons_and_of_no_other_tenant() {
    let desk = Desk::open().await;
    let stranger = desk.service.identity.administrator(desk.service.identity.tenant());
    let first = desk.create(person("Zeynep", "Yıldız", (2, 29))).await.unwrap();
    desk.create(person("Zeynep", "Yıldız", (7, 11))).await.unwrap();
    let theirs = pb::CreateContactRequest { contact: Some(person("Zeynep", "Yıldız", (2, 29))), allow_duplicates: false };
    desk.contacts().create_contact(stranger.request(theirs)).await.unwrap();
    let second = desk.create(person("Zeynp", "YILDIZ", (2, 29))).await.unwrap();
    let pair = pair(&desk, State::Open).await;
    let mut records = [pair.first_record.clone(), pair.second_record.clone()];
    records.sort();
    assert_eq!(records, [first.name, second.name]);
    let said: Vec<(Field, Closeness, i32)> = pair.reasons.iter().map(|reason| (reason.field(), reason.closeness(), reason.points)).collect();
    let expected = [(Field::GivenName, Closeness::Slip, 13), (Field::FamilyName, Closeness::Equal, 17), (Field::BirthDate, Closeness::Equal, 32)];
    assert_eq!((said.as_slice(), pair.score), (expected.as_slice(), 62));
    assert_eq!(listed(&desk, &stranger, State::Open).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_refuses_duplicates_of_what_the_caller_sees_unless_they_are_allowed() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let other = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let there = desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap();
    compared(&desk).await;
    rule(&desk, Action::Block).await;
    let same = person("Jean", "Dupont", (3, 4));
    duplicates_are_refused(&desk).await;
    let status = desk.create(same.clone()).await.expect_err("it is there");
    assert_eq!(refusal(&status), (Code::AlreadyExists, "DUPLICATE_FOUND".to_owned()));
    assert!(status.message().contains(&there.name), "{status:?}");
    // Who does not see it is told nothing, and those who see both see the pair.
    let request = pb::CreateContactRequest { contact: Some(same.clone()), allow_duplicates: false };
    let theirs = desk.contacts().create_contact(other.request(request.clone())).await.expect("nothing that they see").into_inner();
    eventually("the pair is listed", async || {
        let request = pb::ListDuplicatePairsRequest { record: theirs.name.clone(), ..pb::ListDuplicatePairsRequest::default() };
        let pairs = client(&desk).list_duplicate_pairs(desk.clerk.request(request)).await.expect("a list").into_inner().duplicate_pairs;
        (pairs.len() == 1).then_some(())
    })
    .await;
    assert_eq!(listed(&desk, &other, State::Open).await, []);
    // The next one meets it at once, without waiting for the task.
    let status = desk.contacts().create_contact(other.request(request)).await.expect_err("their own");
    assert!(status.message().contains(&theirs.name) && !status.message().contains(&there.name), "{status:?}");
    let request = pb::CreateContactRequest { contact: Some(same.clone()), allow_duplicates: true };
    desk.contacts().create_contact(desk.clerk.request(request)).await.expect("it is allowed");
    // A record that has a duplicate can be changed otherwise, and cannot become another's.
    desk.tag(&there.name, "vip", None).await.expect("a tag makes no duplicate");
    let free = desk.create(person("Anna", "Schmidt", (9, 9))).await.expect("no duplicate");
    let becomes = pb::Contact { name: free.name, ..same.clone() };
    let request = pb::UpdateContactRequest { contact: Some(becomes), update_mask: None, allow_duplicates: false };
    let status = desk.contacts().update_contact(desk.clerk.request(request)).await.expect_err("a duplicate");
    assert_eq!(refusal(&status).1, "DUPLICATE_FOUND");
    // A batch says it of the entry alone.
    let entry = |id: &str, contact: pb::Contact| {
        let external_ids = vec![rapport_proto::common::v1::ExternalId { system: "erp".to_owned(), id: id.to_owned() }];
        pb::Contact { external_ids, ..contact }
    };
    let contacts = vec![entry("1", same), entry("2", person("Giulia", "Rossi", (1, 1)))];
    let request = pb::BatchUpsertContactsRequest { contacts, atomic: false, allow_duplicates: false };
    let answer = desk.contacts().batch_upsert_contacts(desk.clerk.request(request)).await.unwrap().into_inner();
    let outcomes: Vec<_> = answer.results.iter().map(pb::UpsertContactResult::outcome).collect();
    assert_eq!(outcomes, [pb::upsert_contact_result::Outcome::Failed, pb::upsert_contact_result::Outcome::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_can_be_changed_that_people_have_told_apart_from_the_one_that_it_is_like() {
    let desk = Desk::open().await;
    let father = desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap();
    desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap();
    let found = pair(&desk, State::Open).await;
    rule(&desk, Action::Block).await;
    duplicates_are_refused(&desk).await;
    let named = |given_name: &str| {
        let contact = pb::Contact { name: father.name.clone(), ..person(given_name, "Dupont", (3, 4)) };
        desk.clerk.request(pb::UpdateContactRequest { contact: Some(contact), update_mask: None, allow_duplicates: false })
    };
    let status = desk.contacts().update_contact(named("Jeanne")).await.expect_err("nobody has told them apart");
    assert_eq!(refusal(&status).1, "DUPLICATE_FOUND");
    review(&desk, &desk.clerk, &found.name, State::NotDuplicate, None).await.unwrap();
    desk.contacts().update_contact(named("Jeanne")).await.expect("they are two");
    desk.create(person("Jean", "Dupont", (3, 4))).await.expect_err("a third one is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_of_a_pair_stays_when_records_are_swept_again() {
    let desk = Desk::open().await;
    for _ in 0..2 {
        desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap();
    }
    let found = pair(&desk, State::Open).await;
    let said = review(&desk, &desk.clerk, &found.name, State::NotDuplicate, None).await.unwrap();
    assert_eq!((said.state(), said.reviewer.as_str()), (State::NotDuplicate, desk.clerk.name().as_str()));
    let message = sweep(&desk).await;
    assert!(message.contains("Pairs: 1."), "{message}");
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, []);
    assert_eq!(pair(&desk, State::NotDuplicate).await, said);
    let day = Date { year: 9000, month: 1, day: 1 };
    let put_off = review(&desk, &desk.clerk, &found.name, State::Later, Some(day)).await.unwrap();
    assert_eq!((put_off.state(), put_off.later_date), (State::Later, Some(day)));
    assert_eq!(pair(&desk, State::Later).await, put_off);
    // Its day comes.
    sqlx::query("update duplicate_pairs set later_on = current_date").execute(&mut desk.superuser().await).await.unwrap();
    assert_eq!(pair(&desk, State::Open).await.name, found.name);
    assert_eq!(review(&desk, &desk.clerk, &found.name, State::Open, None).await.unwrap().state(), State::Open);
    let yesterday = Date { year: 2001, month: 1, day: 1 };
    for (state, date) in [(State::Later, None), (State::Later, Some(yesterday)), (State::NotDuplicate, Some(day)), (State::Merged, None)] {
        let status = review(&desk, &desk.clerk, &found.name, state, date).await.expect_err("nothing that can be said");
        assert_eq!(refusal(&status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_merged_while_one_of_its_records_is_deleted_and_gone_when_they_differ() {
    let desk = Desk::open().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap().name);
    }
    let found = pair(&desk, State::Open).await;
    let delete = pb::DeleteContactRequest { name: names[0].clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    // At once, whether the task has come by or not.
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, []);
    assert_eq!(pair(&desk, State::Merged).await.name, found.name);
    let status = review(&desk, &desk.clerk, &found.name, State::NotDuplicate, None).await.expect_err("one is deleted");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "PAIR_MERGED".to_owned()));
    let undelete = pb::UndeleteContactRequest { name: names[0].clone(), etag: String::new() };
    desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap();
    assert_eq!(pair(&desk, State::Open).await.name, found.name);
    let other = pb::Contact { name: names[1].clone(), ..person("Anna", "Schmidt", (9, 9)) };
    let request = pb::UpdateContactRequest { contact: Some(other), update_mask: None, allow_duplicates: false };
    desk.contacts().update_contact(desk.clerk.request(request)).await.unwrap();
    eventually("the pair is gone", async || listed(&desk, &desk.clerk, State::Open).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_field_rule_hides_is_no_reason_and_finds_nothing() {
    let desk = Desk::open().await;
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "person.birth_date".to_owned(), effect: FieldEffect::Hidden.into() };
    let identity = &desk.service.identity;
    let bound = identity.user(desk.tenant, None, identity.role(desk.tenant, &["contacts.*"], vec![rule]), GrantLevel::All);
    for _ in 0..2 {
        desk.create(person("Jean", "Dupont", (3, 4))).await.unwrap();
    }
    pair(&desk, State::Open).await;
    let seen = listed(&desk, &bound, State::Open).await;
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    let fields: Vec<Field> = seen.reasons.iter().map(pb::DuplicateReason::field).collect();
    assert_eq!((fields.as_slice(), seen.score), ([Field::GivenName, Field::FamilyName].as_slice(), 0));
    // Nor does guessing a date tell whether it is right.
    let request = || pb::FindDuplicatesRequest { record: Some(Record::Contact(person("Jean", "Dupont", (3, 4)))) };
    assert_eq!(client(&desk).find_duplicates(bound.request(request())).await.unwrap().into_inner().matches, []);
    assert_eq!(client(&desk).find_duplicates(desk.clerk.request(request())).await.unwrap().into_inner().matches.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_rule_holds_instead_of_the_shipped_one_and_what_makes_no_sense_is_refused() {
    let desk = Desk::open().await;
    let comparison = |field: Field, method: Method, weight: i32| pb::DuplicateComparison {
        field: field.into(),
        method: method.into(),
        weight,
        ..pb::DuplicateComparison::default()
    };
    let own = pb::DuplicateRule {
        display_name: "By sound".to_owned(),
        collection: "contacts".to_owned(),
        comparisons: vec![comparison(Field::GivenName, Method::Phonetic, 40), comparison(Field::FamilyName, Method::Phonetic, 40)],
        threshold: 60,
        ..pb::DuplicateRule::default()
    };
    let create = async |rule: pb::DuplicateRule| {
        let request = pb::CreateDuplicateRuleRequest { duplicate_rule: Some(rule) };
        rules(&desk).create_duplicate_rule(desk.clerk.request(request)).await
    };
    for (spoilt, field) in [
        (pb::DuplicateRule { threshold: 101, ..own.clone() }, "threshold"),
        (pb::DuplicateRule { collection: "orders".to_owned(), ..own.clone() }, "collection"),
        (pb::DuplicateRule { comparisons: vec![comparison(Field::BirthDate, Method::Name, 1)], ..own.clone() }, "comparisons[0].method"),
        (pb::DuplicateRule { comparisons: vec![comparison(Field::Domain, Method::Exact, 1)], ..own.clone() }, "comparisons[0].field"),
        (
            pb::DuplicateRule {
                collection: "accounts".to_owned(),
                action: Action::Block.into(),
                comparisons: vec![comparison(Field::Email, Method::Exact, 1)],
                ..own.clone()
            },
            "action",
        ),
        (pb::DuplicateRule { comparisons: vec![own.comparisons[0].clone(); 2], ..own.clone() }, "comparisons[1].field"),
    ] {
        let status = create(spoilt).await.expect_err(field);
        assert_eq!(crate::support::violation(&status).0, format!("duplicate_rule.{field}"));
    }
    let made = create(own.clone()).await.unwrap().into_inner();
    desk.create(person("Catherine", "Cohen", (3, 4))).await.unwrap();
    desk.create(person("Kathryn", "כהן", (5, 6))).await.unwrap();
    assert_eq!(pair(&desk, State::Open).await.score, 60);
    // With another rule the pair goes at the next sweep.
    let stricter = pb::DuplicateRule { name: made.name.clone(), threshold: 70, ..pb::DuplicateRule::default() };
    let request = pb::UpdateDuplicateRuleRequest { duplicate_rule: Some(stricter), update_mask: None };
    rules(&desk).update_duplicate_rule(desk.clerk.request(request)).await.unwrap();
    sweep(&desk).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, []);
    for _ in 1..20 {
        create(own.clone()).await.unwrap();
    }
    assert_eq!(refusal(&create(own).await.expect_err("the twenty-first")), (Code::FailedPrecondition, "TOO_MANY_RULES".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_compared_by_name_domain_and_telephone() {
    let desk = Desk::open().await;
    let account = |display_name: &str, website: &str| pb::Account {
        display_name: display_name.to_owned(),
        website: website.to_owned(),
        ..pb::Account::default()
    };
    for account in
        [account("Acme GmbH", "https://www.acme.example/"), account("ACME Ltd", "http://acme.example"), account("Acme", "https://other.example")]
    {
        let request = pb::CreateAccountRequest { account: Some(account) };
        desk.accounts().create_account(desk.clerk.request(request)).await.unwrap();
    }
    compared(&desk).await;
    let request = pb::ListDuplicatePairsRequest { collection: "accounts".to_owned(), ..pb::ListDuplicatePairsRequest::default() };
    let pairs = client(&desk).list_duplicate_pairs(desk.clerk.request(request)).await.unwrap().into_inner().duplicate_pairs;
    assert_eq!(pairs.iter().map(|pair| pair.score).collect::<Vec<_>>(), [46]);
    // A single contact named alike is none of them.
    desk.create(named("Acme")).await.unwrap();
    compared(&desk).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, []);
}
