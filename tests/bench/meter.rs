//! What the kernel says of processes: CPU time, memory, load.

use std::collections::HashMap;
use std::fs::read_to_string;

use crate::{Outcome, trouble};

/// Clock ticks of a second in /proc, the same on every Linux.
const TICKS: f64 = 100.0;

/// CPU microseconds that a process, its children and those of them that have ended have used so far.
pub(crate) fn cpu(process: u32) -> Outcome<f64> {
    let mut ticks: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(found) = read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parent_and_ticks(&stat)) {
            ticks.insert(pid, found);
        }
    }
    if !ticks.contains_key(&process) {
        return Err(trouble(format!("the process {process} has ended")));
    }
    let mut tree = vec![process];
    let mut seen = 0;
    while let Some(above) = tree.get(seen).copied() {
        tree.extend(ticks.iter().filter(|(_, (parent, _))| *parent == above).map(|(pid, _)| *pid));
        seen += 1;
    }
    let sum: u64 = tree.iter().filter_map(|pid| ticks.get(pid)).map(|(_, ticks)| ticks).sum();
    Ok(count(sum) * 1_000_000.0 / TICKS)
}

/// CPU microseconds that this program has used so far, without the processes that it started.
pub(crate) fn own_cpu() -> Outcome<f64> {
    let stat = read_to_string("/proc/self/stat")?;
    let fields =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2)).ok_or_else(|| trouble("no times of this program"))?;
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(count(ticks) * 1_000_000.0 / TICKS)
}

/// The parent, and user and system time of the process and its ended children. The name, which may hold
/// anything, ends with the last bracket.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some((parent, ticks))
}

/// Resident memory of a process in MiB.
pub(crate) fn memory(process: u32) -> Outcome<f64> {
    status(process, "VmRSS:")
}

/// The most that it has been since [`forget_peak`].
pub(crate) fn peak(process: u32) -> Outcome<f64> {
    status(process, "VmHWM:")
}

/// Has the kernel measure the peak anew.
pub(crate) fn forget_peak(process: u32) -> Outcome<()> {
    Ok(std::fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

fn status(process: u32, name: &str) -> Outcome<f64> {
    let status = read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| trouble("a process without memory"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(count(kib) / 1024.0)
}

/// Load of the machine over the last minute.
pub(crate) fn load() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// A count as a figure; counts here stay far below what a double holds exactly.
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}
