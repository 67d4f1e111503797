//! Time and ids: the only place that asks the operating system for either.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The present moment, in UTC with microseconds, which is what PostgreSQL stores.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    now - chrono::TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos() % 1000))
}

/// A new id: UUIDv7, so that rows written together lie together.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// An id that is always the same for the same parent and step, so that a resumed saga creates nothing twice.
#[must_use]
pub fn derived_id(parent: Uuid, step: &str) -> Uuid {
    Uuid::new_v5(&parent, step.as_bytes())
}
