//! The servers and the processes under measurement: one program with all services serves one of them in each
//! process; where the process itself is measured, it is the service's own program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rapport_kit::bus::Broker;
use rapport_kit::db::{self, Logins};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::Client;
use crate::{Outcome, Plan, trouble};

/// Opens operator's methods, and what services show each other here.
pub(crate) const CREDENTIAL: &str = "development-credential";
/// Password of all roles of the database.
pub(crate) const PASSWORD: &str = "development";
/// Names of the databases end with it and names on the broker begin with it.
const INSTANCE: &str = "bench";
/// The same for contacts over a small table.
const FEW: &str = "few";

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) identity: Program,
    pub(crate) contacts: Program,
    /// Contacts over a small table, once somebody asked for it.
    pub(crate) few: Option<Program>,
    /// Process id of the database server.
    pub(crate) postgres: u32,
    pub(crate) admin: SecretString,
    broker: SecretString,
    /// Secrets, logs and what else is kept during the run.
    pub(crate) folder: PathBuf,
}

/// A running service.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
    pub(crate) logins: Logins,
    pub(crate) database: String,
    /// From the start of the program to the answer that it serves.
    pub(crate) started_in: Duration,
}

impl Stage {
    /// Makes databases and starts identity and contacts.
    pub(crate) async fn set(plan: Plan) -> Outcome<Self> {
        let infra = PathBuf::from(required("RAPPORT_INFRA_DIR")?);
        let postmaster = std::fs::read_to_string(infra.join("postgres/data/postmaster.pid"))?;
        let postgres = postmaster.lines().next().unwrap_or_default().trim().parse()?;
        let (admin, broker) = (required("RAPPORT_PG_ADMIN_URL")?.into(), required("RAPPORT_AMQP_URL")?.into());
        let folder = infra.join("programs");
        std::fs::create_dir_all(&folder)?;
        let servers = Servers { admin: &admin, folder: &folder };
        let identity = servers.start("identity", INSTANCE, 9).await?;
        let contacts = servers.start("contacts", INSTANCE, identity.port).await?;
        Ok(Self { plan, identity, contacts, few: None, postgres, admin, broker, folder })
    }

    /// Contacts over a database of its own.
    pub(crate) async fn start_few(&self) -> Outcome<Program> {
        Servers { admin: &self.admin, folder: &self.folder }.start("contacts", FEW, self.identity.port).await
    }

    /// One more process of contacts over the same database: the program that is shipped, with configuration and
    /// secrets as an operator gives them.
    pub(crate) async fn start_shipped(&self) -> Outcome<Program> {
        let (logins, secrets) = (&self.contacts.logins, self.folder.join("secrets"));
        std::fs::create_dir_all(&secrets)?;
        for (name, secret) in [
            ("database_app", logins.app.expose_secret()),
            ("database_system", logins.system.expose_secret()),
            ("broker", self.broker.expose_secret()),
            ("credential", CREDENTIAL),
            ("sealing", "development sealing secret"),
        ] {
            std::fs::write(secrets.join(name), secret)?;
        }
        let port = free_port()?;
        let mut command = beside("rapport-contacts", &self.folder)?;
        command.arg("serve").env("RAPPORT__SECRETS", secrets).env("RAPPORT__LISTEN", format!("127.0.0.1:{port}"));
        command.env("RAPPORT__IDENTITY", address(self.identity.port)).env("RAPPORT__BROKER_PREFIX", format!("{INSTANCE}."));
        command.env("RAPPORT__LEAVE_SECONDS", "0");
        Program::start(command, port, logins.clone(), self.contacts.database.clone()).await
    }

    /// The broker, under the names of the measured services.
    pub(crate) fn broker(&self) -> Broker {
        Broker::new(self.broker.clone(), format!("{INSTANCE}."))
    }

    /// A connection to a service's database as the owner of the server, who is bound by nothing.
    pub(crate) async fn superuser(&self, program: &Program) -> Outcome<PgConnection> {
        let options: PgConnectOptions = self.admin.expose_secret().parse()?;
        Ok(options.database(&program.database).disable_statement_logging().connect().await?)
    }

