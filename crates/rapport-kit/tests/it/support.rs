//! A small service whose handlers do as the request's name says, and what tests ask of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rapport_kit::config::Config;
use rapport_kit::db::{Logins, Migrations};
use rapport_kit::process::{self, Running};
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{self, Identity, Infra, call};
use rapport_kit::{App, Ctx, Db, Fault, Service, clock};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::audit_service_server::{AuditService, AuditServiceServer};
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetail, StatusExt};
use uuid::Uuid;

static MIGRATIONS: Migrations = sqlx::migrate!("tests/it/migrations");

/// The service of these tests. It serves the contract of audit, which asks for a token (ListChanges) or for
/// a permission (VerifySeal).
pub(crate) static SERVICE: Service = Service { name: "probe", migrations: &MIGRATIONS, methods: &[rapport_proto::METHODS], descriptors: &[], start };

fn start(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        app.serve(AuditServiceServer::new(Desk { db: app.db.clone(), tasks: app.tasks.clone(), id: clock::new_id().to_string() }));
        Ok(())
    })
}

struct Desk {
    db: Db,
    tasks: Tasks,
    id: String,
}

impl Desk {
    /// Runs a statement of a minute, marked so that it can be found among the server's.
    async fn sleep(&self, ctx: &Ctx, mark: &str) -> Result<(), Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        sqlx::query("set statement_timeout = '90s'").execute(&mut conn).await?;
        sqlx::query(AssertSqlSafe(format!("select pg_sleep(60) /* {mark} */"))).execute(&mut conn).await?;
        Ok(())
    }

    /// Hands the call on to the next of `addresses`; the last one sleeps.
    async fn hand_on(&self, ctx: &Ctx, request: &Request<pb::ListChangesRequest>, path: &str) -> Result<(), Status> {
        let (mark, addresses) = path.split_once('>').unwrap_or((path, ""));
        let Some(address) = addresses.split('>').next().filter(|address| !address.is_empty()) else { return Ok(self.sleep(ctx, mark).await?) };
        let rest = addresses.strip_prefix(address).unwrap_or_default();
        let mut next = Request::new(pb::ListChangesRequest { name: format!("hand on:{mark}{rest}"), ..pb::ListChangesRequest::default() });
        next.metadata_mut().insert("authorization", request.metadata().get("authorization").cloned().expect("the call was admitted"));
        let calls = Client::new(Settings::new(format!("http://{address}")), &[rapport_proto::METHODS], &self.tasks)?.within(ctx);
        AuditServiceClient::new(calls).list_changes(next).await?;
        Ok(())
    }
}

#[tonic::async_trait]
impl AuditService for Desk {
    async fn list_changes(&self, request: Request<pb::ListChangesRequest>) -> Result<Response<pb::ListChangesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let (what, with) = request.get_ref().name.split_once(':').unwrap_or_default();
        match what {
            "panic" => panic!("this handler was asked to panic"),
            "panic later" => self.tasks.spawn("probe", async { panic!("this task was asked to panic") }),
            "deny" => return Err(Fault::denied("NOT_FOR_YOU", "Ask somebody else.").into()),
            "sleep" => self.sleep(&ctx, with).await?,
            "wait" => gate(with).pass().await,
            "hand on" => self.hand_on(&ctx, &request, with).await?,
            _ => {}
        }
        // Which of several servers it was.
        Ok(Response::new(pb::ListChangesResponse { next_page_token: self.id.clone(), ..pb::ListChangesResponse::default() }))
    }

    async fn verify_seal(&self, _: Request<pb::VerifySealRequest>) -> Result<Response<pb::VerifySealResponse>, Status> {
        Ok(Response::new(pb::VerifySealResponse { intact: true, ..pb::VerifySealResponse::default() }))
    }
}

/// Where handlers wait until the test lets them go on.
pub(crate) struct Gate {
    entered: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Waits here.
    pub(crate) async fn pass(&self) {
        self.entered.add_permits(1);
        self.open.acquire().await.expect("gates are not closed").forget();
    }

    /// Ready when `count` handlers wait.
    pub(crate) async fn reached_by(&self, count: u32) {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.entered.acquire_many(count)).await;
        waited.expect("the handlers are entered").expect("gates are not closed").forget();
    }

    /// Lets handlers pass, `count` of them.
    pub(crate) fn let_pass(&self, count: usize) {
        self.open.add_permits(count);
    }
}

/// The gate of this name; handlers and the test meet at it.
pub(crate) fn gate(name: &str) -> Arc<Gate> {
    static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    let gate = gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0) }));
    Arc::clone(gate)
}

