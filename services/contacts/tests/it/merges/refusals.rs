//! Merges of contacts that are refused, repeated, or come at the same time as changes.

use rapport_contacts_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use super::{asked, client, email, facts, get, is_passing, merge, told_into, two, update};
use crate::support::{Desk, named, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_refused_by_its_reason() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let refused = async |who: &Subject, request: pb::MergeContactsRequest| {
        let preview = pb::PreviewMergeContactsRequest { merge: Some(request.clone()) };
        let previewed = client(&desk).preview_merge_contacts(who.request(preview)).await.expect_err("not to be merged");
        let status = client(&desk).merge_contacts(who.request(request)).await.expect_err("not to be merged");
        assert_eq!(refusal(&previewed), refusal(&status));
        refusal(&status)
    };
    let expect = |code, reason: &str| (code, reason.to_owned());
    assert_eq!(refused(&desk.clerk, asked(&one.name, &one.name)).await, expect(Code::InvalidArgument, "MERGE_WITH_SELF"));
    let identity = &desk.service.identity;
    let foreigner = identity.administrator(identity.tenant());
    assert_eq!(refused(&foreigner, asked(&one.name, &other.name)).await, expect(Code::NotFound, "RECORD_NOT_FOUND"));
    for request in [
        pb::MergeContactsRequest { survivor_etag: "7".to_owned(), ..asked(&one.name, &other.name) },
        pb::MergeContactsRequest { loser_etag: "7".to_owned(), ..asked(&one.name, &other.name) },
    ] {
        assert_eq!(refused(&desk.clerk, request).await, expect(Code::Aborted, "ETAG_MISMATCH"));
    }
    // Reading is not enough for either of them, nor is changing enough for the loser.
    let role = identity.role(desk.tenant, &["contacts.contact.read", "contacts.contact.update", "contacts.merge.*"], Vec::new());
    let editor = identity.user(desk.tenant, None, role, GrantLevel::All);
    assert_eq!(refused(&editor, asked(&one.name, &other.name)).await, expect(Code::PermissionDenied, "RECORD_READ_ONLY"));
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let owner = identity.user(desk.tenant, None, role, GrantLevel::Own);
    assert_eq!(refused(&owner, asked(&one.name, &other.name)).await, expect(Code::NotFound, "RECORD_NOT_FOUND"));
    // Fields under a rule cannot be taken by name.
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "person.notes".to_owned(), effect: FieldEffect::Hidden.into() };
    let role = identity.role(desk.tenant, &["contacts.*"], vec![rule]);
    let clerk = identity.user(desk.tenant, None, role, GrantLevel::All);
    let from_loser = Some(prost_types::FieldMask { paths: vec!["person.notes".to_owned()] });
    let request = pb::MergeContactsRequest { from_loser, ..asked(&one.name, &other.name) };
    assert_eq!(refused(&clerk, request).await, expect(Code::PermissionDenied, "FIELD_READ_ONLY"));
    let many = |prefix: &str| (0..30).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>();
    let [full, fuller] =
        [desk.create(pb::Contact { tags: many("a"), ..named("A") }).await, desk.create(pb::Contact { tags: many("b"), ..named("B") }).await]
            .map(|made| made.unwrap().name);
    assert_eq!(refused(&desk.clerk, asked(&full, &fuller)).await, expect(Code::FailedPrecondition, "MERGE_TOO_LARGE"));
    let delete = pb::DeleteContactRequest { name: other.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    for (survivor, loser) in [(&one.name, &other.name), (&other.name, &one.name)] {
        assert_eq!(refused(&desk.clerk, asked(survivor, loser)).await, expect(Code::FailedPrecondition, "RECORD_DELETED"));
    }
    assert_eq!(get(&desk, &one.name).await, one, "none of this changed anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_sent_again_under_its_key_happens_once() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let merge =
        async |key: &str| client(&desk).merge_contacts(desk.clerk.keyed(asked(&one.name, &other.name), key)).await.map(tonic::Response::into_inner);
    let made = merge("merge").await.unwrap();
    assert_eq!(merge("merge").await.unwrap(), made);
    assert_eq!(refusal(&merge("other").await.expect_err("merged")).1, "RECORD_MERGED");
    let unmerge = async |key: &str| {
        let request = pb::UnmergeContactsRequest { name: made.name.clone(), etag: String::new() };
        client(&desk).unmerge_contacts(desk.clerk.keyed(request, key)).await.map(tonic::Response::into_inner)
    };
    let undone = unmerge("undo").await.unwrap();
    assert_eq!(unmerge("undo").await.unwrap(), undone);
    assert_eq!(merge("merge").await.unwrap(), made, "as it was then");
    assert_eq!(get(&desk, &one.name).await.merged_into, "");
    assert_eq!(facts(&desk, &made.name).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_merges_at_once_lose_nothing() {
    let desk = Desk::open().await;
    let tagged = |tag: String| pb::Contact { tags: vec![tag], ..named("Lovelace") };
    let mut names = Vec::new();
    for number in 0..20 {
        names.push(desk.create(tagged(format!("of {number}"))).await.unwrap().name);
    }
    let survivor = desk.create(tagged("of the survivor".to_owned())).await.unwrap().name;
    // Each of the others is merged once, while the survivor and each of them get an address.
    let address = async |name: &str, mailbox: String| {
        loop {
            let mut contact = get(&desk, name).await;
            contact.person.get_or_insert_default().contact_points.push(email(&mailbox));
            match update(&desk, contact, &["person.contact_points"]).await {
                Ok(_) => return true,
                Err(status) if is_passing(&status) => {}
                Err(status) => return told_into(&status).is_none(),
            }
        }
    };
    let merges = names.iter().map(async |name| {
        loop {
            match merge(&desk, &desk.clerk, &survivor, name).await {
                Ok(_) => return,
                Err(status) => assert!(is_passing(&status), "{status:?}"),
            }
        }
    });
    let of_losers = names.iter().enumerate().map(async |(number, name)| address(name, format!("loser{number}@example.org")).await);
    let of_survivor = (0..20).map(async |number| address(&survivor, format!("survivor{number}@example.org")).await);
    let ((_, taken), added) = futures_util::future::join(
        futures_util::future::join(futures_util::future::join_all(merges), futures_util::future::join_all(of_losers)),
        futures_util::future::join_all(of_survivor),
    )
    .await;
    assert!(added.iter().all(|done| *done));
    let merged = get(&desk, &survivor).await;
    let mut tags: Vec<String> = (0..20).map(|number| format!("of {number}")).chain(["of the survivor".to_owned()]).collect();
    tags.sort_unstable();
    assert_eq!(merged.tags, tags);
    let points: Vec<String> = merged.person.unwrap().contact_points.into_iter().map(|point| point.value).collect();
    for (number, is_taken) in taken.into_iter().enumerate() {
        assert!(points.contains(&format!("survivor{number}@example.org")), "{number} of the survivor: {points:?}");
        // A loser's change is either refused, or came before its merge and is part of it.
        let of_loser = format!("loser{number}@example.org");
        assert_eq!(points.contains(&of_loser), is_taken, "{number}: {points:?}");
    }
}
