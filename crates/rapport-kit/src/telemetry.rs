//! Logs as JSON lines (text on a terminal), traces by OTLP where configured.
//!
//! Guarantees: no message body is logged, whatever the filter says; telemetry never blocks the work; what cannot be sent is dropped and counted by the exporter.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::fault::Fault;

/// What has to be flushed at the end.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging for `service`, and tracing to `otlp` unless that is empty. `RUST_LOG` filters.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (OTLP_INVALID) if the collector's address cannot be read.
    pub fn start(service: &str, otlp: &str) -> Result<Self, Fault> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,lapin=warn,sqlx=warn"));
        // The client logs returned messages whole, and bodies hold personal data.
        let filter = filter.add_directive("lapin::returned_messages=off".parse().map_err(Fault::internal)?);
        let logs = if std::io::stderr().is_terminal() {
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).compact().boxed()
        } else {
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .boxed()
        };
        let traces = if otlp.is_empty() { None } else { Some(provider(service, otlp)?) };
        let spans = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("rapport")));
        // A second start in one process (tests) keeps the first.
        let _ = tracing_subscriber::registry().with(filter).with(logs).with(spans).try_init();
        Ok(Self { traces })
    }

    /// Sends what is left, for at most two seconds.
    pub fn stop(self) {
        if let Some(traces) = self.traces {
            let _ = traces.shutdown_with_timeout(std::time::Duration::from_secs(2));
        }
    }
}

fn provider(service: &str, otlp: &str) -> Result<SdkTracerProvider, Fault> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(otlp).build().map_err(|error| {
        Fault::precondition("OTLP_INVALID", "The address of the trace collector in the configuration cannot be used.").because(error)
    })?;
    let resource = Resource::builder().with_service_name(format!("rapport-{service}")).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
