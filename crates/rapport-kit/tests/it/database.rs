//! Connections and tenants: nobody reads another's rows, whatever is cut short.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rapport_kit::clock;
use rapport_kit::db::{Migrations, PoolConfig, migrate, provision};
use rapport_kit::testing::{Infra, eventually, password};
use rapport_kit::{Db, Fault};
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{SERVICE, ctx, refusal, runs, says_when_to_retry, superuser};
use crate::wire::Wire;

const ROWS: usize = 50;

#[tokio::test]
async fn dropped_statements_never_show_a_tenant_anothers_rows() {
    let (db, _) = database(4).await;
    let tenants = [clock::new_id(), clock::new_id()];
    for tenant in tenants {
        fill(&db, tenant).await;
    }
    let mut callers = JoinSet::new();
    for caller in 0..4_u64 {
        let db = db.clone();
        callers.spawn(async move {
            let (mut seen, mut cut) = (0_u32, 0_u32);
            for turn in 0..750_u64 {
                let number = caller * 750 + turn;
                let tenant = if number.is_multiple_of(2) { tenants[0] } else { tenants[1] };
                // A third is dropped at some step of its way: while connecting, setting the tenant or reading.
                let steps = if scattered(number).is_multiple_of(3) { scattered(number) / 3 % 6 } else { u64::MAX };
                match dropped_after(steps, rows(&db, tenant)).await {
                    Some(rows) => {
                        assert_eq!(rows.expect("an answer"), vec![tenant; ROWS]);
                        seen += 1;
                    }
                    None => cut += 1,
                }
            }
            (seen, cut)
        });
    }
    let (seen, cut) = callers.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(seen > 1000 && cut > 150, "{seen} seen and {cut} cut: both must happen often");
    // The pool has recovered: all its connections can be held at once.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(db.for_tenant(&ctx(tenants[0])).await.unwrap());
    }
}

#[tokio::test]
async fn a_statement_dropped_at_any_step_leaves_nothing_wrong_behind() {
    let (filling, logins) = database(1).await;
    let (tenant, other) = (clock::new_id(), clock::new_id());
    fill(&filling, tenant).await;
    fill(&filling, other).await;
    let mut whole = 0;
    let db = pool(&logins, 1);
    let mut counted = pin!(rows(&db, tenant));
    poll_fn(|context| {
        whole += 1;
        counted.as_mut().poll(context).map(|_| ())
    })
    .await;
    // The last steps of the way, each time from the very beginning: most of them are spent on the password,
    // then come the setting of the tenant and the reading.
    for steps in u64::saturating_sub(whole, 60).. {
        let db = pool(&logins, 1);
        let done = dropped_after(steps, rows(&db, tenant)).await;
        assert_eq!(rows(&db, tenant).await.unwrap(), vec![tenant; ROWS], "after a drop at step {steps}");
        assert_eq!(rows(&db, other).await.unwrap(), vec![other; ROWS], "after a drop at step {steps}");
        if done.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn a_full_pool_refuses_the_next_caller_and_says_when_to_come_back() {
    let (db, _) = database(2).await;
    let tenant = clock::new_id();
    let held = (db.for_tenant(&ctx(tenant)).await.unwrap(), db.begin(&ctx(tenant)).await.unwrap());
    let refused = tokio::time::timeout(Duration::from_secs(5), db.for_tenant(&ctx(tenant))).await.expect("an answer well before callers give up");
    let status = Status::from(refused.expect_err("both connections are held"));
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "DATABASE_BUSY".to_owned()));
    assert!(says_when_to_retry(&status));
    drop(held);
    db.for_tenant(&ctx(tenant)).await.expect("a connection is free again");
}

