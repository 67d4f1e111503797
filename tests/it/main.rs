//! What holds over several services: stories, architecture, access, coverage, crashes.

mod architecture;
mod campaign;
mod coverage;
mod oracle;
mod statements;
mod story;
