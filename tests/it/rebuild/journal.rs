//! The journal's rows, gathered by record.

use std::collections::BTreeMap;

use chrono::DateTime;
use prost::Message;
use prost_types::Timestamp;
use rapport_kit::name;
use rapport_proto::Event;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// All that the journal says of one record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tenant: Uuid,
    pub(super) collection: String,
    pub(super) id: Uuid,
    /// Version after the last fact.
    pub(super) version: i64,
    /// Facts in order: event key and message.
    pub(super) facts: Vec<(String, Vec<u8>)>,
    /// The last snapshot.
    snapshot: Option<Vec<u8>>,
    /// Whether the record's own last fact had none.
    pub(super) deleted: bool,
}

/// Field 1 of an event about a record's state.
#[derive(Clone, PartialEq, Message)]
struct Stated {
    #[prost(bytes = "vec", optional, tag = "1")]
    snapshot: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    record_type: String,
    record_id: Uuid,
    version: i64,
    ordinal: i16,
    fact: String,
    message: Vec<u8>,
}

/// Every record of the journal.
pub(super) async fn records(conn: &mut PgConnection) -> Vec<Record> {
    let rows: Vec<Row> = sqlx::query_as(
        "select tenant_id, record_type, record_id, version, ordinal, fact, message from kit.journal
         order by tenant_id, record_type, record_id, version, ordinal",
    )
    .fetch_all(conn)
    .await
    .expect("the journal");
    let mut records: BTreeMap<(Uuid, String, Uuid), Record> = BTreeMap::new();
    for row in rows {
        let key = (row.tenant_id, row.record_type.clone(), row.record_id);
        let record = records.entry(key).or_insert_with(|| Record {
            tenant: row.tenant_id,
            collection: row.record_type,
            id: row.record_id,
            version: 0,
            facts: Vec::new(),
            snapshot: None,
            deleted: false,
        });
        record.version = row.version;
        if row.ordinal == 0 {
            let snapshot = Stated::decode(row.message.as_slice()).expect("an event").snapshot;
            record.deleted = snapshot.is_none();
            record.snapshot = snapshot.or(record.snapshot.take());
        }
        record.facts.push((row.fact, row.message));
    }
    records.into_values().collect()
}

/// The records of a collection, deleted ones too, each with its last snapshot.
pub(super) fn of<'a, S: Message + Default>(records: &'a [Record], collection: &'a str) -> impl Iterator<Item = (&'a Record, S)> {
    let of_collection = records.iter().filter(move |record| record.collection == collection);
    of_collection.map(|record| {
        let snapshot = record.snapshot.as_ref().expect("a record begins with a snapshot");
        (record, S::decode(snapshot.as_slice()).expect("a snapshot of the collection's type"))
    })
}

impl Record {
    /// The last event of this kind.
    pub(super) fn last<E: Event + Default>(&self) -> Option<E> {
        let last = self.facts.iter().rev().find(|(fact, _)| fact == E::KEY)?;
        Some(E::decode(last.1.as_slice()).expect("an event of its key's type"))
    }
}

/// The id in a name; null for none.
pub(super) fn id(text: &str) -> Option<Uuid> {
    name::split(text).map(|(_, id)| id)
}

/// A time as PostgreSQL reads it; null for none.
pub(super) fn time(time: Option<Timestamp>) -> Value {
    let time = time.and_then(|time| DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?));
    time.map_or(Value::Null, |time| json!(time.to_rfc3339()))
}
