//! Delivery while parts of the broker are missing: nothing is lost, nothing counts as sent that was not.

use lapin::options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rapport_kit::bus::{Outcome, Outgoing, Publisher};
use rapport_kit::clock;
use rapport_kit::db::{Db, PoolConfig};
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::eventually;
use secrecy::ExposeSecret;
use std::time::Duration;
use uuid::Uuid;

use crate::line::{Line, nobody_listens, note};
use crate::wire::Wire;

const DEEP: usize = 3000;

#[tokio::test]
async fn a_consumer_works_again_after_its_queues_were_deleted() {
    let line = Line::running().await;
    let record = clock::new_id();
    line.record([(record, 1)]).await;
    let mut expected = vec![(record, 1)];
    assert_eq!(line.all_effects(1).await, expected);
    for version in [2, 3] {
        line.delete_queues().await;
        line.record([(record, version)]).await;
        line.consumed().await;
        expected.push((record, version));
        assert_eq!(line.all_effects(expected.len()).await, expected);
    }
}

#[tokio::test]
async fn none_of_thousands_of_unroutable_messages_counts_as_sent() {
    let line = Line::new().await;
    let mut publisher = Publisher::new(line.broker.clone(), "by hand".to_owned());
    let batch: Vec<Outgoing> = (0..DEEP).map(|number| numbered(number, "nobody.wants.this")).collect();
    let outcomes = publisher.publish(&batch).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Unroutable; DEEP]);
}

