//! What people said of a pair whose record is merged.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_pair::State;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_kit::testing::eventually;
use rapport_proto::google_type::Date;

use super::{compared, listed, person, review};
use crate::support::Desk;

/// Three contacts that the shipped rule takes for one person, in the order in which they came.
async fn three_alike(desk: &Desk) -> [pb::Contact; 3] {
    let mut alike = Vec::new();
    for _ in 0..3 {
        alike.push(desk.create(person("Zeynep", "Yıldız", (2, 28))).await.expect("a contact"));
    }
    eventually("each is like each", async || (listed(desk, &desk.clerk, State::Open).await.len() == 3).then_some(())).await;
    alike.try_into().expect("three contacts")
}

/// The pair of two contacts that stands so.
async fn pair_of(desk: &Desk, state: State, one: &pb::Contact, other: &pb::Contact) -> Option<pb::DuplicatePair> {
    let names = [one.name.as_str(), other.name.as_str()];
    let is_theirs = |pair: &pb::DuplicatePair| names.contains(&pair.first_record.as_str()) && names.contains(&pair.second_record.as_str());
    listed(desk, &desk.clerk, state).await.into_iter().find(is_theirs)
}

async fn merge(desk: &Desk, survivor: &pb::Contact, loser: &pb::Contact) {
    let request = pb::MergeContactsRequest { survivor: survivor.name.clone(), loser: loser.name.clone(), ..pb::MergeContactsRequest::default() };
    MergeServiceClient::new(desk.service.channel.clone()).merge_contacts(desk.clerk.request(request)).await.expect("a merge");
    compared(desk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_apart_from_a_merged_contact_is_told_apart_from_the_one_that_goes_on() {
    let desk = Desk::open().await;
    let [survivor, loser, other] = three_alike(&desk).await;
    let judged = pair_of(&desk, State::Open, &loser, &other).await.expect("a pair");
    let judged = review(&desk, &desk.clerk, &judged.name, State::NotDuplicate, None).await.expect("a review");
    merge(&desk, &survivor, &loser).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, [], "nobody is asked again");
    let followed = pair_of(&desk, State::NotDuplicate, &survivor, &other).await.expect("the judgement followed");
    assert_eq!((&followed.reviewer, followed.review_time), (&judged.reviewer, judged.review_time));
    // It is a judgement like others: people may think again.
    review(&desk, &desk.clerk, &followed.name, State::Open, None).await.expect("a review");
    assert!(pair_of(&desk, State::Open, &survivor, &other).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_said_of_the_survivors_own_pair_stays_when_another_is_merged_into_it() {
    let desk = Desk::open().await;
    let [survivor, loser, other] = three_alike(&desk).await;
    let judged = pair_of(&desk, State::Open, &loser, &other).await.expect("a pair");
    review(&desk, &desk.clerk, &judged.name, State::NotDuplicate, None).await.expect("a review");
    let own = pair_of(&desk, State::Open, &survivor, &other).await.expect("a pair");
    let day = Some(Date { year: 2999, month: 1, day: 1 });
    review(&desk, &desk.clerk, &own.name, State::Later, day).await.expect("a review");
    merge(&desk, &survivor, &loser).await;
    assert!(pair_of(&desk, State::Later, &survivor, &other).await.is_some());
    assert!(pair_of(&desk, State::NotDuplicate, &survivor, &other).await.is_none());
}
