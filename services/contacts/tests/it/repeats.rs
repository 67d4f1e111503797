//! Requests that are sent again under their idempotency key, and keys that are used for another request.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_contact_result::{Outcome, Result as Outcomes};
use rapport_kit::auth::Claims;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as common;
use tonic::{Code, Status};

use crate::support::{Desk, named, reading, refusal};

fn assert_reused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.expect_err("the key came with another request");
    assert_eq!(refusal(&status), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".to_owned()), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_changes_nothing_uses_its_key_up_and_keeps_its_answer() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let first = desk.tag(&name, "vip", None).await.unwrap();
    let unchanged = desk.tag(&name, "vip", Some("same")).await.unwrap();
    assert_eq!(unchanged.etag, first.etag);
    desk.tag(&name, "other", None).await.unwrap();

    assert_eq!(desk.tag(&name, "vip", Some("same")).await.unwrap(), unchanged, "the first answer, though the record is another now");
    assert_reused(desk.tag(&name, "other", Some("same")).await);
    assert_reused(desk.tag(&name, "third", Some("same")).await);
    // Deleting what is deleted is nothing to do as well.
    let delete = || pb::DeleteContactRequest { name: name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete())).await.unwrap();
    let again = desk.contacts().delete_contact(desk.clerk.keyed(delete(), "gone")).await.unwrap().into_inner();
    assert_reused(desk.tag(&name, "vip", Some("gone")).await);
    let repeated = desk.contacts().delete_contact(desk.clerk.keyed(delete(), "gone")).await.unwrap().into_inner();
    assert_eq!(repeated, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_keeps_its_answer_though_the_record_came_back() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let delete = async |key: &str| {
        let request = pb::DeleteContactRequest { name: name.clone(), etag: String::new() };
        desk.contacts().delete_contact(desk.clerk.keyed(request, key)).await.unwrap().into_inner()
    };
    let deleted = delete("deletes").await;
    let subject = desk.service.identity.user_with(desk.tenant, None, &[]).name();
    desk.share(reading(&name, &subject), None).await.unwrap();
    assert_eq!(delete("deletes").await, deleted, "though it was shared in the bin");
    let found = delete("finds").await;
    let undelete = pb::UndeleteContactRequest { name: name.clone(), etag: String::new() };
    desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap();
    for (key, first) in [("deletes", &deleted), ("finds", &found)] {
        assert_eq!(&delete(key).await, first, "{key}: though it was brought back");
        assert!(first.delete_time.is_some() && first.person.is_some());
    }

    // Accounts are held to the same.
    let account = pb::Account { display_name: "Steel".to_owned(), ..pb::Account::default() };
    let request = desk.clerk.request(pb::CreateAccountRequest { account: Some(account) });
    let name = desk.accounts().create_account(request).await.unwrap().into_inner().name;
    let delete = || desk.clerk.keyed(pb::DeleteAccountRequest { name: name.clone(), etag: String::new() }, "account");
    let deleted = desk.accounts().delete_account(delete()).await.unwrap().into_inner();
    let undelete = pb::UndeleteAccountRequest { name: name.clone(), etag: String::new() };
    desk.accounts().undelete_account(desk.clerk.request(undelete)).await.unwrap();
    assert_eq!(desk.accounts().delete_account(delete()).await.unwrap().into_inner(), deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_wrote_is_refused_to_another_request_that_has_nothing_to_do() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let written = desk.tag(&name, "vip", Some("key")).await.unwrap();
    let stands = pb::Contact { name: name.clone(), person: written.person.clone(), ..pb::Contact::default() };
    let request = pb::UpdateContactRequest { contact: Some(stands), update_mask: None, allow_duplicates: false };
    assert_reused(desk.contacts().update_contact(desk.clerk.keyed(request, "key")).await);
    // The request itself is answered as it was, though others have gone back and forth since.
    desk.tag(&name, "other", None).await.unwrap();
    desk.tag(&name, "vip", None).await.unwrap();
    assert_eq!(desk.tag(&name, "vip", Some("key")).await.unwrap(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_which_nothing_or_a_part_changes_keeps_its_answer() {
    let desk = Desk::open().await;
    let entry = |id: &str, tag: &str| pb::Contact {
        external_ids: vec![common::ExternalId { system: "erp".to_owned(), id: id.to_owned() }],
        tags: vec![tag.to_owned()],
        ..named("Celik")
    };
    let upsert = async |contacts: Vec<pb::Contact>, key: &str| {
        let request = desk.clerk.keyed(pb::BatchUpsertContactsRequest { contacts, atomic: false, allow_duplicates: false }, key);
        desk.contacts().batch_upsert_contacts(request).await.map(tonic::Response::into_inner)
    };
    let outcomes = |answer: &pb::BatchUpsertContactsResponse| answer.results.iter().map(pb::UpsertContactResult::outcome).collect::<Vec<_>>();
    upsert(vec![entry("1", "a"), entry("2", "a")], "first").await.unwrap();
    let unchanged = upsert(vec![entry("1", "a"), entry("2", "a")], "all").await.unwrap();
    assert_eq!(outcomes(&unchanged), [Outcome::Unchanged, Outcome::Unchanged]);
    let mixed = upsert(vec![entry("1", "a"), entry("2", "b"), entry("3", "b")], "part").await.unwrap();
    assert_eq!(outcomes(&mixed), [Outcome::Unchanged, Outcome::Updated, Outcome::Created]);

    for result in &mixed.results {
        let Some(Outcomes::Contact(contact)) = &result.result else { panic!("every entry is sound") };
        desk.tag(&contact.name, "later", None).await.unwrap();
    }
    assert_eq!(upsert(vec![entry("1", "a"), entry("2", "a")], "all").await.unwrap(), unchanged);
    assert_eq!(upsert(vec![entry("1", "a"), entry("2", "b"), entry("3", "b")], "part").await.unwrap(), mixed);
    assert_reused(upsert(vec![entry("1", "later")], "all").await);
    assert_reused(upsert(vec![entry("1", "later")], "part").await);

    // A batch that was refused as a whole has not used its key up.
    let taken = pb::Contact { name: format!("contacts/{}", rapport_kit::clock::new_id()), ..entry("9", "a") };
    let atomic = || pb::BatchUpsertContactsRequest { contacts: vec![entry("1", "later"), taken.clone()], atomic: true, allow_duplicates: false };
    let refused = desk.contacts().batch_upsert_contacts(desk.clerk.keyed(atomic(), "atomic")).await.unwrap().into_inner();
    assert_eq!(outcomes(&refused), [Outcome::Unchanged, Outcome::Failed]);
    upsert(vec![entry("1", "later")], "atomic").await.expect("the key is free");

    // Accounts are held to the same.
    let accounts = async |tag: &str, key: &str| {
        let account = pb::Account {
            display_name: "Steel".to_owned(),
            tags: vec![tag.to_owned()],
            external_ids: vec![common::ExternalId { system: "erp".to_owned(), id: "1".to_owned() }],
            ..pb::Account::default()
        };
        let request = desk.clerk.keyed(pb::BatchUpsertAccountsRequest { accounts: vec![account], atomic: true }, key);
        desk.accounts().batch_upsert_accounts(request).await.map(tonic::Response::into_inner)
    };
    accounts("a", "accounts-1").await.unwrap();
    let unchanged = accounts("a", "accounts-2").await.unwrap();
    accounts("b", "accounts-3").await.unwrap();
    assert_eq!(accounts("a", "accounts-2").await.unwrap(), unchanged);
    assert_reused(accounts("b", "accounts-2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_keep_their_answers_whatever_happened_since() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let subject = desk.service.identity.user_with(desk.tenant, None, &[]).name();
    let given = desk.share(reading(&name, &subject), Some("share")).await.unwrap();
    let writing = common::ShareRecordRequest { access_level: common::AccessLevel::Write.into(), ..reading(&name, &subject) };
    desk.share(writing, None).await.unwrap();
    assert_eq!(desk.share(reading(&name, &subject), Some("share")).await.unwrap(), given, "as it was given");
    let unshare = || common::UnshareRecordRequest { name: name.clone(), subject: subject.clone() };
    desk.access().unshare_record(desk.clerk.request(unshare())).await.unwrap();
    assert_eq!(desk.share(reading(&name, &subject), Some("share")).await.unwrap(), given, "though it was taken back");

    // Nothing to take back is well, and uses the key up.
    desk.access().unshare_record(desk.clerk.keyed(unshare(), "unshare")).await.unwrap();
    assert_reused(desk.share(reading(&name, &subject), Some("unshare")).await);
    desk.share(reading(&name, &subject), None).await.unwrap();
    desk.access().unshare_record(desk.clerk.keyed(unshare(), "unshare")).await.unwrap();
    let shares = desk.access().list_shares(desk.clerk.request(common::ListSharesRequest { name: name.clone(), ..Default::default() })).await.unwrap();
    assert_eq!(shares.into_inner().shares.len(), 1, "a repetition does nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_looked_up_before_a_share_is_refused_for_its_subject_or_record() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let hidden = format!("contacts/{}", rapport_kit::clock::new_id());
    let subject = desk.service.identity.user_with(desk.tenant, None, &[]).name();
    let given = desk.share(reading(&name, &subject), Some("key")).await.unwrap();
    assert_reused(desk.share(reading(&name, &format!("users/{}", rapport_kit::clock::new_id())), Some("key")).await);
    assert_reused(desk.share(reading(&hidden, &subject), Some("key")).await);
    let unshare = common::UnshareRecordRequest { name: hidden, subject: subject.clone() };
    assert_reused(desk.access().unshare_record(desk.clerk.keyed(unshare, "key")).await);
    // The subject is gone by now; what was given was given.
    desk.service.identity.tell(desk.tenant, subject.clone(), 2, None);
    let after = desk.service.identity.user_with(desk.tenant, None, &[]).name();
    desk.share(reading(&name, &after), None).await.unwrap();
    assert_eq!(desk.share(reading(&name, &subject), Some("key")).await.unwrap(), given);
    let refused = desk.share(reading(&name, &subject), None).await.expect_err("the subject is gone");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_uses_one_key_for_two_users_acts_for_both() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let mut created = Vec::new();
    for user in [identity.administrator(desk.tenant), identity.administrator(desk.tenant)] {
        let claims = Claims { act: Some("services/campaigns".to_owned()), ..identity.claims(desk.tenant, &user.name()) };
        let service = Subject { token: identity.token(&claims), ..user };
        for _ in 0..2 {
            let request = service.keyed(pb::CreateContactRequest { contact: Some(named("Celik")), allow_duplicates: false }, "key");
            created.push(desk.contacts().create_contact(request).await.expect("a contact").into_inner());
        }
    }
    let [one, repeated, other, repeated_too] = created.as_slice() else { panic!("four answers") };
    assert_eq!((one, other), (repeated, repeated_too));
    assert_ne!(one.name, other.name);
}
