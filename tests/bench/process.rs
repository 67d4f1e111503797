//! A process of contacts as such: how soon it serves and what it takes while nobody calls.

use std::time::Duration;

use crate::report::{Figure, Goal, median, short};
use crate::stage::Stage;
use crate::{Outcome, meter};

/// From the start of the program until it says that it serves; migrations are applied already.
pub(crate) async fn cold_start(stage: &Stage) -> Outcome<()> {
    let mut starts = Vec::new();
    for _ in 0..(stage.plan.pairs * 3) {
        let program = stage.start_shipped().await?;
        starts.push(program.started_in.as_secs_f64() * 1000.0);
        program.end().await;
    }
    let (times, slowest) = (starts.len(), starts.iter().copied().fold(0.0, f64::max));
    let figure = Figure::alone("cold_start", median(starts), Goal::AtMost(100.0)).with("unit", "ms");
    figure.with("starts", times).with("slowest", short(slowest)).tell();
    Ok(())
}

/// Resident memory of a process that has nothing to do.
pub(crate) async fn idle_memory(stage: &Stage) -> Outcome<()> {
    let program = stage.start_shipped().await?;
    // Past the first polls of policy, leases and upkeep.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let memory = meter::memory(program.pid()?)?;
    let busy = meter::memory(stage.contacts.pid()?)?;
    program.end().await;
    Figure::alone("idle_memory", memory, Goal::AtMost(28.0)).with("unit", "MiB").with("first_process", short(busy)).tell();
    Ok(())
}
