//! A line from recording to effect: one database, its relay and its consumer.

use futures_util::future::BoxFuture;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use prost::Message;
use rapport_kit::bus::{Broker, Outgoing, PARTITIONS};
use rapport_kit::clock;
use rapport_kit::db::{Logins, PoolConfig};
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::journal::{Entry, Record, entry};
use rapport_kit::relay::Relay;
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{Infra, Prefix, eventually};
use rapport_kit::{Db, Fault, SystemDb, Tx};
use rapport_proto::Event;
use rapport_proto::common::v1::PolicyChange;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::support::{SERVICE, ctx};
use crate::wire::Wire;

/// How long events that nobody asked for are kept for a first consumer.
const UNCLAIMED_DAYS: u16 = 7;

pub(crate) struct Line {
    pub(crate) db: Db,
    pub(crate) system: SystemDb,
    pub(crate) broker: Broker,
    pub(crate) tenant: Uuid,
    pub(crate) tasks: Tasks,
    infra: Infra,
    logins: Logins,
    prefix: Prefix,
}

impl Drop for Line {
    fn drop(&mut self) {
        // Told to end before the names on the broker go, or they would be made anew.
        self.tasks.stopping().cancel();
    }
}

impl Line {
    /// A line on which nothing runs yet.
    pub(crate) async fn new() -> Self {
        let infra = Infra::from_environment();
        let logins = infra.database(&SERVICE).await;
        let pool = PoolConfig { max_connections: 12, ..PoolConfig::default() };
        let db = Db::new(logins.app.expose_secret(), pool).expect("an address");
        let system = SystemDb::new(logins.system.expose_secret(), PoolConfig::default()).expect("an address");
        let prefix = Prefix::new(&infra, &[SERVICE.name]);
        Self { db, system, broker: prefix.broker(), tenant: clock::new_id(), tasks: Tasks::default(), infra, logins, prefix }
    }

    /// A line that records, sends and notes effects.
    pub(crate) async fn running() -> Self {
        let line = Self::new().await;
        line.consume(|tx, received| Box::pin(note(tx, received))).await;
        line.relay(&line.tasks);
        line
    }

    /// Starts a relay.
    pub(crate) fn relay(&self, tasks: &Tasks) {
        self.relay_to(self.broker.clone(), tasks);
    }

    /// Starts a relay to another broker.
    pub(crate) fn relay_to(&self, broker: Broker, tasks: &Tasks) {
        let relay = Relay::new(SERVICE.name, clock::new_id().to_string(), self.system.clone(), broker, UNCLAIMED_DAYS);
        tasks.spawn("relay", relay.run(tasks.clone()));
    }

    /// Starts a relay under the name of the one before, so that it need not wait for that one's leases to end.
    pub(crate) fn relay_again(&self, tasks: &Tasks) {
        self.relay_as("the same again", tasks);
    }

    /// Starts a relay under this name.
    pub(crate) fn relay_as(&self, holder: &str, tasks: &Tasks) {
        let relay = Relay::new(SERVICE.name, holder.to_owned(), self.system.clone(), self.broker.clone(), UNCLAIMED_DAYS);
        tasks.spawn("relay", relay.run(tasks.clone()));
    }

    /// Starts a consumer of one partition with a connection of its own, as another process would have.
    pub(crate) fn consume_apart(&self, consumers: Consumers, partition: u8, tasks: &Tasks) {
        let broker = self.prefix.broker();
        consumers.run_one(partition, &self.db, &broker, tasks);
    }

