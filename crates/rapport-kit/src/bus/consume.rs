//! Consuming: a supervisor that keeps a consumer alive whatever happens to connection, channel or queue.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::{Broker, BusError, answered};
use crate::metrics;
use crate::tasks::{Tasks, Window};

/// Deliveries held unacknowledged by one consumer at most; also the largest batch for one transaction.
const PREFETCH: u16 = 200;
/// A consumer that was cancelled or lost its channel is rebuilt after this time, doubling up to eight times it.
const REBUILD: Duration = Duration::from_millis(250);

/// What to consume.
#[derive(Debug, Clone)]
pub enum Queue {
    /// The durable queue of one partition of a service, bound to event keys without partition.
    Partition {
        /// Service that consumes.
        service: String,
        /// Which partition.
        partition: u8,
        /// Event keys.
        keys: Vec<String>,
        /// Event keys that the queue may still be bound to and must not be.
        unwanted: Vec<String>,
    },
    /// A queue of this process alone; what happens while it is away is not in it.
    Exclusive {
        /// Unique name.
        name: String,
        /// Event keys.
        keys: Vec<String>,
    },
}

/// A message as received.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Message id: the same for every delivery of one event.
    pub id: String,
    /// Routing key with partition.
    pub routing_key: String,
    /// Headers.
    pub headers: HashMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

/// Hands deliveries to `handle` in order, in batches of what is there, until the process stops. `handle`
/// answers how many from the front are done; those are acknowledged, the rest comes again.
pub async fn consume<H, F>(broker: Broker, queue: Queue, tasks: Tasks, handle: H)
where
    H: Fn(Vec<Delivery>) -> F,
    F: Future<Output = usize>,
{
    let stop = tasks.stopping();
    let mut wait = REBUILD;
    while !stop.is_cancelled() {
        let begun = std::time::Instant::now();
        if let Err(error) = session(&broker, &queue, &tasks, &handle).await {
            tracing::warn!(queue = ?queue_name(&broker, &queue), %error, "a consumer was lost and is rebuilt");
        }
        wait = if begun.elapsed() > Duration::from_secs(10) { REBUILD } else { (wait * 2).min(REBUILD * 8) };
        if !tasks.pause(wait).await {
            return;
        }
    }
}

fn queue_name(broker: &Broker, queue: &Queue) -> String {
    match queue {
        Queue::Partition { service, partition, .. } => broker.queue(service, &format!("p{partition:02}")),
        Queue::Exclusive { name, .. } => name.clone(),
    }
}

/// One channel's life. Ends with Ok when the process stops, with an error when anything broke.
async fn session<H, F>(broker: &Broker, queue: &Queue, tasks: &Tasks, handle: &H) -> Result<(), BusError>
where
    H: Fn(Vec<Delivery>) -> F,
    F: Future<Output = usize>,
{
    let name = queue_name(broker, queue);
    let connection = broker.consuming().await?;
    let channel = answered(connection.create_channel()).await?;
    let done = on_channel(&channel, broker, queue, &name, tasks, handle).await;
    // What was delivered and not acknowledged goes back to the queue with the channel.
    let _ = tokio::time::timeout(Duration::from_secs(1), channel.close(200, "bye".into())).await;
    done
}

async fn on_channel<H, F>(channel: &Channel, broker: &Broker, queue: &Queue, name: &str, tasks: &Tasks, handle: &H) -> Result<(), BusError>
where
    H: Fn(Vec<Delivery>) -> F,
    F: Future<Output = usize>,
{
    broker.declare_exchange(channel).await?;
    match queue {
        Queue::Partition { partition, keys, unwanted, .. } => {
            let own = |keys: &[String]| -> Vec<String> { keys.iter().map(|key| format!("{key}.p{partition:02}")).collect() };
            broker.declare_partition(channel, name, &own(keys)).await?;
            broker.unbind(channel, name, &own(unwanted)).await?;
        }
        Queue::Exclusive { keys, .. } => {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key}.*")).collect();
            broker.declare_exclusive(channel, name, &keys).await?;
        }
    }
    answered(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let mut deliveries = answered(channel.basic_consume(name.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())).await?;
    let _accepted = Accepted::now();
    let stop = tasks.stopping();
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            delivery = deliveries.next() => delivery,
        };
        // A cancelled consumer (queue deleted) ends the stream; a channel-level error comes once as Err and
        // then nothing for ever, so both end this session.
        let Some(first) = first else { return Err(BusError::Silent) };
        let mut batch = vec![first?];
        while batch.len() < usize::from(PREFETCH) {
            match futures_util::FutureExt::now_or_never(deliveries.next()) {
                Some(Some(delivery)) => batch.push(delivery?),
                _ => break,
            }
        }
        let done = handle(batch.iter().map(received).collect()).await.min(batch.len());
        if let Some(last) = done.checked_sub(1).and_then(|last| batch.get(last)) {
            tasks.at(Window::BeforeAck).await;
            // False means that the channel is gone and the broker will deliver again; the inbox knows them then.
            if !answered(last.ack(BasicAckOptions { multiple: true })).await? {
                return Err(BusError::Silent);
            }
            tasks.at(Window::AfterAck).await;
        }
        if let Some(last) = batch.last().filter(|_| done < batch.len()) {
            answered(last.nack(BasicNackOptions { multiple: true, requeue: true })).await?;
            if !tasks.pause(Duration::from_millis(200)).await {
                return Ok(());
            }
        }
    }
}

/// Counts a consumer for as long as its session lasts.
struct Accepted;

impl Accepted {
    fn now() -> Self {
        metrics::broker_consumers().inc();
        Self
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        metrics::broker_consumers().dec();
    }
}

fn received(delivery: &lapin::message::Delivery) -> Delivery {
    let properties = &delivery.properties;
    let mut headers = HashMap::new();
    if let Some(table) = properties.headers() {
        for (name, value) in table.inner() {
            if let AMQPValue::LongString(text) = value {
                headers.insert(name.to_string(), text.to_string());
            }
        }
    }
    Delivery {
        id: properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
        routing_key: delivery.routing_key.to_string(),
        headers,
        body: delivery.data.clone(),
    }
}