#[tokio::test]
async fn among_thousands_of_messages_exactly_the_unroutable_ones_count_as_such() {
    let line = Line::new().await;
    let mut publisher = Publisher::new(line.broker.clone(), "by hand".to_owned());
    publisher.publish(&[]).await.unwrap();
    let connection = line.connection().await;
    let channel = connection.create_channel().await.unwrap();
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.unwrap();
    let exchange = line.broker.exchange();
    let bound =
        channel.queue_bind(queue.name().clone(), exchange.as_str().into(), "wanted".into(), QueueBindOptions::default(), FieldTable::default());
    bound.await.unwrap();
    for _ in 0..2 {
        let batch: Vec<Outgoing> = (0..DEEP).map(|number| numbered(number, if number % 2 == 0 { "wanted" } else { "unwanted" })).collect();
        let expected: Vec<Outcome> = (0..DEEP).map(|number| if number % 2 == 0 { Outcome::Confirmed } else { Outcome::Unroutable }).collect();
        assert_eq!(publisher.publish(&batch).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn events_wait_while_their_consumer_has_lost_its_bindings_and_none_is_lost() {
    let line = Line::new().await;
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    let relay = Tasks::default();
    line.relay(&relay);
    let first = clock::new_id();
    line.record([(first, 1)]).await;
    line.all_effects(1).await;

    line.unbind().await;
    let records: Vec<Uuid> = (0..20).map(|_| clock::new_id()).collect();
    for version in 1..=2 {
        line.record(records.iter().map(|record| (*record, version))).await;
    }
    line.round().await;
    assert_eq!(line.waiting().await, 40);

    // A relay that starts anew knows that somebody wanted them.
    assert!(relay.stop(Duration::from_secs(15)).await);
    line.relay(&line.tasks);
    line.round().await;
    assert_eq!(line.waiting().await, 40);
    assert_eq!(line.effects().await, [(first, 1)]);

    line.bind().await;
    let effects = line.all_effects(41).await;
    assert_eq!(effects.len(), 41);
    for record in records {
        let versions: Vec<i64> = effects.iter().filter(|(of, _)| *of == record).map(|(_, version)| *version).collect();
        assert_eq!(versions, [1, 2]);
    }
}

#[tokio::test]
async fn an_event_that_nobody_ever_asked_for_does_not_wait() {
    let line = Line::new().await;
    line.relay(&line.tasks);
    line.record([(clock::new_id(), 1)]).await;
    line.all_effects(0).await;
}

#[tokio::test]
async fn recording_goes_on_while_the_broker_is_away_and_the_events_leave_when_it_is_back() {
    let line = Line::new().await;
    let away = Tasks::default();
    line.relay_to(nobody_listens(), &away);
    let record = clock::new_id();
    line.record((1..=5).map(|version| (record, version))).await;
    line.round().await;
    assert_eq!(line.waiting().await, 5);
    assert!(away.stop(Duration::from_secs(15)).await);

    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    assert_eq!(line.all_effects(5).await, (1..=5).map(|version| (record, version)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_consumer_works_again_after_its_channel_was_closed_for_an_unknown_delivery() {
    let line = Line::new().await;
    let (wire, broker) = line.wired_broker().await;
    line.consume_over(&broker, &line.db, |tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    let record = clock::new_id();
    wire.forge_an_acknowledgement();
    line.record([(record, 1)]).await;
    eventually("the forged acknowledgement", async || wire.has_forged().then_some(())).await;
    line.record([(record, 2)]).await;
    line.consumed().await;
    line.record([(record, 3)]).await;
    assert_eq!(line.all_effects(3).await, [(record, 1), (record, 2), (record, 3)]);
}

#[tokio::test]
async fn a_publisher_works_again_after_its_exchange_was_deleted() {
    let line = Line::new().await;
    let mut publisher = Publisher::new(line.broker.clone(), "by hand".to_owned());
    let batch = [numbered(1, "nobody.wants.this")];
    assert_eq!(publisher.publish(&batch).await.unwrap(), [Outcome::Unroutable]);
    let channel = line.connection().await.create_channel().await.unwrap();
    channel.exchange_delete(line.broker.exchange().as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    // The broker closes the channel, and nothing of this batch counts as sent.
    assert!(publisher.publish(&batch).await.is_err());
    assert_eq!(publisher.publish(&batch).await.unwrap(), [Outcome::Unroutable]);
}

#[tokio::test]
async fn events_whose_confirms_never_come_are_sent_again_and_take_effect_once() {
    let line = Line::new().await;
    line.consume(|tx, received| Box::pin(note(tx, received))).await;
    let (wire, broker) = line.wired_broker().await;
    line.relay_to(broker, &line.tasks);
    let record = clock::new_id();
    line.record([(record, 1)]).await;
    line.all_effects(1).await;
    wire.hush();
    line.record([(record, 2)]).await;
    assert_eq!(line.all_effects(2).await, [(record, 1), (record, 2)]);
}

#[tokio::test]
async fn a_broker_that_blocks_publishers_holds_no_batch_for_ever_and_no_consumer_at_all() {
    let line = Line::new().await;
    let (wire, broker) = line.wired_broker().await;
    line.consume_over(&broker, &line.db, |tx, received| Box::pin(note(tx, received))).await;
    let mut publisher = Publisher::new(broker, "by hand".to_owned());
    let record = clock::new_id();
    publisher.publish(&[line.message("probe:1:1", "", record, 1)]).await.unwrap();
    wire.block_publishers();
    let blocked = [line.message("probe:1:2", "", record, 2)];
    assert!(publisher.publish(&blocked).await.is_err(), "a batch counts as sent that the broker never read");
    // Somebody whom the broker does not block.
    let mut other = Publisher::new(line.broker.clone(), "by another hand".to_owned());
    other.publish(&[line.message("probe:1:3", "", record, 3)]).await.unwrap();
    assert_eq!(line.all_effects(2).await, [(record, 1), (record, 3)]);
    assert_eq!(publisher.publish(&blocked).await.unwrap(), [Outcome::Confirmed]);
}

#[tokio::test]
async fn a_consumer_goes_on_after_its_database_fell_silent_in_the_middle_of_a_statement() {
    let line = Line::new().await;
    let wire = Wire::to(&line.logins().app).await;
    let pool = PoolConfig { answer_timeout: Duration::from_secs(1), ..PoolConfig::default() };
    let db = Db::new(wire.url(&line.logins().app).expose_secret(), pool).unwrap();
    line.consume_over(&line.broker, &db, |tx, received| Box::pin(note(tx, received))).await;
    line.relay(&line.tasks);
    let record = clock::new_id();
    line.record([(record, 1)]).await;
    line.all_effects(1).await;
    wire.hush();
    line.record([(record, 2)]).await;
    assert_eq!(line.all_effects(2).await, [(record, 1), (record, 2)]);
    assert!(line.dead_letters().await.is_empty(), "it was not the event's fault");
}

fn numbered(number: usize, routing_key: &str) -> Outgoing {
    Outgoing { id: number.to_string(), routing_key: routing_key.to_owned(), headers: Vec::new(), body: b"fact".to_vec() }
}
