//! Time and ids: the only place that asks the operating system for either.

use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;
use uuid::Uuid;

/// The present moment, in UTC with microseconds, which is what PostgreSQL stores.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> DateTime<Utc> {
    micros(Utc::now())
}

/// A time as messages carry it.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default() }
}

/// The time that a message carries, in whole microseconds; none if there is no such time.
#[must_use]
pub fn time(sent: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(sent.seconds, u32::try_from(sent.nanos).ok()?).map(micros)
}

fn micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time - TimeDelta::nanoseconds(i64::from(time.timestamp_subsec_nanos() % 1000))
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
