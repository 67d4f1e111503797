//! Configuration of a process: one TOML file, secrets from files, environment over what is not secret.
//!
//! Guarantees: every error is reported at once; secrets come from files only and are never printed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// What is not secret. Every key can be set by `RAPPORT__<KEY>` in the environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the gRPC port.
    pub listen: String,
    /// Address of `/metrics`; empty for none.
    pub metrics: String,
    /// Address of a port that answers for the health of the process without TLS, and nothing else; empty for none.
    /// For whoever cannot show a certificate, such as the probes of Kubernetes.
    pub health: String,
    /// Address of identity, such as `http://identity:8081`; begins with `https://` if there is a certificate.
    pub identity: String,
    /// Addresses of other services by name; what is not named here is at `http://<service>:8080`, or at
    /// `https://<service>:8080` if there is a certificate.
    pub services: BTreeMap<String, String>,
    /// Folder with one file for each secret.
    pub secrets: PathBuf,
    /// Put before every name on the broker, to keep installations apart.
    pub broker_prefix: String,
    /// Whether gRPC reflection answers; off unless asked for.
    pub reflection: bool,
    /// Where traces go by OTLP; empty for nowhere.
    pub otlp: String,
    /// Database connections of the application role.
    pub database_connections: usize,
    /// Calls served at once.
    pub calls: usize,
    /// Connections held at once; one more is told so and closed.
    pub connections: usize,
    /// Seconds between NOT_SERVING and the end of accepting, so that endpoints can leave the load balancers.
    pub leave_seconds: u64,
    /// Seconds that running calls get at the end; with `leave_seconds` and the five that background work and traces
    /// get, less than what the platform waits before it kills.
    pub drain_seconds: u64,
    /// Certificate for mutual TLS; without one services speak plain HTTP/2 to each other.
    pub tls: TlsFiles,
    /// Jobs worked on at once; 0 for a process that leaves them to others.
    pub jobs: usize,
    /// How large files may be.
    pub files: Files,
    /// How long is kept what nobody deletes.
    pub retention: Retention,
    /// What the service alone understands.
    pub service: serde_json::Value,
}

/// Files in PEM for mutual TLS: all three or none. They are read again when they change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate of this process, good for servers and clients and with a DNS name, followed by those between it
    /// and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of the authority that signs those of all services; peers are believed by these alone.
    pub authority: PathBuf,
}

impl TlsFiles {
    /// Whether any is named.
    pub(crate) fn are_named(&self) -> bool {
        [&self.certificate, &self.key, &self.authority].iter().any(|file| !file.as_os_str().is_empty())
    }
}

/// How large files may be, in MiB.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// One file: 1 to 16,384.
    pub largest_mib: u32,
    /// All files of a tenant together: 1 to 16,777,216.
    pub tenant_mib: u32,
}

impl Default for Files {
    fn default() -> Self {
        Self { largest_mib: 1024, tenant_mib: 10_240 }
    }
}

/// How long the kit's own rows are kept, in days. Idempotency keys are always kept for 24 hours, as the contract
/// promises, and dead letters until somebody decides about them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Refusals and sensitive reads in the access log: 30 to 3,650. The database itself lets go of nothing younger
    /// than 30 days.
    pub access_log_days: u16,
    /// Which events were taken in, so that one that comes again has no effect: 7 to 365, longer than any broker
    /// keeps an event.
    pub inbox_days: u16,
    /// Dead letters that name no tenant, so that nobody can decide about them: 30 to 3,650.
    pub nobodys_dead_letter_days: u16,
    /// Events that nobody asked for, which a first consumer gets if they are younger: 1 to 7, no longer than any inbox
    /// remembers events, and never none, since those recorded while a consumer is found are among them.
    pub unclaimed_days: u16,
    /// Jobs that have ended, and with them the time in which they can be undone: 7 to 3,650.
    pub job_days: u16,
    /// Complete files: 1 to 3,650.
    pub file_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self { access_log_days: 365, inbox_days: 14, nobodys_dead_letter_days: 90, unclaimed_days: 7, job_days: 90, file_days: 30 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            metrics: String::new(),
            health: String::new(),
            identity: "http://identity:8080".to_owned(),
            services: BTreeMap::new(),
            secrets: PathBuf::from("/etc/rapport/secrets"),
            broker_prefix: String::new(),
            reflection: false,
            otlp: String::new(),
            database_connections: 8,
            calls: 512,
            connections: 2048,
            leave_seconds: 5,
            drain_seconds: 18,
            tls: TlsFiles::default(),
            jobs: 2,
            files: Files::default(),
            retention: Retention::default(),
            service: serde_json::Value::Null,
        }
    }
}

/// What is secret.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Database address of the application role.
    pub database_app: SecretString,
    /// Database address of the system role.
    pub database_system: SecretString,
    /// Address of the broker; none for a process without events, as in some tests.
    pub broker: Option<SecretString>,
    /// This service's credential at identity.
    pub credential: SecretString,
    /// Seals page tokens; the same for all pods of a service.
    pub sealing: SecretString,
}

