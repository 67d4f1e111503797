//! When a call is sent again: the answer that allows it, the wait before it, the budget for it.
//!
//! Guarantees: a service that fails every call soon gets each call once, whatever the number of callers' wishes;
//! waits grow and are spread by chance, so that callers who failed together do not come back together.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The wait before the first repetition is up to this, doubling with each one more.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// How long to wait, in milliseconds; negative: do not send again (gRPC's proposal A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Tokens, in tenths: a failed attempt costs one, an answered call gives a tenth back, and while there are no
/// more than half of them nothing is repeated (gRPC's proposal A6). A new client has few to spend, one that has
/// been served well can hide the death of a server under load.
const MOST: i32 = 1000;
const HALF: i32 = 500;
const BEGIN: i32 = 600;
const FAILED: i32 = 10;
const SUCCEEDED: i32 = 1;

#[derive(Debug)]
pub(super) struct Budget(AtomicI32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI32::new(BEGIN))
    }
}

impl Budget {
    pub(super) fn succeeded(&self) {
        self.change(SUCCEEDED);
    }

    pub(super) fn failed(&self) {
        self.change(-FAILED);
    }

    pub(super) fn allows(&self) -> bool {
        self.0.load(Ordering::Relaxed) > HALF
    }

    fn change(&self, by: i32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some((tokens + by).clamp(0, MOST)));
    }
}

/// An answer of UNAVAILABLE.
#[derive(Debug)]
pub(super) struct Refusal {
    pushback: Option<i64>,
    asked: Duration,
}

impl Refusal {
    /// The refusal in this answer, if it is one after which sending again makes sense.
    pub(super) fn of(response: &Response<Body>) -> Option<Self> {
        let headers = response.headers();
        let status = Status::from_header_map(headers).filter(|status| status.code() == Code::Unavailable)?;
        let pushback = headers.get(PUSHBACK).map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(-1));
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        Some(Self { pushback, asked })
    }

    /// Whether the service, or one behind it, has done all the repeating that there is to be.
    pub(super) fn is_final(&self) -> bool {
        self.pushback.is_some_and(|wait| wait < 0)
    }

    /// The wait before the next attempt, after `attempts` of them.
    pub(super) fn wait(&self, attempts: u32) -> Duration {
        let asked = self.pushback.and_then(|wait| u64::try_from(wait).ok()).map_or(self.asked, Duration::from_millis);
        asked + spread(FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST))
    }
}

/// Marks the answer so that callers further up do not repeat what was repeated here.
pub(super) fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(PUSHBACK, HeaderValue::from_static("-1"));
    response
}

/// Anything from nothing to `most`.
pub(super) fn spread(most: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    most.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_fails_every_call_uses_the_budget_up() {
        let budget = Budget::default();
        let mut sent = 0;
        for _ in 0..100 {
            for attempt in 1.. {
                sent += 1;
                budget.failed();
                if attempt >= 3 || !budget.allows() {
                    break;
                }
            }
        }
        assert!((101..=115).contains(&sent), "{sent}");
    }

    #[test]
    fn a_client_that_was_served_well_can_repeat_fifty_calls_at_once() {
        let budget = Budget::default();
        (0..4000).for_each(|_| budget.succeeded());
        let repeated = (0..100).filter(|_| {
            budget.failed();
            budget.allows()
        });
        assert_eq!(repeated.count(), 49);
    }

    #[test]
    fn waits_are_spread_and_bounded_and_never_shorter_than_the_service_asks() {
        let refusal = |asked| Refusal { pushback: None, asked: Duration::from_millis(asked) };
        let waits: std::collections::HashSet<Duration> = (0..50).map(|_| refusal(0).wait(1)).collect();
        assert!(waits.len() > 10 && waits.iter().all(|wait| *wait <= FIRST));
        assert!((1..40).all(|attempts| refusal(0).wait(attempts) <= LONGEST));
        assert!(refusal(700).wait(1) >= Duration::from_millis(700));
    }
}
