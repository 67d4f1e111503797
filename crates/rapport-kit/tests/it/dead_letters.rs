//! Events that a service could not take in: seen, handed over again, given up, each once and in order.

mod desk;

use rapport_kit::clock;
use rapport_proto::Event;
use rapport_proto::common::v1 as pb;
use tonic::Code;
use uuid::Uuid;

use self::desk::Desk;
use crate::support::refusal;

/// Times that an event is tried at most before it is dead.
const TRIES: u32 = 12;

#[tokio::test]
async fn a_poison_event_stands_in_the_list_with_its_reason_and_keeps_its_own_record_alone() {
    let desk = Desk::open().await;
    let (spoilt, sound) = (clock::new_id(), clock::new_id());
    desk.break_down("poison").await;
    let poison = desk.send(spoilt, 1, "poison").await;
    for version in [2, 3] {
        desk.send(spoilt, version, "").await;
    }
    desk.send(sound, 1, "").await;
    assert_eq!(desk.all_effects(1).await, [(sound, 1)]);
    let letter = desk.only_letter().await;
    assert!(letter.name.starts_with("services/probe/deadLetters/"), "{}", letter.name);
    assert!(letter.error.starts_with("MAKES_NO_SENSE"), "{}", letter.error);
    assert_eq!((letter.event_id.as_str(), letter.fact.as_str()), (poison.as_str(), pb::RecordShared::KEY));
    assert_eq!((letter.subject, letter.subject_version, letter.consumer), (format!("effects/{spoilt}"), 1, "probe".to_owned()));
    assert_eq!((letter.waiting_count, letter.trace_id.as_str()), (2, "00-trace-01"));
    assert!((1..=TRIES).contains(&desk.tries(&poison)), "{} tries", desk.tries(&poison));
    assert_eq!(letter.attempt_count, 1);

    let subject = |record: Uuid| format!("subject = \"effects/{record}\" AND consumer = \"probe\" AND first_failure_time > \"2001-01-01T00:00:00Z\"");
    assert_eq!(desk.letters(&subject(spoilt)).await.len(), 1);
    assert!(desk.letters(&subject(sound)).await.is_empty());
}

#[tokio::test]
async fn a_panicking_reaction_costs_its_own_event_alone() {
    let desk = Desk::open().await;
    let (spoilt, sound) = (clock::new_id(), clock::new_id());
    let poison = desk.send(spoilt, 1, "panic").await;
    desk.send(sound, 1, "").await;
    assert_eq!(desk.all_effects(1).await, [(sound, 1)]);
    assert_eq!(desk.only_letter().await.event_id, poison);
    assert!((1..=TRIES).contains(&desk.tries(&poison)), "{} tries", desk.tries(&poison));
}

#[tokio::test]
async fn a_replay_after_the_cause_is_mended_has_one_effect_and_the_waiting_events_follow_in_order() {
    let desk = Desk::open().await;
    let record = clock::new_id();
    desk.break_down("poison").await;
    desk.send(record, 1, "poison").await;
    for version in 2..=4 {
        desk.send(record, version, "").await;
    }
    let letter = desk.waited_for(3).await;
    desk.replay(&desk.administrator, &letter.name, None).await.expect("an administrator may");
    // It has as many tries as a new one, though it failed long before.
    let again = desk.only_letter().await;
    assert_eq!((again.name.as_str(), again.attempt_count, again.waiting_count), (letter.name.as_str(), 1, 3));
    assert_eq!(again.first_failure_time, letter.first_failure_time);
    assert!(desk.effects().await.is_empty());

    desk.mend("poison").await;
    let answer = desk.replay(&desk.administrator, &letter.name, None).await.expect("an administrator may");
    assert_eq!((answer.replayed_names, answer.missing_names), (vec![letter.name.clone()], Vec::new()));
    let expected: Vec<(Uuid, i64)> = (1..=4).map(|version| (record, version)).collect();
    assert_eq!(desk.all_effects(4).await, expected);
    assert!(desk.letters("").await.is_empty());
    // What the broker delivers once more, and what comes later, find everything done.
    for version in 1..=5 {
        desk.send(record, version, "").await;
    }
    assert_eq!(desk.all_effects(5).await, [expected, vec![(record, 5)]].concat());
    let answer = desk.replay(&desk.administrator, &letter.name, None).await.expect("an administrator may");
    assert_eq!((answer.replayed_names, answer.missing_names), (Vec::new(), vec![letter.name]));
    assert_eq!(desk.journal().await, ["common.dead_letter.replayed.v1", "common.dead_letter.replayed.v1"]);
}

