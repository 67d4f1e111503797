//! A service as a process: `serve`, `migrate`, `config`, `check`.
//!
//! Guarantees: `serve` refuses to start while migrations are pending; SIGTERM ends in order: NOT_SERVING,
//! a pause for load balancers, drain of calls, stop of consumers and relay, flush of telemetry.

mod bundle;
mod check;
mod command;
mod ports;
mod seal;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rapport_proto::MethodRule;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};

pub use bundle::bundle;
pub use check::{answers, migrated, schema_reached};
pub use command::{asked_to_end, in_words, main};
use ports::{bind, health_port, metrics_port};
pub use seal::seal_holds;

use crate::access_log::AccessLog;
use crate::auth::{Door, Keys, Rules, Verifier};
use crate::bus::Broker;
use crate::config::{Config, Secrets};
use crate::db::{self, Db, Migrations, PoolConfig, SystemDb};
use crate::fault::Fault;
use crate::inbox::Consumers;
use crate::jobs::Jobs;
use crate::page::Sealer;
use crate::policy::{Feed, Policy};
use crate::relay::Relay;
use crate::rpc::{self, Tokens};
use crate::serve::{self, Front, Limits, Slots};
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::{clock, common, metrics};

/// A starting process waits this long for identity before it serves with what it has stored.
const FIRST_ROUND: Duration = Duration::from_secs(2);
/// Background work gets this long at the end, after the drain.
const LAST_WORK: Duration = Duration::from_secs(3);

/// What a service is, for the process that runs it.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Name of the service: its folder, chart and image suffix.
    pub name: &'static str,
    /// Its migrations.
    pub migrations: &'static Migrations,
    /// Rule tables of everything it serves.
    pub methods: &'static [&'static [MethodRule]],
    /// Descriptors for reflection.
    pub descriptors: &'static [&'static [u8]],
    /// The whole wiring of the service.
    pub start: for<'a> fn(&'a mut App) -> BoxFuture<'a, Result<(), Fault>>,
}

/// What a service's `start` wires itself to.
#[derive(Debug)]
pub struct App {
    /// Database of the service.
    pub db: Db,
    /// The same as the system role.
    pub system: SystemDb,
    /// Configuration of the process.
    pub config: Config,
    /// Secrets of the process.
    pub secrets: Secrets,
    /// Background work.
    pub tasks: Tasks,
    /// Copy of identity's policy.
    pub policy: Policy,
    /// Seals page tokens.
    pub sealer: Sealer,
    routes: RoutesBuilder,
    health: tonic_health::server::HealthReporter,
    served: Vec<&'static str>,
    consumers: Vec<Consumers>,
    pub(crate) jobs: Vec<Jobs>,
    credentials: Vec<SecretString>,
    identity: rpc::Client,
    tokens: Arc<Tokens>,
    tls: Option<Tls>,
}

impl App {
    /// A client of another service, whose methods are `rules` (the `METHODS` of its api crate). Calls are made
    /// in the name of whom a [`crate::Ctx`] acts for, see [`rpc::Client::within`].
    ///
    /// # Errors
    /// FAILED_PRECONDITION (SERVICE_ADDRESS_INVALID) if the configured address cannot be called.
    pub fn client(&self, service: &str, rules: &'static [MethodRule]) -> Result<rpc::Client, Fault> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.config.services.get(service).cloned().unwrap_or_else(|| format!("{scheme}://{service}:8080"));
        let settings = rpc::Settings { tls: self.tls.clone(), ..rpc::Settings::new(address) };
        let client = rpc::Client::new(settings, &[rules, rapport_proto::METHODS], &self.tasks)?;
        Ok(client.with_tokens(Arc::clone(&self.tokens)))
    }

    /// Serves a gRPC service.
    pub fn serve<S>(&mut self, service: S)
    where
        S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.served.push(S::NAME);
        self.routes.add_service(service);
    }

    /// Consumes events.
    pub fn consume(&mut self, consumers: Consumers) {
        self.consumers.push(consumers);
    }

    /// Accepts `credential` as an operator's or a service's own.
    pub fn trust(&mut self, credential: SecretString) {
        self.credentials.push(credential);
    }
}

/// A running service.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/metrics` is, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Where the health of the process is told without TLS, if anywhere.
    pub health: Option<SocketAddr>,
    tasks: Tasks,
    accepting: CancellationToken,
    reporter: tonic_health::server::HealthReporter,
    served: Vec<&'static str>,
    leave: Duration,
    server: oneshot::Receiver<bool>,
}

