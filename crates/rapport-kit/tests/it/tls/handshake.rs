//! Who is let in and who is believed.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rapport_kit::testing::{Identity, Infra, eventually};
use rapport_kit::{App, Fault, Service, process};
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::policy_service_server::PolicyServiceServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Authority, GREETING, HANGS, Mounted, is_let_in, serves};
use crate::support::{Rig, SERVICE, do_as, figure, refusal, refused, serve, start_with, superuser};

/// Of the figures.
const REFUSED: &str = "rapport_tls_refused_total";

#[tokio::test]
async fn whoever_shows_a_certificate_of_the_authority_is_answered_and_nobody_else() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.issue());
    let rig = Rig::configured(|config| config.tls = mounted.files()).await;
    let address = rig.running.address;
    let client = mounted.client("probe", address);
    assert_eq!(serves(&client).await.expect("an answer"), ServingStatus::Serving);
    assert!(is_let_in(address, &authority, Some(&authority.issue())).await);
    assert!(!is_let_in(address, &authority, None).await);
    assert!(!is_let_in(address, &authority, Some(&Authority::new().issue())).await);
    assert_eq!(serves(&client).await.expect("those inside are not disturbed"), ServingStatus::Serving);
    // The call of an installation's test, which knows the name and the certificate.
    let url = format!("https://localhost:{}", address.port());
    process::answers(&SERVICE, &url, Some(&mounted.tls()), Duration::from_secs(20)).await.expect("it serves");
    let without = process::answers(&SERVICE, &url, None, Duration::ZERO).await.expect_err("there is nothing to show");
    assert!(without.text().contains("tls.certificate, tls.key and tls.authority in the file that --config names"), "{without}");
    assert_eq!(refused(without), (Code::FailedPrecondition, "SERVICE_ADDRESS_INVALID".to_owned()));
}

#[tokio::test]
async fn a_server_is_believed_only_if_its_certificate_is_the_authoritys_and_names_the_host() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.issue());
    let rig = Rig::configured(|config| config.tls = mounted.files()).await;
    let stranger = Mounted::new(&Authority::new().issue());
    for client in [mounted.client("elsewhere.example", rig.running.address), stranger.client("probe", rig.running.address)] {
        let status = serves(&client).await.expect_err("this is not who was asked for");
        assert_eq!(refusal(&status), (Code::Unavailable, "SERVICE_AWAY".to_owned()));
    }
    serves(&mounted.client("probe", rig.running.address)).await.expect("this is");
}

#[tokio::test]
async fn plain_text_is_refused_at_once_and_the_service_goes_on() {
    let authority = Authority::new();
    let mounted = Mounted::new(&authority.issue());
    let rig = Rig::configured(|config| config.tls = mounted.files()).await;
    let silent = TcpStream::connect(rig.running.address).await.unwrap();
    let mut plain = TcpStream::connect(rig.running.address).await.unwrap();
    plain.write_all(GREETING).await.unwrap();
    let mut answer = Vec::new();
    // It may come as a reset, since not all that was said has been read.
    let _ = tokio::time::timeout(HANGS, plain.read_to_end(&mut answer)).await.expect("an end");
    let waited_for = silent.try_read(&mut [0; 16]).expect_err("who came before and may still speak is waited for");
    assert_eq!(waited_for.kind(), io::ErrorKind::WouldBlock);
    // At most an alert of TLS (RFC 8446, section 6), never a frame.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    serves(&mounted.client("probe", rig.running.address)).await.expect("an answer");
}

#[tokio::test]
async fn a_peer_that_does_not_come_to_tls_in_time_is_counted_as_refused() {
    let mounted = Mounted::new(&Authority::new().issue());
    let rig = Rig::configured(|config| {
        config.tls = mounted.files();
        config.metrics = "127.0.0.1:0".to_owned();
        config.connections = 1;
    })
    .await;
    let figures = rig.running.metrics.expect("a metrics port");
    let before = figure(figures, REFUSED).await;
    let _within = TcpStream::connect(rig.running.address).await.unwrap();
    // Who comes beyond the bound on connections gets the shortest time for the handshake.
    let mut beyond = TcpStream::connect(rig.running.address).await.unwrap();
    let read = tokio::time::timeout(HANGS, beyond.read(&mut [0; 16])).await.expect("an end");
    assert_eq!(read.unwrap_or(0), 0);
    eventually("a count", async || (figure(figures, REFUSED).await > before).then_some(())).await;
}

/// What the identity of the next test tells.
static STAND_IN: OnceLock<Identity> = OnceLock::new();

fn start_identity(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        app.trust(app.secrets.credential.clone());
        app.serve(PolicyServiceServer::new(STAND_IN.get().expect("the test has set it").clone()));
        Ok(())
    })
}

#[tokio::test]
async fn a_service_follows_identitys_policy_over_tls_and_so_does_identity_itself() {
    let (infra, authority) = (Infra::from_environment(), Authority::new());
    let mounted = Mounted::new(&authority.issue());
    let told = Identity::start().await;
    assert!(STAND_IN.set(told.clone()).is_ok(), "one test alone sets it");
    let service = Service { name: "identity", start: start_identity, ..SERVICE };
    let own = infra.database(&service).await;
    // It finds itself without a name that resolves.
    let identity = start_with(&service, &own, "https://probe:8080", |config| config.tls = mounted.files()).await.expect("it starts");
    let url = format!("https://localhost:{}", identity.address.port());
    let logins = infra.database(&SERVICE).await;
    let probe = serve(&logins, &url, |config| config.tls = mounted.files()).await;

    let caller = told.administrator(told.tenant());
    let mut client = AuditServiceClient::new(mounted.client("probe", probe.address).alone());
    eventually("news of the caller", async || client.clone().list_changes(caller.request(do_as("answer:"))).await.ok()).await;
    client.list_changes(Request::new(do_as("answer:"))).await.expect_err("a certificate says which service calls, not for whom");
    eventually("the same at identity", async || {
        let subjects: i64 =
            sqlx::query_scalar("select count(*) from kit.policy_subject").fetch_one(&mut superuser(&own).await).await.expect("a count");
        (subjects > 0).then_some(())
    })
    .await;
}
