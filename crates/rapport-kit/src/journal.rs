//! The journal: one row for each committed change, written by the statement that makes the change.
//!
//! Guarantees: the row, the outbox pointer and the idempotency key are written together with the change or
//! not at all. Rows are only added. Every row of a record carries its version; (version, ordinal) is the
//! order of a record's facts.
//!
//! Events carry the record's snapshot as field 1; a fact without one ends the record's story (deletion).

mod history;
mod idempotency;
pub mod seal;

use rapport_proto::Event;
use uuid::Uuid;

pub(crate) use history::snapshot_bytes;
pub use history::{Change, Written, as_of, at_version, before, changes, snapshots, written_by};
pub use idempotency::{Earlier, purge as purge_idempotency};

use crate::ctx::Ctx;
use crate::fault::Fault;

/// Most bytes of one event message.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// One entry as handed to `kit.record($n)`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "kit.entry")]
pub struct Entry {
    /// Tenant.
    pub tenant_id: Uuid,
    /// Collection of the record, such as `contacts`.
    pub record_type: String,
    /// Id of the record.
    pub record_id: Uuid,
    /// Version after the change.
    pub version: i64,
    /// Position among the facts of one commit.
    pub ordinal: i16,
    /// Event key.
    pub fact: String,
    /// Full name of the message.
    pub message_type: String,
    /// The event message.
    pub message: Option<Vec<u8>>,
    /// Who acted.
    pub actor: String,
    /// For whom, if for somebody else.
    pub on_behalf_of: Option<String>,
    /// Request id.
    pub request_id: String,
    /// W3C trace id, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// Job that made the change.
    pub job_id: Option<Uuid>,
    /// People whom the message describes.
    pub subjects: Vec<Uuid>,
    /// Leaves behind other records' events.
    pub bulk: bool,
    /// Idempotency key.
    pub key: Option<String>,
    /// Hash of the request that the key came with.
    pub key_hash: Option<Vec<u8>>,
}

/// Which record an entry is about.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Collection, such as `contacts`.
    pub collection: &'static str,
    /// Id.
    pub id: Uuid,
    /// Version after the change.
    pub version: i64,
}

/// The entry of `event` about `record`, under the caller's ids and idempotency key.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE) if the snapshot exceeds 256 KiB.
pub fn entry<E: Event>(ctx: &Ctx, record: Record, event: &E, subjects: Vec<Uuid>) -> Result<Entry, Fault> {
    let message = event.encode_to_vec();
    if message.len() > MAX_MESSAGE {
        return Err(Fault::argument("RECORD_TOO_LARGE", "Shorten the record: with everything in it, it may take at most 256 KiB.")
            .with("bytes", message.len().to_string()));
    }
    let key = ctx.key();
    Ok(Entry {
        tenant_id: ctx.tenant(),
        record_type: record.collection.to_owned(),
        record_id: record.id,
        version: record.version,
        ordinal: 0,
        fact: E::KEY.to_owned(),
        message_type: E::MESSAGE.to_owned(),
        message: Some(message),
        actor: ctx.actor().name.clone(),
        on_behalf_of: ctx.actor().on_behalf_of.clone(),
        request_id: ctx.call().request_id.clone(),
        trace_id: ctx.call().trace_id.clone(),
        job_id: ctx.job(),
        subjects,
        bulk: ctx.job().is_some(),
        key: key.map(|key| key.key.clone()),
        key_hash: key.map(|key| key.hash.clone()),
    })
}

impl Entry {
    /// The same record's next fact in the same commit; it carries no key of its own.
    #[must_use]
    pub fn after(mut self, ordinal: i16) -> Self {
        self.ordinal = ordinal;
        self.key = None;
        self.key_hash = None;
        self
    }
}
