//! Everything that is published: each fact of a resource becomes one event.

use rapport_contacts_api::v1 as pb;
use rapport_kit::journal::{self, Entry, Record};
use rapport_kit::{Ctx, Db, Fault};
use rapport_proto::Event;
use uuid::Uuid;

use crate::account::{self, Account};
use crate::contact::{self, Contact};
use crate::duplicate::{self, rule};
use crate::import_mapping::{self, ImportMapping};
use crate::merge::{self, Merge};
use crate::search::Kind;
use crate::view::{self, View};

/// The journal entry of what happened to a contact.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn contact(ctx: &Ctx, contact: &Contact, fact: contact::Fact) -> Result<Entry, Fault> {
    let record = Record { collection: contact::COLLECTION, id: contact.id(), version: contact.version() };
    let people = vec![contact.id()];
    let state = contact::convert::to_proto(contact.clone());
    match fact {
        contact::Fact::Created => journal::entry(ctx, record, &pb::ContactCreated { contact: Some(state) }, people),
        contact::Fact::Updated => journal::entry(ctx, record, &pb::ContactUpdated { contact: Some(state) }, people),
        contact::Fact::Deleted => {
            let event = pb::ContactDeleted { name: contact.name(), delete_time: state.delete_time, merged_into: state.merged_into };
            journal::entry(ctx, record, &event, people)
        }
        contact::Fact::Undeleted => journal::entry(ctx, record, &pb::ContactUndeleted { contact: Some(state) }, people),
    }
}

/// The entry without the caller's idempotency key, of what moves along with a merge: the answer of a repeated request is about
/// the merge, and the others would only make the row of its key long.
#[must_use]
pub fn unkeyed(entry: Entry) -> Entry {
    Entry { key: None, key_hash: None, ..entry }
}

/// The journal entry of a contact that took another one in. The other one's is that of a deletion.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn contact_merged(ctx: &Ctx, contact: &Contact, merge: &Merge) -> Result<Entry, Fault> {
    let record = Record { collection: contact::COLLECTION, id: contact.id(), version: contact.version() };
    let state = Some(contact::convert::to_proto(contact.clone()));
    let event = pb::ContactMerged { contact: state, loser: merge.loser_name(), merge: merge.name() };
    journal::entry(ctx, record, &event, vec![contact.id(), merge.loser()])
}

/// The journal entry of a contact that another one has left again. The other one's is that of its return.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn contact_unmerged(ctx: &Ctx, contact: &Contact, merge: &Merge) -> Result<Entry, Fault> {
    let record = Record { collection: contact::COLLECTION, id: contact.id(), version: contact.version() };
    let state = Some(contact::convert::to_proto(contact.clone()));
    let event = pb::ContactUnmerged { contact: state, loser: merge.loser_name(), merge: merge.name() };
    journal::entry(ctx, record, &event, vec![contact.id(), merge.loser()])
}

/// The journal entry of what happened to a merge; `moved` are the records that a new one moved to the survivor.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn merge(ctx: &Ctx, merge: &Merge, fact: merge::Fact, moved: Vec<pb::MovedRecord>) -> Result<Entry, Fault> {
    let record = Record { collection: merge::COLLECTION, id: merge.id(), version: merge.version() };
    let state = Some(merge::convert::to_proto(merge));
    match fact {
        merge::Fact::Created => journal::entry(ctx, record, &pb::MergeCreated { merge: state, moved }, Vec::new()),
        merge::Fact::Undone => journal::entry(ctx, record, &pb::MergeUndone { merge: state }, Vec::new()),
    }
}

/// The journal entry of what happened to an account. Of accounts, private customers and households are people.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn account(ctx: &Ctx, account: &Account, fact: account::Fact) -> Result<Entry, Fault> {
    let record = Record { collection: account::COLLECTION, id: account.id(), version: account.version() };
    let people = people_of(account, &[account.id()]);
    let state = Some(account::convert::to_proto(account.clone()));
    match fact {
        account::Fact::Created => journal::entry(ctx, record, &pb::AccountCreated { account: state }, people),
        account::Fact::Updated => journal::entry(ctx, record, &pb::AccountUpdated { account: state }, people),
        account::Fact::Deleted => {
            let (delete_time, merged_into) = state.map(|state| (state.delete_time, state.merged_into)).unwrap_or_default();
            journal::entry(ctx, record, &pb::AccountDeleted { name: account.name(), delete_time, merged_into }, people)
        }
        account::Fact::Undeleted => journal::entry(ctx, record, &pb::AccountUndeleted { account: state }, people),
    }
}

