//! Figures of the process, in Prometheus' format under `/metrics`.

use std::sync::LazyLock;

use prometheus::{Encoder, HistogramVec, IntCounter, IntGauge, Registry, TextEncoder, histogram_opts};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

static CALLS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let options = histogram_opts!(
        "rpc_server_call_duration_seconds",
        "Time from the arrival of a call to its answer.",
        vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
    );
    let calls = HistogramVec::new(options, &["rpc_method", "rpc_response_status_code"]).expect("the metric is well formed");
    REGISTRY.register(Box::new(calls.clone())).expect("the metric is registered once");
    calls
});

/// Duration of calls by method and code.
pub(crate) fn calls() -> &'static HistogramVec {
    &CALLS
}

macro_rules! counters {
    ($($name:ident: $metric:literal, $help:literal;)*) => { $(
        #[doc = $help]
        pub fn $name() -> &'static IntCounter {
            static COUNTER: LazyLock<IntCounter> = LazyLock::new(|| {
                let counter = IntCounter::new($metric, $help).expect("the metric is well formed");
                REGISTRY.register(Box::new(counter.clone())).expect("the metric is registered once");
                counter
            });
            &COUNTER
        }
    )* };
}

counters! {
    relayed_events: "rapport_outbox_relayed_total", "Events that the broker confirmed.";
    unroutable_events: "rapport_outbox_unroutable_total", "Sends of events that came back because a consumer lost its binding.";
    unclaimed_events: "rapport_outbox_unclaimed_total", "Events that nobody ever asked for.";
    duplicate_events: "rapport_inbox_duplicates_total", "Events that came again and had no second effect.";
    dead_events: "rapport_inbox_dead_total", "Events that could not be handled and wait for somebody to look.";
    refused_calls: "rapport_overload_refused_total", "Calls refused because the process was full.";
    refused_connections: "rapport_connections_refused_total", "Connections refused because the process holds as many as it may.";
    repeated_calls: "rapport_rpc_repeated_total", "Calls to other services that were sent again.";
    denied_calls: "rapport_access_denied_total", "Calls refused at the door.";
    unlogged_accesses: "rapport_access_log_dropped_total", "Rows of the access log that found no room.";
    password_hashes: "rapport_password_hashes_total", "Password hashes computed, for addresses that nobody has too.";
    panics: "rapport_panics_total", "Handlers and reactions that panicked.";
}

static OUTBOX_AGE: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("rapport_outbox_oldest_milliseconds", "Age of the oldest event that waits to be sent."));
static DEAD_LETTERS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("rapport_inbox_dead_letters", "Dead letters that wait for somebody to decide, counted to 10,000."));

fn gauge(name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("the metric is well formed");
    REGISTRY.register(Box::new(gauge.clone())).expect("the metric is registered once");
    gauge
}

/// Age of the oldest waiting event.
pub(crate) fn outbox_age() -> &'static IntGauge {
    &OUTBOX_AGE
}

/// Dead letters that stand in the list.
pub(crate) fn dead_letters() -> &'static IntGauge {
    &DEAD_LETTERS
}

/// All figures as text.
pub(crate) fn text() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut text) {
        tracing::warn!(%error, "metrics could not be written");
    }
    text
}
