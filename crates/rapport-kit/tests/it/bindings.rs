//! What stands on the broker: bindings follow the table of what is consumed, and tests leave nothing.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rapport_kit::bus::{Outcome, Outgoing, PARTITIONS, Publisher};
use rapport_kit::clock;
use rapport_kit::inbox::Consumers;
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::eventually;
use rapport_proto::Event;
use rapport_proto::common::v1::{PolicyChange, RecordShared};

use crate::line::{Line, note};
use crate::support::SERVICE;

#[tokio::test]
async fn events_that_a_service_consumes_no_more_are_unbound_and_the_others_stay() {
    let line = Line::new().await;
    let earlier = Tasks::default();
    Consumers::new(SERVICE.name)
        .on::<PolicyChange, _>(|tx, received| Box::pin(note(tx, received)))
        .on::<RecordShared, _>(|_, _| Box::pin(async { Ok(()) }))
        .run(&line.db, &line.system, &line.broker, &earlier);
    line.consumed().await;
    assert_eq!(routed(&line, RecordShared::KEY).await, [Outcome::Confirmed; PARTITIONS as usize]);
    assert!(earlier.stop(Duration::from_secs(15)).await);

    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    assert_eq!(routed(&line, RecordShared::KEY).await, [Outcome::Unroutable; PARTITIONS as usize]);
    assert_eq!(routed(&line, PolicyChange::KEY).await, [Outcome::Confirmed; PARTITIONS as usize]);
}

#[tokio::test]
async fn a_test_leaves_neither_queue_nor_exchange_on_the_broker() {
    let line = Line::running().await;
    line.record([(clock::new_id(), 1)]).await;
    line.all_effects(1).await;
    let connection = line.connection().await;
    let (exchange, queues): (String, Vec<String>) = (line.broker.exchange(), (0..PARTITIONS).map(|partition| line.queue(partition)).collect());
    drop(line);
    // Asking for what is not there closes the channel, so each question has its own.
    eventually("an end of the exchange", async || {
        let channel = connection.create_channel().await.expect("a channel");
        let look = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, look, FieldTable::default()).await.err()
    })
    .await;
    for queue in queues {
        let channel = connection.create_channel().await.expect("a channel");
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(queue.as_str().into(), look, FieldTable::default()).await;
        assert!(found.is_err(), "{queue} is still there");
    }
}

/// What becomes of one message with this key in each partition.
async fn routed(line: &Line, key: &str) -> Vec<Outcome> {
    let batch: Vec<Outgoing> = (0..PARTITIONS)
        .map(|partition| {
            let message = line.message(&clock::new_id().to_string(), "", clock::new_id(), 1);
            Outgoing { routing_key: format!("{key}.p{partition:02}"), ..message }
        })
        .collect();
    Publisher::new(line.broker.clone(), "by hand".to_owned()).publish(&batch).await.expect("the broker answers")
}
