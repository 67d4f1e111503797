//! This service's copy of identity's policy: tenants, units, teams, subjects, roles, ended sessions, keys.
//!
//! Guarantees: no call to identity stands on the path of a request. A change takes effect when its event
//! arrives (a queue of each pod's own) or, without a broker, with the next poll every five seconds; an older
//! state never replaces a newer one. What is kept in memory is dropped with the change that concerns it.

mod apply;
mod feed;
mod load;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rapport_proto::common::v1 as pb;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

pub use feed::Feed;

use crate::access::Access;
use crate::db::{Db, SystemDb};
use crate::fault::Fault;

/// Subjects kept in memory at most; beyond it the memory is emptied and filled anew.
const SUBJECTS: usize = 20_000;
/// Rounds of the feed that a caller waits for: one may have begun before the news was there, the next has not.
const CATCH_UP: usize = 2;

/// The policy copy of one process.
#[derive(Debug, Clone)]
pub struct Policy {
    db: Db,
    system: SystemDb,
    memory: Arc<RwLock<Memory>>,
    /// Somebody unknown has come with a valid token: the feed should ask identity now.
    wanted: Arc<Notify>,
    /// Rounds of the feed that have ended.
    rounds: Arc<watch::Sender<u64>>,
}

/// What identity says of somebody or something that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there and takes part.
    Active,
    /// It is there and takes no part for now.
    Disabled,
    /// It is gone.
    Deleted,
}

#[derive(Debug, Default)]
struct Memory {
    tenants: HashMap<Uuid, bool>,
    subjects: HashMap<(Uuid, Uuid), Option<Arc<Access>>>,
    ended_sessions: HashMap<Uuid, i64>,
    /// Grows with every change that empties something, so that a load that began before is not kept.
    generation: u64,
}

impl Policy {
    /// The copy in `db`.
    #[must_use]
    pub fn new(db: Db, system: SystemDb) -> Self {
        Self { db, system, memory: Arc::default(), wanted: Arc::default(), rounds: Arc::new(watch::Sender::new(0)) }
    }

    /// Whether the tenant has a stored security policy; false for tenants that are not known here.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn tenant_ready(&self, tenant: Uuid) -> Result<bool, Fault> {
        if let Some(ready) = self.read(|memory| memory.tenants.get(&tenant).copied()) {
            return Ok(ready);
        }
        let mut ready = load::tenant_ready(&self.db, tenant).await?;
        for _ in 0..CATCH_UP {
            if ready || !self.catch_up().await {
                break;
            }
            ready = load::tenant_ready(&self.db, tenant).await?;
        }
        // Only what is settled is kept: a tenant becomes ready once and stays so.
        if ready {
            self.write(|memory| memory.tenants.insert(tenant, true));
        }
        Ok(ready)
    }

    /// What the subject may do; none if it does not exist, is deleted or disabled.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn access(&self, tenant: Uuid, subject: Uuid) -> Result<Option<Arc<Access>>, Fault> {
        if let Some(access) = self.read(|memory| memory.subjects.get(&(tenant, subject)).cloned()) {
            return Ok(access);
        }
        let mut generation = self.read(|memory| memory.generation);
        let mut access = load::access(&self.db, tenant, subject).await?.map(Arc::new);
        for _ in 0..CATCH_UP {
            if access.is_some() || !self.catch_up().await {
                break;
            }
            generation = self.read(|memory| memory.generation);
            access = load::access(&self.db, tenant, subject).await?.map(Arc::new);
        }
        self.write(|memory| {
            if memory.generation == generation {
                if memory.subjects.len() >= SUBJECTS {
                    memory.subjects.clear();
                }
                memory.subjects.insert((tenant, subject), access.clone());
            }
        });
        Ok(access)
    }

    /// What identity says of users, service accounts, teams and business units, by collection and id, in their
    /// order; none for those that it has never told of. Asks identity before it calls one of them unknown, because
    /// the news of it may still be on its way.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn standing(&self, tenant: Uuid, names: &[(&str, Uuid)]) -> Result<Vec<Option<Standing>>, Fault> {
        let mut found = load::standing(&self.db, tenant, names).await?;
        for _ in 0..CATCH_UP {
            if found.iter().all(Option::is_some) || !self.catch_up().await {
                break;
            }
            found = load::standing(&self.db, tenant, names).await?;
        }
        Ok(found)
    }

    /// Whether the session was ended before its time.
    #[must_use]
    pub fn session_ended(&self, session: Uuid) -> bool {
        self.read(|memory| memory.ended_sessions.contains_key(&session))
    }

    /// Takes over changes that are newer than what is here, then forgets what memory holds about them.
    ///
    /// # Errors
    /// What the database answers; INVALID_ARGUMENT if a change names nothing.
    pub async fn apply(&self, changes: &[pb::PolicyChange]) -> Result<(), Fault> {
        let concerns = apply::apply(&self.system, changes).await?;
        self.write(|memory| {
            for concern in concerns {
                match concern {
                    apply::Concern::Subject(tenant, subject) => {
                        memory.subjects.remove(&(tenant, subject));
                    }
                    apply::Concern::Tenant(tenant) => {
                        memory.tenants.remove(&tenant);
                        memory.subjects.retain(|(of, _), _| *of != tenant);
                    }
                    apply::Concern::Session(session, forget_at) => {
                        memory.ended_sessions.insert(session, forget_at);
                    }
                }
            }
            memory.generation += 1;
            let now = crate::clock::now().timestamp();
            memory.ended_sessions.retain(|_, forget_at| *forget_at > now);
        });
        Ok(())
    }

    /// Has the feed ask identity and waits for the answer, at most a second: whoever comes with a valid token
    /// should not be turned away because the news of them is still on its way.
    async fn catch_up(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        self.wanted.notify_one();
        matches!(tokio::time::timeout(Duration::from_secs(1), rounds.changed()).await, Ok(Ok(())))
    }

    /// Ready when the feed has read what is stored and has asked identity once, or after `patience`.
    pub(crate) async fn begun(&self, patience: Duration) {
        let mut rounds = self.rounds.subscribe();
        let _ = tokio::time::timeout(patience, rounds.wait_for(|rounds| *rounds > 0)).await;
    }

    fn read<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.memory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.memory.write().unwrap_or_else(PoisonError::into_inner))
    }
}