#[tokio::test]
async fn every_table_with_a_tenant_is_closed_by_row_level_security() {
    let (_, logins) = database(2).await;
    let mut conn = superuser(&logins).await;
    let tables: Vec<(String, bool, bool, bool, bool)> = sqlx::query_as(
        "select c.oid::regclass::text, c.relrowsecurity, c.relforcerowsecurity,
           exists (select from pg_policies p where p.schemaname = n.nspname and p.tablename = c.relname
             and p.roles = '{rapport_app}' and p.cmd = 'ALL' and p.qual like '%rapport.tenant%' and p.with_check like '%rapport.tenant%'),
           has_table_privilege('rapport_app', c.oid, 'select, insert, update, delete, truncate')
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and n.nspname in ('kit', 'public')
           and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(tables.len() > 15, "only {} tables", tables.len());
    for (table, enabled, forced, both_clauses, reachable) in tables {
        assert!(enabled && forced, "{table} does not force row-level security");
        // A partition is reached through its parent alone, under the parent's policy.
        assert!(both_clauses || !reachable, "{table} can be reached without both clauses");
    }
}

#[tokio::test]
async fn the_application_role_owns_nothing_and_cannot_rewrite_the_journal() {
    let (_, logins) = database(2).await;
    let mut conn = superuser(&logins).await;
    let owned: i64 = sqlx::query_scalar(
        "select (select count(*) from pg_class where relowner in (select oid from pg_roles where rolname in ('probe_app', 'rapport_app', 'probe_system', 'rapport_system')))
              + (select count(*) from pg_roles where rolname in ('probe_app', 'rapport_app', 'probe_system', 'rapport_system') and (rolbypassrls or rolsuper))",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(owned, 0);
    for login in [&logins.app, &logins.system] {
        let mut conn = bare(login.expose_secret()).await;
        for statement in
            ["update kit.journal set actor = 'nobody'", "delete from kit.journal", "truncate kit.journal", "delete from kit.journal_default"]
        {
            let error = sqlx::query(statement).execute(&mut conn).await.expect_err(statement);
            assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{statement}");
        }
    }
}

#[tokio::test]
async fn without_a_tenant_nothing_is_seen_and_nothing_can_be_written() {
    let (db, logins) = database(2).await;
    fill(&db, clock::new_id()).await;
    let mut conn = bare(logins.app.expose_secret()).await;
    // First never set, then set to nothing.
    for prepare in ["select 1", "set rapport.tenant = ''"] {
        sqlx::query(prepare).execute(&mut conn).await.unwrap();
        let seen: i64 = sqlx::query_scalar("select count(*) from effect").fetch_one(&mut conn).await.unwrap();
        assert_eq!(seen, 0);
        let insert = "insert into effect (tenant_id, record_id, version, event_id) values (gen_random_uuid(), gen_random_uuid(), 1, '')";
        let error = sqlx::query(insert).execute(&mut conn).await.expect_err("a row without a tenant on the connection");
        assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"));
    }
}

#[tokio::test]
async fn the_addresses_of_a_database_are_such_that_every_client_takes_them() {
    let logins = Infra::from_environment().database(&SERVICE).await;
    for login in [&logins.migrator, &logins.app, &logins.system] {
        let (_, parameters) = login.expose_secret().split_once('?').unwrap_or_default();
        let keys: Vec<&str> = parameters.split('&').filter_map(|pair| pair.split('=').next()).filter(|key| !key.is_empty()).collect();
        let common = ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "options", "host"];
        assert!(keys.iter().all(|key| common.contains(key)), "psql knows no such parameter: {keys:?}");
        bare(login.expose_secret()).await.close().await.expect("the address leads to the database");
    }
}

#[tokio::test]
async fn an_installation_that_was_cut_short_is_completed_by_the_next_run() {
    let (_, logins) = database(1).await;
    let mut conn = superuser(&logins).await;
    let database: String = sqlx::query_scalar("select current_database()").fetch_one(&mut conn).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("grant connect on database {database} to public"))).execute(&mut conn).await.unwrap();
    provision(&Infra::from_environment().postgres, SERVICE.name, &database, None, &password()).await.expect("it is there already");
    let open: bool = sqlx::query_scalar("select has_database_privilege('public', current_database(), 'connect')").fetch_one(&mut conn).await.unwrap();
    assert!(!open, "everybody may still connect");
}

#[tokio::test]
async fn a_release_that_was_taken_back_works_on_the_schema_that_it_finds() {
    let (_, logins) = database(1).await;
    // The release before the service's first migration.
    migrate(&logins.migrator, &Migrations::DEFAULT).await.expect("it has nothing to do and nothing against the rest");
}

#[tokio::test]
async fn a_text_with_the_character_nul_is_the_callers_mistake() {
    let (db, _) = database(1).await;
    let mut conn = db.for_tenant(&ctx(clock::new_id())).await.unwrap();
    for (statement, text) in [("select $1::text", "a\0b"), ("select $1::text::jsonb", "\"a\\u0000b\"")] {
        let error = sqlx::query(statement).bind(text).execute(&mut conn).await.expect_err("no text can have it");
        assert_eq!(refusal(&Status::from(Fault::from(error))), (Code::InvalidArgument, "TEXT_INVALID".to_owned()), "{statement}");
    }
}

