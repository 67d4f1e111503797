//! The processes of a campaign, each of which can be killed and revived.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rapport_kit::testing::eventually;
use sqlx::Connection;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use super::workload::Workload;

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// Contacts with its relay.
    Contacts,
    /// The consumer of its events.
    Consumer,
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Database,
    /// Identity, which no request needs.
    Identity,
}

impl Victim {
    pub(super) const ALL: [Self; 5] = [Self::Contacts, Self::Consumer, Self::Broker, Self::Database, Self::Identity];
}

/// Everything that runs, on servers of its own.
pub(super) struct Stage {
    name: String,
    environment: Vec<(String, String)>,
    identity: Option<Child>,
    contacts: Option<Child>,
    consumer: Option<Child>,
    identity_port: u16,
    contacts_port: u16,
    forgetful: bool,
}

impl Stage {
    /// Starts servers and processes.
    pub(super) async fn set(name: &str, forgetful: bool) -> Self {
        infra(&["wipe", name]).await;
        infra(&["up", name]).await;
        let environment = infra(&["env", name]).await.lines().filter_map(export).collect();
        let mut stage = Self {
            name: name.to_owned(),
            environment,
            identity: None,
            contacts: None,
            consumer: None,
            identity_port: free_port(),
            contacts_port: free_port(),
            forgetful,
        };
        stage.revive(Victim::Identity).await;
        stage.revive(Victim::Contacts).await;
        stage.revive(Victim::Consumer).await;
        stage
    }

    /// Kills with -9; answers what was going on at that moment.
    pub(super) async fn kill(&mut self, victim: Victim, workload: &Workload) -> Vec<&'static str> {
        let mut steps = Vec::new();
        if workload.under_way.load(Ordering::Relaxed) > 0 {
            steps.push("a command under way");
        }
        if self.count("contacts", "select count(*) from kit.outbox").await.is_none_or(|waiting| waiting > 0) {
            steps.push("events waiting for the broker");
        }
        match victim {
            Victim::Contacts => kill(&mut self.contacts).await,
            Victim::Identity => kill(&mut self.identity).await,
            Victim::Consumer => kill(&mut self.consumer).await,
            Victim::Broker => drop(infra(&["kill", "broker", &self.name]).await),
            Victim::Database => drop(infra(&["kill", "postgres", &self.name]).await),
        }
        steps
    }

    /// Starts it again.
    pub(super) async fn revive(&mut self, victim: Victim) {
        let binary = setting("RAPPORT_BINARY").expect("RAPPORT_BINARY names the program with all services; scripts/test sets it");
        let identity = format!("http://127.0.0.1:{}", self.identity_port);
        match victim {
            Victim::Identity => {
                let listen = format!("identity={}", self.identity_port);
                let arguments = ["serve", "--only", "identity", "--instance", "campaign", "--listen", &listen];
                self.identity = Some(self.spawn(Path::new(&binary), &arguments));
            }
            Victim::Contacts => {
                let listen = format!("contacts={}", self.contacts_port);
                let arguments = ["serve", "--only", "contacts", "--instance", "campaign", "--listen", &listen, "--identity", &identity];
                self.contacts = Some(self.spawn(Path::new(&binary), &arguments));
            }
            Victim::Consumer => self.consumer = Some(self.spawn(Path::new(env!("CARGO_BIN_EXE_rapport-ledger")), &[])),
            Victim::Broker => drop(infra(&["start", "broker", &self.name]).await),
            Victim::Database => drop(infra(&["start", "postgres", &self.name]).await),
        }
    }

    fn spawn(&self, program: &Path, arguments: &[&str]) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder().join("campaign.log")).expect("a log file");
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment.iter().cloned()).env("RAPPORT_LEDGER", "campaign").stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        if self.forgetful {
            command.env("RAPPORT_LEDGER_FORGETS", "1");
        }
        command.spawn().expect("a process of the campaign starts")
    }

    /// Where this instance's servers keep their data.
    fn folder(&self) -> PathBuf {
        PathBuf::from(self.variable("RAPPORT_INFRA_DIR"))
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).expect("scripts/infra tells its servers")
    }

    /// A connection to identity, lazy.
    pub(super) fn identity(&self) -> Channel {
        channel(self.identity_port)
    }

    /// A connection to contacts, lazy.
    pub(super) fn contacts(&self) -> Channel {
        channel(self.contacts_port)
    }

    /// A connection to a service's database as the servers' owner.
    pub(super) async fn database(&self, service: &str) -> Option<sqlx::PgConnection> {
        let admin = self.variable("RAPPORT_PG_ADMIN_URL");
        let base = admin.rsplit_once('/').map(|(base, _)| base)?;
        sqlx::PgConnection::connect(&format!("{base}/{service}_campaign")).await.ok()
    }

    /// A count, if the database answers.
    pub(super) async fn count(&self, service: &str, statement: &'static str) -> Option<i64> {
        let mut connection = self.database(service).await?;
        sqlx::query_scalar(statement).fetch_one(&mut connection).await.ok()
    }

    /// Ends everything.
    pub(super) async fn clear(mut self) {
        for child in [&mut self.contacts, &mut self.consumer, &mut self.identity] {
            kill(child).await;
        }
        infra(&["wipe", &self.name]).await;
    }
}

async fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill().await;
    }
}

fn channel(port: u16) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(5)).connect_lazy()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Runs `scripts/infra`; asks again if a server needs more time than the script gives it.
async fn infra(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/infra");
    eventually(&format!("scripts/infra {}", arguments.join(" ")), || async {
        let output = Command::new(&script).args(arguments).stdin(Stdio::null()).output().await.expect("scripts/infra runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    })
    .await
}

fn export(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
pub(super) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Shows how the campaign goes.
#[expect(clippy::print_stdout, reason = "the story of a run is what one reads when it fails")]
pub(super) fn tell(text: &str) {
    println!("{text}");
}

/// Small random numbers; the seed is printed, and can be given to repeat a run's choices.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded() -> Self {
        let given = setting("RAPPORT_CAMPAIGN_SEED").and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
        tell(&format!("RAPPORT_CAMPAIGN_SEED={seed}"));
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let position = self.below(from.len() as u64);
        from[usize::try_from(position).expect("small")]
    }
}
