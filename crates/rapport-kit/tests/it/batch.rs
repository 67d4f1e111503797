//! Reads that arrive together: one statement for many, and nobody is answered with what is not theirs.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, join_all};
use rapport_kit::access::{Levels, Scope};
use rapport_kit::batch::Reads;
use rapport_kit::db::{Conn, PoolConfig};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::Infra;
use rapport_kit::{Ctx, Db, Fault, clock};
use secrecy::ExposeSecret;
use tonic::Code;
use uuid::Uuid;

use crate::support::{SERVICE, ctx, gate, refused};

/// A record says with how many others it was read.
type Answer = Result<Option<usize>, Fault>;

/// Reading a record of this id is a mistake of ours.
const BROKEN: Uuid = Uuid::from_u128(7);

/// Whoever reads waits at the gate of the tenant; there is no record with the greatest id, and none can be read with the nil one.
fn read<'a>(conn: &'a mut Conn, ctx: &'a Ctx, _: &'a Scope, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<(Uuid, usize)>, Fault>> {
    Box::pin(async move {
        gate(&ctx.tenant().to_string()).pass().await;
        assert!(!ids.contains(&BROKEN), "a broken record");
        if ids.contains(&Uuid::nil()) {
            return Err(Fault::contended());
        }
        let found: Vec<Uuid> = sqlx::query_scalar("select distinct id from unnest($1::uuid[]) sent(id) where id <> $2")
            .bind(ids.to_vec())
            .bind(Uuid::max())
            .fetch_all(conn)
            .await?;
        let sought = ids.iter().collect::<BTreeSet<_>>().len();
        Ok(found.into_iter().map(|id| (id, sought)).collect())
    })
}

async fn reads() -> Arc<Reads<usize>> {
    let logins = Infra::from_environment().database(&SERVICE).await;
    let db = Db::new(logins.app.expose_secret(), PoolConfig { max_connections: 2, ..PoolConfig::default() }).expect("an address");
    Reads::new(db, Tasks::default(), read)
}

fn everything() -> Scope {
    scope(Uuid::nil(), Levels { all: true, ..Levels::default() })
}

fn scope(subject: Uuid, levels: Levels) -> Scope {
    Scope { levels, subject, unit: None, groups: Vec::new(), action: rapport_kit::access::Action::Read, subject_shares: true }
}

/// The read has arrived: it is under way, or waits for those before it.
async fn begun(reads: &Arc<Reads<usize>>, tenant: Uuid, scope: Scope, id: Uuid) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    let reads = Arc::clone(reads);
    let mut read: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(async move { reads.get(&ctx(tenant), &scope, id).await });
    poll_fn(|context| {
        assert!(read.as_mut().poll(context).is_pending(), "nothing passes the gate yet");
        Poll::Ready(())
    })
    .await;
    read
}

#[tokio::test]
async fn reads_that_arrive_while_one_is_under_way_share_the_next_statement() {
    let (reads, tenant) = (reads().await, clock::new_id());
    let first = begun(&reads, tenant, everything(), clock::new_id()).await;
    let mut others = Vec::new();
    for id in (0..30).map(|_| clock::new_id()).chain([Uuid::max()]) {
        others.push(begun(&reads, tenant, everything(), id).await);
    }
    gate(&tenant.to_string()).let_pass(2);
    assert_eq!(first.await.unwrap(), Some(1), "the first waits for nobody");
    let mut answers: Vec<Option<usize>> = join_all(others).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.pop(), Some(None), "what is not there is not found");
    assert_eq!(answers, vec![Some(31); 30]);
}

#[tokio::test]
async fn several_reads_of_one_record_are_each_answered() {
    let (reads, tenant, id) = (reads().await, clock::new_id(), clock::new_id());
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(begun(&reads, tenant, everything(), id).await);
    }
    gate(&tenant.to_string()).let_pass(2);
    let answers: Vec<Option<usize>> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [Some(1); 4]);
}

