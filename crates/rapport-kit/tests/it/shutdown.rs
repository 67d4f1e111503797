//! The end of a process: nothing that was begun is lost, nothing idle holds it up.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rapport_kit::clock;
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{channel, eventually};
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::{MethodRule, Repeat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Rig, do_as, gate, refusal, serve};

/// Running calls get 20 seconds at the end; what is idle must not use them up.
const WELL_BEFORE_THE_DRAIN_ENDS: Duration = Duration::from_secs(12);

#[tokio::test]
async fn calls_under_way_at_the_end_get_their_answers() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let name = clock::new_id().to_string();
    let under_way = gate(&name);
    let mut calls = JoinSet::new();
    for connection in 0..4 {
        let client = rig.client().await;
        for _ in 0..25 {
            let (mut client, request) = (client.clone(), caller.request(do_as(format!("wait:{name}"))));
            calls.spawn(async move { client.list_changes(request).await.map_err(|status| format!("on connection {connection}: {status:?}")) });
        }
    }
    under_way.reached_by(100).await;
    let address = rig.running.address;
    let ending = rig.running.stop();
    let meanwhile = async {
        eventually("an end of accepting", async || TcpStream::connect(address).await.is_err().then_some(())).await;
        under_way.let_pass(100);
        calls.join_all().await
    };
    let (in_time, answers) = tokio::join!(ending, meanwhile);
    let failed: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(in_time);
}

#[tokio::test]
async fn connections_on_which_nothing_happens_hold_nothing_up() {
    let rig = Rig::configured(|config| config.metrics = "127.0.0.1:0".to_owned()).await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    // One that never spoke, one that began to, one that spoke and is idle now, one that watches, one at the other port.
    let mut watch = HealthClient::new(channel(&rig.running)).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().expect("a status").status(), ServingStatus::Serving);
    let _scraping = TcpStream::connect(rig.running.metrics.expect("a metrics port")).await.unwrap();
    let mut silent = TcpStream::connect(rig.running.address).await.unwrap();
    let mut stuck = TcpStream::connect(rig.running.address).await.unwrap();
    stuck.write_all(b"P").await.unwrap();
    let mut idle = rig.client().await;
    idle.list_changes(caller.request(do_as("answer:"))).await.unwrap();
    let ended = tokio::time::timeout(WELL_BEFORE_THE_DRAIN_ENDS, rig.running.stop()).await.expect("there is nothing to drain");
    assert!(ended);
    // All were attached until the server let go of them.
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(stuck.read(&mut [0; 16]).await.unwrap_or(0), 0);
    idle.list_changes(caller.request(do_as("answer:"))).await.expect_err("nobody is there any more");
    drop(idle);
    // Whoever watches hears that it leaves, and then to watch elsewhere.
    assert_eq!(watch.message().await.unwrap().expect("a change of status").status(), ServingStatus::NotServing);
    let status = watch.message().await.expect_err("the watch is over");
    assert_eq!(refusal(&status), (Code::Unavailable, "PROCESS_LEAVES".to_owned()));
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_and_the_end_says_so() {
    let rig = Rig::configured(|config| config.drain_seconds = 1).await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let name = clock::new_id().to_string();
    let (mut client, endless) = (rig.client().await, caller.request(do_as(format!("wait:{name}"))));
    let call = async { client.list_changes(endless).await };
    let ending = async {
        gate(&name).reached_by(1).await;
        rig.running.stop().await
    };
    let (answer, ended) = tokio::join!(call, ending);
    answer.expect_err("nobody let it pass");
    assert!(!ended);
}

/// 200 calls a second over two servers, none of which is ever sent twice, while one of the two ends as it does at
/// SIGTERM. A tenth of the calls that `RAPPORT_LONG_TESTS=1` makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_under_load_one_ends_and_no_call_fails() {
    let calls = if long_tests() { 20_000 } else { 2_000 };
    let rig = Rig::configured(|config| config.leave_seconds = 1).await;
    let staying = serve(&rig.logins, &rig.identity.address, |_| {}).await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let own = rapport_proto::METHODS.iter().find(|rule| rule.path.ends_with("/ListChanges")).expect("the method has a rule");
    let rules: &'static [MethodRule] = Vec::leak(vec![MethodRule { repeat: Repeat::Never, ..*own }]);
    let both = Settings::new(format!("http://{},{}", rig.running.address, staying.address));
    let client = AuditServiceClient::new(Client::new(both, &[rules], &Tasks::default()).unwrap().alone());
    // Attached to the one that ends: a connection that never spoke, an idle one, a watch.
    let _silent = TcpStream::connect(rig.running.address).await.unwrap();
    let mut idle = rig.client().await;
    idle.list_changes(caller.request(do_as("answer:"))).await.unwrap();
    let _watch = HealthClient::new(channel(&rig.running)).watch(HealthCheckRequest::default()).await.unwrap();
    let third = Notify::new();
    let loading = async {
        let mut answers = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for number in 0..calls {
            pace.tick().await;
            if number == calls / 3 {
                third.notify_one();
            }
            let (mut client, request) = (client.clone(), caller.request(do_as("answer:")));
            answers.spawn(async move { (number, client.list_changes(request).await) });
        }
        answers.join_all().await
    };
    let ending = async {
        third.notified().await;
        let begun = Instant::now();
        (rig.running.stop().await, begun.elapsed())
    };
    let (answers, (in_time, took)) = tokio::join!(loading, ending);
    let failed: Vec<_> = answers.iter().filter_map(|(number, answer)| answer.as_ref().err().map(|status| (number, status))).collect();
    assert!(failed.is_empty(), "{} of {calls}, the first: {:?}", failed.len(), failed.first());
    let servers = |from: usize, to: usize| {
        let some = answers.iter().filter(|(number, _)| (from..to).contains(number));
        some.filter_map(|(_, answer)| Some(answer.as_ref().ok()?.get_ref().next_page_token.as_str())).collect::<HashSet<_>>().len()
    };
    assert_eq!((servers(0, calls / 3), servers(calls - 100, calls)), (2, 1));
    assert!(in_time && took <= Duration::from_secs(30), "{in_time} after {took:?}");
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
fn long_tests() -> bool {
    std::env::var("RAPPORT_LONG_TESTS").is_ok_and(|value| value == "1")
}

#[tokio::test]
async fn health_says_that_the_service_leaves_before_it_is_gone() {
    let rig = Rig::configured(|config| config.leave_seconds = 1).await;
    let mut health = HealthClient::new(channel(&rig.running));
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let before = watch.message().await.unwrap().expect("a status");
    assert_eq!(before.status(), ServingStatus::Serving);
    let seen = async move {
        let after = watch.message().await.unwrap().expect("a change of status");
        assert_eq!(after.status(), ServingStatus::NotServing);
        // Load balancers that look at this moment are still served.
        health.check(HealthCheckRequest::default()).await.expect("the port is still open").into_inner().status()
    };
    let (in_time, status) = tokio::join!(rig.running.stop(), seen);
    assert_eq!(status, ServingStatus::NotServing);
    assert!(in_time);
}

#[tokio::test]
async fn a_process_whose_background_work_panicked_says_so_to_whoever_runs_it() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut client = rig.client().await;
    client.list_changes(caller.request(do_as("panic later:"))).await.expect("the call itself is well");
    tokio::time::timeout(Duration::from_secs(20), rig.running.failed()).await.expect("it is told");
}
