//! Page tokens: a cursor, the fingerprint of its query and the time, sealed and written as base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use uuid::Uuid;

use super::{Cursor, KeyValue, Query, Sealer, invalid};
use crate::clock;
use crate::fault::Fault;

/// Rises when the content of tokens changes its meaning.
const VERSION: u32 = 1;
/// How long a token may be used.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    keys: Vec<Key>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    query: Vec<u8>,
    #[prost(int64, tag = "5")]
    issued: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Key {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(int64, tag = "3")]
    Micros(i64),
}

impl Sealer {
    /// The token of the page after `cursor` in the list that `query` asks for.
    #[must_use]
    pub fn seal(&self, cursor: &Cursor, query: &Query) -> String {
        self.seal_at(cursor, query, clock::now())
    }

    /// Where the page that `token` asks for begins; none for the first page, which has an empty token.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (PAGE_TOKEN_INVALID) if the token was not made here for this query within 24 hours.
    pub fn open(&self, token: &str, query: &Query) -> Result<Option<Cursor>, Fault> {
        self.open_at(token, query, clock::now())
    }

    fn seal_at(&self, cursor: &Cursor, query: &Query, now: DateTime<Utc>) -> String {
        let content = Content {
            version: VERSION,
            keys: cursor.keys.iter().map(|key| Key { value: Some(to_value(key)) }).collect(),
            id: cursor.id.as_bytes().to_vec(),
            query: query.hash(),
            issued: now.timestamp(),
        };
        URL_SAFE_NO_PAD.encode(self.encrypt(content.encode_to_vec()))
    }

    fn open_at(&self, token: &str, query: &Query, now: DateTime<Utc>) -> Result<Option<Cursor>, Fault> {
        if token.is_empty() {
            return Ok(None);
        }
        let content = self.content(token).ok_or_else(|| invalid("is not one that was issued here"))?;
        if content.query != query.hash() {
            return Err(invalid("belongs to another request (everything but page_size must stay the same)"));
        }
        if now.timestamp().saturating_sub(content.issued) > LIFETIME.num_seconds() {
            return Err(invalid("is older than 24 hours"));
        }
        let cursor = to_cursor(content).ok_or_else(|| invalid("is not one that was issued here"))?;
        Ok(Some(cursor))
    }

    fn content(&self, token: &str) -> Option<Content> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let content = Content::decode(self.decrypt(&sealed)?.as_slice()).ok()?;
        (content.version == VERSION).then_some(content)
    }
}

fn to_value(key: &KeyValue) -> Value {
    match key {
        KeyValue::Text(text) => Value::Text(text.clone()),
        KeyValue::Int(number) => Value::Int(*number),
        KeyValue::Time(time) => Value::Micros(time.timestamp_micros()),
    }
}

fn to_cursor(content: Content) -> Option<Cursor> {
    let id = Uuid::from_slice(&content.id).ok()?;
    let keys = content.keys.into_iter().map(|key| to_key(key.value?)).collect::<Option<Vec<_>>>()?;
    Some(Cursor { keys, id })
}

fn to_key(value: Value) -> Option<KeyValue> {
    match value {
        Value::Text(text) => Some(KeyValue::Text(text)),
        Value::Int(number) => Some(KeyValue::Int(number)),
        Value::Micros(micros) => DateTime::from_timestamp_micros(micros).map(KeyValue::Time),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query() -> Query {
        Query::new("List").with("tenant", Uuid::nil()).with("filter", "")
    }

    fn cursor() -> Cursor {
        let keys = vec![KeyValue::Text("çelik".to_owned()), KeyValue::Int(-7), KeyValue::Time(clock::now())];
        Cursor { keys, id: clock::new_id() }
    }

    fn problem(sealer: &Sealer, token: &str, query: &Query) -> String {
        let fault = sealer.open(token, query).unwrap_err();
        assert_eq!((fault.code(), fault.reason()), (tonic::Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
        fault.text().to_owned()
    }

    #[test]
    fn a_token_gives_back_the_cursor_it_was_made_of() {
        let (sealer, cursor) = (Sealer::random(), cursor());
        assert_eq!(sealer.open(&sealer.seal(&cursor, &query()), &query()).unwrap(), Some(cursor));
    }

    #[test]
    fn an_empty_token_is_the_first_page() {
        assert_eq!(Sealer::random().open("", &query()).unwrap(), None);
    }

    #[test]
    fn another_tenant_or_another_filter_does_not_open_the_token() {
        let sealer = Sealer::random();
        let token = sealer.seal(&cursor(), &query());
        let foreign = Query::new("List").with("tenant", Uuid::max()).with("filter", "");
        let filtered = Query::new("List").with("tenant", Uuid::nil()).with("filter", "a = 1");
        for other in [foreign, filtered] {
            assert!(problem(&sealer, &token, &other).contains("another request"));
        }
    }

    #[test]
    fn a_token_lives_for_24_hours() {
        let (sealer, now) = (Sealer::random(), clock::now());
        let token = sealer.seal_at(&cursor(), &query(), now);
        assert!(sealer.open_at(&token, &query(), now + LIFETIME).is_ok());
        let late = sealer.open_at(&token, &query(), now + LIFETIME + TimeDelta::seconds(1)).unwrap_err();
        assert_eq!(late.reason(), "PAGE_TOKEN_INVALID");
        assert!(late.text().contains("24 hours"));
    }

    #[test]
    fn a_token_of_another_key_or_cut_short_is_refused() {
        let sealer = Sealer::random();
        let token = sealer.seal(&cursor(), &query());
        assert!(problem(&Sealer::random(), &token, &query()).contains("issued here"));
        for length in 1..token.len() {
            problem(&sealer, &token[..length], &query());
        }
    }

    #[test]
    fn two_tokens_for_one_place_differ_and_show_nothing_of_it() {
        let (sealer, cursor) = (Sealer::random(), cursor());
        let (first, second) = (sealer.seal(&cursor, &query()), sealer.seal(&cursor, &query()));
        assert_ne!(first, second);
        assert!(!String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(first).unwrap()).contains("elik"));
    }

    proptest! {
        #[test]
        fn no_made_up_text_is_a_token(token in "\\PC{1,200}") {
            prop_assert!(Sealer::new(b"secret").open(&token, &query()).is_err());
        }

        #[test]
        fn no_changed_bit_survives(position in 0_usize..1000, bit in 0_u8..8) {
            let sealer = Sealer::new(b"secret");
            let mut sealed = URL_SAFE_NO_PAD.decode(sealer.seal(&cursor(), &query())).unwrap();
            let position = position % sealed.len();
            sealed[position] ^= 1 << bit;
            prop_assert!(sealer.open(&URL_SAFE_NO_PAD.encode(sealed), &query()).is_err());
        }
    }
}