    /// Starts a consumer with this reaction and waits until its queues are bound.
    pub(crate) async fn consume<R>(&self, reaction: R)
    where
        R: for<'a> Fn(&'a mut Tx, Received<PolicyChange>) -> BoxFuture<'a, Result<(), Fault>> + Send + Sync + 'static,
    {
        self.consume_over(&self.broker, &self.db, reaction).await;
    }

    /// The same over a wire to the broker or to the database.
    pub(crate) async fn consume_over<R>(&self, broker: &Broker, db: &Db, reaction: R)
    where
        R: for<'a> Fn(&'a mut Tx, Received<PolicyChange>) -> BoxFuture<'a, Result<(), Fault>> + Send + Sync + 'static,
    {
        Consumers::new(SERVICE.name).on::<PolicyChange, R>(reaction).run(db, &self.system, broker, &self.tasks);
        self.consumed().await;
    }

    /// A wire to the broker, and the broker over it.
    pub(crate) async fn wired_broker(&self) -> (Wire, Broker) {
        let wire = Wire::to(&self.infra.broker).await;
        let broker = Broker::new(wire.url(&self.infra.broker), self.prefix.text().to_owned());
        (wire, broker)
    }

    /// Ready when each partition's queue has its consumer.
    pub(crate) async fn consumed(&self) {
        for partition in 0..PARTITIONS {
            self.consumed_on(partition).await;
        }
    }

    /// Ready when this partition's queue has its consumer.
    pub(crate) async fn consumed_on(&self, partition: u8) {
        let connection = self.connection().await;
        eventually("a consumer on the partition", async || {
            let channel = connection.create_channel().await.expect("a channel");
            let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = channel.queue_declare(self.queue(partition).as_str().into(), look, FieldTable::default()).await.ok()?;
            (queue.consumer_count() > 0).then_some(())
        })
        .await;
    }

    pub(crate) fn queue(&self, partition: u8) -> String {
        self.broker.queue(SERVICE.name, &format!("p{partition:02}"))
    }

    /// A connection of our own to the broker.
    pub(crate) async fn connection(&self) -> Connection {
        Connection::connect(self.infra.broker.expose_secret(), ConnectionProperties::default()).await.expect("the broker answers")
    }

    /// Deletes the queues of all partitions.
    pub(crate) async fn delete_queues(&self) {
        let channel = self.connection().await.create_channel().await.expect("a channel");
        for partition in 0..PARTITIONS {
            channel.queue_delete(self.queue(partition).as_str().into(), QueueDeleteOptions::default()).await.expect("the queue is deleted");
        }
    }

    /// Takes the bindings of all partitions away.
    pub(crate) async fn unbind(&self) {
        let channel = self.connection().await.create_channel().await.expect("a channel");
        for partition in 0..PARTITIONS {
            let (queue, exchange, key) = self.binding(partition);
            let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
            channel.queue_unbind(queue, exchange, key, FieldTable::default()).await.expect("the binding goes");
        }
    }

    /// Gives them back.
    pub(crate) async fn bind(&self) {
        let connection = self.connection().await;
        let channel: Channel = connection.create_channel().await.expect("a channel");
        for partition in 0..PARTITIONS {
            let (queue, exchange, key) = self.binding(partition);
            let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
            channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await.expect("the binding comes");
        }
    }

    fn binding(&self, partition: u8) -> (String, String, String) {
        (self.queue(partition), self.broker.exchange(), format!("{}.p{partition:02}", PolicyChange::KEY))
    }

    /// The entry of a fact about `record`.
    pub(crate) fn entry(&self, record: Uuid, version: i64) -> Entry {
        let event = PolicyChange { name: format!("effects/{record}"), version, ..PolicyChange::default() };
        entry(&ctx(self.tenant), Record { collection: "effects", id: record, version }, &event, Vec::new()).expect("a small event")
    }

    /// Records facts in one transaction and commits it.
    pub(crate) async fn record(&self, facts: impl IntoIterator<Item = (Uuid, i64)>) {
        let mut tx = self.db.begin(&ctx(self.tenant)).await.expect("a transaction");
        for (record, version) in facts {
            write(&mut tx, self.entry(record, version)).await;
        }
        tx.commit().await.expect("a commit");
    }

    /// Effects so far, in order: record and version.
    pub(crate) async fn effects(&self) -> Vec<(Uuid, i64)> {
        let mut conn = self.db.for_tenant(&ctx(self.tenant)).await.expect("a connection");
        sqlx::query_as("select record_id, version from effect order by seq").fetch_all(&mut conn).await.expect("an answer")
    }

    /// Effects as soon as there are `count` of them, and not more once nothing waits to be sent.
    pub(crate) async fn all_effects(&self, count: usize) -> Vec<(Uuid, i64)> {
        eventually(&format!("{count} effects"), async || (self.effects().await.len() >= count).then_some(())).await;
        eventually("an empty outbox", async || (self.waiting().await == 0).then_some(())).await;
        self.effects().await
    }

    /// Rows that wait to be sent.
    pub(crate) async fn waiting(&self) -> i64 {
        let mut conn = self.system.conn().await.expect("a connection");
        sqlx::query_scalar("select count(*) from kit.outbox").fetch_one(&mut conn).await.expect("an answer")
    }

    /// Ready when the relay has been through what waited at the moment of asking: it renews its leases between
    /// rounds, so after three renewals a whole round has passed.
    pub(crate) async fn round(&self) {
        for _ in 0..3 {
            let before = self.lease_end().await;
            eventually("a renewed lease", async || (self.lease_end().await != before).then_some(())).await;
        }
    }

    async fn lease_end(&self) -> Option<String> {
        let mut conn = self.system.conn().await.expect("a connection");
        sqlx::query_scalar("select max(expires_at)::text from kit.lease").fetch_one(&mut conn).await.expect("an answer")
    }

    /// Dead letters: event id and reason.
    pub(crate) async fn dead_letters(&self) -> Vec<(String, String)> {
        let mut conn = self.db.for_tenant(&ctx(self.tenant)).await.expect("a connection");
        sqlx::query_as("select event_id, reason from kit.dead_letter where state = 'dead' order by seq")
            .fetch_all(&mut conn)
            .await
            .expect("an answer")
    }

    /// A message as the relay would send it, for partition 0.
    pub(crate) fn message(&self, id: &str, name: &str, record: Uuid, version: i64) -> Outgoing {
        let event = PolicyChange { name: name.to_owned(), version, ..PolicyChange::default() };
        let headers = vec![
            ("cloudEvents:subject", format!("effects/{record}")),
            ("rapport-tenant", self.tenant.to_string()),
            ("rapport-version", version.to_string()),
        ];
        Outgoing { id: id.to_owned(), routing_key: format!("{}.p00", PolicyChange::KEY), headers, body: event.encode_to_vec() }
    }

    /// The owner's address of the database.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }
}

/// A broker that is away.
pub(crate) fn nobody_listens() -> Broker {
    Broker::new(SecretString::from("amqp://127.0.0.1:1/%2f".to_owned()), String::new())
}

/// Writes an entry.
pub(crate) async fn write(tx: &mut Tx, entry: Entry) {
    sqlx::query("select kit.record($1)").bind(entry).execute(tx.conn()).await.expect("the entry is written");
}

/// The effect of an event: a row.
pub(crate) async fn note(tx: &mut Tx, received: Received<PolicyChange>) -> Result<(), Fault> {
    let record = received.subject.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok()).expect("the subject names a record");
    sqlx::query("insert into effect (tenant_id, record_id, version, event_id) values ($1, $2, $3, $4)")
        .bind(received.tenant)
        .bind(record)
        .bind(received.version)
        .bind(received.id)
        .execute(tx.conn())
        .await?;
    Ok(())
}
