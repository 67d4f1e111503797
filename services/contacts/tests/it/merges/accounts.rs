//! What a merge of accounts makes of both, how the old name, ids and number lead on, and who hears of it. What tests of
//! accounts share stands here.

use std::sync::{Arc, Mutex, PoisonError};

use rapport_contacts::SERVICE;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_account_result::Outcome;
use rapport_kit::db::{Db, PoolConfig, SystemDb};
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{Infra, Prefix, Subject, eventually};
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use secrecy::ExposeSecret;
use tonic::{Code, Status};

use super::{client, external_id, facts, told_into};
use crate::support::{Desk, reading, refusal};

pub(super) fn company(display_name: &str) -> pb::Account {
    pb::Account { display_name: display_name.to_owned(), ..pb::Account::default() }
}

pub(super) fn below(display_name: &str, parent: &pb::Account) -> pb::Account {
    pb::Account { parent: parent.name.clone(), ..company(display_name) }
}

pub(super) async fn make(desk: &Desk, account: pb::Account) -> pb::Account {
    let request = desk.clerk.request(pb::CreateAccountRequest { account: Some(account) });
    desk.accounts().create_account(request).await.expect("an account").into_inner()
}

pub(super) async fn read(desk: &Desk, name: &str) -> pb::Account {
    let request = pb::GetAccountRequest { name: name.to_owned(), as_of: None };
    desk.accounts().get_account(desk.clerk.request(request)).await.expect("an account").into_inner()
}

pub(super) async fn change(desk: &Desk, account: pb::Account, paths: &[&str]) -> Result<pb::Account, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = pb::UpdateAccountRequest { account: Some(account), update_mask: Some(prost_types::FieldMask { paths }) };
    Ok(desk.accounts().update_account(desk.clerk.request(request)).await?.into_inner())
}

pub(super) async fn remove(desk: &Desk, name: &str) {
    let request = pb::DeleteAccountRequest { name: name.to_owned(), etag: String::new() };
    desk.accounts().delete_account(desk.clerk.request(request)).await.expect("an account in the bin");
}

pub(super) async fn bring_back(desk: &Desk, name: &str) -> Result<pb::Account, Status> {
    let request = pb::UndeleteAccountRequest { name: name.to_owned(), etag: String::new() };
    Ok(desk.accounts().undelete_account(desk.clerk.request(request)).await?.into_inner())
}

pub(super) fn joining(survivor: &str, loser: &str) -> pb::MergeAccountsRequest {
    pb::MergeAccountsRequest { survivor: survivor.to_owned(), loser: loser.to_owned(), ..pb::MergeAccountsRequest::default() }
}

pub(super) async fn join(desk: &Desk, who: &Subject, survivor: &str, loser: &str) -> Result<pb::Merge, Status> {
    Ok(client(desk).merge_accounts(who.request(joining(survivor, loser))).await?.into_inner())
}

pub(super) async fn part(desk: &Desk, who: &Subject, name: &str) -> Result<pb::Merge, Status> {
    let request = pb::UnmergeAccountsRequest { name: name.to_owned(), etag: String::new() };
    Ok(client(desk).unmerge_accounts(who.request(request)).await?.into_inner())
}

/// An account as a merge and its end leave it: all but versions and times.
pub(super) fn settled(account: pb::Account) -> pb::Account {
    pb::Account { etag: String::new(), update_time: None, ..account }
}

/// A company as sales knows it, and as the shop does.
pub(super) async fn both(desk: &Desk) -> (pb::Account, pb::Account) {
    let one = pb::Account { external_ids: vec![external_id("erp", "1")], tags: vec!["vip".to_owned()], relationships: vec![2], ..company("Acme") };
    let other = pb::Account {
        external_ids: vec![external_id("erp", "2"), external_id("shop", "9")],
        tags: vec!["new".to_owned()],
        relationships: vec![1],
        sector: "Steel".to_owned(),
        employee_count: Some(40),
        ..company("ACME Ltd")
    };
    (make(desk, one).await, make(desk, other).await)
}

