//! A contact is linked to an account in the moment in which that account is merged: whichever comes first, no link is left
//! behind.

use rapport_contacts_api::v1 as pb;
use rapport_kit::testing::eventually;
use sqlx::Connection;
use tonic::Code;
use uuid::Uuid;

use super::accounts::{company, join, make};
use super::get;
use crate::support::{Desk, named, refusal};

fn id(name: &str) -> Uuid {
    rapport_kit::name::split(name).expect("a name").1
}

/// Ready when somebody waits for a lock in the service's database.
async fn held_up(desk: &Desk) {
    let query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("somebody waits", async || {
        let waiting: i64 = sqlx::query_scalar(query).fetch_one(&mut desk.superuser().await).await.expect("an answer");
        (waiting > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_waits_for_a_contact_that_is_linked_and_moves_it() {
    let desk = Desk::open().await;
    let (one, other) = (make(&desk, company("One")).await, make(&desk, company("Other")).await);
    let contact = desk.create(named("Kaya")).await.expect("a contact");
    let mut writing = desk.superuser().await;
    // Somebody has linked the contact and not committed yet.
    let mut linking = writing.begin().await.expect("a transaction");
    let role = "update contacts set account_roles = jsonb_build_array(jsonb_build_object('account', $2::uuid, 'sole', false, 'primary', true)) where id = $1";
    sqlx::query(role).bind(id(&contact.name)).bind(id(&other.name)).execute(&mut *linking).await.expect("a role");
    let link = "insert into contact_accounts (tenant_id, contact_id, account_id, sole) values ($1, $2, $3, false)";
    sqlx::query(link).bind(desk.tenant).bind(id(&contact.name)).bind(id(&other.name)).execute(&mut *linking).await.expect("a link");
    let merging = async {
        match join(&desk, &desk.clerk, &one.name, &other.name).await {
            // It saw nobody before it waited, and is asked for again.
            Err(status) if status.code() == Code::Aborted => join(&desk, &desk.clerk, &one.name, &other.name).await,
            done => done,
        }
    };
    let committing = async {
        held_up(&desk).await;
        linking.commit().await.expect("the link stands");
    };
    let (merged, ()) = futures_util::future::join(merging, committing).await;
    merged.expect("a merge");
    assert_eq!(get(&desk, &contact.name).await.accounts[0].account, one.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_waits_for_a_merge_of_its_account_and_is_decided_anew() {
    let desk = Desk::open().await;
    let (one, other) = (make(&desk, company("One")).await, make(&desk, company("Other")).await);
    let mut writing = desk.superuser().await;
    // Somebody has merged the account and not committed yet.
    let mut merging = writing.begin().await.expect("a transaction");
    sqlx::query("select from accounts where id = $1 for update").bind(id(&other.name)).execute(&mut *merging).await.expect("a lock");
    let merge = "update accounts set deleted_at = now(), merged_into = $2 where id = $1";
    sqlx::query(merge).bind(id(&other.name)).bind(id(&one.name)).execute(&mut *merging).await.expect("a merge");
    let role = pb::AccountRole { account: other.name.clone(), ..pb::AccountRole::default() };
    let linking = desk.create(pb::Contact { accounts: vec![role], ..named("Kaya") });
    let committing = async {
        held_up(&desk).await;
        merging.commit().await.expect("the merge stands");
    };
    let (linked, ()) = futures_util::future::join(linking, committing).await;
    assert_eq!(refusal(&linked.expect_err("an account that goes on elsewhere")), (Code::Aborted, "CONTENDED".to_owned()));
    let links: i64 = sqlx::query_scalar("select count(*) from contact_accounts").fetch_one(&mut desk.superuser().await).await.expect("a count");
    assert_eq!(links, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_brings_a_contact_back_to_an_account_that_was_merged() {
    let desk = Desk::open().await;
    let (one, other) = (make(&desk, company("One")).await, make(&desk, company("Other")).await);
    let role = pb::AccountRole { account: other.name.clone(), ..pb::AccountRole::default() };
    let contact = desk.create(pb::Contact { accounts: vec![role], ..named("Kaya") }).await.expect("a contact");
    let request = pb::DeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(request)).await.expect("it goes to the bin");
    join(&desk, &desk.clerk, &one.name, &other.name).await.expect("a merge");
    // As a process would do it that knows of no merges of accounts, or read before one was committed.
    let back = sqlx::query("update contacts set deleted_at = null where id = $1").bind(id(&contact.name));
    let refusal = back.execute(&mut desk.superuser().await).await.expect_err("the account is no more");
    assert_eq!(refusal.as_database_error().and_then(|error| error.constraint()), Some("contact_account_merged"));
}