/// A running service without a broker, and the identity it believes.
pub(crate) struct Rig {
    pub(crate) identity: Identity,
    pub(crate) logins: Logins,
    pub(crate) running: Running,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::configured(|_| {}).await
    }

    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let identity = Identity::start().await;
        let logins = Infra::from_environment().database(&SERVICE).await;
        let running = serve(&logins, &identity.address, change).await;
        Self { identity, logins, running }
    }

    pub(crate) async fn client(&self) -> AuditServiceClient<Wire> {
        client(self.running.address).await
    }
}

/// Starts the service on this database, with this identity and no broker.
pub(crate) async fn serve(logins: &Logins, identity: &str, change: impl FnOnce(&mut Config)) -> Running {
    start_with(&SERVICE, logins, identity, change).await.expect("the service starts")
}

/// The same for any service, with the reason if it does not start.
pub(crate) async fn start_with(service: &Service, logins: &Logins, identity: &str, change: impl FnOnce(&mut Config)) -> Result<Running, Fault> {
    let mut config = Config { listen: "127.0.0.1:0".to_owned(), identity: identity.to_owned(), leave_seconds: 0, ..Config::default() };
    change(&mut config);
    process::start(service, config, testing::secrets(logins, None)).await
}

/// A connection that shows what the server really answers: unlike the library's channel it has no timer of
/// its own, which would answer CANCELLED before the server does.
#[derive(Clone)]
pub(crate) struct Wire {
    sender: http2::SendRequest<Body>,
}

impl tower::Service<http::Request<Body>> for Wire {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

/// A connection to the service at `address`.
pub(crate) async fn wire(address: SocketAddr) -> Wire {
    over(TcpStream::connect(address).await.expect("the service listens")).await
}

/// The same over a stream that is open.
pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Wire {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("the service speaks HTTP/2");
    Tasks::default().spawn("connection", async move {
        let _ = connection.await;
    });
    Wire { sender }
}

/// A client of the service at `address`.
pub(crate) async fn client(address: SocketAddr) -> AuditServiceClient<Wire> {
    let origin = format!("http://{address}").parse().expect("an address is a URI");
    AuditServiceClient::with_origin(wire(address).await, origin)
}

/// Where a test has the log written to.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes the log of this thread for as long as the guard is kept.
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(tracing::Level::INFO).with_writer(move || writer.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panicked").clone()).expect("text")
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A request whose handler does as `name` says.
pub(crate) fn do_as(name: impl Into<String>) -> pb::ListChangesRequest {
    pb::ListChangesRequest { name: name.into(), ..pb::ListChangesRequest::default() }
}

/// Code and reason of a refusal, which must carry exactly one ErrorInfo and nothing of our insides.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let details = status.check_error_details_vec().expect("details can be read");
    let reasons: Vec<_> = details.iter().filter_map(|detail| if let ErrorDetail::ErrorInfo(info) = detail { Some(info) } else { None }).collect();
    let [info] = reasons.as_slice() else { panic!("{} ErrorInfo instead of one: {status:?}", reasons.len()) };
    assert_eq!(info.domain, "rapport");
    let insides = ["select ", "insert ", "panicked", ".rs:", "kit."];
    assert!(insides.iter().all(|inside| !status.message().contains(inside)), "the text tells insides: {}", status.message());
    (status.code(), info.reason.clone())
}

/// The same of a fault, as a caller would see it.
pub(crate) fn refused(fault: Fault) -> (Code, String) {
    refusal(&Status::from(fault))
}

/// Whether the refusal says when to send again.
pub(crate) fn says_when_to_retry(status: &Status) -> bool {
    status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some_and(|wait| !wait.is_zero()))
}

/// A call of the service to itself, for work on behalf of `tenant`.
pub(crate) fn ctx(tenant: Uuid) -> Ctx {
    Ctx::system(tenant, "services/probe", call("/probe"))
}

/// The database of `logins` as the superuser, who is bound by nothing.
pub(crate) async fn superuser(logins: &Logins) -> PgConnection {
    let own: PgConnectOptions = logins.system.expose_secret().parse().expect("an address");
    let admin: PgConnectOptions = Infra::from_environment().postgres.expose_secret().parse().expect("an address");
    admin.database(own.get_database().expect("the address names a database")).connect().await.expect("the superuser may connect")
}

/// A figure of the process whose metrics port is at `address`.
pub(crate) async fn figure(address: SocketAddr, name: &str) -> i64 {
    let mut stream = TcpStream::connect(address).await.expect("the metrics port");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the figure is there");
    value.trim().parse().expect("a number")
}

/// Whether a statement with this mark runs on the server.
pub(crate) async fn runs(logins: &Logins, mark: &str) -> bool {
    let mut conn = superuser(logins).await;
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like '%' || $1 || '%')",
    )
    .bind(mark)
    .fetch_one(&mut conn)
    .await
    .expect("an answer")
}
