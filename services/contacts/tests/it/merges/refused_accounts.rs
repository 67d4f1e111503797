//! Merges of accounts that are refused.

use rapport_contacts_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use super::accounts::{below, both, company, join, joining, make, part, read, remove, settled};
use super::{client, merge};
use crate::support::{Desk, named, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_cannot_be_merged_are_refused_by_their_reason() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let refused = async |who: &Subject, request: pb::MergeAccountsRequest| {
        let preview = pb::PreviewMergeAccountsRequest { merge: Some(request.clone()) };
        let previewed = client(&desk).preview_merge_accounts(who.request(preview)).await.expect_err("not to be merged");
        let status = client(&desk).merge_accounts(who.request(request)).await.expect_err("not to be merged");
        assert_eq!(refusal(&previewed), refusal(&status));
        refusal(&status)
    };
    let expect = |code, reason: &str| (code, reason.to_owned());
    assert_eq!(refused(&desk.clerk, joining(&one.name, &one.name)).await, expect(Code::InvalidArgument, "MERGE_WITH_SELF"));
    let contact = desk.create(named("Kaya")).await.unwrap();
    assert_eq!(refused(&desk.clerk, joining(&one.name, &contact.name)).await, expect(Code::InvalidArgument, "FIELD_INVALID"));
    let identity = &desk.service.identity;
    let foreigner = identity.administrator(identity.tenant());
    assert_eq!(refused(&foreigner, joining(&one.name, &other.name)).await, expect(Code::NotFound, "RECORD_NOT_FOUND"));
    for request in [
        pb::MergeAccountsRequest { survivor_etag: "7".to_owned(), ..joining(&one.name, &other.name) },
        pb::MergeAccountsRequest { loser_etag: "7".to_owned(), ..joining(&one.name, &other.name) },
    ] {
        assert_eq!(refused(&desk.clerk, request).await, expect(Code::Aborted, "ETAG_MISMATCH"));
    }
    // Reading is not enough for either of them, nor is changing enough for the loser.
    let role = identity.role(desk.tenant, &["contacts.account.read", "contacts.account.update", "contacts.merge.*"], Vec::new());
    let editor = identity.user(desk.tenant, None, role, GrantLevel::All);
    assert_eq!(refused(&editor, joining(&one.name, &other.name)).await, expect(Code::PermissionDenied, "RECORD_READ_ONLY"));
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let owner = identity.user(desk.tenant, None, role, GrantLevel::Own);
    assert_eq!(refused(&owner, joining(&one.name, &other.name)).await, expect(Code::NotFound, "RECORD_NOT_FOUND"));
    // Fields under a rule cannot be taken by name.
    let rule = FieldRule { resource: "contacts.account".to_owned(), field: "sector".to_owned(), effect: FieldEffect::Hidden.into() };
    let role = identity.role(desk.tenant, &["contacts.*"], vec![rule]);
    let clerk = identity.user(desk.tenant, None, role, GrantLevel::All);
    let from_loser = Some(prost_types::FieldMask { paths: vec!["sector".to_owned()] });
    let request = pb::MergeAccountsRequest { from_loser, ..joining(&one.name, &other.name) };
    assert_eq!(refused(&clerk, request).await, expect(Code::PermissionDenied, "FIELD_READ_ONLY"));
    let person = make(&desk, pb::Account { kind: pb::account::Kind::Person.into(), ..company("Ada") }).await;
    assert_eq!(refused(&desk.clerk, joining(&one.name, &person.name)).await, expect(Code::FailedPrecondition, "MERGE_KINDS_DIFFER"));
    let many = |prefix: &str| (0..30).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>();
    let full = make(&desk, pb::Account { tags: many("a"), ..company("Full") }).await;
    let fuller = make(&desk, pb::Account { tags: many("b"), ..company("Fuller") }).await;
    assert_eq!(refused(&desk.clerk, joining(&full.name, &fuller.name)).await, expect(Code::FailedPrecondition, "MERGE_TOO_LARGE"));
    remove(&desk, &other.name).await;
    for (survivor, loser) in [(&one.name, &other.name), (&other.name, &one.name)] {
        assert_eq!(refused(&desk.clerk, joining(survivor, loser)).await, expect(Code::FailedPrecondition, "RECORD_DELETED"));
    }
    assert_eq!(read(&desk, &one.name).await, one, "none of this changed anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loser_that_a_thousand_records_name_is_merged_and_one_more_is_refused() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let child = make(&desk, below("Child", &other)).await;
    let role = pb::AccountRole { account: other.name.clone(), ..pb::AccountRole::default() };
    for batch in [500, 500] {
        let entry = |number: usize| pb::Contact {
            accounts: vec![role.clone()],
            external_ids: vec![super::external_id(&format!("batch{batch}"), &rapport_kit::clock::new_id().to_string())],
            ..named(&format!("Number {number}"))
        };
        let request = pb::BatchUpsertContactsRequest { contacts: (0..batch).map(entry).collect(), atomic: true, ..Default::default() };
        desk.contacts().batch_upsert_contacts(desk.clerk.request(request)).await.expect("a batch");
    }
    let status = join(&desk, &desk.clerk, &one.name, &other.name).await.expect_err("1,001 records");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "MERGE_TOO_LARGE".to_owned()));
    assert_eq!(read(&desk, &child.name).await, child, "nothing was moved");
    remove(&desk, &child.name).await;
    let links = async |account: &pb::Account| -> i64 {
        let (_, id) = rapport_kit::name::split(&account.name).expect("a name");
        let query = "select count(*) from contact_accounts where account_id = $1";
        sqlx::query_scalar(query).bind(id).fetch_one(&mut desk.database().await).await.expect("a count")
    };
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.expect("1,000 records");
    assert_eq!([links(&one).await, links(&other).await], [1000, 0], "as many as there were");
    part(&desk, &desk.clerk, &merged.name).await.expect("1,000 records back");
    assert_eq!([links(&one).await, links(&other).await], [0, 1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_merge_is_taken_back_by_its_own_method() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let accounts = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let (ada, byron) = (desk.create(named("Ada")).await.unwrap(), desk.create(named("Byron")).await.unwrap());
    let contacts = merge(&desk, &desk.clerk, &ada.name, &byron.name).await.unwrap();
    let status = super::unmerge(&desk, &desk.clerk, &accounts.name).await.expect_err("a merge of accounts");
    assert_eq!(crate::support::violation(&status).0, "name");
    let status = part(&desk, &desk.clerk, &contacts.name).await.expect_err("a merge of contacts");
    assert_eq!(crate::support::violation(&status).0, "name");
    let listed = client(&desk).list_merges(desk.clerk.request(pb::ListMergesRequest::default())).await.unwrap().into_inner().merges;
    assert_eq!(listed, [contacts, accounts.clone()], "both stand in one list");
    let filter = format!("loser = \"{}\"", other.name);
    let request = pb::ListMergesRequest { filter, ..pb::ListMergesRequest::default() };
    let listed = client(&desk).list_merges(desk.clerk.request(request)).await.unwrap().into_inner().merges;
    assert_eq!(listed, [accounts]);
    assert_eq!(settled(read(&desk, &one.name).await).merged_into, "");
}
