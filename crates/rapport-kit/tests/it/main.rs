//! The kit against a real PostgreSQL and a real RabbitMQ: what every service may rely on.

mod database;
mod delivery;
mod ended;
mod journal;
mod line;
mod outage;
mod partitions;
mod policy;
mod seal;
mod secrets;
mod shutdown;
mod support;
mod tokens;
mod transport;
mod windows;
