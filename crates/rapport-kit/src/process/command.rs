//! The command line of every service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::bundle::bundle;
use super::check::{answers, migrated, schema_reached};
use super::seal::seal_holds;
use super::{Service, start};
use crate::config::{Config, Secrets};
use crate::fault::Fault;
use crate::telemetry::Telemetry;
use crate::tls::Tls;

const USAGE: &str = "[--config FILE] [serve | migrate [--wait SECONDS] | config | check [--schema [--wait SECONDS] | --address URL [--wait SECONDS] | --seal [--anchor DIGEST]]]";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Serve,
    /// Migrate, and wait so long for a database that is away.
    Migrate(Duration),
    Config,
    Check,
    /// Wait until the database has this build's migrations.
    CheckSchema(Duration),
    /// Call the service at this address, again for so long.
    CheckAddress(String, Duration),
    /// Compare the whole journal with its seal, in which a checkpoint of this digest must stand.
    CheckSeal(Option<String>),
}

/// Runs the service as its command line says; the whole of a service's `main`.
#[must_use]
pub fn main(service: &'static Service) -> ExitCode {
    let (task, file) = match arguments(std::env::args().skip(1)) {
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
    match runtime.block_on(run(service, task, file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            report(&format!("rapport-{}: {}", service.name, in_words(&fault)));
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<(Task, Option<PathBuf>), String> {
    let (mut task, mut file, mut wait) = (Task::Serve, None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--config" => file = Some(PathBuf::from(value()?)),
            "serve" => task = Task::Serve,
            "migrate" => task = Task::Migrate(Duration::ZERO),
            "config" => task = Task::Config,
            "check" => task = Task::Check,
            "--schema" if task == Task::Check => task = Task::CheckSchema(Duration::ZERO),
            "--address" if task == Task::Check => task = Task::CheckAddress(value()?, Duration::ZERO),
            "--seal" if task == Task::Check => task = Task::CheckSeal(None),
            "--anchor" if task == Task::CheckSeal(None) => task = Task::CheckSeal(Some(value()?)),
            "--wait" => wait = Some(value()?.parse().map(Duration::from_secs).map_err(|_| "--wait wants whole seconds")?),
            other => return Err(format!("{other} is not expected here")),
        }
    }
    match (&mut task, wait) {
        (Task::Migrate(patience) | Task::CheckSchema(patience) | Task::CheckAddress(_, patience), Some(wait)) => *patience = wait,
        (_, Some(_)) => return Err("--wait belongs to migrate, check --schema and check --address".to_owned()),
        (_, None) => {}
    }
    Ok((task, file))
}

async fn run(service: &'static Service, task: Task, file: Option<PathBuf>) -> Result<(), Fault> {
    let config = Config::load(file.as_deref())?;
    // Whoever calls from outside has no secrets of the service, and a configuration only for the sake of a certificate.
    if let Task::CheckAddress(address, patience) = &task {
        let tls = Tls::load(&config.tls)?;
        unless_asked_to_end(answers(service, address, tls.as_ref(), *patience)).await?;
        report(&format!("{} serves at {address}", service.name));
        return Ok(());
    }
    if task == Task::Config {
        report(&toml::to_string_pretty(&config).map_err(Fault::internal)?);
        return Ok(());
    }
    let telemetry = Telemetry::start(service.name, &config.otlp)?;
    let done = act(service, task, config).await;
    telemetry.stop();
    done
}

async fn act(service: &'static Service, task: Task, config: Config) -> Result<(), Fault> {
    if let Task::Migrate(patience) = task {
        // Also in the middle: what a migration has begun is rolled back, and the next one does it again.
        return unless_asked_to_end(migrated(service, &Secrets::migrator(&config.secrets)?, patience)).await;
    }
    let secrets = Secrets::load(&config.secrets)?;
    match task {
        Task::Check => check(service, &config, &secrets).await,
        Task::CheckSchema(patience) => unless_asked_to_end(schema_reached(service, &secrets, patience)).await,
        Task::CheckSeal(anchor) => {
            report(&unless_asked_to_end(seal_holds(&secrets, anchor.as_deref())).await?);
            Ok(())
        }
        _ => serve(service, config, secrets).await,
    }
}

/// Prints the support bundle; well if the service could start: the database answers and lacks no migration.
async fn check(service: &Service, config: &Config, secrets: &Secrets) -> Result<(), Fault> {
    let bundle = bundle(service, config, secrets).await;
    report(&serde_json::to_string_pretty(&bundle).map_err(Fault::internal)?);
    match bundle.pointer("/database/schema/pending").and_then(serde_json::Value::as_u64) {
        Some(0) => Ok(()),
        Some(_) => Err(Fault::precondition("MIGRATIONS_PENDING", "Run `migrate`.")),
        None => Err(Fault::unavailable("DATABASE_AWAY", "The database does not answer; the bundle above says more.")),
    }
}

async fn serve(service: &'static Service, config: Config, secrets: Secrets) -> Result<(), Fault> {
    let running = Box::pin(unless_asked_to_end(start(service, config, secrets))).await?;
    let failed = tokio::select! {
        asked = asked_to_end() => asked.map(|()| false)?,
        // Whoever runs the process starts it again, whole.
        () = running.failed() => true,
    };
    tracing::info!(service = service.name, failed, "ending");
    let in_time = running.stop().await;
    if in_time && !failed { Ok(()) } else { Err(Fault::internal("some work panicked, or did not end in time")) }
}

/// The first process of a container gets no signal that it does not listen to, and would be waited for in vain.
async fn unless_asked_to_end<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::select! {
        done = work => done,
        asked = asked_to_end() => asked.and(Err(Fault::unavailable("ENDING", "It was asked to end before it was done."))),
    }
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

/// What a command tells whoever typed it: the text, and behind it the cause, which no caller of an RPC is told.
#[must_use]
pub fn in_words(fault: &Fault) -> String {
    fault.cause().map_or_else(|| fault.text().to_owned(), |cause| format!("{} ({cause})", fault.text()))
}

#[expect(clippy::print_stdout, reason = "a command answers whoever typed it")]
fn report(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Task, String> {
        arguments(line.split_whitespace().map(str::to_owned)).map(|(task, _)| task)
    }

    #[test]
    fn a_command_line_is_understood_whole_or_refused() {
        assert_eq!(read(""), Ok(Task::Serve));
        assert_eq!(read("--config there.toml migrate"), Ok(Task::Migrate(Duration::ZERO)));
        assert_eq!(read("migrate --wait 60"), Ok(Task::Migrate(Duration::from_secs(60))));
        assert_eq!(read("check --schema"), Ok(Task::CheckSchema(Duration::ZERO)));
        assert_eq!(read("check --schema --wait 120"), Ok(Task::CheckSchema(Duration::from_secs(120))));
        assert_eq!(read("check --seal --anchor 00ff"), Ok(Task::CheckSeal(Some("00ff".to_owned()))));
        assert_eq!(read("check --address http://identity:8080"), Ok(Task::CheckAddress("http://identity:8080".to_owned(), Duration::ZERO)));
        assert_eq!(read("check --address http://a:1 --wait 5"), Ok(Task::CheckAddress("http://a:1".to_owned(), Duration::from_secs(5))));
        for wrong in
            ["serves", "--config", "--schema", "serve --schema", "check --wait 5", "check --schema --wait soon", "check --schema --address a"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
