//! What a merge is asked to do, and what is refused to merges of contacts and of accounts alike.

use prost_types::FieldMask;
use rapport_contacts_api::v1 as pb;
use rapport_kit::{Ctx, Fault, command, name};
use uuid::Uuid;

use super::Refusal;
use super::lists::TooMany;
use crate::{account, contact, update};

/// A merge as it is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The record that goes on.
    pub survivor: Uuid,
    /// The one that becomes part of it.
    pub loser: Uuid,
    /// Paths of fields whose value is to be the loser's.
    pub from_loser: Vec<&'static str>,
    survivor_etag: String,
    loser_etag: String,
}

/// Where records of a kind are, and what can be written of them.
struct Kind {
    collection: &'static str,
    resource: &'static str,
    paths: &'static [&'static str],
}

const CONTACTS: Kind = Kind { collection: contact::COLLECTION, resource: contact::RESOURCE, paths: contact::convert::PATHS };
const ACCOUNTS: Kind = Kind { collection: account::COLLECTION, resource: account::RESOURCE, paths: account::convert::PATHS };

impl Asked {
    /// What a merge of contacts is asked to do.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID, MERGE_WITH_SELF); PERMISSION_DENIED (FIELD_READ_ONLY).
    pub fn of_contacts(ctx: &Ctx, request: pb::MergeContactsRequest) -> Result<Self, Fault> {
        let etags = (request.survivor_etag, request.loser_etag);
        Self::parse(ctx, &CONTACTS, &request.survivor, &request.loser, request.from_loser, etags)
    }

    /// What a merge of accounts is asked to do.
    ///
    /// # Errors
    /// As [`Asked::of_contacts`].
    pub fn of_accounts(ctx: &Ctx, request: pb::MergeAccountsRequest) -> Result<Self, Fault> {
        let etags = (request.survivor_etag, request.loser_etag);
        Self::parse(ctx, &ACCOUNTS, &request.survivor, &request.loser, request.from_loser, etags)
    }

    fn parse(ctx: &Ctx, kind: &Kind, survivor: &str, loser: &str, from_loser: Option<FieldMask>, etags: (String, String)) -> Result<Self, Fault> {
        let survivor = name::parse(kind.collection, survivor, "survivor")?;
        let loser = name::parse(kind.collection, loser, "loser")?;
        if survivor == loser {
            return Err(Fault::argument("MERGE_WITH_SELF", "Name two different records; one cannot be merged with itself."));
        }
        let from_loser = update::paths(from_loser, |_| false, kind.paths, ctx.fields(kind.resource))?;
        Ok(Self { survivor, loser, from_loser, survivor_etag: etags.0, loser_etag: etags.1 })
    }

    /// Refuses versions that are not those that the caller read, if it says which.
    ///
    /// # Errors
    /// ABORTED (ETAG_MISMATCH).
    pub fn require_etags(&self, collection: &str, survivor: i64, loser: i64) -> Result<(), Fault> {
        command::require_etag(&self.survivor_etag, survivor, || name::format(collection, self.survivor))?;
        command::require_etag(&self.loser_etag, loser, || name::format(collection, self.loser))
    }
}

/// The refusal of a list that would be too long, by its name if the caller's roles show it.
#[must_use]
pub fn too_many(ctx: &Ctx, resource: &str, TooMany { field, max }: TooMany) -> Fault {
    let field = if ctx.fields(resource).require_readable(field).is_ok() { field } else { "a list that your roles do not show" };
    let text = format!("Together they have more than {max} entries in {field}; remove some of them first, or take the list from one record.");
    Fault::precondition("MERGE_TOO_LARGE", text).with("field", field).with("max", max.to_string())
}

/// A past that was erased cannot be brought back.
#[must_use]
pub fn forgotten(fault: Fault) -> Fault {
    if fault.reason() == "ANSWER_EXPIRED" { Refusal::TooOld.into() } else { fault }
}
