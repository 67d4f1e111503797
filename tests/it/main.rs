//! What holds over several services: stories, architecture, access, coverage, crashes.

mod architecture;
mod campaign;
mod catalogue;
mod coverage;
mod era;
mod keys;
mod numbers;
mod office;
mod oracle;
mod plans;
mod statements;
mod story;
