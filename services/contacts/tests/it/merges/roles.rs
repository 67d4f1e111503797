//! Contacts of merged accounts, and accounts of one contact alone.

use rapport_contacts_api::v1 as pb;

use super::accounts::{company, join, joining, make, part, read, remove, settled};
use super::{client, facts, get, merge, timeless, unmerge, update};
use crate::support::{Desk, named, refusal};

fn acting(family_name: &str, roles: &[(&pb::Account, &str)]) -> pb::Contact {
    let role = |(account, role): &(&pb::Account, &str)| pb::AccountRole {
        account: account.name.clone(),
        role: (*role).to_owned(),
        ..pb::AccountRole::default()
    };
    pb::Contact { accounts: roles.iter().map(role).collect(), ..named(family_name) }
}

/// Names of accounts with the roles at them.
fn roles(contact: &pb::Contact) -> Vec<(&str, &str)> {
    contact.accounts.iter().map(|role| (role.account.as_str(), role.role.as_str())).collect()
}

async fn two(desk: &Desk) -> (pb::Account, pb::Account) {
    (make(desk, company("One")).await, make(desk, company("Other")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_act_for_the_survivor_and_have_their_roles_back_with_their_changes() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let mover = desk.create(acting("Mover", &[(&other, "buyer")])).await.unwrap();
    let doubled = desk.create(acting("Double", &[(&other, "buyer"), (&one, "seller")])).await.unwrap();
    let edited = desk.create(acting("Edited", &[(&other, "buyer")])).await.unwrap();
    let leaver = desk.create(acting("Leaver", &[(&other, "buyer")])).await.unwrap();
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &mover.name).await), [(one.name.as_str(), "buyer")]);
    assert_eq!(roles(&get(&desk, &doubled.name).await), [(one.name.as_str(), "seller")], "one entry");
    assert!(get(&desk, &doubled.name).await.accounts[0].primary);
    let last = facts(&desk, &mover.name).await;
    assert_eq!(last.last().map(|(version, _, fact)| (*version, fact.as_str())), Some((2, "contacts.contact.updated.v1")));

    let mut now = get(&desk, &edited.name).await;
    now.accounts[0].role = "head of purchase".to_owned();
    update(&desk, now, &["accounts"]).await.unwrap();
    let gone = pb::Contact { name: leaver.name.clone(), ..pb::Contact::default() };
    update(&desk, gone, &["accounts"]).await.unwrap();
    let newcomer = desk.create(acting("Newcomer", &[(&one, "buyer")])).await.unwrap();
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(timeless(get(&desk, &mover.name).await), timeless(mover));
    assert_eq!(timeless(get(&desk, &doubled.name).await), timeless(doubled));
    assert_eq!(roles(&get(&desk, &edited.name).await), [(other.name.as_str(), "head of purchase")]);
    assert_eq!(roles(&get(&desk, &leaver.name).await), [], "what was taken away since");
    assert_eq!(roles(&get(&desk, &newcomer.name).await), [(one.name.as_str(), "buyer")], "what came since stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_in_the_bin_comes_back_for_the_survivor() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let contact = desk.create(acting("Kaya", &[(&other, "buyer")])).await.unwrap();
    let delete = pb::DeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &contact.name).await), [(other.name.as_str(), "buyer")], "what lies in the bin stays as it is");
    let undelete = pb::UndeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    let back = desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap().into_inner();
    assert_eq!(roles(&back), [(one.name.as_str(), "buyer")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_in_the_bin_comes_back_for_the_loser_of_a_merge_that_was_taken_back() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let mover = desk.create(acting("Mover", &[(&other, "buyer")])).await.unwrap();
    let doubled = desk.create(acting("Double", &[(&other, "buyer"), (&one, "seller")])).await.unwrap();
    let edited = desk.create(acting("Edited", &[(&other, "buyer")])).await.unwrap();
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let newcomer = desk.create(acting("Newcomer", &[(&one, "buyer")])).await.unwrap();
    let mut now = get(&desk, &edited.name).await;
    now.accounts[0].role = "head of purchase".to_owned();
    update(&desk, now, &["accounts"]).await.unwrap();
    for contact in [&mover, &doubled, &edited, &newcomer] {
        let delete = pb::DeleteContactRequest { name: contact.name.clone(), etag: String::new() };
        desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    }
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &mover.name).await), [(one.name.as_str(), "buyer")], "what lies in the bin stays as it is");
    let bring_back = async |contact: &pb::Contact| {
        let undelete = pb::UndeleteContactRequest { name: contact.name.clone(), etag: String::new() };
        desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap().into_inner()
    };
    assert_eq!(timeless(bring_back(&mover).await), timeless(mover));
    assert_eq!(timeless(bring_back(&doubled).await), timeless(doubled));
    assert_eq!(roles(&bring_back(&edited).await), [(other.name.as_str(), "head of purchase")]);
    assert_eq!(roles(&bring_back(&newcomer).await), [(one.name.as_str(), "buyer")], "what came since stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_in_the_bin_comes_back_through_every_merge_that_was_taken_back() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let third = make(&desk, company("Third")).await;
    let contact = desk.create(acting("Kaya", &[(&other, "buyer")])).await.unwrap();
    let first = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let second = join(&desk, &desk.clerk, &third.name, &one.name).await.unwrap();
    let delete = pb::DeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(delete)).await.unwrap();
    part(&desk, &desk.clerk, &second.name).await.unwrap();
    part(&desk, &desk.clerk, &first.name).await.unwrap();
    let undelete = pb::UndeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    let back = desk.contacts().undelete_contact(desk.clerk.request(undelete)).await.unwrap().into_inner();
    assert_eq!(timeless(back), timeless(contact));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_contacts_that_is_taken_back_after_one_of_their_accounts_names_the_one_that_goes_on() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let ada = desk.create(acting("Ada", &[])).await.unwrap();
    let byron = desk.create(acting("Byron", &[(&other, "buyer")])).await.unwrap();
    let people = merge(&desk, &desk.clerk, &ada.name, &byron.name).await.unwrap();
    join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    unmerge(&desk, &desk.clerk, &people.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &ada.name).await), []);
    assert_eq!(roles(&get(&desk, &byron.name).await), [(one.name.as_str(), "buyer")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_private_customers_the_one_contact_goes_on_with_the_survivor() {
    let desk = Desk::open().await;
    let private = |name: &str| pb::Account { kind: pb::account::Kind::Person.into(), ..company(name) };
    let (one, other) = (make(&desk, private("Ada")).await, make(&desk, private("Ada again")).await);
    let ada = desk.create(acting("Lovelace", &[(&one, "")])).await.unwrap();
    let twin = desk.create(acting("Lovelace", &[(&other, "")])).await.unwrap();
    let preview = pb::PreviewMergeAccountsRequest { merge: Some(joining(&one.name, &other.name)) };
    let status = client(&desk).preview_merge_accounts(desk.clerk.request(preview)).await.expect_err("two people");
    assert_eq!(refusal(&status).1, "PERSON_ACCOUNT_HAS_CONTACT");
    assert_eq!(refusal(&join(&desk, &desk.clerk, &one.name, &other.name).await.expect_err("two people")).1, "PERSON_ACCOUNT_HAS_CONTACT");
    // Once the two people are one, so are the customers.
    merge(&desk, &desk.clerk, &ada.name, &twin.name).await.unwrap();
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &ada.name).await), [(one.name.as_str(), "")]);
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &ada.name).await), [(one.name.as_str(), ""), (other.name.as_str(), "")]);
    // A customer without a contact hands nothing on, and gets the place back that it gave.
    let third = make(&desk, private("Third")).await;
    let merged = join(&desk, &desk.clerk, &third.name, &other.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &ada.name).await), [(one.name.as_str(), ""), (third.name.as_str(), "")]);
    let status = desk.create(acting("Else", &[(&third, "")])).await.expect_err("the place is taken");
    assert_eq!(refusal(&status).1, "PERSON_ACCOUNT_HAS_CONTACT");
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(roles(&get(&desk, &ada.name).await), [(one.name.as_str(), ""), (other.name.as_str(), "")]);
    assert_eq!(settled(read(&desk, &other.name).await), settled(other.clone()));
    remove(&desk, &third.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_are_linked_while_accounts_are_merged_are_never_left_behind() {
    let desk = Desk::open().await;
    let (one, other) = two(&desk).await;
    let link = async |number: usize| {
        let made = desk.create(acting(&format!("Number {number}"), &[(&other, "buyer")])).await;
        // Too late, it is told that there is no such account any more, or to send it again.
        made.map(|contact| contact.name).map_err(|status| refusal(&status).1)
    };
    let merging = async || {
        loop {
            match join(&desk, &desk.clerk, &one.name, &other.name).await {
                Ok(_) => return,
                Err(status) => assert!(super::is_passing(&status), "{status:?}"),
            }
        }
    };
    let (made, ()) = futures_util::future::join(futures_util::future::join_all((0..40).map(link)), merging()).await;
    for made in made {
        match made {
            Ok(name) => assert_eq!(roles(&get(&desk, &name).await), [(one.name.as_str(), "buyer")]),
            Err(reason) => assert!(["FIELD_INVALID", "CONTENDED", "OVERLOADED"].contains(&reason.as_str()), "{reason}"),
        }
    }
}
