//! Merges of contacts: what becomes of both records, how the old name and ids lead on, and how it is taken back.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_contacts_api::v1::upsert_contact_result::Outcome;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Desk, named, reading, refusal};

fn client(desk: &Desk) -> MergeServiceClient<Channel> {
    MergeServiceClient::new(desk.service.channel.clone())
}

fn asked(survivor: &str, loser: &str) -> pb::MergeContactsRequest {
    pb::MergeContactsRequest { survivor: survivor.to_owned(), loser: loser.to_owned(), ..pb::MergeContactsRequest::default() }
}

async fn merge(desk: &Desk, who: &Subject, survivor: &str, loser: &str) -> Result<pb::Merge, Status> {
    Ok(client(desk).merge_contacts(who.request(asked(survivor, loser))).await?.into_inner())
}

async fn unmerge(desk: &Desk, who: &Subject, name: &str) -> Result<pb::Merge, Status> {
    let request = pb::UnmergeContactsRequest { name: name.to_owned(), etag: String::new() };
    Ok(client(desk).unmerge_contacts(who.request(request)).await?.into_inner())
}

async fn get(desk: &Desk, name: &str) -> pb::Contact {
    let request = pb::GetContactRequest { name: name.to_owned(), as_of: None };
    desk.contacts().get_contact(desk.clerk.request(request)).await.expect("a contact").into_inner()
}

async fn update(desk: &Desk, contact: pb::Contact, paths: &[&str]) -> Result<pb::Contact, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = pb::UpdateContactRequest { contact: Some(contact), update_mask: Some(prost_types::FieldMask { paths }), ..Default::default() };
    Ok(desk.contacts().update_contact(desk.clerk.request(request)).await?.into_inner())
}

async fn look_up(desk: &Desk, system: &str, id: &str) -> Result<String, Status> {
    let request = pb::LookupContactRequest { system: system.to_owned(), id: id.to_owned() };
    Ok(desk.contacts().lookup_contact(desk.clerk.request(request)).await?.into_inner().name)
}

fn external_id(system: &str, id: &str) -> common::ExternalId {
    common::ExternalId { system: system.to_owned(), id: id.to_owned() }
}

fn email(value: &str) -> pb::ContactPoint {
    pb::ContactPoint { kind: Kind::Email.into(), value: value.to_owned(), ..pb::ContactPoint::default() }
}

/// A person with one of everything that lists hold.
fn person(family_name: &str, mailbox: &str, external_ids: &[(&str, &str)], tag: &str) -> pb::Contact {
    let mut contact = named(family_name);
    contact.person.get_or_insert_default().contact_points = vec![email(mailbox)];
    let external_ids = external_ids.iter().map(|(system, id)| external_id(system, id)).collect();
    pb::Contact { external_ids, tags: vec![tag.to_owned()], ..contact }
}

/// Ada, as sales knows her, and Ada, as the shop does.
async fn two(desk: &Desk) -> (pb::Contact, pb::Contact) {
    let one = desk.create(person("Lovelace", "ada@example.org", &[("erp", "1")], "vip")).await.expect("a contact");
    let mut other = person("Byron", "ada@shop.example", &[("erp", "2"), ("shop", "9")], "new");
    other.person.get_or_insert_default().job_title = "Countess".to_owned();
    (one, desk.create(other).await.expect("a contact"))
}

/// A contact as a merge and its end leave it: all but versions and times.
fn timeless(contact: pb::Contact) -> pb::Contact {
    pb::Contact { etag: String::new(), update_time: None, ..contact }
}

fn told_into(status: &Status) -> Option<String> {
    assert_eq!(refusal(status), (Code::FailedPrecondition, "RECORD_MERGED".to_owned()), "{status:?}");
    status.get_details_error_info().and_then(|info| info.metadata.get("merged_into").cloned())
}

/// Whether a caller is to send the same again, or to read again and decide anew.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::ResourceExhausted)
}