#[tokio::test]
async fn events_that_arrive_during_a_replay_stand_behind_the_waiting_ones() {
    let desk = Desk::open().await;
    let record = clock::new_id();
    desk.break_down("poison").await;
    desk.send(record, 1, "poison").await;
    for version in 2..=60 {
        desk.send(record, version, "").await;
    }
    let letter = desk.waited_for(59).await;
    desk.mend("poison").await;
    desk.replay(&desk.administrator, &letter.name, None).await.expect("an administrator may");
    for version in 61..=160 {
        desk.send(record, version, "").await;
    }
    assert_eq!(desk.all_effects(160).await, (1..=160).map(|version| (record, version)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_waiting_event_that_fails_is_the_next_dead_letter() {
    let desk = Desk::open().await;
    let record = clock::new_id();
    for name in ["poison", "worse"] {
        desk.break_down(name).await;
    }
    desk.send(record, 1, "poison").await;
    let worse = desk.send(record, 2, "worse").await;
    desk.send(record, 3, "").await;
    let letter = desk.waited_for(2).await;
    desk.mend("poison").await;
    desk.replay(&desk.administrator, &letter.name, None).await.expect("an administrator may");
    assert_eq!(desk.all_effects(1).await, [(record, 1)]);
    let next = desk.only_letter().await;
    assert_eq!((next.event_id, next.attempt_count, next.waiting_count), (worse, 1, 1));
}

#[tokio::test]
async fn a_discarded_event_never_takes_effect_and_the_waiting_ones_go_on() {
    let desk = Desk::open().await;
    let record = clock::new_id();
    desk.break_down("poison").await;
    let poison = desk.send(record, 1, "poison").await;
    desk.send(record, 2, "").await;
    let letter = desk.waited_for(1).await;
    let refused = desk.discard(&desk.administrator, &letter.name, "  ").await.expect_err("a reason is asked for");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    let answer = desk.discard(&desk.administrator, &letter.name, "sent by mistake").await.expect("an administrator may");
    assert_eq!((answer.discarded_names, answer.missing_names), (vec![letter.name], Vec::new()));
    assert_eq!(desk.all_effects(1).await, [(record, 2)]);
    desk.mend("poison").await;
    desk.send_as(&poison, record, 1, "poison").await;
    desk.send(record, 3, "").await;
    assert_eq!(desk.all_effects(2).await, [(record, 2), (record, 3)]);
    assert!(desk.letters("").await.is_empty());
    assert_eq!(desk.journal().await, ["common.dead_letter.discarded.v1"]);
}

#[tokio::test]
async fn another_tenant_sees_no_letter_and_decides_about_none() {
    let desk = Desk::open().await;
    desk.break_down("poison").await;
    desk.send(clock::new_id(), 1, "poison").await;
    let letter = desk.only_letter().await;
    let seen = desk.list(&desk.foreigner, "").await.expect("a foreigner may list their own");
    assert!(seen.dead_letters.is_empty());
    let answer = desk.replay(&desk.foreigner, &letter.name, None).await.expect("a foreigner may ask");
    assert_eq!((answer.replayed_names, answer.missing_names), (Vec::new(), vec![letter.name.clone()]));
    let answer = desk.discard(&desk.foreigner, &letter.name, "not mine").await.expect("a foreigner may ask");
    assert_eq!((answer.discarded_names, answer.missing_names), (Vec::new(), vec![letter.name.clone()]));
    assert_eq!(desk.only_letter().await, letter);
    assert!(desk.journal().await.is_empty());
}

#[tokio::test]
async fn a_replay_sent_twice_under_one_key_is_one_replay() {
    let desk = Desk::open().await;
    desk.break_down("poison").await;
    let poison = desk.send(clock::new_id(), 1, "poison").await;
    let letter = desk.only_letter().await;
    let first = desk.replay(&desk.administrator, &letter.name, Some("key-1")).await.expect("an administrator may");
    // It fails again, so that a second handing over would be seen.
    desk.only_letter().await;
    let tries = desk.tries(&poison);
    let second = desk.replay(&desk.administrator, &letter.name, Some("key-1")).await.expect("the same answer");
    assert_eq!(first, second);
    desk.only_letter().await;
    assert_eq!((desk.tries(&poison), desk.journal().await.len()), (tries, 1));
    let other = format!("services/probe/deadLetters/{}", clock::new_id());
    // A request that finds nothing uses its key up too.
    let answer = desk.replay(&desk.administrator, &other, Some("key-2")).await.expect("an administrator may ask");
    assert_eq!(desk.replay(&desk.administrator, &other, Some("key-2")).await.expect("the same answer"), answer);
    for (name, key) in [(&other, "key-1"), (&letter.name, "key-2")] {
        let refused = desk.replay(&desk.administrator, name, Some(key)).await.expect_err("the key came with another request");
        assert_eq!(refusal(&refused), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    }
}

#[tokio::test]
async fn requests_that_name_another_service_or_too_many_letters_are_refused() {
    let desk = Desk::open().await;
    let elsewhere = pb::ListDeadLettersRequest { parent: "services/other".to_owned(), ..pb::ListDeadLettersRequest::default() };
    let refused = desk.client().list_dead_letters(desk.administrator.request(elsewhere)).await.expect_err("another service");
    assert_eq!(refusal(&refused), (Code::NotFound, "RECORD_NOT_FOUND".to_owned()));
    let request = |names: Vec<String>| pb::ReplayDeadLettersRequest { parent: "services/probe".to_owned(), names };
    let foreign = vec![format!("services/other/deadLetters/{}", clock::new_id())];
    let many = vec![format!("services/probe/deadLetters/{}", clock::new_id()); 1001];
    for (names, reason) in [(foreign, "FIELD_INVALID"), (vec!["probe".to_owned()], "FIELD_INVALID"), (many, "BATCH_TOO_LARGE")] {
        let refused = desk.client().replay_dead_letters(desk.administrator.request(request(names))).await.expect_err(reason);
        assert_eq!(refusal(&refused), (Code::InvalidArgument, reason.to_owned()));
    }
}
