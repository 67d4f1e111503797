//! What comes in bulk, and what is left to do with it afterwards: indexing it for search and comparing it with others.
//!
//! Guarantees: it waits behind what people change; while a job runs each of the two takes at most a part of the time, but for
//! keys that a rule or a sweep looks for, and does not stand still.

use std::time::{Duration, Instant};

use rapport_kit::db::SystemDb;
use rapport_kit::{Fault, Tx, jobs};
use sqlx::Executor;

/// At most one part of so many of the time is worked.
const SHARE: u32 = 5;
/// The longest rest at once.
const LONGEST: Duration = Duration::from_secs(1);

/// Says that what the transaction writes comes in bulk.
///
/// # Errors
/// What the database answers.
pub async fn wait_behind_people(tx: &mut Tx) -> Result<(), Fault> {
    // Read in the database where the queues are filled. Processes of the release before say 'on' there, and find only what
    // stands in the queues themselves.
    tx.conn().execute("set local rapport.bulk = 'pieces'").await?;
    Ok(())
}

/// Until when such work rests.
#[derive(Debug, Default)]
pub struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// Whether it goes on.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.until.is_none_or(|end| Instant::now() >= end)
    }

    /// After a part of the work that began at `begun`: a rest, if a job runs.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn follow(&mut self, system: &SystemDb, begun: Instant) -> Result<(), Fault> {
        if jobs::is_any_running(&mut system.conn().await?).await? {
            self.until = Some(Instant::now() + (begun.elapsed() * (SHARE - 1)).min(LONGEST));
        }
        Ok(())
    }
}
