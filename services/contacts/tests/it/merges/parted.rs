//! Merges of contacts that are taken back.

use rapport_contacts_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::GrantLevel;
use tonic::Code;

use super::{asked, client, email, facts, get, look_up, merge, timeless, two, unmerge, update};
use crate::support::{Desk, named, reading, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn taken_back_both_are_as_before_and_later_changes_go_where_they_belong() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let untouched = merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let undone = unmerge(&desk, &desk.clerk, &untouched.name).await.unwrap();
    assert_eq!(undone.state(), pb::merge::State::Unmerged);
    assert_eq!(timeless(get(&desk, &one.name).await), timeless(one.clone()));
    assert_eq!(timeless(get(&desk, &other.name).await), timeless(other.clone()));
    assert_eq!(look_up(&desk, "erp", "2").await.unwrap(), other.name);
    assert_eq!(refusal(&unmerge(&desk, &desk.clerk, &untouched.name).await.expect_err("twice")).1, "MERGE_UNDONE");

    let again = merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let mut edited = get(&desk, &one.name).await;
    let person = edited.person.get_or_insert_default();
    (person.family_name, person.job_title) = ("King".to_owned(), "Programmer".to_owned());
    person.contact_points[1].label = "shop".to_owned();
    person.contact_points.push(email("ada@new.example"));
    edited.tags = vec!["fresh".to_owned(), "new".to_owned()];
    update(&desk, edited, &["person", "tags"]).await.unwrap();
    unmerge(&desk, &desk.clerk, &again.name).await.unwrap();
    let (survivor, loser) = (get(&desk, &one.name).await, get(&desk, &other.name).await);
    let told = |contact: &pb::Contact| {
        let person = contact.person.clone().unwrap();
        let points: Vec<String> = person.contact_points.iter().map(|point| format!("{} {}", point.value, point.label).trim().to_owned()).collect();
        (person.family_name, person.job_title, points, contact.tags.clone())
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    // `vip` was removed since, which nobody has any more.
    let expected = ("King".to_owned(), String::new(), texts(&["ada@example.org", "ada@new.example"]), texts(&["fresh"]));
    assert_eq!(told(&survivor), expected);
    assert_eq!(told(&loser), ("Byron".to_owned(), "Programmer".to_owned(), texts(&["ada@shop.example shop"]), texts(&["new"])));
    assert_eq!((loser.delete_time, loser.merged_into.as_str()), (None, ""));
    let last = |facts: Vec<(i64, i16, String)>| facts.last().unwrap().2.clone();
    assert_eq!(last(facts(&desk, &one.name).await), "contacts.contact.unmerged.v1");
    assert_eq!(last(facts(&desk, &other.name).await), "contacts.contact.undeleted.v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_are_taken_back_from_the_last_one_and_within_thirty_days() {
    let desk = Desk::open().await;
    let [one, two, three] =
        [desk.create(named("A")).await, desk.create(named("B")).await, desk.create(named("C")).await].map(|made| made.unwrap().name);
    let first = merge(&desk, &desk.clerk, &one, &two).await.unwrap();
    let second = merge(&desk, &desk.clerk, &one, &three).await.unwrap();
    let refused = async |name: &str| refusal(&unmerge(&desk, &desk.clerk, name).await.expect_err("not now")).1;
    assert_eq!(refused(&first.name).await, "MERGE_NOT_LAST");
    let delete = pb::DeleteContactRequest { name: one.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    assert_eq!(refused(&second.name).await, "RECORD_DELETED");
    let undelete = pb::UndeleteContactRequest { name: one.clone(), etag: String::new() };
    desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap();
    unmerge(&desk, &desk.clerk, &second.name).await.unwrap();

    let request = pb::ListMergesRequest { filter: format!("survivor = \"{one}\" AND state = STATE_MERGED"), ..pb::ListMergesRequest::default() };
    let listed = client(&desk).list_merges(desk.clerk.request(request)).await.unwrap().into_inner().merges;
    assert_eq!(listed, std::slice::from_ref(&first));
    sqlx::query("update merges set created_at = created_at - interval '30 days'").execute(&mut desk.database().await).await.unwrap();
    assert_eq!(refused(&first.name).await, "MERGE_TOO_OLD");

    // It is seen by those who see its survivor.
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let other = identity.user(desk.tenant, None, role, GrantLevel::Own);
    for who in [&other, &identity.administrator(identity.tenant())] {
        let status = client(&desk).get_merge(who.request(pb::GetMergeRequest { name: first.name.clone() })).await.expect_err("hidden");
        assert_eq!(status.code(), Code::NotFound);
        let listed = client(&desk).list_merges(who.request(pb::ListMergesRequest::default())).await.unwrap().into_inner().merges;
        assert_eq!(listed, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_contact_of_a_private_customer_hands_its_place_on_and_gets_it_back() {
    let desk = Desk::open().await;
    let mut private = Vec::new();
    for display_name in ["Ada", "Byron"] {
        let account = pb::Account { display_name: display_name.to_owned(), kind: pb::account::Kind::Person.into(), ..pb::Account::default() };
        let request = desk.clerk.request(pb::CreateAccountRequest { account: Some(account) });
        private.push(desk.accounts().create_account(request).await.unwrap().into_inner().name);
    }
    let role = |account: &String| pb::AccountRole { account: account.clone(), ..pb::AccountRole::default() };
    let one = desk.create(pb::Contact { accounts: vec![role(&private[0])], ..named("Lovelace") }).await.unwrap();
    let other = desk.create(pb::Contact { accounts: vec![role(&private[1])], ..named("Byron") }).await.unwrap();
    let merged = merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let survivor = get(&desk, &one.name).await;
    assert_eq!(survivor.accounts.iter().map(|role| &role.account).collect::<Vec<_>>(), private.iter().collect::<Vec<_>>());
    // It is the one contact of both: it cannot leave either, and nobody else takes the place.
    let delete = pb::DeleteContactRequest { name: one.name.clone(), etag: String::new() };
    let status = desk.contacts().delete_contact(desk.clerk.request(delete)).await.expect_err("of two customers");
    assert_eq!(refusal(&status).1, "CONTACT_OF_PERSON_ACCOUNT");
    let status = desk.create(pb::Contact { accounts: vec![role(&private[1])], ..named("Third") }).await.expect_err("the place is taken");
    assert_eq!(refusal(&status).1, "PERSON_ACCOUNT_HAS_CONTACT");
    unmerge(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(timeless(get(&desk, &one.name).await), timeless(one.clone()));
    assert_eq!(timeless(get(&desk, &other.name).await), timeless(other.clone()));
    // The loser's accounts alone would leave the survivor's customer without anybody.
    let from_loser = Some(prost_types::FieldMask { paths: vec!["accounts".to_owned()] });
    let request = pb::MergeContactsRequest { from_loser, ..asked(&one.name, &other.name) };
    let status = client(&desk).merge_contacts(desk.clerk.request(request)).await.expect_err("a customer without contact");
    assert_eq!(refusal(&status).1, "CONTACT_OF_PERSON_ACCOUNT");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_loser_is_shared_with_sees_the_survivor_until_it_is_taken_back() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.contact.read"], Vec::new());
    let [reader, kept] = [(); 2].map(|()| identity.user(desk.tenant, None, role, GrantLevel::Own));
    let (one, other) = two(&desk).await;
    desk.share(reading(&other.name, &reader.name()), None).await.unwrap();
    for name in [&one.name, &other.name] {
        desk.share(reading(name, &kept.name()), None).await.unwrap();
    }
    let sees = async |who: &Subject, name: &str| {
        desk.contacts().get_contact(who.request(pb::GetContactRequest { name: name.to_owned(), as_of: None })).await.is_ok()
    };
    assert!(!sees(&reader, &one.name).await);
    let merged = merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert!(sees(&reader, &one.name).await && sees(&reader, &other.name).await && sees(&kept, &one.name).await);
    unmerge(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert!(!sees(&reader, &one.name).await, "it was given by the merge");
    assert!(sees(&kept, &one.name).await && sees(&reader, &other.name).await, "what people gave stays");
}
