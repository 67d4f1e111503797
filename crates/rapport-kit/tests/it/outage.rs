//! Delivery while parts of the broker are missing: nothing is lost, nothing counts as sent that was not.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rapport_kit::bus::{Outcome, Outgoing, Publisher};
use rapport_kit::clock;
use rapport_kit::tasks::Tasks;
use std::time::Duration;
use uuid::Uuid;

use crate::line::{Line, nobody_listens, note};

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

fn numbered(number: usize, routing_key: &str) -> Outgoing {
    Outgoing { id: number.to_string(), routing_key: routing_key.to_owned(), headers: Vec::new(), body: b"fact".to_vec() }
}
