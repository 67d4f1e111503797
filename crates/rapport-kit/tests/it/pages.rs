//! Pages of a list as the database reads them.

use rapport_kit::db::{Conn, PoolConfig};
use rapport_kit::page::{self, Cursor, KeyValue, Query};
use rapport_kit::testing::Infra;
use rapport_kit::{Ctx, Db, clock};
use secrecy::ExposeSecret;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::support::{SERVICE, ctx, superuser};

const ROWS: i64 = 20_000;

#[tokio::test]
async fn a_list_is_planned_for_its_first_readers_and_then_no_more() {
    let (db, tenant) = filled().await;
    let ctx = ctx(tenant);
    let mut conn = db.for_tenant(&ctx).await.unwrap();
    for _ in 0..20 {
        page(&ctx, &mut conn, None).await;
    }
    // The database tries five plans for the values at hand before it keeps one for all.
    let (own, kept): (i64, i64) =
        sqlx::query_as("select custom_plans, generic_plans from pg_prepared_statements where statement like 'select version as place%'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!((own, kept), (5, 15), "plans for single readers and the kept one's uses");
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_to_the_end_of_the_list() {
    let (db, tenant) = filled().await;
    let ctx = ctx(tenant);
    let mut conn = db.for_tenant(&ctx).await.unwrap();
    let (mut seen, mut token) = (0, String::new());
    loop {
        let after = ctx.call().sealer.open(&token, &query(&ctx)).unwrap();
        let (rows, next) = page(&ctx, &mut conn, after).await;
        for row in &rows {
            seen += 1;
            assert_eq!(place(row), seen);
        }
        if next.is_empty() {
            break;
        }
        assert_eq!(rows.len(), 300, "a page before the last is full");
        token = next;
    }
    assert_eq!(seen, ROWS);
}

fn query(ctx: &Ctx) -> Query {
    Query::of(ctx).with("list", "effects")
}

fn place(row: &PgRow) -> i64 {
    row.get("place")
}

/// 300 rows in the order of their writing.
async fn page(ctx: &Ctx, conn: &mut Conn, after: Option<Cursor>) -> (Vec<PgRow>, String) {
    let mut sql = QueryBuilder::<Postgres>::new("select version as place from effect where tenant_id = ");
    sql.push_bind(ctx.tenant());
    if let Some([KeyValue::Int(place)]) = after.as_ref().map(|cursor| cursor.keys.as_slice()) {
        sql.push(" and seq > (select seq from effect where version = ").push_bind(*place).push(")");
    }
    sql.push(" order by tenant_id, seq");
    let cursor = |last: &PgRow| Ok(Cursor { keys: vec![KeyValue::Int(place(last))], id: Uuid::nil() });
    page::read(ctx, &query(ctx), &mut sql, conn, 300, cursor).await.expect("a page")
}

/// A table of one tenant whose rows the database has counted.
async fn filled() -> (Db, Uuid) {
    let logins = Infra::from_environment().database(&SERVICE).await;
    let tenant = clock::new_id();
    let mut conn = superuser(&logins).await;
    sqlx::query(
        "insert into effect (tenant_id, record_id, version, event_id) select $1, gen_random_uuid(), number, '' from generate_series(1, $2) number",
    )
    .bind(tenant)
    .bind(ROWS)
    .execute(&mut conn)
    .await
    .expect("the rows are written");
    sqlx::query("analyze effect").execute(&mut conn).await.expect("the rows are counted");
    let config = PoolConfig { max_connections: 1, ..PoolConfig::default() };
    (Db::new(logins.app.expose_secret(), config).expect("an address"), tenant)
}
