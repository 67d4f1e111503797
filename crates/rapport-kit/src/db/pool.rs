//! Bare connections behind a semaphore: no ping on the way out or in, which costs two of three round trips.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{Conn, PoolConfig};
use crate::fault::Fault;
use crate::metrics;

/// A connection is replaced after this time, so that a failed-over database gets its load back.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// A connection that lay unused longer is asked for an answer before it is handed out.
const PING_AFTER: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Pool {
    options: PgConnectOptions,
    config: PoolConfig,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Resting>>,
}

/// An open connection and what is known about it.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) connection: PgConnection,
    /// The tenant that is set on it; none while that is not known for certain.
    pub(super) tenant: Option<Uuid>,
    born: Instant,
    used: Instant,
}

impl Pool {
    pub(super) fn new(url: &str, config: PoolConfig) -> Result<Self, Fault> {
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
            Fault::precondition("DATABASE_URL_INVALID", "The database address in the configuration cannot be read.").because(error)
        })?;
        let permits = Arc::new(Semaphore::new(config.max_connections));
        Ok(Self { options: options.disable_statement_logging(), config, permits, idle: Mutex::new(Vec::new()) })
    }

    /// A connection with `tenant` set on it; without one the setting is not touched (system role, health).
    pub(super) async fn checkout(self: &Arc<Self>, tenant: Option<Uuid>) -> Result<Conn, Fault> {
        let permit = self.permit().await?;
        let resting = match self.take(tenant) {
            Some(resting) if resting.used.elapsed() < PING_AFTER => resting,
            Some(mut resting) => match tokio::time::timeout(CONNECT_TIMEOUT, resting.connection.ping()).await {
                Ok(Ok(())) => resting,
                _ => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let mut conn = Conn::new(Arc::clone(self), permit, resting);
        if let Some(tenant) = tenant {
            conn.set_tenant(tenant).await?;
        }
        Ok(conn)
    }

    async fn permit(self: &Arc<Self>) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.config.acquire_timeout, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                metrics::busy_database().inc();
                Err(Fault::exhausted("DATABASE_BUSY", "All database connections of this process are in use; send the request again."))
            }
        }
    }

    /// Connections in use, and how many there may be.
    pub(super) fn used(&self) -> (usize, usize) {
        let most = self.config.max_connections;
        (most.saturating_sub(self.permits.available_permits()), most)
    }

    /// The most recently used connection that already has the tenant, else the most recently used one.
    fn take(&self, tenant: Option<Uuid>) -> Option<Resting> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|resting| resting.born.elapsed() < MAX_AGE);
        let same = idle.iter().rposition(|resting| resting.tenant == tenant);
        match same {
            Some(position) => Some(idle.remove(position)),
            None => idle.pop(),
        }
    }

    async fn connect(&self) -> Result<Resting, Fault> {
        let away = || Fault::unavailable("DATABASE_AWAY", "The database does not answer at this moment; send the request again.");
        let connection = match tokio::time::timeout(CONNECT_TIMEOUT, self.options.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(away().because(error)),
            Err(elapsed) => return Err(away().because(elapsed)),
        };
        Ok(Resting { connection, tenant: None, born: Instant::now(), used: Instant::now() })
    }

    /// Longest silence of the server in the middle of a statement.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.config.answer_timeout
    }

    pub(super) fn give_back(&self, mut resting: Resting) {
        resting.used = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(resting);
    }

    /// After a broken connection the others are suspect too: a restarted server has closed them all.
    pub(super) fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
