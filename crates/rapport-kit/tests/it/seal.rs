//! The seal finds every kind of tampering with what it covers.

use rapport_kit::SystemDb;
use rapport_kit::clock;
use rapport_kit::db::PoolConfig;
use rapport_kit::journal::seal::{seal, verify};
use rapport_kit::page::Sealer;
use rapport_kit::testing::eventually;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tonic::Code;

use crate::line::Line;
use crate::support::superuser;

/// Rows of the journal, over two checkpoints.
const ROWS: i64 = 40;

/// Kinds of tampering, each as one statement of the superuser on the row numbered `n`.
const TAMPERING: &[(&str, &str)] = &[
    ("a changed byte of the message", "update kit.journal j set message = set_byte(message, 0, get_byte(message, 0) # 1) from numbered where j.id = numbered.id and n = 7"),
    ("an emptied message", "update kit.journal j set message = '' from numbered where j.id = numbered.id and n = 7"),
    ("a removed message", "update kit.journal j set message = null from numbered where j.id = numbered.id and n = 9"),
    ("another actor", "update kit.journal j set actor = 'users/other' from numbered where j.id = numbered.id and n = 33"),
    ("another time", "update kit.journal j set recorded_at = recorded_at + interval '1 microsecond' from numbered where j.id = numbered.id and n = 7"),
    ("another version", "update kit.journal j set version = version + 1 from numbered where j.id = numbered.id and n = 7"),
    ("a value in the neighbouring column", "update kit.journal j set on_behalf_of = null, request_id = on_behalf_of, trace_id = request_id from numbered where j.id = numbered.id and n = 7"),
    ("two columns drawn into one", "update kit.journal j set actor = actor || '|' || on_behalf_of, on_behalf_of = null from numbered where j.id = numbered.id and n = 7"),
    ("a null made empty", "update kit.journal j set trace_id = '' from numbered where j.id = numbered.id and n = 7"),
    ("another person", "update kit.journal j set subjects = array[gen_random_uuid()] from numbered where j.id = numbered.id and n = 7"),
    ("a deleted row", "delete from kit.journal j using numbered where j.id = numbered.id and n = 20"),
    ("a deleted last row", "delete from kit.journal j using numbered where j.id = numbered.id and n = 40"),
    ("an added row", "insert into kit.journal select (jsonb_populate_record(j, '{\"id\": 0}')).* from kit.journal j join numbered using (id) where n = 15"),
    (
        "a row put in another's place",
        "update kit.journal j set message = o.message, version = o.version from kit.journal o join numbered b on b.id = o.id and b.n = 12, numbered a where j.id = a.id and a.n = 11",
    ),
    (
        "two rows swapped",
        "update kit.journal j set record_id = o.record_id, version = o.version, message = o.message, recorded_at = o.recorded_at, subjects = o.subjects
         from numbered a, numbered b, kit.journal o where a.n in (5, 6) and b.n = 11 - a.n and j.id = a.id and o.id = b.id",
    ),
    ("a checkpoint that covers less", "update kit.seal set entries = entries - 1 where id = (select max(id) from kit.seal)"),
    ("a changed digest", "update kit.seal set digest = set_byte(digest, 3, get_byte(digest, 3) # 1) where id = 1"),
    ("a checkpoint signed by somebody else", "update kit.seal set signature = set_byte(signature, 0, get_byte(signature, 0) # 1) where id = 1"),
    ("a removed checkpoint", "delete from kit.seal where id = 1"),
];

