//! Calls from one service to another while servers die, come back, fail, start and leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::eventually;
use rapport_kit::{Fault, clock};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::audit_service_server::{AuditService, AuditServiceServer};
use rapport_proto::{MethodRule, Repeat};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::support::{ctx, do_as, gate, refusal};

const WORK: Duration = Duration::from_millis(40);

/// A server of its own that can be killed: its tasks and sockets are gone at once, as with `kill -9`.
struct Backend {
    address: SocketAddr,
    seen: Arc<Seen>,
    health: HealthReporter,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Seen {
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Backend {
    fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    fn at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a listening address");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let seen = Arc::new(Seen::default());
        let (health, health_service) = tonic_health::server::health_reporter();
        let desk = AuditServiceServer::new(Desk(Arc::clone(&seen)));
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).expect("a listener of the runtime"));
            tonic::transport::Server::builder().add_service(health_service).add_service(desk).serve_with_incoming(incoming).await
        });
        Self { address, seen, health, runtime: Some(runtime) }
    }

    fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::SeqCst)
    }

    /// Calls that have been entered and not answered.
    fn under_way(&self) -> usize {
        self.asked() - self.seen.answered.load(Ordering::SeqCst)
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Desk(Arc<Seen>);

#[tonic::async_trait]
impl AuditService for Desk {
    async fn list_changes(&self, request: Request<pb::ListChangesRequest>) -> Result<Response<pb::ListChangesResponse>, Status> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let header = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (what, with) = request.get_ref().name.split_once(':').unwrap_or_default();
        let mut answer = pb::ListChangesResponse::default();
        match what {
            "work" => tokio::time::sleep(WORK).await,
            "wait" => gate(with).pass().await,
            "fail" => return Err(Fault::unavailable("OUT_OF_ORDER", "No.").retry_after(Duration::from_millis(1)).into()),
            "fail for good" => {
                let mut status = Status::from(Fault::unavailable("OUT_OF_ORDER", "No."));
                status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().expect("ASCII"));
                return Err(status);
            }
            "refuse" => return Err(Fault::denied("NOT_FOR_YOU", "No.").into()),
            "header" => answer.next_page_token = header(with).to_owned(),
            _ => {}
        }
        self.0.answered.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(answer))
    }

    async fn verify_seal(&self, _: Request<pb::VerifySealRequest>) -> Result<Response<pb::VerifySealResponse>, Status> {
        Ok(Response::new(pb::VerifySealResponse::default()))
    }
}

/// A client over these servers that takes the method for one of this class.
fn client(backends: &[SocketAddr], repeat: Repeat) -> Client {
    let own = rapport_proto::METHODS.iter().find(|rule| rule.path.ends_with("/ListChanges")).expect("the method has a rule");
    let rules: &'static [MethodRule] = Vec::leak(vec![MethodRule { repeat, ..*own }]);
    let addresses: Vec<String> = backends.iter().map(SocketAddr::to_string).collect();
    Client::new(Settings::new(format!("http://{}", addresses.join(","))), &[rules], &Tasks::default()).expect("addresses")
}

async fn ask(client: &Client, name: &str) -> Result<pb::ListChangesResponse, Status> {
    let answer = AuditServiceClient::new(client.alone()).list_changes(do_as(name)).await;
    answer.map(Response::into_inner)
}

async fn ask_with_key(client: &Client, name: &str) -> Result<pb::ListChangesResponse, Status> {
    let mut request = Request::new(do_as(name));
    request.metadata_mut().insert("idempotency-key", "a-key".parse().expect("ASCII"));
    AuditServiceClient::new(client.alone()).list_changes(request).await.map(Response::into_inner)
}

