//! The seal finds every kind of tampering with what it covers.

use rapport_kit::config::Secrets;
use rapport_kit::journal::seal::{Range, Verdict, seal, verify};
use rapport_kit::page::Sealer;
use rapport_kit::testing::eventually;
use rapport_kit::{SystemDb, clock, process};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};
use tonic::Code;

use crate::line::Line;
use crate::support::superuser;

/// Rows of the journal, over two checkpoints.
const ROWS: i64 = 40;
const SEALING: &str = "sealing secret of tests";

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
    let mut owner = superuser(line.logins()).await;
    two_checkpoints(&line, &mut owner).await;
    let verdict = whole(&line, None).await;
    assert_eq!((verdict.checked, verdict.broken_seal, verdict.next), (ROWS, None, None));

    for (what, statement) in TAMPERING {
        let touched = tampered(&mut owner, statement).await;
        assert!(touched > 0, "{what}: nothing was touched");
        let verdict = whole(&line, None).await;
        assert!(verdict.broken_seal.is_some(), "{what} was not found");
        assert_eq!(verdict.newest, None, "{what} is vouched for");
        restore(&mut owner).await;
        assert_eq!(whole(&line, None).await.broken_seal, None, "after {what} was taken back");
    }
}

#[tokio::test]
async fn whoever_kept_an_anchor_sees_that_the_newest_checkpoint_went_with_its_rows() {
    let line = Line::new().await;
    let mut owner = superuser(line.logins()).await;
    two_checkpoints(&line, &mut owner).await;
    let anchor = whole(&line, None).await.newest.expect("the chain is intact to its end");
    let verdict = whole(&line, Some(&anchor)).await;
    assert_eq!((verdict.anchor_missing, verdict.newest), (false, Some(anchor.clone())));

    let rows = "delete from kit.journal j using kit.seal s where s.id = (select max(id) - 1 from kit.seal) and (j.xid, j.id) > (s.through_xid, s.through_id)";
    let gone = i64::try_from(tampered(&mut owner, rows).await).unwrap();
    assert!(gone > 0);
    tampered(&mut owner, "delete from kit.seal where id = (select max(id) from kit.seal)").await;
    let blind = whole(&line, None).await;
    assert_eq!((blind.checked, blind.broken_seal), (ROWS - gone, None), "a shorter chain is sound by itself");
    let verdict = whole(&line, Some(&anchor)).await;
    assert_eq!((verdict.anchor_missing, verdict.newest), (true, None));

    // An operator asks for the same by a command of the service.
    let secrets = Secrets {
        database_app: line.logins().app.clone(),
        database_system: line.logins().system.clone(),
        broker: None,
        credential: SecretString::from("none"),
        sealing: SecretString::from(SEALING),
    };
    assert_eq!(process::seal_holds(&secrets, Some(&hex(&anchor))).await.expect_err("it is shorter").reason(), "SEAL_ANCHOR_MISSING");
    let newest = process::seal_holds(&secrets, None).await.expect("it is sound by itself");
    assert_eq!(Some(newest), blind.newest.as_deref().map(hex));
    let stranger = Secrets { sealing: SecretString::from("of another service"), ..secrets };
    assert_eq!(process::seal_holds(&stranger, None).await.expect_err("it was sealed with another secret").reason(), "SEAL_BROKEN");

    // What is recorded and sealed afterwards does not cover it up.
    line.record([(clock::new_id(), 1)]).await;
    sealed(&line.system, &mut owner, ROWS - gone + 1).await;
    assert!(whole(&line, Some(&anchor)).await.anchor_missing);
}

