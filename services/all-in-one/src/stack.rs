//! Starts services the way an operator would: databases and roles, migrations, then the processes' own start.

use std::collections::BTreeMap;

use futures_util::future::select_all;
use rapport_kit::config::{Config, Secrets};
use rapport_kit::process::{self, Running, Service};
use rapport_kit::telemetry::Telemetry;
use rapport_kit::{Fault, clock, db};
use secrecy::{ExposeSecret, SecretString};

/// Every service with its usual port.
const SERVICES: &[(&Service, u16)] = &[(&rapport_identity::SERVICE, 8081), (&rapport_contacts::SERVICE, 8082)];

/// What to start and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    only: Vec<String>,
    instance: String,
    listen: BTreeMap<String, u16>,
    identity: Option<String>,
}

/// Running services.
#[derive(Debug)]
pub(crate) struct Stack {
    services: Vec<(&'static str, Running)>,
    /// Opens operator's methods, and what services show each other here.
    pub(crate) credential: String,
    databases: BTreeMap<&'static str, db::Logins>,
    broker: SecretString,
    telemetry: Telemetry,
}

impl Options {
    /// The service of this name alone, whose databases and names on the broker are new.
    pub(crate) fn fresh(service: &str) -> Self {
        Self { only: vec![service.to_owned()], instance: clock::new_id().simple().to_string(), ..Self::default() }
    }

    /// What databases and names on the broker are told apart by.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Reads the command line of `serve`.
    pub(crate) fn read(options: &[String]) -> Result<Self, String> {
        let mut read = Self::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let value = options.next().ok_or_else(|| format!("{option} wants a value"))?;
            match option.as_str() {
                "--only" => read.only = value.split(',').map(str::to_owned).collect(),
                "--instance" => read.instance.clone_from(value),
                "--identity" => read.identity = Some(value.clone()),
                "--listen" => {
                    for pair in value.split(',') {
                        let (service, port) = pair.split_once('=').ok_or("--listen wants SERVICE=PORT")?;
                        read.listen.insert(service.to_owned(), port.parse().map_err(|_| format!("{port} is not a port"))?);
                    }
                }
                _ => return Err(format!("{option} is not an option of serve")),
            }
        }
        let known = |name: &String| SERVICES.iter().any(|(service, _)| service.name == name);
        match read.only.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("{name} is not a service")),
            None => Ok(read),
        }
    }

    fn wants(&self, service: &Service) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == service.name)
    }

    fn database(&self, service: &Service) -> String {
        let name = service.name.replace('-', "_");
        if self.instance.is_empty() { name } else { format!("{name}_{}", self.instance) }
    }

    /// The asked port, else the usual one; any for an instance with a name, which nobody expects anywhere. A port
    /// that is taken is not replaced by another: callers would talk to whoever has taken it.
    fn address(&self, service: &Service, usual: u16) -> String {
        let port = self.listen.get(service.name).copied().unwrap_or(if self.instance.is_empty() { usual } else { 0 });
        format!("127.0.0.1:{port}")
    }
}

/// Starts what the options name.
pub(crate) async fn start(options: &Options) -> Result<Stack, Fault> {
    let telemetry = Telemetry::start("all-in-one", "")?;
    let admin = environment("RAPPORT_PG_ADMIN_URL")?;
    let broker = environment("RAPPORT_AMQP_URL")?;
    // Known to whoever can reach the private servers anyway; real installations have one for each service.
    let credential = "development-credential".to_owned();
    let mut stack = Stack { services: Vec::new(), credential, databases: BTreeMap::new(), broker, telemetry };
    for (service, usual) in SERVICES.iter().filter(|(service, _)| options.wants(service)) {
        let password = SecretString::from("development".to_owned());
        let logins = db::provision(&admin, service.name, &options.database(service), None, &password).await?;
        db::migrate(&logins.migrator, service.migrations).await?;
        let identity = options.identity.clone().unwrap_or_else(|| stack.address("identity"));
        let config = Config {
            listen: options.address(service, *usual),
            metrics: "127.0.0.1:0".to_owned(),
            identity,
            broker_prefix: if options.instance.is_empty() { String::new() } else { format!("{}.", options.instance) },
            reflection: true,
            leave_seconds: 0,
            ..Config::default()
        };
        let running = process::start(service, config, stack.secrets(&logins)).await?;
        stack.databases.insert(service.name, logins);
        stack.services.push((service.name, running));
    }
    Ok(stack)
}

impl Stack {
    fn secrets(&self, logins: &db::Logins) -> Secrets {
        Secrets {
            database_app: logins.app.clone(),
            database_system: logins.system.clone(),
            broker: Some(self.broker.clone()),
            credential: SecretString::from(self.credential.clone()),
            sealing: SecretString::from("development sealing secret".to_owned()),
        }
    }

    /// The address of a service that runs here; of identity's usual port if it does not.
    pub(crate) fn address(&self, service: &str) -> String {
        let running = self.services.iter().find(|(name, _)| *name == service);
        running.map_or_else(|| "http://127.0.0.1:8081".to_owned(), |(_, running)| format!("http://{}", running.address))
    }

    /// Writes addresses and credentials as JSON where `RAPPORT_STATUS_FILE` says; nowhere without it.
    pub(crate) fn write_status(&self) -> std::io::Result<()> {
        let Ok(file) = environment("RAPPORT_STATUS_FILE") else { return Ok(()) };
        let services: serde_json::Map<String, serde_json::Value> = self
            .services
            .iter()
            .map(|(name, running)| {
                let databases = self.databases.get(name).map(|logins| logins.app.expose_secret().to_owned());
                let metrics = running.metrics.map(|address| format!("http://{address}/metrics"));
                ((*name).to_owned(), serde_json::json!({"grpc": running.address.to_string(), "metrics": metrics, "database": databases}))
            })
            .collect();
        let status = serde_json::json!({
            "pid": std::process::id(),
            "services": services,
            "broker": self.broker.expose_secret(),
            "operator_credential": self.credential,
        });
        // Whoever waits for the file must never read half of it.
        let file = std::path::PathBuf::from(file.expose_secret());
        let draft = file.with_extension("draft");
        std::fs::write(&draft, format!("{status:#}\n"))?;
        std::fs::rename(draft, file)
    }

    /// Ready when background work of a service has panicked.
    pub(crate) async fn failed(&self) {
        select_all(self.services.iter().map(|(_, running)| Box::pin(running.failed()))).await;
    }

    /// Ends every service in good order; answers whether all ended in time.
    pub(crate) async fn stop(self) -> bool {
        let mut ended = true;
        for (_, running) in self.services.into_iter().rev() {
            ended &= running.stop().await;
        }
        self.telemetry.stop();
        ended
    }
}

#[expect(clippy::disallowed_methods, reason = "the development stack is told its servers by the environment")]
fn environment(name: &str) -> Result<SecretString, Fault> {
    std::env::var(name)
        .map(SecretString::from)
        .map_err(|_| Fault::precondition("CONFIG_INVALID", format!("Set {name}; scripts/dev and scripts/demo do.")))
}
