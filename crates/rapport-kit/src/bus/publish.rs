//! Publishing batches with confirms.

use std::collections::HashSet;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::{Broker, BusError, answered};

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Unique within the batch; also the message id that consumers see.
    pub id: String,
    /// Routing key with partition.
    pub routing_key: String,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What became of one message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In at least one queue, durably.
    Confirmed,
    /// No queue wanted it.
    Unroutable,
    /// Refused by a queue, or the answer is not known.
    Failed,
}

/// One connection and channel for publishing; rebuilt on the next batch after anything went wrong.
#[derive(Debug)]
pub struct Publisher {
    broker: Broker,
    name: String,
    link: Option<(Connection, Channel)>,
}

impl Publisher {
    /// A publisher; connects with the first batch.
    #[must_use]
    pub fn new(broker: Broker, name: String) -> Self {
        Self { broker, name, link: None }
    }

    /// Publishes all messages of the batch, then waits for all answers. One outcome for each message, in order.
    ///
    /// # Errors
    /// If the broker cannot be reached or did not answer in time; every message counts as not confirmed then.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<Outcome>, BusError> {
        let link = match self.link.take() {
            Some(link) if link.1.status().connected() => link,
            _ => self.connect().await?,
        };
        // While the batch is under way the link is out of place, so that a dropped future leaves none behind.
        let outcomes = publish(&link.1, &self.broker.exchange(), batch).await?;
        self.link = Some(link);
        Ok(outcomes)
    }

    async fn connect(&self) -> Result<(Connection, Channel), BusError> {
        let connection = self.broker.connect(&self.name).await?;
        let channel = answered(connection.create_channel()).await?;
        answered(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        self.broker.declare_exchange(&channel).await?;
        Ok((connection, channel))
    }

    /// Ends the connection in good order.
    pub async fn close(&mut self) {
        if let Some((connection, _)) = self.link.take() {
            let _ = answered(connection.close(200, "bye".into())).await;
        }
    }
}

async fn publish(channel: &Channel, exchange: &str, batch: &[Outgoing]) -> Result<Vec<Outcome>, BusError> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = Vec::with_capacity(batch.len());
    for message in batch {
        let publish = channel.basic_publish(exchange.into(), message.routing_key.as_str().into(), options, &message.body, properties(message));
        confirms.push(answered(publish).await?);
    }
    let answers = answered(async { join_all(confirms).await.into_iter().collect::<lapin::Result<Vec<Confirmation>>>() }).await?;
    let mut returned = HashSet::new();
    let mut acknowledged = Vec::with_capacity(batch.len());
    for answer in answers {
        let (acked, message) = match answer {
            Confirmation::Ack(message) => (true, message),
            Confirmation::Nack(message) => (false, message),
            Confirmation::NotRequested => (false, None),
        };
        acknowledged.push(acked);
        if let Some(id) = message.and_then(|message| message.delivery.properties.message_id().clone()) {
            returned.insert(id.to_string());
        }
    }
    Ok(batch
        .iter()
        .zip(acknowledged)
        .map(|(message, acked)| match (acked, returned.contains(&message.id)) {
            (_, true) => Outcome::Unroutable,
            (true, false) => Outcome::Confirmed,
            (false, false) => Outcome::Failed,
        })
        .collect())
}

fn properties(message: &Outgoing) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert((*name).into(), AMQPValue::LongString(value.as_str().into()));
    }
    BasicProperties::default()
        .with_message_id(message.id.as_str().into())
        .with_content_type("application/protobuf".into())
        .with_delivery_mode(2)
        .with_headers(headers)
}
