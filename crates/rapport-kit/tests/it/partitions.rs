//! The journal's months: each gets a partition of its own, also if rows came before it did.

use rapport_kit::clock;
use rapport_kit::db::PoolConfig;
use rapport_kit::{Fault, SystemDb};
use secrecy::ExposeSecret;
use sqlx::PgConnection;

use crate::line::Line;
use crate::support::superuser;

#[tokio::test]
async fn a_month_whose_rows_came_before_its_partition_gets_one_and_the_rows_move_there() {
    let line = Line::new().await;
    let mut owner = superuser(line.logins()).await;
    let months = months(&mut owner).await;
    // Nobody made partitions for a long time: there is none for this month, nor for one long ago.
    for month in &months {
        sqlx::query(sqlx::AssertSqlSafe(format!("drop table kit.{month}"))).execute(&mut owner).await.unwrap();
    }
    let records: Vec<_> = (0..20).map(|_| clock::new_id()).collect();
    line.record(records.iter().map(|record| (*record, 1))).await;
    let old = "insert into kit.journal select (jsonb_populate_record(j, '{\"id\": 0, \"recorded_at\": \"2020-02-29T23:59:59Z\"}')).* from kit.journal j limit 1";
    sqlx::query(old).execute(&mut owner).await.unwrap();
    assert_eq!(placed(&mut owner).await, [("journal_default".to_owned(), 21)]);

    ensure(&line).await.unwrap();
    let this_month = months.first().expect("this month's partition").clone();
    assert_eq!(placed(&mut owner).await, [("journal_202002".to_owned(), 1), (this_month.clone(), 20)]);
    let mut expected = months.clone();
    expected.insert(0, "journal_202002".to_owned());
    assert_eq!(self::months(&mut owner).await, expected);
    let unguarded: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'kit'::regnamespace and relname like 'journal%' and relkind in ('r', 'p')
           and not (relrowsecurity and relforcerowsecurity)",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(unguarded.is_empty(), "without row-level security: {unguarded:?}");

    // What comes later goes there too, and a second round finds nothing to do.
    line.record([(clock::new_id(), 1)]).await;
    ensure(&line).await.unwrap();
    assert_eq!(placed(&mut owner).await, [("journal_202002".to_owned(), 1), (this_month, 21)]);
    assert_eq!(line.waiting().await, 21);
}

async fn ensure(line: &Line) -> Result<(), Fault> {
    let system = SystemDb::new(line.logins().system.expose_secret(), PoolConfig::default())?;
    let mut conn = system.conn().await?;
    sqlx::query("select kit.ensure_journal_partitions()").execute(&mut conn).await?;
    Ok(())
}

/// Partitions of months, the earliest first.
async fn months(owner: &mut PgConnection) -> Vec<String> {
    let months =
        "select relname::text from pg_class where relnamespace = 'kit'::regnamespace and relname ~ '^journal_[0-9]{6}$' and relkind = 'r' order by 1";
    sqlx::query_scalar(months).fetch_all(owner).await.expect("an answer")
}

/// Rows by partition.
async fn placed(owner: &mut PgConnection) -> Vec<(String, i64)> {
    let placed = "select c.relname::text, count(*) from kit.journal j join pg_class c on c.oid = j.tableoid group by 1 order by 1";
    sqlx::query_as(placed).fetch_all(owner).await.expect("an answer")
}