/// The journal entry of an account that took another one in. The other one's is that of a deletion.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn account_merged(ctx: &Ctx, account: &Account, merge: &Merge) -> Result<Entry, Fault> {
    let record = Record { collection: account::COLLECTION, id: account.id(), version: account.version() };
    let state = Some(account::convert::to_proto(account.clone()));
    let event = pb::AccountMerged { account: state, loser: merge.loser_name(), merge: merge.name() };
    journal::entry(ctx, record, &event, people_of(account, &[account.id(), merge.loser()]))
}

/// The journal entry of an account that another one has left again. The other one's is that of its return.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn account_unmerged(ctx: &Ctx, account: &Account, merge: &Merge) -> Result<Entry, Fault> {
    let record = Record { collection: account::COLLECTION, id: account.id(), version: account.version() };
    let state = Some(account::convert::to_proto(account.clone()));
    let event = pb::AccountUnmerged { account: state, loser: merge.loser_name(), merge: merge.name() };
    journal::entry(ctx, record, &event, people_of(account, &[account.id(), merge.loser()]))
}

/// Those of `accounts`, which are all of one kind, that are people.
fn people_of(account: &Account, accounts: &[Uuid]) -> Vec<Uuid> {
    match account.kind() {
        account::Kind::Organisation => Vec::new(),
        account::Kind::Person | account::Kind::Household => accounts.to_vec(),
    }
}

/// The journal entry of what happened to a view.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn view(ctx: &Ctx, view: &View, fact: view::Fact) -> Result<Entry, Fault> {
    let record = Record { collection: view::COLLECTION, id: view.id(), version: view.version() };
    let state = Some(view::convert::to_proto(view));
    match fact {
        view::Fact::Created => journal::entry(ctx, record, &pb::ViewCreated { view: state }, Vec::new()),
        view::Fact::Updated => journal::entry(ctx, record, &pb::ViewUpdated { view: state }, Vec::new()),
        view::Fact::Deleted => journal::entry(ctx, record, &pb::ViewDeleted { name: view.name() }, Vec::new()),
    }
}

/// The journal entry of what happened to a saved mapping.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn import_mapping(ctx: &Ctx, mapping: &ImportMapping, fact: import_mapping::Fact) -> Result<Entry, Fault> {
    let record = Record { collection: import_mapping::COLLECTION, id: mapping.id(), version: mapping.version() };
    let state = Some(import_mapping::convert::to_proto(mapping));
    match fact {
        import_mapping::Fact::Created => journal::entry(ctx, record, &pb::ImportMappingCreated { import_mapping: state }, Vec::new()),
        import_mapping::Fact::Updated => journal::entry(ctx, record, &pb::ImportMappingUpdated { import_mapping: state }, Vec::new()),
        import_mapping::Fact::Deleted => journal::entry(ctx, record, &pb::ImportMappingDeleted { name: mapping.name() }, Vec::new()),
    }
}

/// The journal entry of what happened to a rule about duplicates.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn duplicate_rule(ctx: &Ctx, rule: &duplicate::Rule, fact: rule::Fact) -> Result<Entry, Fault> {
    let record = Record { collection: duplicate::RULES, id: rule.id(), version: rule.version() };
    let state = Some(duplicate::rule_convert::to_proto(rule));
    match fact {
        rule::Fact::Created => journal::entry(ctx, record, &pb::DuplicateRuleCreated { duplicate_rule: state }, Vec::new()),
        rule::Fact::Updated => journal::entry(ctx, record, &pb::DuplicateRuleUpdated { duplicate_rule: state }, Vec::new()),
        rule::Fact::Deleted => journal::entry(ctx, record, &pb::DuplicateRuleDeleted { name: rule.name() }, Vec::new()),
    }
}

/// The journal entry of what somebody said of a pair. Of accounts, who is a person is not asked for it.
///
/// # Errors
/// INVALID_ARGUMENT (RECORD_TOO_LARGE).
pub fn duplicate_pair_reviewed(ctx: &Ctx, pair: &duplicate::pair::Pair) -> Result<Entry, Fault> {
    let record = Record { collection: duplicate::PAIRS, id: pair.id(), version: pair.version() };
    let people = if pair.kind() == Kind::Contact { pair.records().to_vec() } else { Vec::new() };
    let state = duplicate::convert::to_proto(pair, ctx.now().date_naive());
    journal::entry(ctx, record, &pb::DuplicatePairReviewed { duplicate_pair: Some(state) }, people)
}

/// The deletion that made the record what it was at `version`, and the version that it made; none if it was not
/// deleted then.
///
/// # Errors
/// What the database answers.
pub async fn deletion<E: Event>(db: &Db, ctx: &Ctx, record: Uuid, version: i64) -> Result<Option<(i64, E)>, Fault> {
    let Some(last) = journal::before(db, ctx, record, version + 1).await?.filter(|last| last.fact == E::KEY) else { return Ok(None) };
    let Some(message) = last.message else { return Ok(None) };
    Ok(Some((last.version, E::decode(message.as_slice()).map_err(Fault::internal)?)))
}
