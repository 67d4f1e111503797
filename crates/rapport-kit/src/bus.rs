//! RabbitMQ: everything that touches lapin.
//!
//! Guarantees: a publish counts as confirmed only if the broker acknowledged it and it did not come back,
//! with returns matched by message id over the whole batch (under deep pipelines the client hands returns to
//! the wrong confirm); every wait has an end of its own; publishing and consuming use separate connections,
//! because a blocked connection also stops acknowledgements; all consumers of a process share one connection,
//! each with a channel of its own; a broken channel is rebuilt here, since the client's recovery ignores
//! channel-level errors.

mod consume;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

pub use consume::{Delivery, Queue, consume};
pub use publish::{Outcome, Outgoing, Publisher};

/// Partitions of every event stream; a record's events are always in the same one.
pub const PARTITIONS: u8 = 8;
/// Longest wait for any single answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a frame. The client keeps room for 64 of them with each connection; larger messages take several.
const FRAME: u32 = 16 * 1024;

/// Where the broker is and how names on it begin.
#[derive(Debug, Clone)]
pub struct Broker {
    url: SecretString,
    prefix: String,
    /// The connection that all consumers of the process share.
    consuming: Arc<Mutex<Option<Arc<Connection>>>>,
}

/// What can go wrong with the broker; all of it passes or needs an operator.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The broker or the client refused.
    #[error("broker: {0}")]
    Lapin(#[from] lapin::Error),
    /// No answer in time.
    #[error("the broker did not answer within {} s", ANSWER.as_secs())]
    Silent,
}

impl Broker {
    /// The broker at `url`; `prefix` keeps installations (and tests) on one broker apart.
    #[must_use]
    pub fn new(url: SecretString, prefix: String) -> Self {
        Self { url, prefix, consuming: Arc::default() }
    }

    /// The one topic exchange of all events.
    #[must_use]
    pub fn exchange(&self) -> String {
        format!("{}rapport.events", self.prefix)
    }

    /// A queue of a service.
    #[must_use]
    pub fn queue(&self, service: &str, suffix: &str) -> String {
        format!("{}{}.{suffix}", self.prefix, service.replace('-', "_"))
    }

    async fn connect(&self, name: &str) -> Result<Connection, BusError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let url = self.url.expose_secret();
        let separator = if url.contains('?') { '&' } else { '?' };
        let connection = answered(Connection::connect(&format!("{url}{separator}heartbeat=10&frame_max={FRAME}"), properties)).await?;
        Ok(connection)
    }

    /// Connects and says goodbye.
    pub(crate) async fn reached(&self) -> Result<(), BusError> {
        let connection = self.connect(&format!("{}check", self.prefix)).await?;
        answered(connection.close(200, "bye".into())).await
    }

    /// The connection for consuming; a new one if the last one broke.
    async fn consuming(&self) -> Result<Arc<Connection>, BusError> {
        let mut shared = self.consuming.lock().await;
        if let Some(connection) = shared.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.connect(&format!("{}consumers", self.prefix)).await?);
        *shared = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn declare_exchange(&self, channel: &Channel) -> Result<(), BusError> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        answered(channel.exchange_declare(self.exchange().as_str().into(), ExchangeKind::Topic, options, FieldTable::default())).await
    }

    /// A durable quorum queue with single active consumer, bound to the keys. Limits are set by broker
    /// policies, because arguments cannot be changed later.
    async fn declare_partition(&self, channel: &Channel, queue: &str, keys: &[String]) -> Result<(), BusError> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        answered(channel.queue_declare(queue.into(), options, arguments)).await?;
        self.bind(channel, queue, keys).await
    }

    /// A queue of this connection alone, gone with it.
    async fn declare_exclusive(&self, channel: &Channel, queue: &str, keys: &[String]) -> Result<(), BusError> {
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        answered(channel.queue_declare(queue.into(), options, FieldTable::default())).await?;
        self.bind(channel, queue, keys).await
    }

    async fn bind(&self, channel: &Channel, queue: &str, keys: &[String]) -> Result<(), BusError> {
        for key in keys {
            let exchange = self.exchange();
            answered(channel.queue_bind(
                queue.into(),
                exchange.as_str().into(),
                key.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            ))
            .await?;
        }
        Ok(())
    }

    /// Takes bindings away; one that is not there is well too.
    async fn unbind(&self, channel: &Channel, queue: &str, keys: &[String]) -> Result<(), BusError> {
        for key in keys {
            let exchange = self.exchange();
            answered(channel.queue_unbind(queue.into(), exchange.as_str().into(), key.as_str().into(), FieldTable::default())).await?;
        }
        Ok(())
    }

    /// Deletes the exchange and the queues of these services.
    ///
    /// # Errors
    /// If the broker cannot be reached or does not answer in time.
    #[cfg(feature = "testing")]
    pub(crate) async fn delete(&self, services: &[String]) -> Result<(), BusError> {
        let connection = self.connect("tidying up").await?;
        let channel = answered(connection.create_channel()).await?;
        answered(channel.exchange_delete(self.exchange().as_str().into(), lapin::options::ExchangeDeleteOptions::default())).await?;
        for service in services {
            for partition in 0..PARTITIONS {
                let queue = self.queue(service, &format!("p{partition:02}"));
                answered(channel.queue_delete(queue.as_str().into(), lapin::options::QueueDeleteOptions::default())).await?;
            }
        }
        answered(connection.close(200, "bye".into())).await
    }
}

/// Waits for an answer of the broker, but not for ever.
async fn answered<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, BusError> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BusError::Silent),
    }
}
