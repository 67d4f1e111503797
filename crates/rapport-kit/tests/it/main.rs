//! The kit against a real PostgreSQL and a real RabbitMQ: what every service may rely on.

mod bindings;
mod bundle;
mod check;
mod database;
mod dead_letters;
mod delivery;
mod ended;
mod files;
mod jobs;
mod journal;
mod line;
mod outage;
mod partitions;
mod policy;
mod retention;
mod rpc;
mod seal;
mod secrets;
mod shutdown;
mod support;
mod tokens;
mod transport;
mod windows;
mod wire;
