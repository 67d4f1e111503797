//! What jobs write in bulk waits behind what people change, to be found and to be compared.

use sqlx::{Connection, Executor, PgConnection};

use crate::support::{Desk, named};

/// Whether a contact that was written now waits in the lane for bulk, in the queue of the search index and in that of
/// duplicates.
async fn lanes(transaction: &mut PgConnection) -> Vec<bool> {
    let statement = "select (select bulk from search_queue order by id desc limit 1), (select bulk from duplicate_queue order by id desc limit 1)";
    let (search, duplicates): (bool, bool) = sqlx::query_as(statement).fetch_one(transaction).await.expect("both queues have a row");
    vec![search, duplicates]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_in_bulk_waits_apart_from_what_people_write() {
    let desk = Desk::open().await;
    desk.create(named("Ada")).await.unwrap();
    let mut database = desk.superuser().await;
    for (bulk, expected) in [("off", false), ("on", true)] {
        // Nobody takes from the queues what is not committed.
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(sqlx::AssertSqlSafe(format!("set local rapport.bulk = '{bulk}'"))).await.unwrap();
        let keep = "select keep_keys(tenant_id, 'contacts', id, true, '{}', '{}', '{}', '{}', '{}') from contacts";
        transaction.execute(keep).await.unwrap();
        transaction.execute("update contacts set tags = '{met}'").await.unwrap();
        assert_eq!(lanes(&mut transaction).await, [expected; 2], "{bulk}");
        transaction.rollback().await.unwrap();
    }
}
