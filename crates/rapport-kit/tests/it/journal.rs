//! What was written is found again: by its key, by its time, by its order.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rapport_kit::clock;
use rapport_kit::db::PoolConfig;
use rapport_kit::journal::{Earlier, Entry, Record, as_of, changes, entry};
use rapport_kit::testing::{Infra, call};
use rapport_kit::{Ctx, Db, Fault};
use rapport_proto::common::v1::{PolicyChange, PolicyTenant};
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tonic::{Code, Request};
use uuid::Uuid;

use crate::support::{SERVICE, ctx, refused};

#[tokio::test]
async fn a_repeated_request_fails_and_finds_what_the_first_one_wrote() {
    let db = database().await;
    let (tenant, record, part) = (clock::new_id(), clock::new_id(), clock::new_id());
    let asked = keyed(tenant, "key 1", "create it");
    let written = [fact(&asked, record, 1), fact(&asked, part, 1), fact(&asked, record, 1).after(1)];
    assert_eq!(Earlier::find(&db, &asked).await.unwrap(), None);
    store(&db, &asked, &written).await.unwrap();

    let again = keyed(tenant, "key 1", "create it");
    let fault = store(&db, &again, &[fact(&again, clock::new_id(), 1)]).await.expect_err("the key was used");
    assert_eq!(fault.constraint(), Some("idempotency_key"));
    let earlier = Earlier::find(&db, &again).await.unwrap().expect("the first one wrote something");
    assert_eq!(earlier.written, [("effects".to_owned(), record, 1), ("effects".to_owned(), part, 1)]);
    assert_eq!(earlier.record().unwrap(), (record, 1));
    assert_eq!(count(&db, tenant).await, 3);
}

#[tokio::test]
async fn a_key_that_came_with_another_request_is_refused() {
    let db = database().await;
    let tenant = clock::new_id();
    let first = keyed(tenant, "key 1", "create it");
    store(&db, &first, &[fact(&first, clock::new_id(), 1)]).await.unwrap();
    let fault = Earlier::find(&db, &keyed(tenant, "key 1", "create another")).await.expect_err("another request");
    assert_eq!(refused(fault), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    // The same key of another tenant is another key.
    assert_eq!(Earlier::find(&db, &keyed(clock::new_id(), "key 1", "create it")).await.unwrap(), None);
}

#[tokio::test]
async fn of_fifty_equal_requests_at_once_one_writes() {
    let db = database().await;
    let (tenant, record) = (clock::new_id(), clock::new_id());
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let db = db.clone();
        requests.spawn(async move {
            let asked = keyed(tenant, "key 1", "create it");
            let done = store(&db, &asked, &[fact(&asked, record, 1)]).await;
            let constraint = done.as_ref().err().and_then(Fault::constraint).map(str::to_owned);
            (done.is_ok(), constraint, Earlier::find(&db, &asked).await.unwrap())
        });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|(wrote, _, _)| *wrote).count(), 1);
    for (wrote, constraint, earlier) in answers {
        assert!(wrote || constraint.as_deref() == Some("idempotency_key"));
        assert_eq!(earlier.map(|earlier| earlier.written), Some(vec![("effects".to_owned(), record, 1)]));
    }
    assert_eq!(count(&db, tenant).await, 1);
}

#[tokio::test]
async fn a_record_is_shown_as_it_was_at_any_time() {
    let db = database().await;
    let ctx = ctx(clock::new_id());
    let record = clock::new_id();
    store(&db, &ctx, &[stating(&ctx, record, 1, Some(false))]).await.unwrap();
    store(&db, &ctx, &[stating(&ctx, record, 2, Some(true))]).await.unwrap();
    store(&db, &ctx, &[stating(&ctx, record, 3, None)]).await.unwrap();
    let history = changes(&db, &ctx, record, None, 10).await.unwrap();
    let times: Vec<DateTime<Utc>> = history.iter().rev().map(|change| change.recorded_at).collect();
    let [first, second, third] = times.as_slice() else { panic!("three changes: {history:?}") };
    assert_eq!(history.iter().map(|change| change.version).collect::<Vec<_>>(), [3, 2, 1]);

    let before = as_of::<PolicyTenant>(&db, &ctx, record, *first - chrono::TimeDelta::microseconds(1)).await.unwrap();
    assert_eq!(before, None);
    assert_eq!(as_of(&db, &ctx, record, *first).await.unwrap(), Some((1, PolicyTenant { ready: false })));
    let between = *second - chrono::TimeDelta::microseconds(1);
    assert_eq!(as_of(&db, &ctx, record, between).await.unwrap(), Some((1, PolicyTenant { ready: false })));
    assert_eq!(as_of(&db, &ctx, record, *second).await.unwrap(), Some((2, PolicyTenant { ready: true })));
    // Deleted is deleted.
    assert_eq!(as_of::<PolicyTenant>(&db, &ctx, record, *third).await.unwrap(), None);
    // Another tenant knows of no such record.
    let stranger = crate::support::ctx(clock::new_id());
    assert_eq!(as_of::<PolicyTenant>(&db, &stranger, record, *second).await.unwrap(), None);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_before_anything_is_written() {
    let ctx = ctx(clock::new_id());
    let event = PolicyChange { name: "x".repeat(256 * 1024), ..PolicyChange::default() };
    let fault = entry(&ctx, Record { collection: "effects", id: clock::new_id(), version: 1 }, &event, Vec::new()).expect_err("too large");
    assert_eq!(refused(fault), (Code::InvalidArgument, "RECORD_TOO_LARGE".to_owned()));
}

async fn database() -> Db {
    let logins = Infra::from_environment().database(&SERVICE).await;
    Db::new(logins.app.expose_secret(), PoolConfig { acquire_timeout: std::time::Duration::from_secs(20), ..PoolConfig::default() })
        .expect("an address")
}

/// The context of a request that came with an idempotency key.
fn keyed(tenant: Uuid, key: &str, body: &str) -> Ctx {
    let mut call = call("/probe");
    call.key = Some(key.to_owned());
    let mut request = Request::new(PolicyChange { name: body.to_owned(), ..PolicyChange::default() });
    request.extensions_mut().insert(Arc::new(call));
    Ctx::acting(&request, tenant, "users/somebody").expect("a call")
}

fn fact(ctx: &Ctx, record: Uuid, version: i64) -> Entry {
    entry(ctx, Record { collection: "effects", id: record, version }, &PolicyChange::default(), Vec::new()).expect("a small event")
}

/// An entry whose event carries a snapshot as field 1, as events of records do; without one it is a deletion.
fn stating(ctx: &Ctx, record: Uuid, version: i64, ready: Option<bool>) -> Entry {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Stated {
        #[prost(message, optional, tag = "1")]
        snapshot: Option<PolicyTenant>,
    }
    let event = Stated { snapshot: ready.map(|ready| PolicyTenant { ready }) };
    Entry { message: Some(prost::Message::encode_to_vec(&event)), ..fact(ctx, record, version) }
}

async fn store(db: &Db, ctx: &Ctx, entries: &[Entry]) -> Result<(), Fault> {
    let mut tx = db.begin(ctx).await?;
    for entry in entries {
        sqlx::query("select kit.record($1)").bind(entry).execute(tx.conn()).await?;
    }
    tx.commit().await
}

async fn count(db: &Db, tenant: Uuid) -> i64 {
    let mut conn = db.for_tenant(&ctx(tenant)).await.expect("a connection");
    sqlx::query_scalar("select count(*) from kit.journal").fetch_one(&mut conn).await.expect("a connection")
}
