//! For tests: databases copied from a migrated template, a stand-in for identity, a service in this process.
//!
//! Guarantees: every test has a database and names on the broker of its own, and leaves nothing on the broker;
//! PostgreSQL and RabbitMQ are the real ones that `scripts/test` starts.

mod death;
mod identity;
mod prefix;

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use tonic::transport::{Channel, Endpoint};

pub(crate) use death::Death;
pub use identity::{Identity, Subject};
pub use prefix::Prefix;

use crate::access_log::AccessLog;
use crate::bus::Broker;
use crate::clock;
use crate::config::{Config, Secrets};
use crate::ctx::Call;
use crate::db::{self, Logins};
use crate::page::Sealer;
use crate::process::{self, Running, Service};

/// Servers that tests share.
#[derive(Debug, Clone)]
pub struct Infra {
    /// PostgreSQL, as a role that may create databases.
    pub postgres: SecretString,
    /// RabbitMQ.
    pub broker: SecretString,
}

impl Infra {
    /// What `scripts/test` started.
    ///
    /// # Panics
    /// If the environment does not name the servers.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration file")]
    pub fn from_environment() -> Self {
        let read = |name: &str| SecretString::from(std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests by scripts/test")));
        Self { postgres: read("RAPPORT_PG_ADMIN_URL"), broker: read("RAPPORT_AMQP_URL") }
    }

    /// A fresh migrated database of `service`.
    ///
    /// # Panics
    /// If the database server does not do as asked.
    pub async fn database(&self, service: &Service) -> Logins {
        let template = self.template(service).await;
        let database = format!("{}_{}", service.name.replace('-', "_"), clock::new_id().simple());
        db::provision(&self.postgres, service.name, &database, Some(&template), &password()).await.expect("a test database is made")
    }

    /// The migrated template of `service`; made once for each state of its migrations.
    async fn template(&self, service: &Service) -> String {
        let checksums: Vec<u8> = db::checksums(service.migrations);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &checksums);
        let mark = hex::encode(digest.as_ref().get(..6).unwrap_or_default());
        let (template, making) = (format!("{}_template_{mark}", service.name.replace('-', "_")), "rapport.template");
        let options: PgConnectOptions = self.postgres.expose_secret().parse().expect("the address of the database can be read");
        let mut connection = options.connect().await.expect("the database server answers");
        sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(making).execute(&mut connection).await.expect("a lock");
        let done: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)")
            .bind(&template)
            .fetch_one(&mut connection)
            .await
            .expect("an answer");
        if !done {
            let drop = format!("drop database if exists {template} with (force)");
            connection.execute(sqlx::AssertSqlSafe(drop)).await.expect("a half-made template is dropped");
            let logins = db::provision(&self.postgres, service.name, &template, None, &password()).await.expect("a template database is made");
            db::migrate(&logins.migrator, service.migrations).await.expect("migrations apply");
            let finish = format!("alter database {template} is_template true");
            connection.execute(sqlx::AssertSqlSafe(finish)).await.expect("the template is marked");
        }
        connection.close().await.expect("the connection closes");
        template
    }
}

/// One password for all roles of the test servers: the one that processes of the development program give them too,
/// since roles belong to the server and not to a database.
#[must_use]
pub fn password() -> SecretString {
    SecretString::from("development".to_owned())
}

/// A service that runs in this process, with a stand-in for identity.
#[derive(Debug)]
pub struct TestService {
    /// The stand-in for identity: makes tenants, subjects and tokens.
    pub identity: Identity,
    /// Connection to the service.
    pub channel: Channel,
    /// Addresses of its database.
    pub logins: Logins,
    /// The broker, under this test's prefix.
    pub broker: Broker,
    running: Option<Running>,
    _prefix: Prefix,
}

impl Drop for TestService {
    fn drop(&mut self) {
        // Told to end before its names on the broker go, or it would make them anew.
        if let Some(running) = &self.running {
            running.abandon();
        }
    }
}

impl TestService {
    /// Starts `service` on a fresh database.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(service: &Service) -> Self {
        Self::configured(service, |_| {}).await
    }

    /// The same with `change` to its settings.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn configured(service: &Service, change: impl FnOnce(&mut Config)) -> Self {
        let infra = Infra::from_environment();
        let logins = infra.database(service).await;
        let identity = Identity::start().await;
        let prefix = Prefix::new(&infra, &[service.name]);
        let mut config = config(&identity.address, prefix.text());
        change(&mut config);
        let running = process::start(service, config, secrets(&logins, Some(&infra.broker))).await.expect("the service starts");
        let channel = channel(&running);
        Self { identity, channel, logins, broker: prefix.broker(), running: Some(running), _prefix: prefix }
    }

    /// Ends the service in good order; answers whether everything ended in time.
    pub async fn stop(&mut self) -> bool {
        match self.running.take() {
            Some(running) => running.stop().await,
            None => true,
        }
    }
}

/// Starts `service` in this process.
///
/// # Panics
/// If it does not start.
pub async fn run(service: &Service, infra: &Infra, logins: &Logins, identity: &str, prefix: &str) -> Running {
    process::start(service, config(identity, prefix), secrets(logins, Some(&infra.broker))).await.expect("the service starts")
}

fn config(identity: &str, prefix: &str) -> Config {
    Config {
        listen: "127.0.0.1:0".to_owned(),
        identity: identity.to_owned(),
        broker_prefix: prefix.to_owned(),
        reflection: true,
        leave_seconds: 0,
        ..Config::default()
    }
}

/// Secrets of a service over the database of `logins`, with a broker or without one.
#[must_use]
pub fn secrets(logins: &Logins, broker: Option<&SecretString>) -> Secrets {
    Secrets {
        database_app: logins.app.clone(),
        database_system: logins.system.clone(),
        broker: broker.cloned(),
        credential: password(),
        sealing: SecretString::from("sealing secret of tests".to_owned()),
    }
}

/// A call that arrives now and has a minute, for contexts without a server.
#[must_use]
pub fn call(method: &'static str) -> Call {
    let sealer = Sealer::new(b"sealing secret of tests");
    Call::new(method, "request of a test".to_owned(), Instant::now() + Duration::from_secs(60), sealer, AccessLog::default())
}

/// A lazy connection to a running service.
///
/// # Panics
/// Never for an address that is listened to.
#[must_use]
pub fn channel(running: &Running) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).expect("a listening address is an address");
    endpoint.connect_lazy()
}

/// Asks again until `look` answers something; the wait has an end.
///
/// # Panics
/// After 20 seconds, naming what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited 20 s in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
