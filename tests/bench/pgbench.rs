//! The other side of a ratio: the service's own statements, sent by pgbench as the application role with the
//! tenant on the connection, prepared and with as many callers.

use std::process::Stdio;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

use crate::load::quantile;
use crate::stage::{PASSWORD, Program, Stage, required};
use crate::world::World;
use crate::{Outcome, meter, trouble};

/// One script and what its variables are.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// What pgbench tells.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Transactions of a second.
    pub(crate) rate: f64,
    /// CPU microseconds of the database for each.
    pub(crate) cpu: f64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Script {
    /// A script of the caller over a table of `rows` contacts.
    pub(crate) fn of(text: &'static str, world: &World, rows: u64) -> Self {
        let groups: Vec<String> = world.groups.iter().map(ToString::to_string).collect();
        let variables = vec![
            ("tenant", world.tenant.to_string()),
            ("subject", world.caller.to_string()),
            ("unit", world.unit.to_string()),
            ("groups", format!("{{{}}}", groups.join(","))),
            ("rows", rows.to_string()),
        ];
        Self { text, variables }
    }

    /// The script with one more variable.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Runs it with `callers` callers against the database of `program`.
    pub(crate) async fn run(&self, stage: &Stage, world: &World, program: &Program, callers: u64, length: Duration) -> Outcome<Replay> {
        let folder = stage.folder.join("pgbench");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("script.sql"), self.text)?;
        let login: PgConnectOptions = program.logins.app.expose_secret().parse()?;
        let mut command = Command::new(required("RAPPORT_PGBENCH")?);
        command.current_dir(&folder).env("PGHOST", login.get_host()).env("PGPORT", login.get_port().to_string());
        command.env("PGUSER", login.get_username()).env("PGPASSWORD", PASSWORD).env("PGDATABASE", &program.database);
        command.env("PGOPTIONS", format!("-c rapport.tenant={}", world.tenant));
        command.args(["-n", "-M", "prepared", "-j", "2", "-l", "--sampling-rate=0.2", "-f", "script.sql"]);
        command.args(["-c", &callers.to_string(), "-T", &length.as_secs().max(1).to_string()]);
        for (name, value) in &self.variables {
            // pgbench complains of nothing that a script does not use.
            command.arg("-D").arg(format!("{name}={value}"));
        }
        let before = meter::cpu(stage.postgres)?;
        let output = command.stdin(Stdio::null()).output().await?;
        let used = meter::cpu(stage.postgres)? - before;
        let (told, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(trouble(format!("pgbench failed: {complaint}")));
        }
        let figure = |begin: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(begin));
            let text = line.and_then(|rest| rest.split([' ', '/']).next()).unwrap_or_default();
            text.parse::<f64>().map_err(|_| trouble(format!("pgbench does not say {begin}: {told}")))
        };
        let latencies = latencies(&folder)?;
        let done = figure("number of transactions actually processed: ")?;
        Ok(Replay { rate: figure("tps = ")?, cpu: used / done.max(1.0), p50: quantile(&latencies, 0.5), p99: quantile(&latencies, 0.99) })
    }
}

/// Microseconds of the transactions that pgbench wrote down, shortest first.
fn latencies(folder: &std::path::Path) -> Outcome<Vec<u64>> {
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log")) {
            let text = std::fs::read_to_string(path)?;
            latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    latencies.sort_unstable();
    Ok(latencies)
}
