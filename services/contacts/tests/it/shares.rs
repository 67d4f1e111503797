//! Shares of one record: how many there may be, and how history is told around them.

use rapport_kit::clock;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1 as common;
use sqlx::Connection;
use tonic::Code;

use crate::support::{Desk, named, reading, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_all_its_shares_takes_changes_of_them_and_no_further_one() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let people = [(); 2].map(|()| desk.service.identity.user_with(desk.tenant, None, &[]).name());
    let [member, newcomer] = people;
    let role = |role: &str| common::ShareRecordRequest { role: role.to_owned(), ..reading(&name, &member) };
    desk.share(role("first"), None).await.unwrap();
    let others: Vec<_> = (0..199).map(|_| clock::new_id()).collect();
    let record = rapport_kit::name::split(&name).map(|(_, id)| id);
    sqlx::query(
        "insert into kit.share (tenant_id, record_id, subject_id, subject_kind, can_write, role, created_by, created_at)
         select $1, $2, unnest($3::uuid[]), 'users', false, '', 'users/x', now()",
    )
    .bind(desk.tenant)
    .bind(record)
    .bind(others)
    .execute(&mut desk.database().await)
    .await
    .unwrap();

    assert_eq!(desk.share(role("second"), None).await.expect("the share itself does not count").role, "second");
    let status = desk.share(reading(&name, &newcomer), None).await.expect_err("there are 200");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "TOO_MANY_SHARES".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_against_the_one_before_it_though_that_lies_behind_the_page() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    for _ in 0..3 {
        let subject = desk.service.identity.user_with(desk.tenant, None, &[]).name();
        desk.share(reading(&name, &subject), None).await.unwrap();
    }
    desk.tag(&name, "vip", None).await.unwrap();
    let request = common::ListChangesRequest { name, page_size: 1, ..common::ListChangesRequest::default() };
    let page = desk.audit().list_changes(desk.clerk.request(request)).await.unwrap().into_inner();
    let [change] = page.changes.as_slice() else { panic!("a page of one change: {page:?}") };
    let told: Vec<&str> = change.field_changes.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(told, ["tags"], "the shares between them say nothing of the record's own fields");
    assert!(!page.next_page_token.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_taken_back_behind_whoever_holds_the_record_without_a_circle() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    let subject = desk.service.identity.user_with(desk.tenant, None, &[]).name();
    desk.share(reading(&name, &subject), None).await.unwrap();
    // Somebody who gives the same share again has the record and comes to the share next.
    let mut giver = desk.superuser().await;
    let mut giver = giver.begin().await.unwrap();
    let record = rapport_kit::name::split(&name).map(|(_, id)| id);
    sqlx::query("select from contacts where id = $1 for update").bind(record).execute(&mut *giver).await.unwrap();
    let taking = async {
        let request = common::UnshareRecordRequest { name: name.clone(), subject: subject.clone() };
        desk.access().unshare_record(desk.clerk.request(request)).await
    };
    let giving = async {
        eventually("a request that waits for the record", async || {
            let query = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
            let waits: bool = sqlx::query_scalar(query).fetch_one(&mut desk.superuser().await).await.expect("an answer");
            waits.then_some(())
        })
        .await;
        sqlx::query("set local lock_timeout = '500ms'").execute(&mut *giver).await.unwrap();
        let given = sqlx::query("update kit.share set role = 'again' where record_id = $1").bind(record).execute(&mut *giver).await;
        assert_eq!(given.expect("nobody holds the share").rows_affected(), 1);
        giver.commit().await.unwrap();
    };
    let (taken, ()) = tokio::join!(taking, giving);
    taken.expect("it is taken back then");
}
