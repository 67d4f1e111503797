//! Every service in one process, or some of them: for development, the demo and tests. Never shipped.
//!
//! Takes a PostgreSQL server and a RabbitMQ node from the environment (`scripts/infra` starts private ones),
//! makes databases and roles, migrates, starts the services on their usual ports or on free ones.

mod apart;
mod demo;
mod stack;

use std::path::PathBuf;
use std::process::ExitCode;

use rapport_kit::process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: rapport-all-in-one serve [--only SERVICE,…] [--instance NAME] [--listen SERVICE=PORT,…] [--identity ADDRESS]
       rapport-all-in-one demo [--data DIR] [--report FILE] [--stay yes]      --stay yes: up to Ctrl-C after the story
                               [--identity ADDRESS --contacts ADDRESS --credential FILE]   tells it to services that run already";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, options)) if command == "serve" => serve(options).await,
        Some((command, options)) if command == "demo" => tell(options).await,
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(code) => code,
        Err(text) => {
            complain(&text);
            ExitCode::from(64)
        }
    }
}

async fn serve(options: &[String]) -> Result<ExitCode, String> {
    let options = stack::Options::read(options)?;
    let stack = stack::start(&options).await.map_err(|fault| match fault.reason() {
        "ADDRESS_UNUSABLE" => format!("{fault} `serve --listen SERVICE=PORT` gives a service another port."),
        _ => process::in_words(&fault),
    })?;
    stack.write_status().map_err(|error| format!("the status file could not be written: {error}"))?;
    let failed = tokio::select! {
        asked = process::asked_to_end() => asked.map(|()| false).map_err(|fault| fault.to_string())?,
        () = stack.failed() => true,
    };
    Ok(if stack.stop().await && !failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the demo on services that run already if their addresses are given, else on a stack of its own; nothing may
/// have been loaded into either before.
async fn tell(options: &[String]) -> Result<ExitCode, String> {
    let mut told = demo::Options { data: None, report: PathBuf::from("rapport-demo.html"), after: demo::After::End };
    let (mut identity, mut contacts, mut credential) = (None, None, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(USAGE)?;
        match option.as_str() {
            "--data" => told.data = Some(PathBuf::from(value)),
            "--report" => told.report = PathBuf::from(value),
            "--stay" if value == "yes" => told.after = demo::After::Stay,
            "--identity" => identity = Some(value.clone()),
            "--contacts" => contacts = Some(value.clone()),
            "--credential" => credential = Some(std::fs::read_to_string(value).map_err(|error| format!("{value}: {error}"))?.trim().to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    match (identity, contacts, credential) {
        (None, None, None) => alone(told).await,
        (Some(identity), Some(contacts), Some(operator_credential)) => {
            let stack = demo::Stack { identity, contacts, operator_credential };
            let told = demo::Options { after: demo::After::Elsewhere, ..told };
            let held = demo::run(&stack, told, None).await.map_err(|error| error.to_string())?;
            Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ => Err(format!("--identity, --contacts and --credential belong together\n{USAGE}")),
    }
}

/// On services of the story's own: contacts in a process of its own, which the story kills.
async fn alone(told: demo::Options) -> Result<ExitCode, String> {
    let options = stack::Options::fresh("identity");
    let stack = stack::start(&options).await.map_err(|fault| process::in_words(&fault))?;
    let identity = stack.address("identity");
    let mut contacts = apart::Apart::start("contacts", options.instance(), &identity).await?;
    let addresses = demo::Stack { identity, contacts: contacts.address(), operator_credential: stack.credential.clone() };
    let stays = told.after == demo::After::Stay;
    let held = demo::run(&addresses, told, Some(&mut contacts)).await.map_err(|error| error.to_string())?;
    if stays {
        complain("The services stay up for you to look around, at the addresses above; Ctrl-C ends them.");
        process::asked_to_end().await.map_err(|fault| fault.to_string())?;
    }
    drop(contacts);
    stack.stop().await;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stderr, reason = "a command answers whoever typed it")]
fn complain(text: &str) {
    eprintln!("{text}");
}
