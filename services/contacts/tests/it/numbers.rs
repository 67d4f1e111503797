//! Numbers of accounts: series that several writers use at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use rapport_contacts_api::v1 as pb;
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::eventually;
use rapport_kit::{clock, name};
use rapport_proto::common::v1 as common;
use rapport_proto::google_type::PostalAddress;
use sqlx::{Connection, PgConnection};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Desk, refusal};

/// A legal entity as identity's event would leave it; with a gapless series of this prefix, or none.
async fn legal_entity(database: &mut PgConnection, tenant: Uuid, prefix: Option<&str>) -> Uuid {
    let id = clock::new_id();
    sqlx::query("insert into legal_entities (tenant_id, id, version, country, created_at) values ($1, $2, 1, 'FR', now())")
        .bind(tenant)
        .bind(id)
        .execute(&mut *database)
        .await
        .expect("an answer");
    if let Some(prefix) = prefix {
        sqlx::query(
            "insert into number_series (tenant_id, legal_entity_id, collection, prefix, next, gapless) values ($1, $2, 'accounts', $3, 1, true)",
        )
        .bind(tenant)
        .bind(id)
        .bind(prefix)
        .execute(database)
        .await
        .expect("an answer");
    }
    id
}

fn accounts(batch: &str, entities: &[Uuid]) -> pb::BatchUpsertAccountsRequest {
    let account = |(index, entity): (usize, &Uuid)| pb::Account {
        display_name: format!("Account {index} of {batch}"),
        legal_entity: name::format("legalEntities", *entity),
        external_ids: vec![common::ExternalId { system: "erp".to_owned(), id: format!("{batch} {index}") }],
        ..pb::Account::default()
    };
    pb::BatchUpsertAccountsRequest { accounts: entities.iter().enumerate().map(account).collect(), atomic: true }
}

async fn numbers(desk: &Desk, request: pb::BatchUpsertAccountsRequest) -> Vec<String> {
    let answer = desk.accounts().batch_upsert_accounts(desk.clerk.request(request)).await.expect("the batch is carried out").into_inner();
    let account = |result: pb::UpsertAccountResult| match result.result {
        Some(pb::upsert_account_result::Result::Account(account)) => account.number,
        other => panic!("an account was not created: {other:?}"),
    };
    answer.results.into_iter().map(account).collect()
}

/// Fifty of them are more than a record may hold.
fn large_address() -> pb::Address {
    let lines = vec!["ü".repeat(200); 10];
    let postal_address = PostalAddress { region_code: "FR".to_owned(), address_lines: lines.clone(), recipients: lines, ..PostalAddress::default() };
    pb::Address { postal_address: Some(postal_address), ..pb::Address::default() }
}

/// Statements of the service that wait for a lock.
async fn waiting(database: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
        .fetch_one(database)
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_over_the_same_two_series_never_wait_for_each_other_in_a_circle() {
    let desk = Arc::new(Desk::open().await);
    let mut database = desk.database().await;
    // The first and the last have no series of their own, so that their numbers are of the tenant's.
    let first = legal_entity(&mut database, desk.tenant, None).await;
    let own = legal_entity(&mut database, desk.tenant, Some("P-")).await;
    let last = legal_entity(&mut database, desk.tenant, None).await;
    // Makes the tenant's series and the service know the clerk.
    numbers(&desk, accounts("before", &[first])).await;

    // While the tenant's series is held, both batches get as far as they can.
    let mut superuser = desk.superuser().await;
    let mut held = superuser.begin().await.unwrap();
    sqlx::query("select from number_series where tenant_id = $1 and legal_entity_id = $2 for update")
        .bind(desk.tenant)
        .bind(Uuid::nil())
        .execute(&mut *held)
        .await
        .unwrap();
    let tasks = Tasks::default();
    let (sender, mut done) = tokio::sync::mpsc::channel(2);
    for (batch, entities) in [("one", [first, own]), ("two", [own, last])] {
        let (desk, sender) = (Arc::clone(&desk), sender.clone());
        tasks.spawn("batch", async move {
            let _ = sender.send(numbers(&desk, accounts(batch, &entities)).await).await;
        });
    }
    drop(sender);
    eventually("both batches wait", async || (waiting(&mut desk.superuser().await).await >= 2).then_some(())).await;
    held.commit().await.unwrap();
    let mut given = BTreeSet::new();
    for _ in 0..2 {
        given.extend(done.recv().await.expect("a batch is carried out"));
    }
    let expected: BTreeSet<String> = ["000002", "000003", "P-000001", "P-000002"].into_iter().map(str::to_owned).collect();
    assert_eq!(given, expected, "no number twice, none of the gapless series lost");
    let deadlocks: i64 = sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
        .fetch_one(&mut desk.superuser().await)
        .await
        .unwrap();
    assert_eq!(deadlocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_loses_no_number_of_a_gapless_series() {
    let desk = Desk::open().await;
    let mut database = desk.database().await;
    let own = legal_entity(&mut database, desk.tenant, Some("P-")).await;
    // Found out when it is written, after its number was taken.
    let mut request = accounts("refused", &[own, own]);
    if let Some(account) = request.accounts.last_mut() {
        account.addresses = vec![large_address(); 50];
    }
    let status = desk.accounts().batch_upsert_accounts(desk.clerk.request(request)).await.expect_err("one account is too large");
    assert_eq!(refusal(&status), (Code::InvalidArgument, "RECORD_TOO_LARGE".to_owned()));
    assert_eq!(numbers(&desk, accounts("sound", &[own, own])).await, ["P-000001", "P-000002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_gets_no_legal_entity_that_nobody_knows() {
    let desk = Desk::open().await;
    let known = legal_entity(&mut desk.database().await, desk.tenant, None).await;
    let account = pb::Account {
        display_name: "Steel".to_owned(),
        external_ids: vec![common::ExternalId { system: "erp".to_owned(), id: "1".to_owned() }],
        ..pb::Account::default()
    };
    let request = desk.clerk.request(pb::CreateAccountRequest { account: Some(account) });
    let account = desk.accounts().create_account(request).await.unwrap().into_inner();
    let of = |entity: Uuid| pb::Account { name: account.name.clone(), legal_entity: name::format("legalEntities", entity), ..pb::Account::default() };
    let update = async |entity: Uuid| {
        let request = pb::UpdateAccountRequest { account: Some(of(entity)), update_mask: None };
        desk.accounts().update_account(desk.clerk.request(request)).await.map(tonic::Response::into_inner)
    };
    let unknown = clock::new_id();
    let status = update(unknown).await.expect_err("nobody knows it");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "LEGAL_ENTITY_UNKNOWN".to_owned()));
    let batch = pb::BatchUpsertAccountsRequest { accounts: vec![of(unknown)], atomic: false };
    let status = desk.accounts().batch_upsert_accounts(desk.clerk.request(batch)).await.expect_err("a batch neither");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "LEGAL_ENTITY_UNKNOWN".to_owned()));
    assert_eq!(update(known).await.unwrap().legal_entity, of(known).legal_entity);
}