#[tokio::test]
async fn what_is_not_committed_is_rolled_back() {
    let (db, _) = database(1).await;
    let tenant = clock::new_id();
    let mut tx = db.begin(&ctx(tenant)).await.unwrap();
    insert(tx.conn(), tenant).await.unwrap();
    drop(tx);
    assert!(rows(&db, tenant).await.unwrap().is_empty());
    // Also if it was dropped in the middle of a statement.
    let mut tx = db.begin(&ctx(tenant)).await.unwrap();
    insert(tx.conn(), tenant).await.unwrap();
    let cut = tokio::time::timeout(Duration::from_millis(20), sqlx::query("select pg_sleep(60)").execute(tx.conn())).await;
    assert!(cut.is_err());
    drop(tx);
    assert!(rows(&db, tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_failed_cannot_be_committed() {
    let (db, _) = database(1).await;
    let tenant = clock::new_id();
    let mut tx = db.begin(&ctx(tenant)).await.unwrap();
    insert(tx.conn(), tenant).await.unwrap();
    sqlx::query("select 1 / 0").execute(tx.conn()).await.expect_err("nobody divides by zero");
    tx.commit().await.expect_err("the server would roll back and call it done");
    // And the connection is good for others afterwards.
    assert!(rows(&db, tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended_and_frees_its_slot() {
    let (db, _) = database(1).await;
    let tenant = clock::new_id();
    let mut tx = db.begin(&ctx(tenant)).await.unwrap();
    sqlx::query("set local statement_timeout = '50ms'").execute(tx.conn()).await.unwrap();
    let ended = sqlx::query("select pg_sleep(60)").execute(tx.conn()).await.expect_err("the server ends it");
    let status = Status::from(Fault::from(ended));
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_PASSED".to_owned()));
    drop(tx);
    assert!(rows(&db, tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_abandoned_statement_ends_on_the_server_too() {
    let (db, logins) = database(1).await;
    let mut conn = db.for_tenant(&ctx(clock::new_id())).await.unwrap();
    sqlx::query("set statement_timeout = '90s'").execute(&mut conn).await.unwrap();
    let statement = sqlx::query("select pg_sleep(60) /* abandoned */");
    tokio::select! {
        _ = statement.execute(&mut conn) => panic!("a statement of a minute has ended"),
        () = eventually("a running statement", async || runs(&logins, "/* abandoned */").await.then_some(())) => {}
    }
    drop(conn);
    eventually("the end of the statement", async || (!runs(&logins, "/* abandoned */").await).then_some(())).await;
}

#[tokio::test]
async fn a_statement_that_the_server_never_answers_is_given_up_and_the_next_one_has_a_new_connection() {
    let (_, logins) = database(1).await;
    let wire = Wire::to(&logins.app).await;
    let config = PoolConfig { max_connections: 1, answer_timeout: Duration::from_millis(300), ..PoolConfig::default() };
    let db = Db::new(wire.url(&logins.app).expose_secret(), config).unwrap();
    let tenant = clock::new_id();
    fill(&db, tenant).await;
    for _ in 0..2 {
        wire.hush();
        let fault = rows(&db, tenant).await.expect_err("nobody can hear the answer");
        assert_eq!((fault.code(), fault.reason()), (Code::Unavailable, "DATABASE_AWAY"));
        assert_eq!(rows(&db, tenant).await.unwrap(), vec![tenant; ROWS]);
    }
    // A single row goes another way through the library.
    let mut conn = db.for_tenant(&ctx(tenant)).await.unwrap();
    wire.hush();
    sqlx::query("select 1").fetch_optional(&mut conn).await.expect_err("nobody can hear the answer");
    drop(conn);
    let mut conn = db.for_tenant(&ctx(tenant)).await.unwrap();
    sqlx::query("select 1").fetch_one(&mut conn).await.unwrap();
}

async fn database(connections: usize) -> (Db, rapport_kit::db::Logins) {
    let logins = Infra::from_environment().database(&SERVICE).await;
    (pool(&logins, connections), logins)
}

fn pool(logins: &rapport_kit::db::Logins, connections: usize) -> Db {
    let config = PoolConfig { max_connections: connections, acquire_timeout: Duration::from_secs(1), ..PoolConfig::default() };
    Db::new(logins.app.expose_secret(), config).expect("an address")
}

/// A connection past the kit.
async fn bare(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("an address");
    let mut conn = options.connect().await.expect("the role may connect");
    conn.ping().await.expect("the server answers");
    conn
}

async fn fill(db: &Db, tenant: Uuid) {
    let mut tx = db.begin(&ctx(tenant)).await.expect("a transaction");
    for _ in 0..ROWS {
        insert(tx.conn(), tenant).await.expect("the row is written");
    }
    tx.commit().await.expect("a commit");
}

async fn insert(conn: &mut rapport_kit::db::Conn, tenant: Uuid) -> Result<(), sqlx::Error> {
    let query = sqlx::query("insert into effect (tenant_id, record_id, version, event_id) values ($1, $2, 1, '')");
    query.bind(tenant).bind(clock::new_id()).execute(conn).await.map(|_| ())
}

/// The tenants of the rows that `tenant` sees, after 2 ms of work on the server.
async fn rows(db: &Db, tenant: Uuid) -> Result<Vec<Uuid>, Fault> {
    let mut conn = db.for_tenant(&ctx(tenant)).await?;
    Ok(sqlx::query_scalar("select tenant_id from effect, pg_sleep(0.002)").fetch_all(&mut conn).await?)
}

/// What `future` answers, unless it is still under way after it was polled `steps` times more than once: then
/// it is dropped where it stands.
async fn dropped_after<F: Future>(steps: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = steps;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A number that jumps about, the same in every run.
fn scattered(number: u64) -> u64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).wrapping_mul(0x85eb_ca6b) >> 13
}
