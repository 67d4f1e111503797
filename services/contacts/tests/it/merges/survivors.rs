//! What a merge of contacts makes of both, and how the old name and ids lead on.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_contact_result::Outcome;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use super::{asked, client, external_id, facts, get, look_up, merge, timeless, told_into, two, update};
use crate::support::{Desk, named, reading};

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
