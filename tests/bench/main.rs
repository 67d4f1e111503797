//! The bench: what the product does in comparison with what the machine allows.
//!
//! Every figure is a ratio of two things measured in turns in one run, or stands against a fixed goal; the
//! caller is somebody who sees a part of the units and has a field rule, never an administrator. Goals that
//! are missed are told and nothing more; a measurement that does not work ends the program with an error.
//!
//! `rapport-bench [--quick] [--kept] [name…]` expects the servers that `scripts/bench` starts; `--kept` goes on with the
//! organisation and the records that an earlier run under RAPPORT_KEEP=1 left.

mod client;
mod duplicates;
mod events;
mod exports;
mod hello;
mod imports;
mod load;
mod meter;
mod pgbench;
mod process;
mod reads;
mod report;
mod rows;
mod search;
mod signing;
mod stage;
mod world;
mod writes;

use std::process::ExitCode;
use std::time::Duration;

use report::note;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What keeps a measurement from being one.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome<T> = Result<T, Trouble>;

/// A trouble told in words.
pub(crate) fn trouble(text: impl Into<String>) -> Trouble {
    Trouble::from(text.into())
}

/// Every figure, in the order in which they are taken: those of events come last, because what is made after them is
/// published to somebody who listens no more.
const NAMES: [&str; 20] = [
    "cold_start",
    "idle_memory",
    "get_contact",
    "get_contact_cpu",
    "tail",
    "list_contacts",
    "list_flat",
    "view_flat",
    "create_contact",
    "create_blocked",
    "token_tax",
    "sign_in",
    "search",
    "export",
    "export_growth",
    "import",
    "import_plain",
    "sweep",
    "event_latency",
    "relay",
];
/// Those that are taken without a table.
const WITHOUT_RECORDS: [&str; 4] = ["cold_start", "idle_memory", "token_tax", "sign_in"];

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    names: Vec<String>,
    /// Contacts of the table that figures are taken on, and of the small one it is compared with.
    pub(crate) contacts: u64,
    pub(crate) few_contacts: u64,
    pub(crate) accounts: u64,
    /// Length of one measurement.
    pub(crate) length: Duration,
    /// Times that both sides of a ratio are measured.
    pub(crate) pairs: usize,
    /// Events that are sent at once.
    pub(crate) events: usize,
    /// Whether organisation and records are those that an earlier run left.
    pub(crate) kept: bool,
}

impl Plan {
    fn read(arguments: &[String]) -> Outcome<Self> {
        let (options, names): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|argument| argument.starts_with("--"));
        if let Some(other) = options.iter().find(|option| !["--quick", "--kept"].contains(&option.as_str())) {
            return Err(trouble(format!("{other} is not an option; usage: rapport-bench [--quick] [--kept] [{}]", NAMES.join("|"))));
        }
        let has = |name: &str| options.iter().any(|option| *option == name);
        if let Some(other) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(trouble(format!("{other} is not a figure; figures are {}", NAMES.join(", "))));
        }
        let names = names.into_iter().cloned().collect();
        let quick = Self {
            names,
            contacts: 10_000,
            few_contacts: 1_000,
            accounts: 2_000,
            length: Duration::from_secs(2),
            pairs: 1,
            events: 5_000,
            kept: has("--kept"),
        };
        if has("--quick") {
            return Ok(quick);
        }
        let length = Duration::from_secs(8);
        Ok(Self { contacts: 1_000_000, few_contacts: 10_000, accounts: 200_000, length, pairs: 5, events: 50_000, ..quick })
    }

    /// Whether one of these figures is asked for.
    pub(crate) fn wants(&self, names: &[&str]) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| names.contains(&name.as_str()))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [command, door, port, identity] if command == "hello" => run(None, hello::serve(door, port, identity)),
        // Callers on one thread wake none of another, and leave the cores to what is measured.
        _ => run(Some(1), bench(&arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            note(&format!("rapport-bench: {trouble}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs on so many threads; on as many as there are cores if none is said.
fn run(threads: Option<usize>, work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()?.block_on(work)
}

async fn bench(arguments: &[String]) -> Outcome<()> {
    let plan = Plan::read(arguments)?;
    let mut stage = stage::Stage::set(plan).await?;
    let world = if stage.plan.kept { world::World::kept(&stage).await? } else { world::World::create(&stage).await? };
    let wanted: Vec<&str> = NAMES.into_iter().filter(|name| stage.plan.wants(&[*name])).collect();
    if !stage.plan.kept && wanted.iter().any(|name| !WITHOUT_RECORDS.contains(name)) {
        rows::fill(&stage, &world, &stage.contacts, stage.plan.contacts, stage.plan.accounts).await?;
    }
    let mut failed = Vec::new();
    for name in wanted {
        note(&format!("measuring {name}"));
        // One figure that cannot be taken does not cost the others.
        let taken = match name {
            "cold_start" => process::cold_start(&stage).await,
            "idle_memory" => process::idle_memory(&stage).await,
            "get_contact" => reads::get_contact(&stage, &world).await,
            "get_contact_cpu" => reads::get_contact_cpu(&stage, &world).await,
            "tail" => reads::tail(&stage, &world).await,
            "list_contacts" => reads::list_contacts(&stage, &world).await,
            "list_flat" => reads::list_flat(&mut stage, &world).await,
            "view_flat" => reads::view_flat(&mut stage, &world).await,
            "create_blocked" => duplicates::create_blocked(&stage, &world).await,
            "create_contact" => writes::create_contact(&stage, &world).await,
            "token_tax" => hello::token_tax(&stage, &world).await,
            "sign_in" => signing::sign_in(&stage, &world).await,
            "event_latency" => events::latency(&stage).await,
            "relay" => events::relay(&stage).await,
            "search" => search::search(&stage, &world).await,
            "export" => exports::export(&stage, &world).await,
            "export_growth" => exports::growth(&stage, &world).await,
            "import_plain" => imports::import_plain(&stage, &world).await,
            "sweep" => duplicates::sweep(&stage, &world).await,
            _ => imports::import(&stage, &world).await,
        };
        if let Err(trouble) = taken {
            note(&format!("{name} could not be measured: {trouble}"));
            failed.push(name);
        }
    }
    stage.clear().await;
    if failed.is_empty() { Ok(()) } else { Err(trouble(format!("not measured: {}", failed.join(", ")))) }
}