/// Starts a service: database, policy feed, wiring, relay, consumers, server.
///
/// # Errors
/// FAILED_PRECONDITION (CONFIG_INVALID) if its certificate cannot be used, (MIGRATIONS_PENDING) if the database is
/// behind this build, (ADDRESS_UNUSABLE) if it cannot listen where it is told to, (METHOD_WITHOUT_RULE) if it serves a
/// method whose rule it does not know; anything else that keeps the service from starting.
pub async fn start(service: &Service, config: Config, secrets: Secrets) -> Result<Running, Fault> {
    let tls = Tls::load(&config.tls)?;
    let databases = open(service, &config, &secrets).await?;
    let listener = bind("listen", &config.listen).await?;
    let address = listener.local_addr().map_err(Fault::internal)?;
    let mut app = wire(service, config, secrets, databases, tls, address).await?;
    let rules = rules(service, &app.served)?;
    if app.config.reflection {
        reflection(&mut app, service)?;
    }
    let (keys, log) = (Arc::new(Keys::default()), AccessLog::default());
    work(&mut app, service, &keys, &log);
    let metrics = metrics_port(&app.config, &app.tasks).await?;
    let accepting = CancellationToken::new();
    let health = health_port(&app, &accepting).await?;
    let server = listen(&mut app, listener, rules, keys, log, &accepting);
    // Whoever comes before the signing keys are here would be told to sign in again.
    app.policy.begun(FIRST_ROUND).await;
    for name in app.served.iter().chain(&[""]) {
        app.health.set_service_status(*name, tonic_health::ServingStatus::Serving).await;
    }
    tracing::info!(service = service.name, %address, "serving");
    let leave = Duration::from_secs(app.config.leave_seconds);
    Ok(Running { address, metrics, health, tasks: app.tasks, accepting, reporter: app.health, served: app.served, leave, server })
}

/// The databases of the service, which must be as this build expects them.
async fn open(service: &Service, config: &Config, secrets: &Secrets) -> Result<(Db, SystemDb), Fault> {
    let pool = PoolConfig { max_connections: config.database_connections, ..PoolConfig::default() };
    let db = Db::new(secrets.database_app.expose_secret(), pool)?;
    let system = SystemDb::new(secrets.database_system.expose_secret(), PoolConfig { max_connections: 4, ..PoolConfig::default() })?;
    metrics::begin(service.name);
    let pending = db::pending(&mut system.conn().await?, service.migrations).await?;
    if pending > 0 {
        return Err(Fault::precondition(
            "MIGRATIONS_PENDING",
            format!("Run `migrate` first: the database lacks {pending} migrations of this build."),
        )
        .with("pending", pending.to_string()));
    }
    for (owner, level) in db::levels(&mut system.conn().await?).await? {
        metrics::schema().with_label_values(&[owner]).set(level);
    }
    // After a long stand-still the months that were made ahead have passed, and rows would lie in none.
    if let Err(error) = crate::upkeep::partitions(&system).await {
        tracing::warn!(%error, "the journal's partitions could not be made; upkeep tries again");
    }
    Ok((db, system))
}

