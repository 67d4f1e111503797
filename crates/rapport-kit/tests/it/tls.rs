//! Mutual TLS: who is let in and who is believed, what a renewal changes, and what is told in plain text beside it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fs, io};

use futures_util::future::BoxFuture;
use rapport_kit::config::{Config, TlsFiles};
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{Identity, Infra, eventually};
use rapport_kit::tls::Tls;
use rapport_kit::{App, Fault, Service, clock, process};
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::policy_service_server::PolicyServiceServer;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

use crate::support::{Lines, Rig, SERVICE, Wire, do_as, over, refusal, refused, serve, start_with, superuser, wire};

/// What a client of HTTP/2 says first, and a frame of no settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Ends a test that hangs; nothing is judged by it.
const HANGS: Duration = Duration::from_secs(60);
/// What running calls get at the end. A service waits longer than this for a peer to speak (30 seconds): if one held the
/// end up, `stop` would answer that not everything ended in time.
const DRAIN_SECONDS: u64 = 5;

/// Signs the certificates of an installation.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with what belongs to it, as cert-manager writes them into a Secret.
#[derive(Clone)]
struct Issued {
    certificate: String,
    key: String,
    authority: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", clock::new_id()));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate of the probe, which is reached at localhost too.
    fn issue(&self) -> Issued {
        self.sign(&CertificateParams::new(vec!["probe".to_owned(), "localhost".to_owned()]).expect("names"))
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { certificate, key: key.serialize_pem(), authority: self.pem.clone() }
    }
}