async fn look_up(desk: &Desk, system: &str, id: &str) -> Result<String, Status> {
    let request = pb::LookupAccountRequest { system: system.to_owned(), id: id.to_owned() };
    Ok(desk.accounts().lookup_account(desk.clerk.request(request)).await?.into_inner().name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_surviving_account_has_what_both_had_and_the_loser_keeps_its_number_and_leads_on() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert_eq!((&merged.survivor, &merged.loser, merged.state()), (&one.name, &other.name, pb::merge::State::Merged));

    let survivor = read(&desk, &one.name).await;
    assert_eq!((survivor.display_name.as_str(), survivor.sector.as_str(), survivor.employee_count), ("Acme", "Steel", Some(40)));
    assert_eq!((&survivor.number, survivor.relationships.as_slice()), (&one.number, [1, 2].as_slice()));
    assert_eq!(survivor.external_ids, [external_id("erp", "1"), external_id("shop", "9")]);
    assert_eq!(survivor.tags, ["new", "vip"]);

    let loser = read(&desk, &other.name).await;
    assert_eq!((&loser.merged_into, &loser.number), (&one.name, &other.number));
    assert!(loser.delete_time.is_some());
    let names = vec![other.name.clone()];
    let batch = desk.accounts().batch_get_accounts(desk.clerk.request(pb::BatchGetAccountsRequest { names })).await.unwrap().into_inner();
    assert_eq!(batch.accounts, [loser]);
    let third = make(&desk, company("Third")).await;
    assert!(third.number > other.number, "no number is given again: {} after {}", third.number, other.number);

    let keys = |facts: Vec<(i64, i16, String)>| facts.into_iter().map(|(version, _, fact)| (version, fact)).collect::<Vec<_>>();
    let fact = |version, fact: &str| (version, format!("contacts.{fact}.v1"));
    assert_eq!(keys(facts(&desk, &one.name).await), [fact(1, "account.created"), fact(2, "account.merged")]);
    assert_eq!(keys(facts(&desk, &other.name).await), [fact(1, "account.created"), fact(2, "account.deleted")]);
    assert_eq!(keys(facts(&desk, &merged.name).await), [fact(1, "merge.created")]);

    // As of a time before the merge both are what they were; afterwards the loser is not there.
    let as_of = |account: &pb::Account| pb::GetAccountRequest { name: account.name.clone(), as_of: third.create_time };
    let then = desk.accounts().get_account(desk.clerk.request(as_of(&one))).await.unwrap().into_inner();
    assert_eq!(then.tags, ["new", "vip"]);
    assert_eq!(desk.accounts().get_account(desk.clerk.request(as_of(&other))).await.expect_err("merged by then").code(), Code::NotFound);
    // It is recorded a moment after it was asked for.
    let before = pb::GetAccountRequest { name: other.name.clone(), as_of: merged.create_time };
    assert_eq!(settled(desk.accounts().get_account(desk.clerk.request(before)).await.unwrap().into_inner()), settled(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_other_systems_gave_a_merged_account_find_the_one_that_goes_on() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    for (system, id) in [("erp", "1"), ("erp", "2"), ("shop", "9")] {
        assert_eq!(look_up(&desk, system, id).await.unwrap(), one.name, "{system} {id}");
    }
    for id in ["1", "2"] {
        let entry = pb::Account { external_ids: vec![external_id("erp", id)], tags: vec![format!("feed {id}")], ..pb::Account::default() };
        let request = pb::BatchUpsertAccountsRequest { accounts: vec![entry], atomic: true };
        let results = desk.accounts().batch_upsert_accounts(desk.clerk.request(request)).await.unwrap().into_inner().results;
        assert_eq!(results[0].outcome(), Outcome::Updated, "{results:?}");
        assert_eq!(read(&desk, &one.name).await.tags, [format!("feed {id}")]);
    }
    assert_eq!(look_up(&desk, "erp", "1").await.unwrap(), one.name, "what the feed sent took nothing from it");
    let third = make(&desk, company("King")).await;
    join(&desk, &desk.clerk, &third.name, &one.name).await.unwrap();
    assert_eq!(look_up(&desk, "erp", "2").await.unwrap(), third.name);
    remove(&desk, &third.name).await;
    assert_eq!(look_up(&desk, "erp", "2").await.expect_err("nobody goes on").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_account_takes_no_change_and_tells_where_it_went_to_those_who_may_see_it() {
    let desk = Desk::open().await;
    let (first, second, third) = (make(&desk, company("A")).await, make(&desk, company("B")).await, make(&desk, company("C")).await);
    join(&desk, &desk.clerk, &second.name, &first.name).await.unwrap();
    join(&desk, &desk.clerk, &third.name, &second.name).await.unwrap();
    assert_eq!(read(&desk, &first.name).await.merged_into, third.name, "the last of the chain");
    let tagged = pb::Account { name: first.name.clone(), tags: vec!["x".to_owned()], ..pb::Account::default() };
    assert_eq!(told_into(&change(&desk, tagged.clone(), &["tags"]).await.expect_err("merged")), Some(third.name.clone()));
    assert_eq!(told_into(&bring_back(&desk, &first.name).await.expect_err("merged")), Some(third.name.clone()));

    // Somebody who sees the first one alone is not told.
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.account.*"], Vec::new());
    let reader = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let share = rapport_proto::common::v1::ShareRecordRequest {
        access_level: rapport_proto::common::v1::AccessLevel::Write.into(),
        ..reading(&first.name, &reader.name())
    };
    desk.share(share, None).await.unwrap();
    let request = pb::UpdateAccountRequest { account: Some(tagged), ..Default::default() };
    assert_eq!(told_into(&desk.accounts().update_account(reader.request(request)).await.expect_err("merged")), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_accounts_shows_the_result_under_the_callers_rules_and_writes_nothing() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let (one, other) = both(&desk).await;
    let rule = FieldRule { resource: "contacts.account".to_owned(), field: "external_ids".to_owned(), effect: FieldEffect::Hidden.into() };
    let role = identity.role(desk.tenant, &["contacts.*"], vec![rule]);
    let clerk = identity.user(desk.tenant, None, role, GrantLevel::All);
    let preview = async |who: &Subject| {
        let request = pb::PreviewMergeAccountsRequest { merge: Some(joining(&one.name, &other.name)) };
        client(&desk).preview_merge_accounts(who.request(request)).await.unwrap().into_inner()
    };
    let (seen, hidden) = (preview(&desk.clerk).await, preview(&clerk).await);
    assert_eq!(seen.conflicts, ["display_name", "external_ids"]);
    assert_eq!(hidden.conflicts, ["display_name"]);
    assert_eq!(hidden.survivor.unwrap().external_ids, []);
    assert_eq!((read(&desk, &one.name).await, read(&desk, &other.name).await), (one.clone(), other.clone()));
    join(&desk, &clerk, &one.name, &other.name).await.unwrap();
    assert_eq!(Some(settled(read(&desk, &one.name).await)), seen.survivor.map(settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_asked_for_are_the_losers() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let from_loser = Some(prost_types::FieldMask { paths: vec!["display_name".to_owned(), "tags".to_owned()] });
    let request = pb::MergeAccountsRequest { from_loser, ..joining(&one.name, &other.name) };
    client(&desk).merge_accounts(desk.clerk.request(request)).await.unwrap();
    let survivor = read(&desk, &one.name).await;
    assert_eq!((survivor.display_name.as_str(), survivor.tags.as_slice()), ("ACME Ltd", ["new".to_owned()].as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_reaches_the_queue_of_another_process_with_survivor_and_loser() {
    let infra = Infra::from_environment();
    let prefix = Prefix::new(&infra, &["contacts", "listener"]);
    let desk = Desk::configured(|config| prefix.text().clone_into(&mut config.broker_prefix)).await;
    let logins = infra.database(&SERVICE).await;
    let db = Db::new(logins.app.expose_secret(), PoolConfig::default()).expect("an address");
    let system = SystemDb::new(logins.system.expose_secret(), PoolConfig::default()).expect("an address");
    let (heard, tasks) = (Arc::new(Mutex::new(Vec::new())), Tasks::default());
    let noted = Arc::clone(&heard);
    let consumers = Consumers::new("listener").on::<pb::AccountMerged, _>(move |_, received: Received<pb::AccountMerged>| {
        let event = received.event;
        noted.lock().unwrap_or_else(PoisonError::into_inner).push((event.account.map(|account| account.name), event.loser, event.merge));
        Box::pin(async { Ok(()) })
    });
    consumers.run(&db, &system, &prefix.broker(), &tasks);
    let (one, other) = both(&desk).await;
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let events = eventually("the merge is heard of", async || {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!heard.is_empty()).then_some(heard)
    })
    .await;
    tasks.stop(std::time::Duration::from_secs(20)).await;
    assert_eq!(events, [(Some(one.name), other.name, merged.name)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_accounts_sent_again_under_its_key_happens_once() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    make(&desk, below("Branch", &other)).await;
    let merge =
        async |key: &str| client(&desk).merge_accounts(desk.clerk.keyed(joining(&one.name, &other.name), key)).await.map(tonic::Response::into_inner);
    let made = merge("merge").await.unwrap();
    assert_eq!(merge("merge").await.unwrap(), made);
    assert_eq!(refusal(&merge("other").await.expect_err("merged")).1, "RECORD_MERGED");
    let unmerge = async |key: &str| {
        let request = pb::UnmergeAccountsRequest { name: made.name.clone(), etag: String::new() };
        client(&desk).unmerge_accounts(desk.clerk.keyed(request, key)).await.map(tonic::Response::into_inner)
    };
    let undone = unmerge("undo").await.unwrap();
    assert_eq!(unmerge("undo").await.unwrap(), undone);
    assert_eq!(facts(&desk, &made.name).await.len(), 2);
}
