//! The end of a process behind TLS, and what is told in plain text beside it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

use super::{Authority, HANGS, Mounted, dial, serves};
use crate::support::{Rig, refusal, wire};

/// What running calls get at the end. A service waits longer than this for a peer to speak (30 seconds): if one held the
/// end up, `stop` would answer that not everything ended in time.
const DRAIN_SECONDS: u64 = 5;

#[tokio::test]
async fn health_and_nothing_else_is_told_in_plain_text_on_its_own_port() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.issue());
    let rig = Rig::configured(|config| {
        config.tls = mounted.files();
        config.health = "127.0.0.1:0".to_owned();
        config.reflection = true;
        config.drain_seconds = DRAIN_SECONDS;
    })
    .await;
    let address = rig.running.health.expect("a health port");
    let origin: http::Uri = format!("http://{address}").parse().unwrap();
    let mut health = HealthClient::with_origin(wire(address).await, origin.clone());
    let answer = health.check(HealthCheckRequest::default()).await.expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    let methods = ["/rapport.common.v1.AuditService/ListChanges", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];
    for method in methods {
        let mut grpc = tonic::client::Grpc::with_origin(wire(address).await, origin.clone());
        grpc.ready().await.expect("a connection");
        let path = http::uri::PathAndQuery::from_static(method);
        let status = grpc.unary::<(), (), _>(Request::new(()), path, ProstCodec::default()).await.expect_err("it is not served here");
        assert_eq!(refusal(&status), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()), "{method}");
    }
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().expect("a status").status(), ServingStatus::Serving);
    let ended = tokio::time::timeout(HANGS, rig.running.stop()).await.expect("an end");
    assert!(ended, "a watch holds nothing up");
    assert_eq!(watch.message().await.unwrap().expect("a change of status").status(), ServingStatus::NotServing);
    let status = watch.message().await.expect_err("the watch is over");
    assert_eq!(refusal(&status), (Code::Unavailable, "PROCESS_LEAVES".to_owned()), "it was ended, not cut");
}

#[tokio::test]
async fn peers_that_say_nothing_hold_the_end_of_a_process_up_at_no_step_of_the_handshake() {
    let authority = Authority::new();
    let own = authority.issue();
    let mounted = Mounted::new(&own);
    let rig = Rig::configured(|config| {
        config.tls = mounted.files();
        config.drain_seconds = DRAIN_SECONDS;
    })
    .await;
    let mut silent = TcpStream::connect(rig.running.address).await.unwrap();
    let mut stuck = TcpStream::connect(rig.running.address).await.unwrap();
    // The head of a record with 256 bytes of handshake, which never come.
    stuck.write_all(&[22, 3, 1, 1, 0]).await.unwrap();
    let mut mute = dial(rig.running.address, &authority, Some(&own)).await.unwrap();
    serves(&mounted.client("probe", rig.running.address)).await.expect("an answer");
    let ended = tokio::time::timeout(HANGS, rig.running.stop()).await.expect("an end");
    assert!(ended, "there is nothing to drain");
    // All were attached until the server let go of them.
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(stuck.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(mute.read(&mut [0; 16]).await.unwrap_or(0), 0);
}