/// Ready when both servers have been asked since.
async fn both_are_asked(client: &Client, one: &Backend, other: &Backend) {
    let before = (one.asked(), other.asked());
    eventually("calls at both servers", async || {
        ask(client, "answer:").await.ok()?;
        (one.asked() > before.0 && other.asked() > before.1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dead_server_gets_no_calls_after_its_first_failure_and_gets_some_when_it_is_back() {
    let (mut dying, living) = (Backend::start(), Backend::start());
    // Nothing is repeated, so a call to the dead one would fail.
    let client = client(&[dying.address, living.address], Repeat::Never);
    both_are_asked(&client, &dying, &living).await;
    dying.kill();
    // In its place stands something that takes connections and drops them.
    let dead = eventually("a free port", async || TcpListener::bind(dying.address).await.ok()).await;
    drop(dead.accept().await.unwrap());
    let knocks = AtomicUsize::new(1);
    let knocking = async {
        loop {
            drop(dead.accept().await.unwrap());
            knocks.fetch_add(1, Ordering::SeqCst);
        }
    };
    let before = living.asked();
    let calling = async {
        for number in 0..500 {
            ask(&client, "answer:").await.unwrap_or_else(|status| panic!("call {number}: {status:?}"));
        }
    };
    tokio::select! {
        () = knocking => {}
        () = calling => {}
    }
    assert_eq!(living.asked() - before, 500);
    assert!(knocks.load(Ordering::SeqCst) < 20, "the dead server is knocked at with the calls: {knocks:?} times");
    drop(dead);
    let back = Backend::at(dying.address);
    both_are_asked(&client, &back, &living).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_server_at_200_calls_a_second_is_hidden() {
    let (mut dying, living) = (Backend::start(), Backend::start());
    let client = client(&[dying.address, living.address], Repeat::Safe);
    both_are_asked(&client, &dying, &living).await;
    let mut calls = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let mut lost = 0;
    let mut back = None;
    for number in 0..800 {
        pace.tick().await;
        match number {
            300 => {
                lost = dying.under_way();
                dying.kill();
            }
            500 => back = Some(Backend::at(dying.address)),
            _ => {}
        }
        let client = client.clone();
        calls.spawn(async move { ask(&client, "work:").await });
    }
    let failed: Vec<Status> = calls.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of 800, the first: {:?}", failed.len(), failed.first());
    assert!(lost > 0, "no call was under way at the server that was killed");
    eventually("calls at the server that came back", async || (back.as_ref()?.asked() > 0).then_some(())).await;
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_sent_again_only_under_a_key() {
    for (keyed, asked_elsewhere) in [(false, 0), (true, 1)] {
        let backends = [Backend::start(), Backend::start()];
        let client = client(&[backends[0].address, backends[1].address], Repeat::Keyed);
        let name = clock::new_id().to_string();
        let what = format!("wait:{name}");
        let [mut one, mut other] = backends;
        let call = async { if keyed { ask_with_key(&client, &what).await } else { ask(&client, &what).await } };
        let killing = async {
            gate(&name).reached_by(1).await;
            if one.under_way() == 0 {
                std::mem::swap(&mut one, &mut other);
            }
            one.kill();
            if keyed {
                gate(&name).reached_by(1).await;
                gate(&name).let_pass(2);
            }
        };
        let (answer, ()) = tokio::join!(call, killing);
        assert_eq!(answer.is_ok(), keyed, "{answer:?}");
        if let Err(status) = answer {
            assert_eq!(refusal(&status), (Code::Unavailable, "SERVICE_AWAY".to_owned()));
        }
        assert_eq!((one.asked(), other.asked()), (1, asked_elsewhere));
    }
}

#[tokio::test]
async fn a_refusal_is_asked_for_again_only_where_that_is_harmless_and_useful() {
    for (repeat, keyed, what, asked) in [
        (Repeat::Safe, false, "fail:", 3),
        (Repeat::Keyed, true, "fail:", 3),
        (Repeat::Keyed, false, "fail:", 1),
        (Repeat::Never, false, "fail:", 1),
        (Repeat::Never, true, "fail:", 1),
        // A service further down has repeated it already.
        (Repeat::Safe, false, "fail for good:", 1),
        (Repeat::Safe, false, "refuse:", 1),
    ] {
        let backend = Backend::start();
        let client = client(&[backend.address], repeat);
        let answer = if keyed { ask_with_key(&client, what).await } else { ask(&client, what).await };
        let status = answer.expect_err("the service refuses");
        assert_eq!(backend.asked(), asked, "{repeat:?} {what} with a key: {keyed}");
        // Whoever called this service is told not to do it all over again.
        assert_eq!(status.metadata().contains_key("grpc-retry-pushback-ms"), asked == 3 || what.contains("good"));
    }
}

#[tokio::test]
async fn a_service_that_fails_every_call_is_asked_at_most_115_times_for_100_calls() {
    let backend = Backend::start();
    let client = client(&[backend.address], Repeat::Safe);
    // Also after a time in which all went well.
    for _ in 0..1000 {
        ask(&client, "answer:").await.expect("an answer");
    }
    let before = backend.asked();
    let refused =
        stream::iter(0..400).map(|_| ask(&client, "fail:")).buffer_unordered(16).filter(|answer| std::future::ready(answer.is_err())).count();
    assert_eq!(refused.await, 400);
    let asked = backend.asked() - before;
    assert!((401..=460).contains(&asked), "{asked} for 400 calls");
}

#[tokio::test]
async fn a_service_that_starts_or_leaves_gets_no_calls() {
    let (one, other) = (Backend::start(), Backend::start());
    one.health.set_service_status("", ServingStatus::NotServing).await;
    let client = client(&[one.address, other.address], Repeat::Never);
    for _ in 0..50 {
        ask(&client, "answer:").await.expect("the other one serves");
    }
    assert_eq!((one.asked(), other.asked()), (0, 50));
    one.health.set_service_status("", ServingStatus::Serving).await;
    both_are_asked(&client, &one, &other).await;
    other.health.set_service_status("", ServingStatus::NotServing).await;
    eventually("the end of calls at the one that leaves", async || {
        let before = other.asked();
        for _ in 0..20 {
            ask(&client, "answer:").await.expect("the first one serves");
        }
        (other.asked() == before).then_some(())
    })
    .await;
    // In an upgrade the last old one may leave before the name has the new ones: it answers for a while yet.
    let before = other.asked();
    one.health.set_service_status("", ServingStatus::NotServing).await;
    eventually("calls at one that leaves, while nobody serves", async || {
        ask(&client, "answer:").await.expect("who leaves still answers");
        (other.asked() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn as_many_connections_are_made_to_an_address_as_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { connections: 3, health: false, ..Settings::new(format!("http://{}", listener.local_addr().unwrap())) };
    let _client = Client::new(settings, &[rapport_proto::METHODS], &Tasks::default()).expect("an address");
    let mut connections = Vec::new();
    while connections.len() < 3 {
        connections.push(tokio::time::timeout(Duration::from_secs(20), listener.accept()).await.expect("one more").unwrap());
    }
}

#[tokio::test]
async fn nobody_there_is_told_within_the_deadline() {
    let client = client(&["127.0.0.1:1".parse().unwrap()], Repeat::Safe);
    let mut request = Request::new(do_as("answer:"));
    request.set_timeout(Duration::from_secs(5));
    let status = AuditServiceClient::new(client.alone()).list_changes(request).await.expect_err("nobody is there");
    assert_eq!(refusal(&status), (Code::Unavailable, "SERVICE_AWAY".to_owned()));
    // Something takes the connection and never says anything.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings { health: false, ..Settings::new(format!("http://{}", mute.local_addr().unwrap())) };
    let client = Client::new(settings, &[rapport_proto::METHODS], &Tasks::default()).expect("an address");
    let mut request = Request::new(do_as("answer:"));
    request.set_timeout(Duration::from_millis(200));
    let status = AuditServiceClient::new(client.alone()).list_changes(request).await.expect_err("nobody answers");
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_PASSED".to_owned()));
}

#[tokio::test]
async fn a_call_carries_the_request_id_and_the_time_left_of_the_call_it_belongs_to() {
    let backend = Backend::start();
    let client = client(&[backend.address], Repeat::Safe);
    let ctx = ctx(clock::new_id());
    let mut calls = AuditServiceClient::new(client.within(&ctx));
    let mut header = async |name: &str| calls.list_changes(do_as(format!("header:{name}"))).await.expect("an answer").into_inner().next_page_token;
    assert_eq!(header("x-request-id").await, ctx.call().request_id);
    // The context has a minute.
    let left = header("grpc-timeout").await;
    let left: u64 = left.strip_suffix('m').expect("milliseconds").parse().unwrap();
    assert!((30_000..60_000).contains(&left), "{left} ms");
    // Work that nobody asked for has no name to call in.
    assert_eq!(header("authorization").await, "");
}
