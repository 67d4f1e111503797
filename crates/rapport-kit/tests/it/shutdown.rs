//! The end of a process: nothing that was begun is lost, nothing idle holds it up.

use std::time::Duration;

use rapport_kit::clock;
use rapport_kit::testing::{channel, eventually};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Rig, do_as, gate};

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
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    // One that never spoke, one that spoke and is idle now.
    let mut silent = TcpStream::connect(rig.running.address).await.unwrap();
    let mut idle = rig.client().await;
    idle.list_changes(caller.request(do_as("answer:"))).await.unwrap();
    let ended = tokio::time::timeout(WELL_BEFORE_THE_DRAIN_ENDS, rig.running.stop()).await.expect("there is nothing to drain");
    assert!(ended);
    // Both were attached until the server let go of them.
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    idle.list_changes(caller.request(do_as("answer:"))).await.expect_err("nobody is there any more");
    drop(idle);
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