impl Issued {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A Secret as it is mounted: its files are links by way of one that is exchanged when the Secret changes.
struct Mounted(PathBuf);

impl Mounted {
    fn new(issued: &Issued) -> Self {
        let mounted = Self(std::env::temp_dir().join(format!("rapport-{}", clock::new_id())));
        fs::create_dir(&mounted.0).expect("a folder is made");
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(file), mounted.0.join(file)).expect("a link is made");
        }
        mounted.put(issued);
        mounted
    }

    fn put(&self, issued: &Issued) {
        let version = clock::new_id().to_string();
        let folder = self.0.join(&version);
        fs::create_dir(&folder).expect("a folder is made");
        for (file, text) in [("tls.crt", &issued.certificate), ("tls.key", &issued.key), ("ca.crt", &issued.authority)] {
            fs::write(folder.join(file), text).expect("a file is written");
        }
        symlink(version, self.0.join("..data_tmp")).expect("a link is made");
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("the link is exchanged");
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key"), authority: self.0.join("ca.crt") }
    }

    fn tls(&self) -> Tls {
        Tls::load(&self.files()).expect("files that can be used").expect("a certificate")
    }

    /// A client that shows this certificate to whoever is at `address` and calls itself `name`.
    fn client(&self, name: &str, address: SocketAddr) -> Client {
        let settings = Settings { tls: Some(self.tls()), at: Some(address), ..Settings::new(format!("https://{name}")) };
        Client::new(settings, &[rapport_proto::METHODS], &Tasks::default()).expect("an address")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks whether the service serves.
async fn serves(client: &Client) -> Result<ServingStatus, Status> {
    let answer = HealthClient::new(client.alone()).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

/// Connects to the probe at `address`, believing `authority`, and shows `own` if it is asked who it is.
async fn dial(address: SocketAddr, authority: &Authority, own: Option<&Issued>) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            config.with_client_auth_cert(vec![own.der()], key).expect("a certificate and its key")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("probe").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// Whether the probe speaks HTTP/2 with whoever shows `own`.
async fn is_let_in(address: SocketAddr, authority: &Authority, own: Option<&Issued>) -> bool {
    let speaking = async {
        let mut stream = dial(address, authority, own).await?;
        stream.write_all(GREETING).await?;
        stream.flush().await?;
        stream.read(&mut [0; 64]).await
    };
    // The refusal may come as late as the first answer: a client of TLS 1.3 goes on before the server has looked.
    tokio::time::timeout(HANGS, speaking).await.expect("an answer or a refusal").is_ok_and(|read| read > 0)
}

/// What the figures at `address` say of connections that came to no TLS.
async fn refused_handshakes(address: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(address).await.expect("the metrics port");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let count = text.lines().find_map(|line| line.strip_prefix("rapport_tls_refused_total ")).expect("a count");
    count.trim().parse().expect("a number")
}

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
async fn a_renewed_certificate_is_shown_to_whoever_comes_and_changes_nothing_for_those_inside() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let mounted = Mounted::new(&first);
    let rig = Rig::configured(|config| config.tls = mounted.files()).await;
    let shown = async || {
        let stream = dial(rig.running.address, &authority, Some(&first)).await.expect("a connection");
        stream.get_ref().1.peer_certificates().expect("certificates")[0].clone()
    };
    assert_eq!(shown().await, first.der());
    let inside = over(dial(rig.running.address, &authority, Some(&first)).await.unwrap()).await;
    let mut inside: HealthClient<Wire> = HealthClient::with_origin(inside, "https://probe".parse().unwrap());
    inside.check(HealthCheckRequest::default()).await.expect("an answer");

    let lines = Lines::default();
    let listening = lines.listen();
    mounted.put(&Issued { key: second.key.clone(), ..first.clone() });
    eventually("a warning", async || lines.text().contains("tls.key").then_some(())).await;
    assert_eq!(shown().await, first.der(), "a key of another certificate is not taken");
    mounted.put(&Issued { authority: Authority::new().pem, ..second.clone() });
    eventually("another warning", async || lines.text().contains("tls.certificate").then_some(())).await;
    assert_eq!(shown().await, first.der(), "nor is what every peer would refuse");
    drop(listening);

    mounted.put(&second);
    eventually("the renewed certificate", async || (shown().await == second.der()).then_some(())).await;
    inside.check(HealthCheckRequest::default()).await.expect("the connection goes on");
}

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
async fn a_peer_that_does_not_come_to_tls_in_time_is_counted_as_refused() {
    let mounted = Mounted::new(&Authority::new().issue());
    let rig = Rig::configured(|config| {
        config.tls = mounted.files();
        config.metrics = "127.0.0.1:0".to_owned();
        config.connections = 1;
    })
    .await;
    let figures = rig.running.metrics.expect("a metrics port");
    let before = refused_handshakes(figures).await;
    let _within = TcpStream::connect(rig.running.address).await.unwrap();
    // Who comes beyond the bound on connections gets the shortest time for the handshake.
    let mut beyond = TcpStream::connect(rig.running.address).await.unwrap();
    let read = tokio::time::timeout(HANGS, beyond.read(&mut [0; 16])).await.expect("an end");
    assert_eq!(read.unwrap_or(0), 0);
    eventually("a count", async || (refused_handshakes(figures).await > before).then_some(())).await;
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

#[test]
fn a_certificate_is_used_for_all_calls_or_for_none() {
    let files = |text: &str| TlsFiles { certificate: text.into(), key: text.into(), authority: text.into() };
    let services = BTreeMap::from([("sales".to_owned(), "http://sales:8080".to_owned())]);
    let plain = Config { services, ..Config::default() };
    assert_eq!(plain.errors(), Vec::<String>::new());
    let told = |config: Config, parts: &[&str]| {
        let errors = config.errors();
        assert_eq!(errors.len(), parts.len(), "{errors:?}");
        assert!(parts.iter().all(|part| errors.iter().any(|error| error.starts_with(part))), "{errors:?}");
    };
    told(Config { tls: files("/a"), ..plain.clone() }, &["identity: ", "services.sales: "]);
    told(Config { identity: "https://identity:8080".to_owned(), ..plain.clone() }, &["identity: "]);
    let secure = Config { identity: "https://identity:8080".to_owned(), tls: files("/a"), ..Config::default() };
    told(secure.clone(), &[]);
    told(Config { tls: TlsFiles { key: PathBuf::new(), ..files("/a") }, ..secure.clone() }, &["tls.key: "]);
    told(Config { health: "everywhere".to_owned(), ..secure }, &["health: "]);
}

#[test]
fn a_process_does_not_start_with_a_certificate_that_nobody_would_believe() {
    let authority = Authority::new();
    let (issued, other) = (authority.issue(), Authority::new().issue());
    let mut of_a_client = CertificateParams::new(vec!["probe".to_owned()]).expect("names");
    of_a_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut of_a_server = of_a_client.clone();
    of_a_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let unusable = [
        ("tls.certificate", authority.sign(&of_a_client)),
        ("tls.certificate", authority.sign(&of_a_server)),
        ("tls.certificate", Issued { certificate: String::new(), ..issued.clone() }),
        ("tls.certificate", Issued { authority: other.authority.clone(), ..issued.clone() }),
        ("tls.key", Issued { key: other.key.clone(), ..issued.clone() }),
        ("tls.key", Issued { key: "no key".to_owned(), ..issued.clone() }),
        ("tls.authority", Issued { authority: String::new(), ..issued.clone() }),
    ];
    for (key, unusable) in unusable {
        let fault = Tls::load(&Mounted::new(&unusable).files()).expect_err(key);
        assert!(fault.text().contains(key) && !fault.text().contains("PRIVATE"), "{key}: {fault}");
        assert_eq!(refused(fault), (Code::FailedPrecondition, "CONFIG_INVALID".to_owned()));
    }
    let (whole, newlines_lost) = (issued.key.clone(), issued.key.replace('\n', ""));
    let told = [
        ("tls.key: is not a private key in PEM", Issued { key: newlines_lost.clone(), ..issued.clone() }),
        ("tls.certificate: holds no certificate in PEM", Issued { certificate: whole.clone(), ..issued.clone() }),
        ("tls.certificate: cannot be read as PEM", Issued { certificate: newlines_lost.clone(), ..issued.clone() }),
        ("tls.authority: holds no certificate in PEM", Issued { authority: whole, ..issued.clone() }),
        ("tls.authority: cannot be read as PEM", Issued { authority: newlines_lost, ..issued.clone() }),
        (
            "tls.certificate: has no DNS name by which clients could ask for it",
            authority.sign(&CertificateParams::new(Vec::<String>::new()).expect("no names")),
        ),
    ];
    for (why, unusable) in told {
        let fault = Tls::load(&Mounted::new(&unusable).files()).expect_err(why);
        assert_eq!(fault.text(), format!("Correct the configuration: {why}."));
    }
    let of_any_host = authority.sign(&CertificateParams::new(vec!["*.rapport.example".to_owned()]).expect("names"));
    assert!(Tls::load(&Mounted::new(&of_any_host).files()).expect("clients believe a wildcard").is_some());
    let missing = TlsFiles { key: "/nowhere/tls.key".into(), ..Mounted::new(&issued).files() };
    let fault = Tls::load(&missing).expect_err("the files are gone with their folder");
    assert!(fault.text().contains("tls.certificate"), "{fault}");
    assert!(Tls::load(&TlsFiles::default()).expect("nothing is asked for").is_none());
}
