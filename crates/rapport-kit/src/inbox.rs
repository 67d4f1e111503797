//! Consuming events: each has its effect exactly once, in the order of its record.
//!
//! Guarantees: the inbox row, the effect and the effect's own journal rows commit together; a message is
//! acknowledged after that commit. What comes again is acknowledged without effect. An event that fails for a
//! passing reason is tried again in place, with growing waits; one that can never work, or whose reaction
//! panics, goes to the dead letters with its reason. Later events of its record wait behind it there, until
//! somebody replays or discards it; other records go on.
//!
//! An event is tried at most twelve times before it is dead: eleven times alone, and once before that together
//! with others. Only while the database is away is it tried for as long as that takes.

mod held;
mod take;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rapport_proto::Event;
use tonic::Code;
use uuid::Uuid;

use crate::bus::{self, Broker, Delivery, PARTITIONS, Queue};
use crate::db::{Db, SystemDb, Tx};
use crate::fault::Fault;
use crate::tasks::Tasks;

pub(crate) use held::go_on;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Times that an event is tried again after it exceeded the database's time limit.
const LIMIT: i32 = 10;

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

    /// Consumes every partition until the process stops, and handles what was held back and is due.
    pub fn run(self, db: &Db, system: &SystemDb, broker: &Broker, tasks: &Tasks) {
        let consumers = Arc::new(self);
        tasks.spawn("held events", Arc::clone(&consumers).run_held(db.clone(), system.clone(), tasks.clone()));
        let (db, system, broker, starting) = (db.clone(), system.clone(), broker.clone(), tasks.clone());
        tasks.spawn("consumers", async move {
            let Some(unwanted) = consumers.unwanted(&system, &starting).await else { return };
            for partition in 0..PARTITIONS {
                consumers.consume(partition, &unwanted, &db, &broker, &starting);
            }
        });
    }

    /// Consumes one partition only, so that a test can start and end it often.
    #[cfg(feature = "testing")]
    pub fn run_one(self, partition: u8, db: &Db, broker: &Broker, tasks: &Tasks) {
        Arc::new(self).consume(partition, &[], db, broker, tasks);
    }

    fn consume(self: &Arc<Self>, partition: u8, unwanted: &[String], db: &Db, broker: &Broker, tasks: &Tasks) {
        let queue = Queue::Partition { service: self.service.clone(), partition, keys: self.keys(), unwanted: unwanted.to_vec() };
        let (consumers, db, waiting) = (Arc::clone(self), db.clone(), tasks.clone());
        let consuming = bus::consume(broker.clone(), queue, tasks.clone(), move |deliveries| {
            let (consumers, db, waiting) = (Arc::clone(&consumers), db.clone(), waiting.clone());
            async move { consumers.handle(&db, &waiting, deliveries).await }
        });
        tasks.spawn("consumer", consuming);
    }

    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.reactions.keys().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    }

    /// Event keys that the queues were bound to by an earlier release and that nothing here reacts to any
    /// more. Asks until the database answers; none if the process stops first.
    async fn unwanted(&self, system: &SystemDb, tasks: &Tasks) -> Option<Vec<String>> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.remember_keys(system).await {
                Ok(unwanted) => {
                    if !unwanted.is_empty() {
                        tracing::info!(keys = ?unwanted, "events are consumed no more; if nobody else wants them, delete their keys from kit.claimed_key of the service that publishes them");
                    }
                    return Some(unwanted);
                }
                Err(error) => tracing::warn!(%error, "the keys of bindings could not be remembered; trying again"),
            }
            if !tasks.pause(wait).await {
                return None;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Remembers today's keys before they are bound. Keys are never forgotten, because a process of an older
    /// release may bind one again while it is being replaced; each connection unbinds them anew.
    async fn remember_keys(&self, system: &SystemDb) -> Result<Vec<String>, Fault> {
        let keys = self.keys();
        let mut conn = system.conn().await?;
        sqlx::query("insert into kit.bound_key (consumer, key) select $1, unnest($2::text[]) on conflict do nothing")
            .bind(&self.service)
            .bind(&keys)
            .execute(&mut conn)
            .await?;
        let unwanted = sqlx::query_scalar("select key from kit.bound_key where consumer = $1 and key <> all($2) order by key");
        Ok(unwanted.bind(&self.service).bind(&keys).fetch_all(&mut conn).await?)
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

/// The record that an event is about; one that names none stands by itself, under its own id.
fn subject(delivery: &Delivery) -> &str {
    delivery.headers.get("cloudEvents:subject").map(String::as_str).filter(|subject| !subject.is_empty()).unwrap_or(&delivery.id)
}

/// The event key in a routing key: without the partition.
fn key(routing_key: &str) -> &str {
    routing_key.rsplit_once('.').map_or(routing_key, |(key, _)| key)
}

/// Whether trying again can help, after so many attempts.
fn passes(fault: &Fault, attempts: i32) -> bool {
    match fault.code() {
        // The database is away or full, which is nothing that this event did.
        Code::Unavailable | Code::ResourceExhausted => true,
        // A reaction that never ends within the database's limits must not hold others up for ever.
        Code::DeadlineExceeded | Code::Aborted => attempts <= LIMIT,
        _ => false,
    }
}
