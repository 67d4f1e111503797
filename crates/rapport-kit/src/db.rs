//! The only door to the database.
//!
//! Guarantees: a connection is handed out with the caller's tenant set on it, or not at all; a connection
//! whose statement was abandoned (its future dropped, its socket broken) is closed and never used again; no
//! caller waits longer than a second for its turn, than three for an idle connection to answer and three for a new
//! one, and than a minute for any answer, so that a database that vanished without a word holds no task for ever. There is no way past this module to a connection.

mod conn;
mod migrate;
mod pool;
mod provision;
mod tx;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

pub use conn::Conn;
#[cfg(feature = "testing")]
pub(crate) use migrate::checksums;
pub(crate) use migrate::levels;
pub use migrate::{Migrations, migrate, pending};
pub use provision::{Logins, provision};
pub use tx::Tx;

use crate::ctx::Ctx;
use crate::fault::Fault;
use pool::Pool;

/// How a process reaches its database.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Most connections that are open at once; four for each core is a good start.
    pub max_connections: usize,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest silence of the server in the middle of a statement, well above its own time limits; the
    /// connection is closed then, and the statement fails as DATABASE_AWAY.
    pub answer_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { max_connections: 8, acquire_timeout: Duration::from_secs(1), answer_timeout: Duration::from_secs(60) }
    }
}

/// Connections of the application role: one tenant at a time, under row-level security.
#[derive(Debug, Clone)]
pub struct Db {
    pool: Arc<Pool>,
}

impl Db {
    /// A pool over `url`, which names the application role. Connects on first use.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (DATABASE_URL_INVALID) if the address cannot be read.
    pub fn new(url: &str, config: PoolConfig) -> Result<Self, Fault> {
        Ok(Self { pool: Arc::new(Pool::new(url, config)?) })
    }

    /// A connection for the tenant of `ctx`.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED (DATABASE_BUSY) after the acquire timeout; UNAVAILABLE (DATABASE_AWAY).
    pub async fn for_tenant(&self, ctx: &Ctx) -> Result<Conn, Fault> {
        self.tenant(ctx.tenant()).await
    }

    /// A connection for `tenant`, where there is no request: policy look-ups and consumers.
    pub(crate) async fn tenant(&self, tenant: Uuid) -> Result<Conn, Fault> {
        self.pool.checkout(Some(tenant)).await
    }

    /// Begins a transaction for the tenant of `ctx`. It is rolled back unless it is committed.
    ///
    /// # Errors
    /// As [`Db::for_tenant`].
    pub async fn begin(&self, ctx: &Ctx) -> Result<Tx, Fault> {
        Tx::begin(self.for_tenant(ctx).await?).await
    }

    pub(crate) async fn begin_for(&self, tenant: Uuid) -> Result<Tx, Fault> {
        Tx::begin(self.tenant(tenant).await?).await
    }

    /// Connections in use, and how many there may be.
    pub(crate) fn used(&self) -> (usize, usize) {
        self.pool.used()
    }

    /// Opens one connection and asks the server for an answer.
    ///
    /// # Errors
    /// As [`Db::for_tenant`].
    pub async fn ping(&self) -> Result<(), Fault> {
        let mut conn = self.pool.checkout(None).await?;
        sqlx::query("select 1").execute(&mut conn).await?;
        Ok(())
    }
}

/// Connections of the system role, which sees all tenants: relay, leases, retention and policy feed only.
#[derive(Debug, Clone)]
pub struct SystemDb {
    pool: Arc<Pool>,
}

impl SystemDb {
    /// A pool over `url`, which names the system role. Connects on first use.
    ///
    /// # Errors
    /// As [`Db::new`].
    pub fn new(url: &str, config: PoolConfig) -> Result<Self, Fault> {
        Ok(Self { pool: Arc::new(Pool::new(url, config)?) })
    }

    /// Connections in use, and how many there may be.
    pub(crate) fn used(&self) -> (usize, usize) {
        self.pool.used()
    }

    /// A connection that sees every tenant.
    ///
    /// # Errors
    /// As [`Db::for_tenant`].
    pub async fn conn(&self) -> Result<Conn, Fault> {
        self.pool.checkout(None).await
    }

    /// Begins a transaction that sees every tenant.
    ///
    /// # Errors
    /// As [`Db::for_tenant`].
    pub async fn begin(&self) -> Result<Tx, Fault> {
        Tx::begin(self.conn().await?).await
    }
}