#[tokio::test]
async fn verification_goes_on_where_it_ended_and_counts_the_callers_own_rows() {
    let line = Line::new().await;
    let mut owner = superuser(line.logins()).await;
    two_checkpoints(&line, &mut owner).await;
    let range = Range { tenant: line.tenant, after: None, rows: 1, anchor: None };
    let first = verify(&line.system, &sealer(), range).await.unwrap();
    let (mut checked, mut page) = (first.checked, first.clone());
    assert!(checked < ROWS && page.newest.is_none());
    while page.next.is_some() {
        page = verify(&line.system, &sealer(), Range { after: page.next, ..range }).await.unwrap();
        assert_eq!(page.broken_seal, None);
        checked += page.checked;
    }
    assert_eq!((checked, page.newest), (ROWS, whole(&line, None).await.newest));

    let stranger = verify(&line.system, &sealer(), Range { tenant: clock::new_id(), rows: i64::MAX, ..range }).await.unwrap();
    assert_eq!((stranger.checked, stranger.broken_seal), (0, None));

    // A checkpoint that is gone by the time one would go on from it is missed.
    tampered(&mut owner, "delete from kit.seal").await;
    assert_eq!(verify(&line.system, &sealer(), Range { after: first.next, ..range }).await.unwrap().broken_seal, first.next);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restore_with_transaction_ids_that_began_anew() {
    let line = Line::new().await;
    let mut owner = superuser(line.logins()).await;
    line.record((1..=5).map(|version| (clock::new_id(), version))).await;
    sealed(&line.system, &mut owner, 5).await;
    line.record((1..=5).map(|version| (clock::new_id(), version))).await;
    // As after a logical restore: ids of transactions to come are below those of what is there.
    for statement in [
        "update kit.journal set xid = (xid::text::bigint + 1000000000000)::text::xid8 where era = 1 and not exists (
           select from kit.seal s where (journal.xid, journal.id) <= (s.through_xid, s.through_id))",
        "select kit.begin_era()",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    line.record((1..=5).map(|version| (clock::new_id(), version))).await;
    sealed(&line.system, &mut owner, 15).await;
    let eras: Vec<(i32, i64)> =
        sqlx::query_as("select era, sum(entries)::bigint from kit.seal group by era order by era").fetch_all(&mut owner).await.unwrap();
    assert_eq!(eras, [(1, 10), (2, 5)]);
    let verdict = whole(&line, None).await;
    assert_eq!((verdict.checked, verdict.broken_seal), (15, None));

    for (what, statement) in [
        ("a row of the new era that is gone", "delete from kit.journal where id = (select max(id) from kit.journal)"),
        ("a row of the old era that is gone", "delete from kit.journal where id = (select min(id) from kit.journal)"),
        ("a row moved to the old era", "update kit.journal set era = 1 where id = (select max(id) from kit.journal)"),
        (
            "a row added behind the end of the old era",
            "insert into kit.journal select (jsonb_populate_record(j, '{\"id\": 0, \"xid\": \"2000000000000\"}')).* from kit.journal j where era = 1 limit 1",
        ),
        (
            "a row added before all eras",
            "insert into kit.journal select (jsonb_populate_record(j, '{\"id\": 0, \"era\": 0}')).* from kit.journal j where era = 1 limit 1",
        ),
    ] {
        assert_eq!(tampered(&mut owner, statement).await, 1, "{what}");
        assert!(whole(&line, None).await.broken_seal.is_some(), "{what} was not found");
        restore(&mut owner).await;
    }
    assert_eq!(whole(&line, None).await.broken_seal, None);
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
    let verdict = whole(&line, None).await;
    assert_eq!((verdict.checked, verdict.broken_seal), (2, None));
}

#[tokio::test]
async fn the_application_role_cannot_touch_the_checkpoints() {
    let line = Line::new().await;
    let mut conn = line.db.for_tenant(&crate::support::ctx(line.tenant)).await.unwrap();
    let error = sqlx::query("delete from kit.seal").execute(&mut conn).await.expect_err("no right to do it");
    assert_eq!(rapport_kit::Fault::from(error).code(), Code::Internal);
}

/// Two checkpoints of equal size with [`ROWS`] rows between them.
async fn two_checkpoints(line: &Line, owner: &mut PgConnection) {
    for half in 0..2 {
        for version in 1..=ROWS / 4 {
            let record = clock::new_id();
            let mut tx = line.db.begin(&crate::support::ctx(line.tenant)).await.expect("a transaction");
            let mut entry = line.entry(record, version);
            entry.on_behalf_of = Some("users/boss".to_owned());
            crate::line::write(&mut tx, entry).await;
            crate::line::write(&mut tx, line.entry(record, version + 1)).await;
            tx.commit().await.expect("a commit");
        }
        sealed(&line.system, owner, (half + 1) * ROWS / 2).await;
    }
}

/// Verification of the whole chain in one go.
async fn whole(line: &Line, anchor: Option<&[u8]>) -> Verdict {
    verify(&line.system, &sealer(), Range { tenant: line.tenant, after: None, rows: i64::MAX, anchor }).await.expect("the chain is read")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sealer() -> Sealer {
    Sealer::new(SEALING.as_bytes())
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
