//! Figures of the process, in Prometheus' format under `/metrics`.
//!
//! Guarantees: every figure but the ages of events is there from the start of the process, so that an alert never waits
//! for a series that its first event has yet to make; labels have few values and no personal data.

use std::sync::LazyLock;

use prometheus::{Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, histogram_opts};

use crate::clock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

fn registered<M: prometheus::core::Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("the metric is well formed");
    REGISTRY.register(Box::new(metric.clone())).expect("the metric is registered once");
    metric
}

static CALLS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let options = histogram_opts!(
        "rpc_server_call_duration_seconds",
        "Time from the arrival of a call to its answer.",
        vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
    );
    registered(HistogramVec::new(options, &["rpc_method", "rpc_response_status_code"]))
});

/// Duration of calls by method and code.
pub(crate) fn calls() -> &'static HistogramVec {
    &CALLS
}

static INBOX_DELAY: LazyLock<Histogram> = LazyLock::new(|| {
    let options = histogram_opts!(
        "rapport_inbox_delay_seconds",
        "Time from a change elsewhere to the end of its handling here.",
        vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0]
    );
    registered(Histogram::with_opts(options))
});

/// How long events of other services were under way.
pub(crate) fn inbox_delay() -> &'static Histogram {
    &INBOX_DELAY
}

static PROCESSOR: LazyLock<Gauge> =
    LazyLock::new(|| registered(Gauge::new("process_cpu_seconds_total", "Processor time that the process has used.")));

macro_rules! counters {
    ($($name:ident: $metric:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub fn $name() -> &'static IntCounter {
                static COUNTER: LazyLock<IntCounter> = LazyLock::new(|| registered(IntCounter::new($metric, $help)));
                &COUNTER
            }
        )*

        fn every_counter() {
            $($name();)*
        }
    };
}

macro_rules! gauges {
    ($($name:ident: $metric:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(crate) fn $name() -> &'static IntGauge {
                static GAUGE: LazyLock<IntGauge> = LazyLock::new(|| registered(IntGauge::new($metric, $help)));
                &GAUGE
            }
        )*

        fn every_gauge() {
            $($name();)*
        }
    };
}

macro_rules! labelled_gauges {
    ($($name:ident: $metric:literal, $labels:expr, $help:literal;)*) => { $(
        #[doc = $help]
        pub(crate) fn $name() -> &'static IntGaugeVec {
            static GAUGES: LazyLock<IntGaugeVec> = LazyLock::new(|| registered(IntGaugeVec::new(Opts::new($metric, $help), $labels)));
            &GAUGES
        }
    )* };
}

counters! {
    relayed_events: "rapport_outbox_relayed_total", "Events that the broker confirmed.";
    unroutable_events: "rapport_outbox_unroutable_total", "Sends of events that came back because a consumer lost its binding.";
    unclaimed_events: "rapport_outbox_unclaimed_total", "Events that were passed over because nobody ever asked for their key; not those of a key that is being replayed.";
    replayed_events: "rapport_outbox_replayed_total", "Events that had been passed over and are sent to a first consumer.";
    duplicate_events: "rapport_inbox_duplicates_total", "Events that came again and had no second effect.";
    dead_events: "rapport_inbox_dead_total", "Events that could not be handled and wait for somebody to look.";
    refused_calls: "rapport_overload_refused_total", "Calls refused because the process was full.";
    refused_connections: "rapport_connections_refused_total", "Connections refused because the process holds as many as it may.";
    refused_handshakes: "rapport_tls_refused_total", "Connections that came to no TLS, such as those of strangers and without a certificate.";
    busy_database: "rapport_database_busy_total", "Times that no database connection became free in time.";
    repeated_calls: "rapport_rpc_repeated_total", "Calls to other services that were sent again.";
    denied_calls: "rapport_access_denied_total", "Calls refused at the door.";
    unlogged_accesses: "rapport_access_log_dropped_total", "Rows of the access log that found no room.";
    password_hashes: "rapport_password_hashes_total", "Password hashes computed, for addresses that nobody has too.";
    failed_jobs: "rapport_jobs_failed_total", "Jobs that gave up.";
    panics: "rapport_panics_total", "Handlers and reactions that panicked.";
}

gauges! {
    outbox_age: "rapport_outbox_oldest_milliseconds", "Age of the oldest event that waits to be sent.";
    outbox_rows: "rapport_outbox_waiting", "Events that wait to be sent, counted to 10,000.";
    unclaimed_keys: "rapport_outbox_unclaimed_keys", "Event keys that nobody has asked for yet.";
    held_records: "rapport_outbox_held_records", "Records whose events came back or were refused in the last round of this process.";
    jobs_age: "rapport_jobs_oldest_seconds", "How long the job that has waited longest for its turn has waited.";
    dead_letters: "rapport_inbox_dead_letters", "Dead letters that wait for somebody to decide, counted to 10,000.";
    broker_consumers: "rapport_broker_consumers", "Consumers of this process that the broker has accepted.";
    database_up: "rapport_database_up", "Whether the database answered in the last round of upkeep.";
    policy_synced: "rapport_policy_synced_timestamp_seconds", "When identity's policy was last read to its end; the start of the process before that.";
    sealed: "rapport_journal_sealed_timestamp_seconds", "When everything that can be sealed was last sealed; the start of the process before that.";
    verified: "rapport_journal_verified_timestamp_seconds", "When a part of the seal was last compared with its rows; the start of the process before that.";
    broken_checkpoint: "rapport_journal_broken_checkpoint", "The checkpoint whose rows are not what was sealed; 0 if the last comparison found none.";
    certificate_expiry: "rapport_certificate_expiry_timestamp_seconds", "When the certificate in use ends; 0 without one.";
    memory: "process_resident_memory_bytes", "Memory that the process holds.";
    descriptors: "process_open_fds", "Open files and connections.";
    started: "process_start_time_seconds", "When the process started.";
}

labelled_gauges! {
    build: "rapport_build_info", &["service", "version"], "What this process is; always 1.";
    schema: "rapport_schema_level", &["owner"], "Newest migration in the database at the start of the process, of the kit and of the service.";
    connections: "rapport_database_connections", &["role", "state"], "Database connections: in use, and how many there may be.";
    inbox_age: "rapport_inbox_age_milliseconds", &["partition"], "Age of the event that is being handled; 0 while there is none.";
}

/// Registers every figure; what has not happened yet stands at zero, times at the start of the process.
pub(crate) fn begin(service: &str) {
    LazyLock::force(&CALLS);
    LazyLock::force(&INBOX_DELAY);
    every_counter();
    every_gauge();
    build().with_label_values(&[service, env!("CARGO_PKG_VERSION")]).set(1);
    let now = clock::now().timestamp();
    for time in [policy_synced(), sealed(), verified(), started()] {
        // Several services of one process share their figures: the first one's start counts.
        if time.get() == 0 {
            time.set(now);
        }
    }
}

/// All figures as text.
pub(crate) fn text() -> Vec<u8> {
    own_use();
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut text) {
        tracing::warn!(%error, "metrics could not be written");
    }
    text
}

/// What the process takes of its machine, where the system tells it; pages are of 4 KiB and ticks of 10 ms there.
fn own_use() {
    if let Ok(text) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = text.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok())
    {
        memory().set(pages * 4096);
    }
    if let Ok(text) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, fields)) = text.rsplit_once(") ")
    {
        // Fields 14 and 15 of the line; the name in field 2 may have blanks.
        let ticks: f64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        PROCESSOR.set(ticks / 100.0);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        descriptors().set(i64::try_from(open.count()).unwrap_or(i64::MAX));
    }
}
