//! Consuming events: each has its effect exactly once, in the order of its record.
//!
//! Guarantees: the inbox row, the effect and the effect's own journal rows commit together; a message is
//! acknowledged after that commit. What comes again is acknowledged without effect. An event that fails for a
//! passing reason is tried again in place, with growing waits; one that can never work, or whose reaction
//! panics, goes to the dead letters with its reason, and others go on.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rapport_proto::Event;
use tonic::Code;
use uuid::Uuid;

use crate::bus::{self, Broker, Delivery, PARTITIONS, Queue};
use crate::db::{Db, Tx};
use crate::fault::Fault;
use crate::tasks::{Tasks, Window};
use crate::{clock, metrics};

const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Times that a reaction may exceed the database's time limit before its event is given up.
const TOO_SLOW: u32 = 10;
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// An event as a reaction sees it.
#[derive(Debug, Clone)]
pub struct Received<E> {
    /// The message.
    pub event: E,
    /// Tenant it belongs to.
    pub tenant: Uuid,
    /// The record it is about, such as `contacts/{id}`.
    pub subject: String,
    /// Version of the record after the fact.
    pub version: i64,
    /// Event id, the same for every delivery.
    pub id: String,
}

type Reaction = Arc<dyn for<'a> Fn(&'a mut Tx, &'a Delivery, Uuid) -> BoxFuture<'a, Result<(), Fault>> + Send + Sync>;

/// The table of what a service consumes.
#[derive(Clone)]
pub struct Consumers {
    service: String,
    reactions: HashMap<&'static str, Reaction>,
    remembers: bool,
}

