//! Contacts against a real PostgreSQL and a real RabbitMQ: what its callers may rely on.

mod bulk;
mod duplicates;
mod entries;
mod exports;
mod imports;
mod lanes;
mod mappings;
mod merges;
mod numbers;
mod owners;
mod repeats;
mod search;
mod shares;
mod sizes;
mod support;
mod views;