/// The service wired to what it stands on; nothing runs yet.
async fn wire(
    service: &Service,
    config: Config,
    secrets: Secrets,
    (db, system): (Db, SystemDb),
    tls: Option<Tls>,
    address: SocketAddr,
) -> Result<App, Fault> {
    let tasks = Tasks::default();
    let identity = identity_settings(service, &config, address, tls.as_ref());
    let identity = rpc::Client::new(identity, &[rapport_proto::METHODS, rpc::EXCHANGE], &tasks)?;
    let tokens = Tokens::new(identity.clone(), service.name, secrets.credential.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let policy = Policy::new(db.clone(), system.clone());
    let sealer = Sealer::new(secrets.sealing.expose_secret().as_bytes());
    let mut routes = Routes::builder();
    routes.add_service(health_service);
    let mut app = App {
        db,
        system,
        config,
        secrets,
        tasks,
        policy,
        sealer,
        routes,
        health,
        served: Vec::new(),
        consumers: Vec::new(),
        jobs: Vec::new(),
        credentials: Vec::new(),
        identity,
        tokens: Arc::new(tokens),
        tls,
    };
    (service.start)(&mut app).await?;
    common::serve_dead_letters(&mut app, service.name);
    Ok(app)
}

/// Starts the background work of every service: policy feed, relay, consumers, jobs, upkeep, access log, renewal.
fn work(app: &mut App, service: &Service, keys: &Arc<Keys>, log: &AccessLog) {
    let holder = format!("{}-{}", service.name, clock::new_id().simple());
    let broker = app.secrets.broker.clone().map(|url| Broker::new(url, app.config.broker_prefix.clone()));
    let feed = Feed { identity: app.identity.clone(), credential: app.secrets.credential.clone(), holder: holder.clone() };
    feed.follow(app.policy.clone(), Arc::clone(keys), broker.clone(), &app.tasks);
    if let Some(broker) = &broker {
        let relay = Relay::new(service.name, holder, app.system.clone(), broker.clone(), app.config.retention.unclaimed_days);
        app.tasks.spawn("relay", relay.run(app.tasks.clone()));
        for consumers in std::mem::take(&mut app.consumers) {
            consumers.run(&app.db, &app.system, broker, &app.tasks);
        }
    }
    for jobs in std::mem::take(&mut app.jobs) {
        jobs.run(&app.system, &app.sealer, log, app.config.jobs, &app.tasks);
    }
    crate::upkeep::run(&app.db, &app.system, &app.sealer, &app.config.retention, &app.tasks);
    log.run(&app.system, &app.tasks);
    if let Some(tls) = &app.tls {
        tls.follow(&app.tasks);
    }
}

/// Takes calls until `accepting` is cancelled; tells then whether every one came to its end.
fn listen(
    app: &mut App,
    listener: TcpListener,
    rules: Rules,
    keys: Arc<Keys>,
    log: AccessLog,
    accepting: &CancellationToken,
) -> oneshot::Receiver<bool> {
    let front = Front {
        rules,
        door: Door { verifier: Verifier::new(keys), policy: app.policy.clone(), credentials: std::mem::take(&mut app.credentials) },
        slots: Slots::new(app.config.calls),
        leaving: accepting.clone(),
        sealer: app.sealer.clone(),
        log,
    };
    let (ended, server) = oneshot::channel();
    let limits = Limits { connections: app.config.connections, drain: Duration::from_secs(app.config.drain_seconds) };
    let routes = std::mem::take(&mut app.routes).routes();
    let serving = serve::serve(listener, app.tls.clone(), routes, Arc::new(front), limits, accepting.clone());
    app.tasks.spawn("server", async move {
        let _ = ended.send(serving.await);
    });
    server
}

/// The rules of the service, which must be complete: a method without one would be let in by nobody's decision.
fn rules(service: &Service, served: &[&'static str]) -> Result<Rules, Fault> {
    let rules = Rules::new(service.methods).and(common::own_rules());
    let descriptors: Vec<&[u8]> = service.descriptors.iter().copied().chain([rapport_proto::DESCRIPTORS]).collect();
    let missing = rules.missing(served, &descriptors)?;
    if missing.is_empty() {
        return Ok(rules);
    }
    let methods = missing.join(", ");
    let text = format!("Name the rule tables and descriptors of everything that {} serves; there is no rule for: {methods}.", service.name);
    Err(Fault::precondition("METHOD_WITHOUT_RULE", text).with("methods", methods))
}

/// How identity is called; it calls itself on its own port, `listen`, under the name that others know it by.
fn identity_settings(service: &Service, config: &Config, listen: SocketAddr, tls: Option<&Tls>) -> rpc::Settings {
    let at = (service.name == "identity").then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())));
    rpc::Settings { health: false, tls: tls.cloned(), at, ..rpc::Settings::new(&config.identity) }
}

/// Both versions of reflection, since older tools know the older one only; they name what is served, no more.
fn reflection(app: &mut App, service: &Service) -> Result<(), Fault> {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for descriptors in service.descriptors {
            builder = builder.register_encoded_file_descriptor_set(descriptors);
        }
        app.served.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let (current, older) = (builder().build_v1().map_err(Fault::internal)?, builder().build_v1alpha().map_err(Fault::internal)?);
    app.routes.add_service(current);
    app.routes.add_service(older);
    Ok(())
}

impl Running {
    /// Tells everything to end and waits for nothing.
    #[cfg(feature = "testing")]
    pub fn abandon(&self) {
        self.accepting.cancel();
        self.tasks.stopping().cancel();
    }

    /// Ready when background work has panicked: whoever runs the process should end it and start it anew.
    pub async fn failed(&self) {
        self.tasks.failed().await;
    }

    /// Ends in good order; answers whether everything ended in time and no call was cut.
    pub async fn stop(self) -> bool {
        for name in self.served.iter().chain(&[""]) {
            self.reporter.set_service_status(*name, tonic_health::ServingStatus::NotServing).await;
        }
        tokio::time::sleep(self.leave).await;
        self.accepting.cancel();
        let drained = self.server.await.unwrap_or(false);
        self.tasks.stop(LAST_WORK).await && drained
    }
}
