//! The command line of every service.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Service, start};
use crate::config::{Config, Secrets};
use crate::db::{self, Db, PoolConfig};
use crate::fault::Fault;
use crate::telemetry::Telemetry;

const USAGE: &str = "[--config FILE] [serve|migrate|config|check]";

/// Runs the service as its command line says; the whole of a service's `main`.
#[must_use]
pub fn main(service: &'static Service) -> ExitCode {
    let (command, file) = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            report(&format!("{text}\nusage: rapport-{} {USAGE}", service.name));
            return ExitCode::from(64);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("the runtime did not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(service, &command, file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            report(&format!("rapport-{}: {}", service.name, fault.text()));
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(String, Option<PathBuf>), String> {
    let mut command = "serve".to_owned();
    let mut file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--config" => file = Some(PathBuf::from(arguments.next().ok_or("--config wants a file")?)),
            "serve" | "migrate" | "config" | "check" => command = argument,
            other => return Err(format!("{other} is not a command")),
        }
    }
    Ok((command, file))
}

async fn run(service: &'static Service, command: &str, file: Option<PathBuf>) -> Result<(), Fault> {
    let config = Config::load(file.as_deref())?;
    if command == "config" {
        report(&toml::to_string_pretty(&config).map_err(Fault::internal)?);
        return Ok(());
    }
    let secrets = Secrets::load(&config.secrets)?;
    let telemetry = Telemetry::start(service.name, &config.otlp)?;
    let done = match command {
        "migrate" => migrate(service, &secrets).await,
        "check" => check(service, &secrets).await,
        _ => serve(service, config, secrets).await,
    };
    telemetry.stop();
    done
}

async fn migrate(service: &Service, secrets: &Secrets) -> Result<(), Fault> {
    let owner = secrets
        .database_migrator
        .as_ref()
        .ok_or_else(|| Fault::precondition("CONFIG_INVALID", "Give the secret database_migrator: migrations run as the owner of the schema."))?;
    db::migrate(owner, service.migrations).await
}

async fn check(service: &Service, secrets: &Secrets) -> Result<(), Fault> {
    use secrecy::ExposeSecret;
    let db = Db::new(secrets.database_app.expose_secret(), PoolConfig::default())?;
    db.ping().await?;
    let system = crate::db::SystemDb::new(secrets.database_system.expose_secret(), PoolConfig::default())?;
    let pending = db::pending(&mut system.conn().await?, service.migrations).await?;
    report(&format!("database answers, {pending} migrations pending"));
    if pending == 0 { Ok(()) } else { Err(Fault::precondition("MIGRATIONS_PENDING", "Run `migrate`.")) }
}

async fn serve(service: &'static Service, config: Config, secrets: Secrets) -> Result<(), Fault> {
    let running = start(service, config, secrets).await?;
    let failed = tokio::select! {
        asked = asked_to_end() => asked.map(|()| false)?,
        // Whoever runs the process starts it again, whole.
        () = running.failed() => true,
    };
    tracing::info!(service = service.name, failed, "ending");
    let in_time = running.stop().await;
    if in_time && !failed { Ok(()) } else { Err(Fault::internal("some work panicked, or did not end in time")) }
}

/// Ready at SIGTERM or SIGINT.
///
/// # Errors
/// INTERNAL if signals cannot be listened to.
pub async fn asked_to_end() -> Result<(), Fault> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(Fault::internal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command answers whoever typed it")]
fn report(text: &str) {
    println!("{text}");
}
