//! What every service of Rapport stands on: a library, not a framework.
//!
//! Service code calls the kit; the kit calls service code only when it serves, when it consumes and in steps of jobs. lapin and
//! tonic's server are touched here alone. What writes takes its [`db::Db`] or [`db::Tx`] visibly.

pub mod access;
mod access_log;
pub mod auth;
pub mod batch;
pub mod bus;
pub mod clock;
pub mod command;
pub mod common;
pub mod config;
pub mod ctx;
pub mod db;
pub mod fault;
pub mod files;
pub mod filter;
pub mod inbox;
pub mod jobs;
pub mod journal;
pub mod lease;
pub mod list;
pub mod mask;
pub mod metrics;
pub mod name;
pub mod page;
pub mod policy;
pub mod process;
pub mod relay;
pub mod rpc;
mod serve;
pub mod tasks;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
mod upkeep;

pub use ctx::Ctx;
pub use db::{Db, SystemDb, Tx};
pub use fault::Fault;
pub use process::{App, Service};

/// Largest request and answer in bytes.
pub const MAX_MESSAGE: usize = serve::MAX_MESSAGE;
