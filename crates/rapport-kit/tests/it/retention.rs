//! What nobody deletes goes after its time, and not before.

use rapport_kit::SystemDb;
use rapport_kit::config::{Config, Retention};
use rapport_kit::db::{Logins, PoolConfig};
use rapport_kit::testing::{Identity, Infra, eventually};
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;

use crate::support::{SERVICE, serve, superuser};

/// Rows of `table` made `days` ago, for a tenant that is given or any.
const ROWS: [(&str, &str); 4] = [
    (
        "kit.access_log",
        "insert into kit.access_log select coalesce($2, gen_random_uuid()), gen_random_uuid(), 'read', 'users/x', '/m', '', '{}', 1, 'r',
           now() - make_interval(days => $1)",
    ),
    (
        "kit.inbox",
        "insert into kit.inbox select coalesce($2, gen_random_uuid()), 'probe', gen_random_uuid()::text, now() - make_interval(days => $1)",
    ),
    (
        "kit.dead_letter",
        "insert into kit.dead_letter (tenant_id, id, state, consumer, event_id, fact, subject, subject_version, routing_key, headers, body,
           reason, attempts, first_failed_at, last_failed_at)
         select coalesce($2, gen_random_uuid()), gen_random_uuid(), 'dead', 'probe', '', '', '', 1, '', '{}', '', '', 1,
           now() - make_interval(days => $1), now() - make_interval(days => $1)",
    ),
    (
        "kit.job",
        "insert into kit.job (tenant_id, id, kind, permission, undoable, state, owner_id, actor, request, input_ids, created_at, updated_at, ended_at)
         select coalesce($2, gen_random_uuid()), gen_random_uuid(), '', '', true, 3, gen_random_uuid(), 'users/x', '', '{}', now(), now(),
           now() - make_interval(days => $1)",
    ),
];

#[tokio::test]
async fn rows_go_when_their_time_is_over_and_younger_ones_and_dead_letters_of_tenants_stay() {
    let logins = Infra::from_environment().database(&SERVICE).await;
    let nobody = Some(uuid::Uuid::nil());
    for (table, statement) in ROWS {
        // More than one piece of work would take, were a piece as small as a row.
        for days in [39, 39, 41, 41, 41] {
            add(&logins, statement, days, if table == "kit.dead_letter" { nobody } else { None }).await;
        }
    }
    add(&logins, ROWS[2].1, 4000, None).await;
    let retention = Retention { access_log_days: 40, inbox_days: 40, nobodys_dead_letter_days: 40, job_days: 40, ..Retention::default() };
    let identity = Identity::start().await;
    let running = serve(&logins, &identity.address, |config| config.retention = retention).await;
    for (table, left) in [("kit.access_log", 2), ("kit.inbox", 2), ("kit.dead_letter", 3), ("kit.job", 2)] {
        eventually(&format!("{left} rows in {table}"), async || (count(&logins, table).await == left).then_some(())).await;
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn not_even_retention_can_take_young_rows_out_of_the_access_log() {
    let logins = Infra::from_environment().database(&SERVICE).await;
    for days in [1, 29, 31] {
        add(&logins, ROWS[0].1, days, None).await;
    }
    let system = SystemDb::new(logins.system.expose_secret(), PoolConfig::default()).unwrap();
    let mut conn = system.conn().await.unwrap();
    sqlx::query("delete from kit.access_log").execute(&mut conn).await.unwrap();
    assert_eq!(count(&logins, "kit.access_log").await, 2);
}

#[test]
fn periods_outside_their_bounds_are_refused_by_name() {
    let retention = Retention { access_log_days: 29, inbox_days: 366, nobodys_dead_letter_days: 0, unclaimed_days: 0, job_days: 6, file_days: 0 };
    let errors = Config { retention, ..Config::default() }.errors();
    let named = [
        "retention.access_log_days: must be 30 to 3650",
        "retention.inbox_days: must be 7 to 365",
        "retention.nobodys_dead_letter_days: must be 30 to 3650",
        "retention.unclaimed_days: must be 1 to 7",
        "retention.job_days: must be 7 to 3650",
        "retention.file_days: must be 1 to 3650",
    ];
    assert_eq!(errors, named);
    assert!(Config::default().errors().is_empty());
}

async fn add(logins: &Logins, statement: &'static str, days: i32, tenant: Option<uuid::Uuid>) {
    sqlx::query(statement).bind(days).bind(tenant).execute(&mut superuser(logins).await).await.expect("a row of that age");
}

async fn count(logins: &Logins, table: &str) -> i64 {
    let statement = AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(statement).fetch_one(&mut superuser(logins).await).await.expect("an answer")
}
