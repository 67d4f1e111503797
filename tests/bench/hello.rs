//! What a token costs: one method that does nothing, in two processes that differ in its door only.

use std::process::Stdio;
use std::time::Duration;

use rapport_kit::config::{Config, Secrets};
use rapport_kit::db::{self, Migrations};
use rapport_kit::process::{self, asked_to_end};
use rapport_kit::{App, Ctx, Fault, Service};
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::audit_service_server::{AuditService, AuditServiceServer};
use rapport_proto::common::v1::{ListChangesRequest, ListChangesResponse, VerifySealRequest, VerifySealResponse};
use rapport_proto::{Door, MethodRule, Repeat};
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tonic::{Request, Response, Status};

use crate::client::{Client, Unread};
use crate::load::{self, Measured};
use crate::report::{Goal, Pairs, median, short};
use crate::stage::{CREDENTIAL, PASSWORD, Stage, connection, free_port, pick, required, serving};
use crate::world::{Token, World};
use crate::{Outcome, trouble};

const CALLERS: u64 = 32;
const DATABASE: &str = "hello_bench";

static NONE: Migrations = Migrations::DEFAULT;
const LIST: &str = "/rapport.common.v1.AuditService/ListChanges";
const VERIFY: &str = "/rapport.common.v1.AuditService/VerifySeal";
static OPEN: &[&[MethodRule]] = &[&[rule(LIST, Door::Public), rule(VERIFY, Door::Public)]];
static CLOSED: &[&[MethodRule]] = &[&[rule(LIST, Door::Authenticated), rule(VERIFY, Door::Authenticated)]];
static SERVICE: Service = Service { name: "hello", migrations: &NONE, methods: &[], descriptors: &[], start: |app| Box::pin(start(app)) };

const fn rule(path: &'static str, door: Door) -> MethodRule {
    MethodRule {
        path,
        request: "rapport.common.v1.ListChangesRequest",
        door,
        permission: "",
        repeat: Repeat::Safe,
        sensitive_read: false,
        set_up: false,
        streaming: false,
    }
}

async fn start(app: &mut App) -> Result<(), Fault> {
    app.serve(AuditServiceServer::new(Hello));
    Ok(())
}

struct Hello;

#[tonic::async_trait]
impl AuditService for Hello {
    async fn list_changes(&self, request: Request<ListChangesRequest>) -> Result<Response<ListChangesResponse>, Status> {
        // What every handler behind a token does first.
        if request.metadata().contains_key("authorization") {
            Ctx::of(&request)?;
        }
        Ok(Response::new(ListChangesResponse::default()))
    }

    async fn verify_seal(&self, _: Request<VerifySealRequest>) -> Result<Response<VerifySealResponse>, Status> {
        Err(Status::unimplemented("not served here"))
    }
}

/// Serves until it is asked to end; the whole of a `hello` process.
pub(crate) async fn serve(door: &str, port: &str, identity: &str) -> Outcome<()> {
    let service = Service { methods: if door == "closed" { CLOSED } else { OPEN }, ..SERVICE };
    let admin = required("RAPPORT_PG_ADMIN_URL")?.into();
    let logins = db::provision(&admin, SERVICE.name, DATABASE, None, &PASSWORD.into()).await.map_err(told)?;
    db::migrate(&logins.migrator, &NONE).await.map_err(told)?;
    let config =
        Config { listen: format!("127.0.0.1:{port}"), identity: format!("http://127.0.0.1:{identity}"), leave_seconds: 0, ..Config::default() };
    let secrets = Secrets {
        database_app: logins.app.expose_secret().into(),
        database_system: logins.system.expose_secret().into(),
        broker: None,
        credential: CREDENTIAL.into(),
        sealing: "sealing secret of the bench".into(),
    };
    let running = process::start(&service, config, secrets).await.map_err(told)?;
    asked_to_end().await.map_err(told)?;
    running.stop().await;
    Ok(())
}

fn told(fault: Fault) -> crate::Trouble {
    trouble(fault.to_string())
}

/// A process of this program that serves behind a door.
async fn start_behind(stage: &Stage, door: &str) -> Outcome<(Child, u16)> {
    let port = free_port()?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(stage.folder.join("log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["hello", door, &port.to_string(), &stage.identity.port.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
    serving(port, &mut child).await?;
    Ok((child, port))
}

async fn measured(stage: &Stage, process: &Child, port: u16, token: Option<Token>) -> Outcome<Measured> {
    let clients = Client::several(port).await?;
    let call = move |random: u64| {
        let (client, token) = (pick(&clients, random), token.clone());
        async move {
            let mut request = Request::new(ListChangesRequest::default());
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token);
            }
            client.ok_or_else(|| Status::internal("no connection"))?.call::<_, Unread>(LIST, request).await
        }
    };
    let pid = process.id().ok_or_else(|| trouble("a hello process has ended"))?;
    load::measured(pid, CALLERS, stage.plan.length, call).await
}

/// Calls with a token against the same calls without.
pub(crate) async fn token_tax(stage: &Stage, world: &World) -> Outcome<()> {
    let (behind, behind_port) = start_behind(stage, "closed").await?;
    let (before, before_port) = start_behind(stage, "open").await?;
    known_behind(behind_port, &world.token().await?).await?;
    let (mut pairs, mut with, mut without) = (Pairs::default(), Vec::new(), Vec::new());
    for _ in 0..stage.plan.pairs {
        let ours = measured(stage, &behind, behind_port, Some(world.token().await?)).await?;
        let limit = measured(stage, &before, before_port, None).await?;
        pairs.push(ours.run.rate(), limit.run.rate());
        with.push(ours.service);
        without.push(limit.service);
    }
    let figure = pairs.figure("token_tax", Goal::AtLeast(0.93)).with("unit", "1/s").with("c", CALLERS);
    figure.with("cpu_us", short(median(with))).with("limit_cpu_us", short(median(without))).tell();
    Ok(())
}

/// Waits until the caller's token is taken.
async fn known_behind(port: u16, token: &Token) -> Outcome<()> {
    let mut client = AuditServiceClient::new(connection(port).await?);
    let begun = std::time::Instant::now();
    loop {
        match client.list_changes(crate::world::with(token, ListChangesRequest::default())).await {
            Ok(_) => return Ok(()),
            Err(refusal) if begun.elapsed() > Duration::from_secs(30) => return Err(refusal.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
