//! Shares of one record: how many there may be, and how history is told around them.

use rapport_kit::clock;
use rapport_proto::common::v1 as common;
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
