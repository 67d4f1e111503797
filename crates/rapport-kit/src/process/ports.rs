//! The ports of a process beside that of its calls: figures, and health for whoever cannot show a certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use super::App;
use crate::access_log::AccessLog;
use crate::auth::{Door, Rules, Verifier};
use crate::config::Config;
use crate::fault::Fault;
use crate::metrics;
use crate::serve::{self, Front, Limits, Slots};
use crate::tasks::Tasks;

/// Of the health port: looks at health are short, and whoever makes them opens a connection for each.
const HEALTH: Limits = Limits { connections: 64, drain: Duration::from_secs(1) };

/// Listens at `address`, which the configuration names `key`.
pub(super) async fn bind(key: &str, address: &str) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        let text = format!("Free {address} or set another address ({key}): {error}.");
        Fault::precondition("ADDRESS_UNUSABLE", text).with("address", address).because(error)
    })
}

/// Serves `/metrics` until the process ends, if the configuration says where.
pub(super) async fn metrics_port(config: &Config, tasks: &Tasks) -> Result<Option<SocketAddr>, Fault> {
    if config.metrics.is_empty() {
        return Ok(None);
    }
    let listener = bind("metrics", &config.metrics).await?;
    let address = listener.local_addr().map_err(Fault::internal)?;
    let stop = tasks.stopping();
    let router = axum::Router::new().route("/metrics", axum::routing::get(|| async { metrics::text() }));
    tasks.spawn("metrics", async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::warn!(%error, "the metrics port ended");
        }
    });
    Ok(Some(address))
}

/// Tells health, and nothing else, without TLS for as long as calls are taken, if the configuration says where.
pub(super) async fn health_port(app: &App, accepting: &CancellationToken) -> Result<Option<SocketAddr>, Fault> {
    if app.config.health.is_empty() {
        return Ok(None);
    }
    let listener = bind("health", &app.config.health).await?;
    let address = listener.local_addr().map_err(Fault::internal)?;
    // Without a rule no method is let in but those that need none, so that there is nobody to ask for and nothing to log.
    let front = Front {
        rules: Rules::default(),
        door: Door { verifier: Verifier::new(Arc::default()), policy: app.policy.clone(), credentials: Vec::new() },
        slots: Slots::new(1),
        leaving: accepting.clone(),
        sealer: app.sealer.clone(),
        log: AccessLog::default(),
    };
    let routes = Routes::new(HealthServer::new(HealthService::from_health_reporter(app.health.clone())));
    let serving = serve::serve(listener, None, routes, Arc::new(front), HEALTH, accepting.clone());
    app.tasks.spawn("health", async move {
        serving.await;
    });
    Ok(Some(address))
}
