//! Merges of accounts that are taken back.

use rapport_contacts_api::v1 as pb;
use rapport_proto::common::v1::GrantLevel;
use tonic::Code;

use super::accounts::{both, bring_back, change, company, join, make, part, read, remove, settled};
use super::{client, external_id, facts};
use crate::support::{Desk, reading, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn parted_accounts_are_as_before_and_later_changes_go_where_they_belong() {
    let desk = Desk::open().await;
    let (one, other) = both(&desk).await;
    let untouched = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let undone = part(&desk, &desk.clerk, &untouched.name).await.unwrap();
    assert_eq!(undone.state(), pb::merge::State::Unmerged);
    assert_eq!(settled(read(&desk, &one.name).await), settled(one.clone()));
    assert_eq!(settled(read(&desk, &other.name).await), settled(other.clone()));
    assert_eq!(refusal(&part(&desk, &desk.clerk, &untouched.name).await.expect_err("twice")).1, "MERGE_UNDONE");

    let again = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    let mut edited = read(&desk, &one.name).await;
    (edited.display_name, edited.sector, edited.employee_count) = ("Acme Inc".to_owned(), "Metal".to_owned(), Some(50));
    edited.tags = vec!["fresh".to_owned(), "new".to_owned()];
    change(&desk, edited, &["display_name", "sector", "employee_count", "tags"]).await.unwrap();
    part(&desk, &desk.clerk, &again.name).await.unwrap();
    let (survivor, loser) = (read(&desk, &one.name).await, read(&desk, &other.name).await);
    let told = |account: &pb::Account| (account.display_name.clone(), account.sector.clone(), account.employee_count, account.tags.join(" "));
    // `vip` was removed since, which nobody has any more.
    assert_eq!(told(&survivor), ("Acme Inc".to_owned(), String::new(), None, "fresh".to_owned()));
    assert_eq!(told(&loser), ("ACME Ltd".to_owned(), "Metal".to_owned(), Some(50), "new".to_owned()));
    assert_eq!((loser.delete_time, loser.merged_into.as_str(), &loser.number), (None, "", &other.number));
    assert_eq!(loser.external_ids, [external_id("erp", "2"), external_id("shop", "9")]);
    let last = |facts: Vec<(i64, i16, String)>| facts.last().unwrap().2.clone();
    assert_eq!(last(facts(&desk, &one.name).await), "contacts.account.unmerged.v1");
    assert_eq!(last(facts(&desk, &other.name).await), "contacts.account.undeleted.v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_of_accounts_are_taken_back_from_the_last_one_and_within_thirty_days() {
    let desk = Desk::open().await;
    let [one, two, three] = [make(&desk, company("A")).await, make(&desk, company("B")).await, make(&desk, company("C")).await].map(|made| made.name);
    let first = join(&desk, &desk.clerk, &one, &two).await.unwrap();
    let second = join(&desk, &desk.clerk, &one, &three).await.unwrap();
    let refused = async |name: &str| refusal(&part(&desk, &desk.clerk, name).await.expect_err("not now")).1;
    assert_eq!(refused(&first.name).await, "MERGE_NOT_LAST");
    remove(&desk, &one).await;
    assert_eq!(refused(&second.name).await, "RECORD_DELETED");
    bring_back(&desk, &one).await.unwrap();
    part(&desk, &desk.clerk, &second.name).await.unwrap();
    sqlx::query("update merges set created_at = created_at - interval '30 days'").execute(&mut desk.database().await).await.unwrap();
    assert_eq!(refused(&first.name).await, "MERGE_TOO_OLD");

    // It is seen by those who see its survivor.
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.*"], Vec::new());
    let other = identity.user(desk.tenant, None, role, GrantLevel::Own);
    for who in [&other, &identity.administrator(identity.tenant())] {
        let status = client(&desk).get_merge(who.request(pb::GetMergeRequest { name: first.name.clone() })).await.expect_err("hidden");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(part(&desk, who, &first.name).await.expect_err("hidden").code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legal_entity_that_a_merge_gave_goes_back_and_one_that_is_set_stays() {
    let desk = Desk::open().await;
    let entities = [(); 2].map(|()| rapport_kit::clock::new_id());
    for entity in entities {
        let query = "insert into legal_entities (tenant_id, id, version, country, created_at) values ($1, $2, 1, 'FR', now())";
        sqlx::query(query).bind(desk.tenant).bind(entity).execute(&mut desk.superuser().await).await.expect("a legal entity");
    }
    let named = entities.map(|entity| rapport_kit::name::format("legalEntities", entity));
    let of = |display_name: &str, legal_entity: &String| pb::Account { legal_entity: legal_entity.clone(), ..company(display_name) };
    let none = make(&desk, company("None")).await;
    let (first, second) = (make(&desk, of("First", &named[0])).await, make(&desk, of("Second", &named[1])).await);
    let merged = join(&desk, &desk.clerk, &none.name, &first.name).await.unwrap();
    assert_eq!(read(&desk, &none.name).await.legal_entity, named[0]);
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert_eq!([read(&desk, &none.name).await.legal_entity, read(&desk, &first.name).await.legal_entity], [String::new(), named[0].clone()]);
    let from_loser = Some(prost_types::FieldMask { paths: vec!["legal_entity".to_owned()] });
    let request = pb::MergeAccountsRequest { from_loser, ..super::accounts::joining(&first.name, &second.name) };
    let status = client(&desk).merge_accounts(desk.clerk.request(request)).await.expect_err("another legal entity");
    assert_eq!(refusal(&status).1, "LEGAL_ENTITY_FIXED");
    join(&desk, &desk.clerk, &first.name, &second.name).await.unwrap();
    assert_eq!(read(&desk, &first.name).await.legal_entity, named[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_merged_account_is_shared_with_sees_the_survivor_until_it_is_taken_back() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.account.read"], Vec::new());
    let reader = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let (one, other) = both(&desk).await;
    desk.share(reading(&other.name, &reader.name()), None).await.unwrap();
    let sees =
        async |name: &str| desk.accounts().get_account(reader.request(pb::GetAccountRequest { name: name.to_owned(), as_of: None })).await.is_ok();
    assert!(!sees(&one.name).await);
    let merged = join(&desk, &desk.clerk, &one.name, &other.name).await.unwrap();
    assert!(sees(&one.name).await && sees(&other.name).await);
    part(&desk, &desk.clerk, &merged.name).await.unwrap();
    assert!(!sees(&one.name).await && sees(&other.name).await);
}