impl Consumers {
    /// No reaction yet, for `service`.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self { service: service.to_owned(), reactions: HashMap::new(), remembers: true }
    }

    /// Reacts to `E` with `reaction`, in the transaction that also remembers the event.
    #[must_use]
    pub fn on<E, R>(mut self, reaction: R) -> Self
    where
        E: Event + 'static,
        R: for<'a> Fn(&'a mut Tx, Received<E>) -> BoxFuture<'a, Result<(), Fault>> + Send + Sync + 'static,
    {
        let reaction = Arc::new(reaction);
        let handle: Reaction = Arc::new(move |tx, delivery, tenant| {
            let reaction = Arc::clone(&reaction);
            Box::pin(async move {
                let event = E::decode(delivery.body.as_slice())
                    .map_err(|error| Fault::argument("EVENT_UNREADABLE", "The event's body is not what its key says.").because(error))?;
                let header = |name: &str| delivery.headers.get(name).cloned().unwrap_or_default();
                let version = header("rapport-version").parse().map_err(|_| Fault::argument("EVENT_UNREADABLE", "The event has no version."))?;
                let received = Received { event, tenant, subject: header("cloudEvents:subject"), version, id: delivery.id.clone() };
                reaction(tx, received).await
            })
        });
        self.reactions.insert(E::KEY, handle);
        self
    }

    /// Takes no notice of what was handled before: to show that a test would see the difference.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.remembers = false;
        self
    }

    /// Whether there is nothing to consume.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reactions.is_empty()
    }

    /// Consumes every partition until the process stops.
    pub fn run(self, db: &Db, broker: &Broker, tasks: &Tasks) {
        let consumers = Arc::new(self);
        for partition in 0..PARTITIONS {
            Arc::clone(&consumers).partition(partition, db, broker, tasks);
        }
    }

    /// Consumes one partition only, so that a test can start and end it often.
    #[cfg(feature = "testing")]
    pub fn run_one(self, partition: u8, db: &Db, broker: &Broker, tasks: &Tasks) {
        Arc::new(self).partition(partition, db, broker, tasks);
    }

    fn partition(self: Arc<Self>, partition: u8, db: &Db, broker: &Broker, tasks: &Tasks) {
        let mut keys: Vec<String> = self.reactions.keys().map(|key| (*key).to_owned()).collect();
        keys.sort();
        let queue = Queue::Partition { service: self.service.clone(), partition, keys };
        let (db, waiting) = (db.clone(), tasks.clone());
        let consuming = bus::consume(broker.clone(), queue, tasks.clone(), move |deliveries| {
            let (consumers, db, waiting) = (Arc::clone(&self), db.clone(), waiting.clone());
            async move { consumers.handle(&db, &waiting, deliveries).await }
        });
        tasks.spawn("consumer", consuming);
    }

    /// Handles deliveries in order; answers how many are done.
    async fn handle(&self, db: &Db, tasks: &Tasks, deliveries: Vec<Delivery>) -> usize {
        let mut done = 0;
        while let Some(first) = deliveries.get(done) {
            // As many of one tenant as follow each other share a transaction; if that fails, one at a time.
            let tenant = tenant(first);
            let run = deliveries.iter().skip(done).take_while(|delivery| self::tenant(delivery) == tenant).count();
            let together = deliveries.get(done..done + run).unwrap_or_default();
            if run > 1 && self.attempt(db, tasks, together).await.is_ok() {
                done += run;
                continue;
            }
            if !self.one(db, tasks, first).await {
                return done;
            }
            done += 1;
        }
        done
    }

    /// Handles one delivery until it is done or dead; false if the process stops first.
    async fn one(&self, db: &Db, tasks: &Tasks, delivery: &Delivery) -> bool {
        let mut wait = FIRST_WAIT;
        let mut too_slow = 0;
        loop {
            let fault = match self.attempt(db, tasks, std::slice::from_ref(delivery)).await {
                Ok(()) => return true,
                Err(fault) => fault,
            };
            // A reaction that never ends within the database's limit must not hold its partition up for ever.
            too_slow += u32::from(fault.code() == Code::DeadlineExceeded);
            if !passes(&fault) || too_slow > TOO_SLOW {
                match self.bury(db, delivery, &fault).await {
                    Ok(()) => return true,
                    Err(error) => tracing::warn!(%error, "a dead letter could not be stored; trying again"),
                }
            }
            tracing::warn!(event = delivery.id, %fault, "an event could not be handled yet");
            if !tasks.pause(wait).await {
                return false;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Commits, or answers the fault; a panic is one too, because a dead consumer would hold its partition up.
    async fn attempt(&self, db: &Db, tasks: &Tasks, deliveries: &[Delivery]) -> Result<(), Fault> {
        AssertUnwindSafe(self.commit(db, tasks, deliveries)).catch_unwind().await.unwrap_or_else(|_| {
            metrics::panics().inc();
            Err(Fault::internal("a reaction panicked"))
        })
    }

    /// Inbox rows and effects of deliveries of one tenant, in one transaction.
    async fn commit(&self, db: &Db, tasks: &Tasks, deliveries: &[Delivery]) -> Result<(), Fault> {
        let Some(tenant) = deliveries.first().and_then(tenant) else {
            return Err(Fault::argument("EVENT_UNREADABLE", "The event names no tenant."));
        };
        let mut tx = db.begin_for(tenant).await?;
        for delivery in deliveries {
            let new = sqlx::query("insert into kit.inbox (tenant_id, consumer, event_id) values ($1, $2, $3) on conflict do nothing")
                .bind(tenant)
                .bind(&self.service)
                .bind(&delivery.id)
                .execute(tx.conn())
                .await?
                .rows_affected();
            if new == 0 && self.remembers {
                metrics::duplicate_events().inc();
                continue;
            }
            // A binding can outlive its reaction by one release; such an event has no effect here.
            let Some(reaction) = self.reactions.get(key(&delivery.routing_key)) else { continue };
            reaction(&mut tx, delivery, tenant).await?;
        }
        tasks.at(Window::BeforeCommit).await;
        tx.commit().await
    }

    async fn bury(&self, db: &Db, delivery: &Delivery, fault: &Fault) -> Result<(), Fault> {
        metrics::dead_events().inc();
        tracing::error!(event = delivery.id, %fault, "an event can never be handled; it is kept as a dead letter");
        let tenant = tenant(delivery).unwrap_or(Uuid::nil());
        let mut tx = db.begin_for(tenant).await?;
        sqlx::query(
            "insert into kit.dead_letter (tenant_id, id, consumer, event_id, routing_key, headers, body, reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant_id, consumer, event_id) do nothing",
        )
        .bind(tenant)
        .bind(clock::new_id())
        .bind(&self.service)
        .bind(&delivery.id)
        .bind(&delivery.routing_key)
        .bind(sqlx::types::Json(&delivery.headers))
        .bind(&delivery.body)
        .bind(fault.to_string())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    }
}

impl std::fmt::Debug for Consumers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Consumers").field("service", &self.service).field("keys", &self.reactions.keys()).finish()
    }
}

fn tenant(delivery: &Delivery) -> Option<Uuid> {
    Uuid::try_parse(delivery.headers.get("rapport-tenant")?).ok()
}

/// The event key in a routing key: without the partition.
fn key(routing_key: &str) -> &str {
    routing_key.rsplit_once('.').map_or(routing_key, |(key, _)| key)
}

/// Whether trying again can help.
fn passes(fault: &Fault) -> bool {
    matches!(fault.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::ResourceExhausted)
}
