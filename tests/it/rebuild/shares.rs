//! The shares of records from a service's journal.

use std::collections::BTreeMap;

use prost::Message;
use rapport_kit::name;
use rapport_proto::Event;
use rapport_proto::common::v1::{AccessLevel, RecordShared, RecordUnshared};
use serde_json::{Value, json};

use super::journal::{Record, time};

/// What was shared with each subject and not taken back since. Who gave it first stays who gave it.
pub(super) fn shares(record: &Record) -> Vec<Value> {
    let mut shares: BTreeMap<String, Value> = BTreeMap::new();
    for (fact, message) in &record.facts {
        if fact == RecordShared::KEY {
            let share = RecordShared::decode(message.as_slice()).expect("an event").share.expect("a share");
            let (kind, subject) = name::split(&share.subject).expect("a subject");
            let row = json!({
                "tenant_id": record.tenant,
                "record_id": record.id,
                "subject_id": subject,
                "subject_kind": kind,
                "can_write": share.access_level() == AccessLevel::Write,
                "role": share.role,
                "created_by": share.creator,
                "created_at": time(share.create_time),
            });
            shares.insert(share.subject, row);
        } else if fact == RecordUnshared::KEY {
            shares.remove(&RecordUnshared::decode(message.as_slice()).expect("an event").subject);
        }
    }
    shares.into_values().collect()
}
