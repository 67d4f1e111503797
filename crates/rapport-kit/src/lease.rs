//! Leases: one process at a time holds a name.
//!
//! Guarantees: a lease that is not renewed ends by the database's clock. Late work of an earlier holder cannot be
//! told, so that what is done under a lease must bear being done twice.

use std::time::Duration;

use crate::db::SystemDb;
use crate::fault::Fault;

/// How long a lease lasts without renewal.
pub const TERM: Duration = Duration::from_secs(5);

/// Takes or renews leases by name for one holder.
#[derive(Debug, Clone)]
pub struct Leases {
    db: SystemDb,
    holder: String,
}

impl Leases {
    /// Leases for `holder`, which must be unique among the processes of a service.
    #[must_use]
    pub fn new(db: SystemDb, holder: String) -> Self {
        Self { db, holder }
    }

    /// Takes or renews those of `names` that are free or held already; answers what is held now.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn hold(&self, names: &[String]) -> Result<Vec<String>, Fault> {
        let mut conn = self.db.conn().await?;
        let held = sqlx::query_scalar(
            "insert into kit.lease as l (name, holder, expires_at)
             select name, $2, now() + make_interval(secs => $3) from unnest($1::text[]) name order by name
             on conflict (name) do update set holder = $2, expires_at = excluded.expires_at
             where l.holder = $2 or l.expires_at < now()
             returning name",
        )
        .bind(names)
        .bind(&self.holder)
        .bind(TERM.as_secs_f64())
        .fetch_all(&mut conn)
        .await?;
        Ok(held)
    }

    /// Gives leases back at once, at the end of the process.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn release(&self, names: &[String]) -> Result<(), Fault> {
        let mut conn = self.db.conn().await?;
        sqlx::query("update kit.lease set expires_at = now() where name = any($1) and holder = $2")
            .bind(names)
            .bind(&self.holder)
            .execute(&mut conn)
            .await?;
        Ok(())
    }
}