impl Config {
    /// Reads `file` (none: defaults) and the environment.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (CONFIG_INVALID) with every error.
    pub fn load(file: Option<&Path>) -> Result<Self, Fault> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        builder = builder.add_source(config::Environment::with_prefix("RAPPORT").prefix_separator("__").separator("__").try_parsing(true));
        let config: Self = builder.build().and_then(config::Config::try_deserialize).map_err(|error| invalid(&[error.to_string()]))?;
        let errors = config.errors();
        if errors.is_empty() { Ok(config) } else { Err(invalid(&errors)) }
    }

    /// Everything that is wrong with the values.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.listen.parse::<SocketAddr>().is_err() {
            errors.push(format!("listen: {:?} is not an address and port", self.listen));
        }
        for (key, address) in [("metrics", &self.metrics), ("health", &self.health)] {
            if !address.is_empty() && address.parse::<SocketAddr>().is_err() {
                errors.push(format!("{key}: {address:?} is not an address and port"));
            }
        }
        if self.drain_seconds == 0 {
            errors.push("drain_seconds: must be at least 1".to_owned());
        }
        if self.identity.parse::<http::Uri>().is_err() || !self.identity.starts_with("http") {
            errors.push(format!("identity: {:?} is not an http address", self.identity));
        }
        self.transport_errors(&mut errors);
        if !(2..=200).contains(&self.database_connections) {
            errors.push("database_connections: must be 2 to 200".to_owned());
        }
        if self.calls == 0 {
            errors.push("calls: must be at least 1".to_owned());
        }
        if self.connections == 0 {
            errors.push("connections: must be at least 1".to_owned());
        }
        if self.jobs > 64 {
            errors.push("jobs: must be 0 to 64".to_owned());
        }
        for (key, mib, most) in [("largest_mib", self.files.largest_mib, 16_384), ("tenant_mib", self.files.tenant_mib, 16_777_216)] {
            if !(1..=most).contains(&mib) {
                errors.push(format!("files.{key}: must be 1 to {most}"));
            }
        }
        let retention = &self.retention;
        for (key, days, allowed) in [
            ("access_log_days", retention.access_log_days, 30..=3650),
            ("inbox_days", retention.inbox_days, 7..=365),
            ("nobodys_dead_letter_days", retention.nobodys_dead_letter_days, 30..=3650),
            ("unclaimed_days", retention.unclaimed_days, 1..=7),
            ("job_days", retention.job_days, 7..=3650),
            ("file_days", retention.file_days, 1..=3650),
        ] {
            if !allowed.contains(&days) {
                errors.push(format!("retention.{key}: must be {} to {}", allowed.start(), allowed.end()));
            }
        }
        errors
    }

    /// A certificate is used for every call to another service or for none, so that no token goes out in plain text
    /// where somebody believes that none does.
    fn transport_errors(&self, errors: &mut Vec<String>) {
        let tls = self.tls.are_named();
        for (key, file) in [("certificate", &self.tls.certificate), ("key", &self.tls.key), ("authority", &self.tls.authority)] {
            if tls && file.as_os_str().is_empty() {
                errors.push(format!("tls.{key}: must be given with the others of tls"));
            }
        }
        let others = self.services.iter().map(|(service, address)| (format!("services.{service}"), address));
        for (key, address) in others.chain([("identity".to_owned(), &self.identity)]) {
            if tls && address.starts_with("http://") {
                errors.push(format!("{key}: {address:?} must begin with https://, since there is a certificate (tls)"));
            } else if !tls && address.starts_with("https://") {
                errors.push(format!("{key}: {address:?} needs a certificate: give tls.certificate, tls.key and tls.authority"));
            }
        }
    }
}

impl Secrets {
    /// Reads the files of `folder`: `database_app`, `database_system`, `broker`, `credential`, `sealing`.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (CONFIG_INVALID) naming every file that cannot be read.
    pub fn load(folder: &Path) -> Result<Self, Fault> {
        let mut errors = Vec::new();
        let mut read = |name: &str| {
            secret(folder, name).unwrap_or_else(|error| {
                errors.push(error);
                SecretString::default()
            })
        };
        let secrets = Self {
            database_app: read("database_app"),
            database_system: read("database_system"),
            broker: Some(read("broker")),
            credential: read("credential"),
            sealing: read("sealing"),
        };
        if errors.is_empty() { Ok(secrets) } else { Err(invalid(&errors)) }
    }

    /// Reads the file `database_migrator` of `folder`: the database's address as its owner. Migrations need no other
    /// secret, and nothing else needs this one.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (CONFIG_INVALID) if it cannot be read.
    pub fn migrator(folder: &Path) -> Result<SecretString, Fault> {
        secret(folder, "database_migrator").map_err(|error| invalid(&[error]))
    }
}

fn secret(folder: &Path, name: &str) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(folder.join(name)).map_err(|error| format!("secret {name}: {error}"))?;
    if text.trim().is_empty() { Err(format!("secret {name}: is empty")) } else { Ok(SecretString::from(text.trim().to_owned())) }
}

pub(crate) fn invalid(errors: &[String]) -> Fault {
    Fault::precondition("CONFIG_INVALID", format!("Correct the configuration: {}.", errors.join("; ")))
}
