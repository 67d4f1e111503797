//! What lies below a merged account, and accounts that lie below each other.

use rapport_contacts_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::GrantLevel;
use tonic::Code;

use super::accounts::{below, bring_back, change, company, join, joining, make, part, read, remove, settled};
use super::{client, facts};
use crate::support::{Desk, refusal};

async fn parent(desk: &Desk, account: &pb::Account) -> String {
    read(desk, &account.name).await.parent
}

async fn lay_below(desk: &Desk, account: &pb::Account, parent: &str) {
    let moved = pb::Account { name: account.name.clone(), parent: parent.to_owned(), ..pb::Account::default() };
    change(desk, moved, &["parent"]).await.expect("another place");
}

#[tokio::test(flavor = "multi_thread")]
async fn children_go_to_the_survivor_with_a_fact_of_their_own_and_back_unless_they_were_moved_since() {
    let desk = Desk::open().await;
    let (one, other, third) = (make(&desk, company("One")).await, make(&desk, company("Other")).await, make(&desk, company("Third")).await);
    let (stays, goes) = (make(&desk, below("Stays", &other)).await, make(&desk, below("Goes", &other)).await);
    let own = make(&desk, below("Own", &one)).await;
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!([parent(&desk, &stays).await, parent(&desk, &goes).await], [one.name.clone(), one.name.clone()]);
    let last = facts(&desk, &stays.name).await;
    assert_eq!(last.last().map(|(version, _, fact)| (*version, fact.as_str())), Some((2, "contacts.account.updated.v1")));
    let new = make(&desk, below("New", &one)).await;
    lay_below(&desk, &goes, &third.name).await;
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(parent(&desk, &stays).await, other.name);
    assert_eq!(parent(&desk, &goes).await, third.name, "where somebody put it since");
    assert_eq!([parent(&desk, &own).await, parent(&desk, &new).await], [one.name.clone(), one.name.clone()]);
    assert_eq!((settled(read(&desk, &one.name).await), settled(read(&desk, &other.name).await)), (settled(one), settled(other)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_below_the_loser_takes_its_place_and_goes_back_below_it() {
    let desk = Desk::open().await;
    let top = make(&desk, company("Top")).await;
    let loser = make(&desk, below("Loser", &top)).await;
    let middle = make(&desk, below("Middle", &loser)).await;
    let survivor = make(&desk, below("Survivor", &middle)).await;
    let child = make(&desk, below("Child", &survivor)).await;
    let merged = join(&desk, &desk.clerk, &survivor.name, &loser.name).await.unwrap();
    let tree = async || [parent(&desk, &survivor).await, parent(&desk, &middle).await, parent(&desk, &child).await];
    assert_eq!(tree().await, [top.name.clone(), survivor.name.clone(), survivor.name.clone()]);
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(tree().await, [middle.name.clone(), loser.name.clone(), survivor.name.clone()]);
    assert_eq!(parent(&desk, &loser).await, top.name);
    // The same where it lies right below.
    let merged = join(&desk, &desk.clerk, &middle.name, &loser.name).await.unwrap();
    assert_eq!([parent(&desk, &middle).await, parent(&desk, &survivor).await], [top.name.clone(), middle.name.clone()]);
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!([parent(&desk, &middle).await, parent(&desk, &loser).await], [loser.name, top.name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loser_below_the_survivor_leaves_it_where_it_is() {
    let desk = Desk::open().await;
    let survivor = make(&desk, company("Survivor")).await;
    let middle = make(&desk, below("Middle", &survivor)).await;
    let loser = make(&desk, below("Loser", &middle)).await;
    let child = make(&desk, below("Child", &loser)).await;
    let from_loser = Some(prost_types::FieldMask { paths: vec!["*".to_owned()] });
    let request = pb::MergeAccountsRequest { from_loser, ..joining(&survivor.name, &loser.name) };
    let merged = client(&desk).merge_accounts(desk.clerk.request(request)).await.unwrap().into_inner();
    assert_eq!([parent(&desk, &survivor).await, parent(&desk, &child).await], [String::new(), survivor.name.clone()]);
    assert_eq!(read(&desk, &survivor.name).await.display_name, "Loser");
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!([parent(&desk, &loser).await, parent(&desk, &child).await], [middle.name, loser.name]);
    assert_eq!(settled(read(&desk, &survivor.name).await), settled(survivor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_gone_refuses_the_end_of_a_merge() {
    let desk = Desk::open().await;
    let (top, own) = (make(&desk, company("Top")).await, make(&desk, company("Own")).await);
    let (one, other) = (make(&desk, below("One", &own)).await, make(&desk, below("Other", &top)).await);
    let child = make(&desk, below("Child", &other)).await;
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(parent(&desk, &one).await, own.name);
    // The account that the loser lay below is put below what was the loser's own child.
    lay_below(&desk, &top, &child.name).await;
    let refused = async || refusal(&part(&desk, &desk.clerk, &merged.name).await.expect_err("no such place")).1;
    assert_eq!(refused().await, "HIERARCHY_CYCLE");
    lay_below(&desk, &top, "").await;
    remove(&desk, &top.name).await;
    assert_eq!(refused().await, "PARENT_DELETED");
    assert_eq!(parent(&desk, &child).await, one.name, "nothing went back alone");
    // Merged into another one meanwhile, it goes on in that one.
    bring_back(&desk, &top.name).await.unwrap();
    let next = make(&desk, company("Next")).await;
    join(&desk, &desk.clerk, &next.name, &top.name).await.unwrap();
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!([parent(&desk, &other).await, parent(&desk, &child).await], [next.name, other.name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_thirty_two_levels_are_refused_before_anything_is_written() {
    let desk = Desk::open().await;
    let chain = async |levels: usize, name: &str| {
        let mut accounts = vec![make(&desk, company(name)).await];
        for level in 1..levels {
            let last = below(&format!("{name} {level}"), &accounts[level - 1]);
            accounts.push(make(&desk, last).await);
        }
        accounts
    };
    let (deep, loser) = (chain(20, "Deep").await, chain(14, "Loser").await);
    let status = join(&desk, &desk.clerk, &deep[19].name, &loser[0].name).await.expect_err("33 levels");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "HIERARCHY_TOO_DEEP".to_owned()));
    assert_eq!(parent(&desk, &loser[1]).await, loser[0].name);
    join(&desk, &desk.clerk, &deep[18].name, &loser[0].name).await.expect("32 levels");
    assert_eq!(parent(&desk, &loser[1]).await, deep[18].name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_in_the_bin_comes_back_below_the_survivor() {
    let desk = Desk::open().await;
    let (one, other) = (make(&desk, company("One")).await, make(&desk, company("Other")).await);
    let child = make(&desk, below("Child", &other)).await;
    remove(&desk, &child.name).await;
    join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(parent(&desk, &child).await, other.name, "what lies in the bin stays as it is");
    assert_eq!(bring_back(&desk, &child.name).await.unwrap().parent, one.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_in_the_bin_comes_back_below_the_loser_of_a_merge_that_was_taken_back() {
    let desk = Desk::open().await;
    let (one, other) = (make(&desk, company("One")).await, make(&desk, company("Other")).await);
    let child = make(&desk, below("Child", &other)).await;
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    remove(&desk, &child.name).await;
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!(parent(&desk, &child).await, one.name, "what lies in the bin stays as it is");
    assert_eq!(bring_back(&desk, &child.name).await.unwrap().parent, other.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_see_is_moved_all_the_same_and_not_told() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let owner: Subject = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let owned = async |name: &str| make(&desk, pb::Account { owner: owner.name(), ..company(name) }).await;
    let (one, other) = (owned("One").await, owned("Other").await);
    let hidden = make(&desk, below("Hidden", &other)).await;
    let merged = join(&desk, &owner, &one.name, &other.name).await.unwrap();
    assert!(!format!("{merged:?}").contains(&hidden.name));
    assert_eq!(parent(&desk, &hidden).await, one.name);
    part(&desk, &owner, &merged.name).await.unwrap();
    assert_eq!(parent(&desk, &hidden).await, other.name);
}
