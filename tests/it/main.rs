//! What holds over several services: stories, architecture, access, coverage, crashes.

mod access;
mod architecture;
mod between;
mod bureau;
mod campaign;
mod catalogue;
mod coverage;
mod era;
mod figures;
mod grants;
mod keys;
mod numbers;
mod office;
mod oracle;
mod pages;
mod plans;
mod reasons;
mod rebuild;
mod scripts;
mod sessions;
mod statements;
mod story;
