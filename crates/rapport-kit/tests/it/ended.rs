//! Connections that the server ended: who holds one is told to send again, and nobody else meets it.

use std::time::Duration;

use rapport_kit::db::{Logins, PoolConfig};
use rapport_kit::testing::{Infra, eventually};
use rapport_kit::{Db, Fault, clock};
use secrecy::ExposeSecret;
use tonic::Code;

use crate::support::{SERVICE, ctx, superuser};

/// A pool of one connection, so that the next caller gets whatever this one leaves.
async fn single() -> (Db, Logins) {
    let logins = Infra::from_environment().database(&SERVICE).await;
    let config = PoolConfig { max_connections: 1, ..PoolConfig::default() };
    (Db::new(logins.app.expose_secret(), config).expect("an address"), logins)
}

/// Ready when the server process with this id is gone.
async fn ended(logins: &Logins, pid: i32) {
    eventually("the end of a connection", async || {
        let mut conn = superuser(logins).await;
        let there: bool = sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
            .bind(pid)
            .fetch_one(&mut conn)
            .await
            .expect("an answer");
        (!there).then_some(())
    })
    .await;
}

fn assert_away(fault: &Fault) {
    assert_eq!((fault.code(), fault.reason()), (Code::Unavailable, "DATABASE_AWAY"), "{fault:?}");
}

#[tokio::test]
async fn a_connection_that_idled_too_long_is_replaced_for_the_next_caller() {
    let (db, logins) = single().await;
    let ctx = ctx(clock::new_id());
    let mut conn = db.for_tenant(&ctx).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut conn).await.unwrap();
    sqlx::query("set idle_session_timeout = '50ms'").execute(&mut conn).await.unwrap();
    ended(&logins, pid).await;
    assert_away(&sqlx::query("select 1").execute(&mut conn).await.expect_err("the server has ended it").into());
    drop(conn);
    let mut next = db.for_tenant(&ctx).await.expect("another connection");
    let other: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut next).await.expect("the next caller meets no error");
    assert_ne!(other, pid);
}

#[tokio::test]
async fn a_connection_that_idled_in_a_transaction_is_replaced_for_the_next_caller() {
    let (db, logins) = single().await;
    let ctx = ctx(clock::new_id());
    let mut tx = db.begin(&ctx).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(tx.conn()).await.unwrap();
    sqlx::query("set local idle_in_transaction_session_timeout = '50ms'").execute(tx.conn()).await.unwrap();
    ended(&logins, pid).await;
    let fault = Fault::from(sqlx::query("select 1").execute(tx.conn()).await.expect_err("the server has ended it"));
    assert_eq!((fault.code(), fault.reason()), (Code::Internal, "INTERNAL"), "who idled is at fault, not the database: {fault:?}");
    drop(tx);
    let next = tokio::time::timeout(Duration::from_secs(10), db.for_tenant(&ctx)).await.expect("the place in the pool is free again");
    let other: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut next.expect("another connection")).await.expect("no error");
    assert_ne!(other, pid);
}