/// Facts of a record with their versions and ordinals, oldest first.
async fn facts(desk: &Desk, name: &str) -> Vec<(i64, i16, String)> {
    let (_, id) = rapport_kit::name::split(name).expect("a record has a name");
    sqlx::query_as("select version, ordinal, fact from kit.journal where record_id = $1 order by version, ordinal")
        .bind(id)
        .fetch_all(&mut desk.database().await)
        .await
        .expect("the journal")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_has_what_both_had_and_the_loser_leads_to_it() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let merged = merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!((&merged.survivor, &merged.loser, merged.state()), (&one.name, &other.name, pb::merge::State::Merged));

    let survivor = get(&desk, &one.name).await;
    let person = survivor.person.clone().unwrap();
    assert_eq!((person.family_name.as_str(), person.job_title.as_str()), ("Lovelace", "Countess"));
    let points: Vec<(&str, bool)> = person.contact_points.iter().map(|point| (point.value.as_str(), point.primary)).collect();
    assert_eq!(points, [("ada@example.org", true), ("ada@shop.example", false)]);
    assert_eq!(survivor.external_ids, [external_id("erp", "1"), external_id("shop", "9")]);
    assert_eq!(survivor.tags, ["new", "vip"]);

    let loser = get(&desk, &other.name).await;
    assert_eq!(loser.merged_into, one.name);
    assert!(loser.delete_time.is_some());
    assert_eq!((&loser.person, &loser.external_ids), (&other.person, &other.external_ids), "it stays as it was");
    let listed = desk.contacts().list_contacts(desk.clerk.request(pb::ListContactsRequest::default())).await.unwrap().into_inner().contacts;
    assert_eq!(listed.iter().map(|contact| &contact.name).collect::<Vec<_>>(), [&one.name]);

    // One fact for each record, so that whoever copies them follows by version.
    let keys = |facts: Vec<(i64, i16, String)>| facts.into_iter().map(|(version, _, fact)| (version, fact)).collect::<Vec<_>>();
    let fact = |version, fact: &str| (version, format!("contacts.{fact}.v1"));
    assert_eq!(keys(facts(&desk, &one.name).await), [fact(1, "contact.created"), fact(2, "contact.merged")]);
    assert_eq!(keys(facts(&desk, &other.name).await), [fact(1, "contact.created"), fact(2, "contact.deleted")]);
    assert_eq!(keys(facts(&desk, &merged.name).await), [fact(1, "merge.created")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_other_systems_gave_the_loser_find_the_survivor() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    merge(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    // The survivor has an id of the same system, which stays; the loser's leads to it as well.
    for (system, id) in [("erp", "1"), ("erp", "2"), ("shop", "9")] {
        assert_eq!(look_up(&desk, system, id).await.unwrap(), one.name, "{system} {id}");
    }
    for id in ["1", "2"] {
        let entry = pb::Contact { external_ids: vec![external_id("erp", id)], tags: vec![format!("feed {id}")], ..pb::Contact::default() };
        let request = pb::BatchUpsertContactsRequest { contacts: vec![entry], atomic: true, ..Default::default() };
        let results = desk.contacts().batch_upsert_contacts(desk.clerk.request(request)).await.unwrap().into_inner().results;
        assert_eq!(results[0].outcome(), Outcome::Updated, "{results:?}");
        assert_eq!(get(&desk, &one.name).await.tags, [format!("feed {id}")]);
    }
    assert_eq!(look_up(&desk, "erp", "1").await.unwrap(), one.name, "what the feed sent took nothing from it");
    // Whoever goes on in turn is found by all of them.
    let third = desk.create(named("King")).await.unwrap();
    merge(&desk, &desk.clerk, &third.name, &one.name).await.unwrap();
    assert_eq!(look_up(&desk, "erp", "2").await.unwrap(), third.name);
    let delete = pb::DeleteContactRequest { name: third.name, etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    assert_eq!(look_up(&desk, "erp", "2").await.expect_err("nobody goes on").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_contact_takes_no_change_and_tells_where_it_went_to_those_who_may_see_it() {
    let desk = Desk::open().await;
    let [first, second, third] = [desk.create(named("A")).await, desk.create(named("B")).await, desk.create(named("C")).await].map(Result::unwrap);
    merge(&desk, &desk.clerk, &second.name, &first.name).await.unwrap();
    merge(&desk, &desk.clerk, &third.name, &second.name).await.unwrap();
    assert_eq!(get(&desk, &first.name).await.merged_into, third.name, "the last of the chain");

    let tagged = pb::Contact { name: first.name.clone(), tags: vec!["x".to_owned()], ..pb::Contact::default() };
    assert_eq!(told_into(&update(&desk, tagged, &["tags"]).await.expect_err("merged")), Some(third.name.clone()));
    let undelete = pb::UndeleteContactRequest { name: first.name.clone(), etag: String::new() };
    let status = desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.expect_err("merged");
    assert_eq!(told_into(&status), Some(third.name.clone()));
    let fourth = desk.create(named("D")).await.unwrap();
    for (survivor, loser) in [(&fourth.name, &first.name), (&first.name, &fourth.name)] {
        assert_eq!(told_into(&merge(&desk, &desk.clerk, survivor, loser).await.expect_err("merged")), Some(third.name.clone()));
    }

    // Somebody who sees the first one alone is not told.
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.contact.*"], Vec::new());
    let reader = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let share = common::ShareRecordRequest { access_level: common::AccessLevel::Write.into(), ..reading(&first.name, &reader.name()) };
    desk.share(share, None).await.unwrap();
    let contact = pb::Contact { name: first.name.clone(), tags: vec!["x".to_owned()], ..pb::Contact::default() };
    let request = pb::UpdateContactRequest { contact: Some(contact), ..Default::default() };
    let status = desk.contacts().update_contact(reader.request(request)).await.expect_err("merged");
    assert_eq!(told_into(&status), None);
}

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
async fn a_preview_shows_the_result_under_the_callers_rules_and_writes_nothing() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let (one, other) = two(&desk).await;
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "external_ids".to_owned(), effect: FieldEffect::Hidden.into() };
    let role = identity.role(desk.tenant, &["contacts.*"], vec![rule]);
    let clerk = identity.user(desk.tenant, None, role, GrantLevel::All);
    let preview = async |who: &Subject| {
        let request = pb::PreviewMergeContactsRequest { merge: Some(asked(&one.name, &other.name)) };
        client(&desk).preview_merge_contacts(who.request(request)).await.unwrap().into_inner()
    };
    let (seen, hidden) = (preview(&desk.clerk).await, preview(&clerk).await);
    assert_eq!(seen.conflicts, ["person.family_name", "external_ids"]);
    assert_eq!(hidden.conflicts, ["person.family_name"]);
    assert_eq!(hidden.survivor.unwrap().external_ids, []);
    assert_eq!((get(&desk, &one.name).await, get(&desk, &other.name).await), (one.clone(), other.clone()));

    // What that clerk does not see is merged all the same, and stays where they do not see it.
    merge(&desk, &clerk, &one.name, &other.name).await.unwrap();
    let survivor = get(&desk, &one.name).await;
    assert_eq!(Some(timeless(survivor.clone())), seen.survivor.map(timeless));
    assert_eq!(survivor.external_ids.len(), 2);
}

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