#[tokio::test]
async fn callers_that_go_away_leave_the_others_alone() {
    let (reads, tenant) = (reads().await, clock::new_id());
    let first = begun(&reads, tenant, everything(), clock::new_id()).await;
    let second = begun(&reads, tenant, everything(), clock::new_id()).await;
    let third = begun(&reads, tenant, everything(), clock::new_id()).await;
    drop(second);
    drop(first);
    gate(&tenant.to_string()).let_pass(1);
    assert_eq!(third.await.unwrap(), Some(1), "nobody reads for who is gone");
    gate(&tenant.to_string()).let_pass(1);
    assert_eq!(reads.get(&ctx(tenant), &everything(), clock::new_id()).await.unwrap(), Some(1), "the lane is free again");
}

#[tokio::test]
async fn a_read_that_panics_fails_and_the_next_ones_go_on() {
    let (reads, tenant) = (reads().await, clock::new_id());
    let first = begun(&reads, tenant, everything(), clock::new_id()).await;
    let broken = begun(&reads, tenant, everything(), BROKEN).await;
    gate(&tenant.to_string()).let_pass(3);
    assert_eq!(first.await.unwrap(), Some(1));
    assert_eq!(refused(broken.await.unwrap_err()), (Code::Internal, "INTERNAL".to_owned()));
    assert_eq!(reads.get(&ctx(tenant), &everything(), clock::new_id()).await.unwrap(), Some(1));
}

#[tokio::test]
async fn all_who_see_everything_share_a_statement() {
    let (reads, tenant) = (reads().await, clock::new_id());
    let all = |subject| scope(subject, Levels { all: true, own: true, ..Levels::default() });
    let first = begun(&reads, tenant, all(clock::new_id()), clock::new_id()).await;
    let second = begun(&reads, tenant, all(clock::new_id()), clock::new_id()).await;
    let third = begun(&reads, tenant, all(clock::new_id()), clock::new_id()).await;
    gate(&tenant.to_string()).let_pass(2);
    let answers = join_all([first, second, third]).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Some(1), Some(2), Some(2)]);
}

#[tokio::test]
async fn another_tenant_or_predicate_shares_no_statement() {
    let (reads, tenant, other) = (reads().await, clock::new_id(), clock::new_id());
    let own = |subject| scope(subject, Levels { own: true, ..Levels::default() });
    let (one, two) = (clock::new_id(), clock::new_id());
    let first = begun(&reads, tenant, own(one), clock::new_id()).await;
    let second = begun(&reads, tenant, own(two), clock::new_id()).await;
    // Both connections are in use: these two wait for one, the last for those of its own lane.
    let third = begun(&reads, other, own(one), clock::new_id()).await;
    let fourth = begun(&reads, tenant, own(one), clock::new_id()).await;
    gate(&tenant.to_string()).let_pass(3);
    gate(&other.to_string()).let_pass(1);
    let answers = join_all([first, second, third, fourth]).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Some(1); 4]);
}

#[tokio::test]
async fn a_statement_has_an_end_and_its_failure_is_told_to_all_who_waited_for_it() {
    let (reads, tenant) = (reads().await, clock::new_id());
    let first = begun(&reads, tenant, everything(), clock::new_id()).await;
    let mut others = Vec::new();
    for index in 0..150_u32 {
        let id = if index == 120 { Uuid::nil() } else { clock::new_id() };
        others.push(begun(&reads, tenant, everything(), id).await);
    }
    gate(&tenant.to_string()).let_pass(3);
    assert_eq!(first.await.unwrap(), Some(1));
    let mut answers = join_all(others).await;
    let failed = answers.split_off(100);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == Some(100)));
    assert_eq!(failed.len(), 50);
    for answer in failed {
        assert_eq!(refused(answer.unwrap_err()), (Code::Aborted, "CONTENDED".to_owned()));
    }
}
