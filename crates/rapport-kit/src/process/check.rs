//! The steps of an installation, each of which waits for the one before: the database comes up and is migrated, the
//! schema has reached this build's level, the service at an address answers calls.

use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use rapport_proto::Door;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::Service;
use crate::config::Secrets;
use crate::db::{self, PoolConfig, SystemDb};
use crate::fault::Fault;
use crate::rpc;
use crate::tasks::Tasks;
use crate::tls::Tls;

const POLL: Duration = Duration::from_millis(200);

/// Ready when the database has every migration of this build; asks again for `patience`. A database that is away, or
/// that nobody may read yet because its migration still runs, is waited for too.
///
/// # Errors
/// FAILED_PRECONDITION (MIGRATIONS_PENDING) if migrations are still lacking in the end; else what the database answers.
pub async fn schema_reached(service: &Service, secrets: &Secrets, patience: Duration) -> Result<(), Fault> {
    let system = SystemDb::new(secrets.database_system.expose_secret(), PoolConfig { max_connections: 1, ..PoolConfig::default() })?;
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let lacking = match lacking(service, &system).await {
            Ok(0) => return Ok(()),
            Ok(pending) => {
                Fault::precondition("MIGRATIONS_PENDING", format!("Run `migrate`: the database lacks {pending} migrations of this build."))
                    .with("pending", pending.to_string())
            }
            Err(fault) => fault,
        };
        if begun.elapsed() + POLL > patience {
            return Err(lacking);
        }
        let text = lacking.to_string();
        if told != text {
            tracing::info!(service = service.name, because = %lacking, "waiting for the schema");
            told = text;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Applies what the database lacks, as `owner`; waits `patience` for a database that is away, which may be starting
/// together with whoever migrates it.
///
/// # Errors
/// As [`db::migrate`].
pub async fn migrated(service: &Service, owner: &SecretString, patience: Duration) -> Result<(), Fault> {
    let begun = Instant::now();
    loop {
        match db::migrate(owner, service.migrations).await {
            Err(fault) if fault.reason() == "DATABASE_AWAY" && begun.elapsed() < patience => tokio::time::sleep(POLL).await,
            done => return done,
        }
    }
}

async fn lacking(service: &Service, system: &SystemDb) -> Result<usize, Fault> {
    db::pending(&mut system.conn().await?, service.migrations).await
}

/// Ready when `service` at `address` says that it serves, and refuses a call without a credential as its door does;
/// asks again for `patience`. Needs no secret but, where the address asks for TLS, a certificate; changes nothing.
///
/// # Errors
/// FAILED_PRECONDITION (SERVICE_ADDRESS_INVALID) if the address cannot be called; UNAVAILABLE (SERVICE_NOT_SERVING)
/// saying what was answered instead.
pub async fn answers(service: &Service, address: &str, tls: Option<&Tls>, patience: Duration) -> Result<(), Fault> {
    let begun = Instant::now();
    loop {
        match called(service, address, tls).await {
            Err(fault) if fault.reason() == "SERVICE_NOT_SERVING" && begun.elapsed() < patience => tokio::time::sleep(POLL).await,
            done => return done,
        }
    }
}

async fn called(service: &Service, address: &str, tls: Option<&Tls>) -> Result<(), Fault> {
    let instead = |what: &str, answer: String| {
        Fault::unavailable("SERVICE_NOT_SERVING", format!("{} at {address} does not serve: {what} was answered with {answer}", service.name))
    };
    let tasks = Tasks::default();
    // Health is asked for here, so that its answer can be told.
    let settings = rpc::Settings { health: false, tls: tls.cloned(), ..rpc::Settings::new(address) };
    let client = rpc::Client::new(settings, &[], &tasks)?;
    let health = HealthClient::new(client.alone()).check(HealthCheckRequest::default()).await;
    match health.map(|response| response.into_inner().status()) {
        Ok(ServingStatus::Serving) => {}
        Ok(other) => return Err(instead("health", other.as_str_name().to_owned())),
        Err(status) => return Err(instead("health", format!("{:?}: {}", status.code(), status.message()))),
    }
    let mut rules = service.methods.iter().flat_map(|rules| rules.iter());
    let Some(guarded) = rules.find(|rule| rule.door != Door::Public && !rule.streaming) else { return Ok(()) };
    let mut calls = tonic::client::Grpc::new(client.alone());
    let answer = calls.unary::<(), (), _>(Request::new(()), PathAndQuery::from_static(guarded.path), ProstCodec::default()).await;
    match answer {
        Err(status) if status.code() == Code::Unauthenticated && status.get_details_error_info().is_some() => Ok(()),
        Err(status) => Err(instead(guarded.path, format!("{:?}: {}", status.code(), status.message()))),
        Ok(_) => Err(instead(guarded.path, "OK, though no credential was shown".to_owned())),
    }
}
