//! The service's own section of the configuration.

use rapport_kit::Fault;
use serde::Deserialize;

/// Keys below `[service]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Password hashes computed at once; 0 means one more than there are cores. Each takes 19 MiB.
    pub(crate) password_threads: usize,
    /// Calls that may wait for a password hash; more are refused.
    pub(crate) password_queue: usize,
    /// Days after which signing keys rotate by themselves.
    pub(crate) rotate_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { password_threads: 0, password_queue: 64, rotate_days: 30 }
    }
}

impl Config {
    /// Reads the section; an absent one means the defaults.
    pub(crate) fn read(section: &serde_json::Value) -> Result<Self, Fault> {
        let config = if section.is_null() { Ok(Self::default()) } else { serde_json::from_value::<Self>(section.clone()) };
        let config = config.map_err(|error| invalid(&error.to_string()))?;
        let mut errors = Vec::new();
        if config.password_threads > 256 {
            errors.push("service.password_threads: must be 0 to 256");
        }
        if config.password_queue > 100_000 {
            errors.push("service.password_queue: must be 0 to 100,000");
        }
        if !(1..=365).contains(&config.rotate_days) {
            errors.push("service.rotate_days: must be 1 to 365");
        }
        if errors.is_empty() { Ok(config) } else { Err(invalid(&errors.join("; "))) }
    }
}

fn invalid(problem: &str) -> Fault {
    Fault::precondition("CONFIG_INVALID", format!("Correct the configuration: {problem}.")).with("problem", problem)
}
