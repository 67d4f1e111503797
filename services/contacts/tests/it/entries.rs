//! What a filter or an entry of a batch may ask about, and what one bad entry does to the others.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_contact_result::{Outcome, Result as Outcomes};
use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::{ExternalId, FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use crate::support::{Desk, named, refusal};

/// Somebody who may do everything with accounts and contacts, but does not see these fields of either.
fn blinkered(desk: &Desk, hidden: &[(&str, &str)]) -> Subject {
    let rule = |(resource, field): &(&str, &str)| FieldRule {
        resource: (*resource).to_owned(),
        field: (*field).to_owned(),
        effect: FieldEffect::Hidden.into(),
    };
    let role = desk.service.identity.role(desk.tenant, &["contacts.*"], hidden.iter().map(rule).collect());
    desk.service.identity.user(desk.tenant, None, role, GrantLevel::All)
}

fn known_as(id: &str, family_name: &str) -> pb::Contact {
    pb::Contact { external_ids: vec![ExternalId { system: "erp".to_owned(), id: id.to_owned() }], ..named(family_name) }
}

/// Outcome of each entry, with the code of its refusal.
async fn upsert(desk: &Desk, subject: &Subject, contacts: Vec<pb::Contact>) -> Vec<(Outcome, Option<Code>)> {
    let request = subject.request(pb::BatchUpsertContactsRequest { contacts, atomic: false, allow_duplicates: false });
    let results = desk.contacts().batch_upsert_contacts(request).await.expect("the batch is carried out").into_inner().results;
    let told = |result: pb::UpsertContactResult| match &result.result {
        Some(Outcomes::Error(error)) => (result.outcome(), Some(Code::from(error.code))),
        _ => (result.outcome(), None),
    };
    results.into_iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_see_a_contact_point_does_not_find_it_by_its_normalised_form() {
    let desk = Desk::open().await;
    let hidden = [("contacts.contact", "person.contact_points.value"), ("contacts.account", "contact_points.value")];
    let reader = blinkered(&desk, &hidden);
    let filter = "person.contact_points.normalized = \"a*\"".to_owned();
    let request = reader.request(pb::ListContactsRequest { filter, ..pb::ListContactsRequest::default() });
    let refused = desk.contacts().list_contacts(request).await.expect_err("the value is hidden");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "FIELD_HIDDEN".to_owned()));
    let filter = "contact_points.normalized = \"a*\"".to_owned();
    let request = reader.request(pb::ListAccountsRequest { filter, ..pb::ListAccountsRequest::default() });
    let refused = desk.accounts().list_accounts(request).await.expect_err("the value is hidden");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "FIELD_HIDDEN".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_see_external_ids_cannot_try_them_out() {
    let desk = Desk::open().await;
    upsert(&desk, &desk.clerk, vec![known_as("1", "Celik")]).await;
    let other = desk.create(named("Demir")).await.unwrap().name;
    let clerk = blinkered(&desk, &[("contacts.contact", "external_ids"), ("contacts.account", "external_ids")]);
    let on_another = |id: &str| pb::Contact { name: other.clone(), ..known_as(id, "Demir") };
    let unknown_and_known = vec![known_as("1", "Celik"), known_as("2", "Celik"), on_another("1"), on_another("2")];
    assert_eq!(upsert(&desk, &clerk, unknown_and_known).await, [(Outcome::Failed, Some(Code::PermissionDenied)); 4], "no answer tells them apart");
    let by_name = pb::Contact { name: other, ..named("Kaya") };
    assert_eq!(upsert(&desk, &clerk, vec![by_name]).await, [(Outcome::Updated, None)]);

    let account = pb::Account { external_ids: known_as("1", "").external_ids, display_name: "Steel".to_owned(), ..pb::Account::default() };
    let request = clerk.request(pb::BatchUpsertAccountsRequest { accounts: vec![account], atomic: false });
    let results = desk.accounts().batch_upsert_accounts(request).await.unwrap().into_inner().results;
    let [pb::UpsertAccountResult { result: Some(pb::upsert_account_result::Result::Error(error)), .. }] = results.as_slice() else {
        panic!("the entry is refused: {results:?}")
    };
    assert_eq!(Code::from(error.code), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_with_the_character_nul_is_refused_to_its_entry_alone() {
    let desk = Desk::open().await;
    let outcomes = upsert(&desk, &desk.clerk, vec![known_as("1\0", "Celik"), known_as("1", "Demir")]).await;
    assert_eq!(outcomes, [(Outcome::Failed, Some(Code::InvalidArgument)), (Outcome::Created, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_change_an_entrys_record_stands_in_the_access_log() {
    let desk = Desk::open().await;
    let [own, other] = ["own", "other"].map(|id| known_as(id, "Celik"));
    let role = |permissions: &[&str]| desk.service.identity.role(desk.tenant, permissions, Vec::new());
    let grants = [(role(&["contacts.contact.read"]), GrantLevel::All), (role(&["contacts.contact.*"]), GrantLevel::Own)];
    let caller = desk.service.identity.user_with(desk.tenant, None, &grants);
    desk.create(other.clone()).await.expect("the clerk's contact");
    let changed = pb::Contact { tags: vec!["changed".to_owned()], ..other };
    let expected = [(Outcome::Created, None), (Outcome::Failed, Some(Code::PermissionDenied))];
    assert_eq!(upsert(&desk, &caller, vec![own, changed]).await, expected);
    let logged: (String, String) = eventually("a row of the access log", async || {
        let row = sqlx::query_as("select subject, reason from kit.access_log where tenant_id = $1 and kind = 'denied'").bind(desk.tenant);
        row.fetch_optional(&mut desk.superuser().await).await.expect("rows")
    })
    .await;
    assert_eq!(logged, (caller.name(), "RECORD_READ_ONLY".to_owned()));
}