#[tokio::test]
async fn a_sealed_journal_is_intact_until_anybody_touches_it() {
    let line = Line::new().await;
    let system = SystemDb::new(line.logins().system.expose_secret(), PoolConfig::default()).unwrap();
    let mut owner = superuser(line.logins()).await;
    for half in 0..2 {
        for version in 1..=ROWS / 4 {
            let record = clock::new_id();
            let mut tx = line.db.begin(&crate::support::ctx(line.tenant)).await.unwrap();
            let mut entry = line.entry(record, version);
            entry.on_behalf_of = Some("users/boss".to_owned());
            crate::line::write(&mut tx, entry).await;
            crate::line::write(&mut tx, line.entry(record, version + 1)).await;
            tx.commit().await.unwrap();
        }
        sealed(&system, &mut owner, (half + 1) * ROWS / 2).await;
    }
    let verdict = verify(&system, &sealer()).await.unwrap();
    assert_eq!((verdict.checked, verdict.broken_seal), (ROWS, None));

    for (what, statement) in TAMPERING {
        let touched = tampered(&mut owner, statement).await;
        assert!(touched > 0, "{what}: nothing was touched");
        let verdict = verify(&system, &sealer()).await.unwrap();
        assert!(verdict.broken_seal.is_some(), "{what} was not found");
        restore(&mut owner).await;
        assert_eq!(verify(&system, &sealer()).await.unwrap().broken_seal, None, "after {what} was taken back");
    }
}

#[tokio::test]
async fn a_row_of_a_running_transaction_is_sealed_later_and_not_left_out() {
    let line = Line::new().await;
    let mut owner = superuser(line.logins()).await;
    let mut open = line.db.begin(&crate::support::ctx(line.tenant)).await.unwrap();
    crate::line::write(&mut open, line.entry(clock::new_id(), 1)).await;
    line.record([(clock::new_id(), 1)]).await;
    // Whatever is sealed now, the open transaction's row is behind no checkpoint yet.
    seal(&line.system, &sealer()).await.unwrap();
    open.commit().await.unwrap();
    sealed(&line.system, &mut owner, 2).await;
    let verdict = verify(&line.system, &sealer()).await.unwrap();
    assert_eq!((verdict.checked, verdict.broken_seal), (2, None));
}

#[tokio::test]
async fn the_application_role_cannot_touch_the_checkpoints() {
    let line = Line::new().await;
    let mut conn = line.db.for_tenant(&crate::support::ctx(line.tenant)).await.unwrap();
    let error = sqlx::query("delete from kit.seal").execute(&mut conn).await.expect_err("no right to do it");
    assert_eq!(rapport_kit::Fault::from(error).code(), Code::Internal);
}

fn sealer() -> Sealer {
    Sealer::new(b"sealing secret of tests")
}

/// Seals until `rows` rows lie behind checkpoints: other databases' transactions can hold the horizon back.
async fn sealed(system: &SystemDb, owner: &mut PgConnection, rows: i64) {
    eventually("a seal over everything", async || {
        seal(system, &sealer()).await.expect("the journal is sealed");
        let mut conn = system.conn().await.expect("a connection");
        let covered: i64 =
            sqlx::query_scalar("select coalesce(sum(entries), 0)::bigint from kit.seal").fetch_one(&mut conn).await.expect("the database answers");
        (covered == rows).then_some(())
    })
    .await;
    for statement in [
        "create schema if not exists kept",
        "drop table if exists kept.journal, kept.seal",
        "create table kept.journal as select * from kit.journal",
        "create table kept.seal as select * from kit.seal",
    ] {
        sqlx::query(statement).execute(&mut *owner).await.expect("the database answers");
    }
}

async fn tampered(owner: &mut PgConnection, statement: &str) -> u64 {
    let numbered = "create temporary table if not exists numbered as select id, row_number() over (order by xid, id) as n from kit.journal";
    sqlx::query(numbered).execute(&mut *owner).await.expect("the database answers");
    let mut tx = owner.begin().await.expect("a transaction");
    let touched = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.expect("the database answers").rows_affected();
    tx.commit().await.expect("a commit");
    touched
}

async fn restore(owner: &mut PgConnection) {
    for statement in [
        "delete from kit.journal",
        "insert into kit.journal select * from kept.journal",
        "delete from kit.seal",
        "insert into kit.seal overriding system value select * from kept.seal",
    ] {
        sqlx::query(statement).execute(&mut *owner).await.expect("the database answers");
    }
}