    /// Ends the programs in good order.
    pub(crate) async fn clear(self) {
        for program in [Some(self.contacts), self.few, Some(self.identity)].into_iter().flatten() {
            program.end().await;
        }
    }
}

/// What a process needs to begin.
struct Servers<'a> {
    admin: &'a SecretString,
    folder: &'a Path,
}

impl Servers<'_> {
    /// A process of `service`, which makes and migrates its database itself.
    async fn start(&self, service: &str, instance: &str, identity: u16) -> Outcome<Program> {
        let (port, database) = (free_port()?, format!("{service}_{instance}"));
        let logins = db::provision(self.admin, service, &database, None, &PASSWORD.into()).await.map_err(|fault| trouble(fault.to_string()))?;
        let mut command = beside("rapport-all-in-one", self.folder)?;
        command.args(["serve", "--only", service, "--instance", instance, "--identity", &address(identity)]);
        command.args(["--listen", &format!("{service}={port}")]);
        Program::start(command, port, logins, database).await
    }
}

/// A program that lies beside this one; what it says goes to the log.
fn beside(program: &str, folder: &Path) -> Outcome<Command> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let file = std::env::current_exe()?.with_file_name(program);
    if !file.exists() {
        return Err(trouble(format!("{program} is not built: run scripts/bench")));
    }
    let mut command = Command::new(file);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    Ok(command)
}

/// Ready when the program says that it serves.
pub(crate) async fn serving(port: u16, child: &mut Child) -> Outcome<()> {
    let begun = Instant::now();
    let endpoint = Endpoint::from_shared(address(port))?;
    while begun.elapsed() < Duration::from_secs(30) {
        if let Some(ended) = child.try_wait()? {
            return Err(trouble(format!("a program ended during its start: {ended}")));
        }
        if let Ok(channel) = endpoint.connect().await {
            let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
            if health.is_ok_and(|health| health.get_ref().status() == ServingStatus::Serving) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(trouble("a program did not serve within 30 s"))
}

impl Program {
    async fn start(mut command: Command, port: u16, logins: Logins, database: String) -> Outcome<Self> {
        let begun = Instant::now();
        let mut child = command.spawn()?;
        serving(port, &mut child).await?;
        Ok(Self { child, port, logins, database, started_in: begun.elapsed() })
    }

    /// Process id.
    pub(crate) fn pid(&self) -> Outcome<u32> {
        self.child.id().ok_or_else(|| trouble("a program has ended"))
    }

    /// An open connection for what is not measured.
    pub(crate) async fn channel(&self) -> Outcome<Channel> {
        connection(self.port).await
    }

    /// Open connections for a load.
    pub(crate) async fn clients(&self) -> Outcome<Vec<Client>> {
        Client::several(self.port).await
    }

    /// Ends it in good order, so that its leases are free at once.
    pub(crate) async fn end(mut self) {
        if let Ok(pid) = self.pid() {
            let _ = signal(pid, "-TERM").await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
    }
}

async fn signal(pid: u32, signal: &str) -> Outcome<()> {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().await?;
    if sent.success() { Ok(()) } else { Err(trouble(format!("kill {signal} {pid} failed"))) }
}

/// An open connection to the program at `port`.
pub(crate) async fn connection(port: u16) -> Outcome<Channel> {
    Ok(Endpoint::from_shared(address(port))?.tcp_nodelay(true).connect().await?)
}

/// One of several for a random number.
pub(crate) fn pick<T: Clone>(from: &[T], random: u64) -> Option<T> {
    let position = usize::try_from(random >> 33).ok()?.checked_rem(from.len())?;
    from.get(position).cloned()
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A setting that `scripts/bench` makes.
#[expect(clippy::disallowed_methods, reason = "the bench is told its servers by the environment")]
pub(crate) fn required(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| trouble(format!("{name} is not set: run scripts/bench")))
}
