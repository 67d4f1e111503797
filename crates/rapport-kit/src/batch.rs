//! Reads of single records that arrive while one is under way, answered by one statement together.
//!
//! Guarantees: a read that finds none of its lane under way begins at once; no read ever waits for company. Reads share a
//! statement only if they share tenant and access predicate, and a statement begins after every read that it answers has
//! arrived, so that whoever has written reads what it wrote. A caller that goes away, or panics, leaves the others alone.
//! A statement holds at most 100 records and ends with the last deadline of those that wait for it.
//!
//! ```text
//! first of its lane ──→ own statement, in the caller's task ──┐ others arrived meanwhile
//!                                                             └→ a task reads for all of them, until nobody waits
//! ```

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::access::Scope;
use crate::ctx::Ctx;
use crate::db::{Conn, Db};
use crate::fault::Fault;
use crate::metrics;
use crate::tasks::Tasks;

/// Records of one statement.
const MOST: usize = 100;
/// Ids of the shortest list that is read; the first stands again in its empty places. PostgreSQL takes a list whose length it does not know
/// for ten: of shorter ones it would think that a plan of their own is cheaper, and plan each statement anew.
const PLANNED: usize = 11;

/// Reads those of the records that are in the scope, each with its id, in any order.
pub type ReadFn<T> = for<'a> fn(&'a mut Conn, &'a Ctx, &'a Scope, &'a [Uuid]) -> BoxFuture<'a, Result<Vec<(Uuid, T)>, Fault>>;

/// Reads of one kind of record.
pub struct Reads<T> {
    db: Db,
    tasks: Tasks,
    read: ReadFn<T>,
    /// Who waits for the next statement of each lane that has one under way.
    lanes: Mutex<HashMap<Lane, Vec<Waiting<T>>>>,
}

/// What reads have in common that one statement can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lane {
    tenant: Uuid,
    scope: Scope,
}

struct Waiting<T> {
    ctx: Ctx,
    id: Uuid,
    answer: oneshot::Sender<Result<Option<T>, Fault>>,
}

/// The statement under way in a lane. However it ends, those who wait meanwhile get theirs.
struct Turn<T: Clone + Send + 'static> {
    reads: Arc<Reads<T>>,
    lane: Lane,
}

impl<T: Clone + Send + 'static> Reads<T> {
    /// Reads from `db` by `read`.
    #[must_use]
    pub fn new(db: Db, tasks: Tasks, read: ReadFn<T>) -> Arc<Self> {
        Arc::new(Self { db, tasks, read, lanes: Mutex::default() })
    }

    /// The record, if it is in `scope`.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED (DEADLINE_PASSED); what the database answers.
    pub async fn get(self: &Arc<Self>, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<T>, Fault> {
        let lane = Lane { tenant: ctx.tenant(), scope: scope.without_subject() };
        let Some(answer) = self.wait(&lane, ctx, id) else {
            let _turn = Turn { reads: Arc::clone(self), lane };
            let found = (self.read)(&mut self.db.for_tenant(ctx).await?, ctx, scope, &[id; PLANNED]).await?;
            return Ok(found.into_iter().next().map(|(_, record)| record));
        };
        answer.await.unwrap_or_else(|_| Err(Fault::internal("a read was left without an answer")))
    }

    /// Where the answer will come, if a statement of the lane is under way; from now on one is.
    fn wait(&self, lane: &Lane, ctx: &Ctx, id: Uuid) -> Option<oneshot::Receiver<Result<Option<T>, Fault>>> {
        let mut lanes = self.lanes();
        let Some(waiting) = lanes.get_mut(lane) else {
            lanes.insert(lane.clone(), Vec::new());
            return None;
        };
        let (answer, answered) = oneshot::channel();
        waiting.push(Waiting { ctx: ctx.clone(), id, answer });
        Some(answered)
    }

    /// Those who wait in the lane, [`MOST`] of them; the lane is free again if there are none.
    fn next(&self, lane: &Lane) -> Vec<Waiting<T>> {
        let mut lanes = self.lanes();
        let Some(waiting) = lanes.get_mut(lane) else { return Vec::new() };
        waiting.retain(|one| !one.answer.is_closed());
        if waiting.is_empty() {
            lanes.remove(lane);
            return Vec::new();
        }
        let rest = waiting.split_off(waiting.len().min(MOST));
        std::mem::replace(waiting, rest)
    }

    async fn answer(&self, scope: &Scope, waiting: Vec<Waiting<T>>) {
        let found = AssertUnwindSafe(self.read_for(scope, &waiting)).catch_unwind().await.unwrap_or_else(|_| {
            metrics::panics().inc();
            Err(Fault::internal("a read panicked"))
        });
        let mut askers: HashMap<Uuid, Vec<Waiting<T>>> = HashMap::new();
        for one in waiting {
            askers.entry(one.id).or_default().push(one);
        }
        // Who went away meanwhile needs no answer.
        let tell = |one: Waiting<T>, answer| drop(one.answer.send(answer));
        let records = match found {
            Ok(records) => records,
            Err(fault) => return askers.into_values().flatten().for_each(|one| tell(one, Err(fault.clone()))),
        };
        for (id, record) in records {
            let mut askers = askers.remove(&id).unwrap_or_default();
            if let Some(last) = askers.pop() {
                askers.into_iter().for_each(|one| tell(one, Ok(Some(record.clone()))));
                tell(last, Ok(Some(record)));
            }
        }
        askers.into_values().flatten().for_each(|one| tell(one, Ok(None)));
    }

    async fn read_for(&self, scope: &Scope, waiting: &[Waiting<T>]) -> Result<Vec<(Uuid, T)>, Fault> {
        let Some((ctx, deadline)) = waiting.iter().map(|one| (&one.ctx, one.ctx.call().deadline)).max_by_key(|(_, deadline)| *deadline) else {
            return Ok(Vec::new());
        };
        let mut ids: Vec<Uuid> = waiting.iter().map(|one| one.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let first = waiting.first().map(|one| one.id).unwrap_or_default();
        ids.resize(ids.len().max(PLANNED), first);
        let reading = async { (self.read)(&mut self.db.for_tenant(ctx).await?, ctx, scope, &ids).await };
        tokio::time::timeout_at(deadline.into(), reading).await.unwrap_or_else(|_| Err(Fault::deadline()))
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Lane, Vec<Waiting<T>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + 'static> Drop for Turn<T> {
    fn drop(&mut self) {
        let waiting = self.reads.next(&self.lane);
        if waiting.is_empty() {
            return;
        }
        let (reads, lane) = (Arc::clone(&self.reads), self.lane.clone());
        self.reads.tasks.spawn("reads", async move {
            let mut waiting = waiting;
            while !waiting.is_empty() {
                reads.answer(&lane.scope, waiting).await;
                waiting = reads.next(&lane);
            }
        });
    }
}

impl<T> fmt::Debug for Reads<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reads").finish_non_exhaustive()
    }
}
