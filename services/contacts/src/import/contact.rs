//! Rows as contacts: what each is about, and what becomes of it.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::journal::Entry;
use rapport_kit::{Fault, clock, name};
use rlibphonenumber::Region;
use uuid::Uuid;

use super::matching::{self, Marks};
use super::plan::{self, Keys, Outcome, Plan, Planned, Seen, Unread};
use super::row::Row;
use super::{country, looked, merge};
use crate::contact::surroundings::Surroundings;
use crate::contact::{COLLECTION, Contact, Fact, convert, sql};
use crate::layout::{self, Column, Resource};
use crate::search::Kind;
use crate::violations::Violations;
use crate::{account, batch, contact, events, external_id, region};

const READ: &str = "contacts.contact.read";
const CREATE: &str = "contacts.contact.create";
const UPDATE: &str = "contacts.contact.update";

/// A change of a contact that was decided and not written yet.
#[derive(Debug)]
pub struct Change {
    /// The contact after it.
    pub contact: Contact,
    /// What happens.
    pub fact: Fact,
    /// What the journal says of it.
    pub entry: Entry,
}

/// A row as it was read.
struct Read {
    sent: pb::Contact,
    empty: Vec<Column>,
    keys: Vec<String>,
    unknown_owner: bool,
    /// What it calls accounts that there are not.
    dangling: Vec<String>,
}

/// What stands around the rows of a step.
struct Around {
    /// The tenant's own country.
    country: Option<String>,
    region: Option<Region>,
    surroundings: Surroundings,
    /// Records that the caller sees, by what rows are matched by.
    matched: HashMap<String, Vec<Uuid>>,
    /// Of these, the ones that the caller may change.
    changeable: HashMap<Uuid, Contact>,
    /// Whose the external ids of the rows are, seen or not.
    holders: HashMap<(String, String), Uuid>,
    /// Private customers that have their contact, with it.
    customers: HashMap<Uuid, Uuid>,
}

/// Decides about every row; one about a record of `unwritten`, of the step that is being written, is refused as repeated.
///
/// # Errors
/// What the database answers; refusals of rows are in the answer.
pub async fn plan(plan: &Plan<'_>, mut rows: Vec<Row>, unwritten: &Keys) -> Result<Vec<Planned<Change>>, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let country = region::country(run.db(), ctx, None).await?;
    let region = country.as_deref().and_then(|country| country.parse().ok());
    let mut reads: Vec<Result<Read, Unread>> = rows.iter_mut().map(|row| read(plan, row)).collect();
    link(plan, &mut reads).await?;
    for read in reads.iter_mut().flatten() {
        read.keys = plan.way.keys(&marks(&read.sent), region);
    }
    let around = Around { country, ..around(plan, &reads, region).await? };
    // Rows of earlier steps may have taken places with private customers, which a dry run has not written.
    let keys = reads.iter().flatten().flat_map(|read| seen_keys(plan, read, &around).into_iter().chain(sought_places(read))).collect();
    let mut seen = Seen::read(plan, keys, unwritten).await?;
    let mut planned = Vec::with_capacity(rows.len());
    for (row, read) in rows.iter().zip(reads) {
        planned.push(match read {
            Err(why) => Planned::unread(row, why),
            Ok(mut read) => {
                let (unknown_owner, record) = (read.unknown_owner, matched(&around, &read));
                let dangling = std::mem::take(&mut read.dangling);
                let mut keys = seen_keys(plan, &read, &around);
                let decided = match seen.require_new(&keys) {
                    Ok(()) => decide(plan, &around, read).await,
                    Err(repeated) => Err(repeated),
                };
                // The one contact of a private customer takes that place, also from rows that come after it.
                let places = decided.as_ref().map(places).unwrap_or_default();
                let decided = decided.and_then(|outcome| if seen.require_new(&places).is_ok() { Ok(outcome) } else { Err(sql::has_contact()) });
                keys.extend(places);
                keys.extend(decided.iter().flat_map(|outcome| called(plan, &around, outcome)));
                Planned { record, unknown_owner, dangling, ..seen.settle(row, keys, decided) }
            }
        });
    }
    Ok(planned)
}

/// A row's cells as a contact; accounts are still as the cells name them.
fn read(plan: &Plan<'_>, row: &mut Row) -> Result<Read, Unread> {
    let filled = plan.fill(row)?;
    let mut found = Violations::default();
    let mut sent = layout::contact::record(&mut found, filled.cells.iter().map(|(column, text)| (column, text.as_str())));
    found.finish()?;
    if let Some(person) = &mut sent.person {
        country::settle(&mut person.addresses);
    }
    let empty = if plan.rules.clear_empty { filled.empty } else { Vec::new() };
    Ok(Read { sent, empty, keys: Vec::new(), unknown_owner: filled.unknown_owner, dangling: Vec::new() })
}

/// Puts the names of accounts in the place of what cells call them.
async fn link(plan: &Plan<'_>, reads: &mut [Result<Read, Unread>]) -> Result<(), Fault> {
    let roles = reads.iter().flatten().flat_map(|read| &read.sent.accounts);
    let keys: Vec<String> = roles.filter_map(|role| plan.link.key(&role.account)).collect();
    let found = plan.linked(keys).await?;
    for slot in reads.iter_mut() {
        let Ok(read) = slot else { continue };
        let (dangling, mut refused) = (&mut read.dangling, None);
        read.sent.accounts.retain_mut(|role| match found.one(&plan.link, &role.account) {
            Ok(id) => {
                role.account = name::format(account::COLLECTION, id);
                true
            }
            Err(fault) if plan.lenient && fault.reason() == "ACCOUNT_UNKNOWN" => {
                dangling.push(std::mem::take(&mut role.account));
                false
            }
            Err(fault) => {
                refused.get_or_insert(fault);
                true
            }
        });
        if let Some(fault) = refused {
            *slot = Err(fault.into());
        }
    }
    Ok(())
}

fn marks(sent: &pb::Contact) -> Marks<'_> {
    let points = sent.person.as_ref().map_or(&[][..], |person| &person.contact_points);
    Marks { record: &sent.name, external_ids: &sent.external_ids, points, number: "", display_name: "" }
}

async fn around(plan: &Plan<'_>, reads: &[Result<Read, Unread>], region: Option<Region>) -> Result<Around, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let sent: Vec<pb::Contact> =
        reads.iter().flatten().map(|read| pb::Contact { owner: plan.owner(&read.sent.owner), ..read.sent.clone() }).collect();
    let surroundings = Surroundings::read(run.db(), run.policy(), ctx, &sent, None).await?;
    let keys: Vec<String> = reads.iter().flatten().flat_map(|read| read.keys.clone()).collect();
    let mut conn = run.db().for_tenant(ctx).await?;
    let matched = matching::find(&mut conn, ctx, &ctx.scope_of(READ), Resource::Contact, plan.way, &keys).await?;
    let ids: Vec<Uuid> = matched.values().flatten().copied().collect();
    let changeable = if ids.is_empty() { Vec::new() } else { sql::get_many(&mut conn, ctx, &ctx.scope_of(UPDATE), &ids).await? };
    let pairs = sent.iter().flat_map(|sent| &sent.external_ids);
    let holders = looked::holders(&mut conn, ctx, Kind::Contact, pairs).await?;
    let accounts: Vec<Uuid> = sent.iter().flat_map(|sent| &sent.accounts).filter_map(|role| Some(name::split(&role.account)?.1)).collect();
    let customers = looked::customers(&mut conn, ctx, &accounts).await?;
    let changeable = changeable.into_iter().map(|contact| (contact.id(), contact)).collect();
    Ok(Around { country: None, region, surroundings, matched, changeable, holders, customers })
}

/// The record that a row is about; none also if it may be several.
fn matched(around: &Around, read: &Read) -> Option<Uuid> {
    matching::one(&around.matched, &read.keys).ok().flatten()
}

/// What a row is about, for rows that come after it.
fn seen_keys(plan: &Plan<'_>, read: &Read, around: &Around) -> Vec<String> {
    let by = read.keys.iter().map(|key| plan.mark(&format!("m:{key}")));
    let pairs = read.sent.external_ids.iter().map(|pair| plan.mark(&format!("x:{}:{}", pair.system, pair.id)));
    by.chain(pairs).chain(matched(around, read).map(|id| plan.mark(&format!("r:{id}")))).collect()
}

/// What the record of a row is called before and after it: a later row is about the same one, though this row took from it
/// what that one calls it by.
fn called(plan: &Plan<'_>, around: &Around, outcome: &Outcome<Change>) -> Vec<String> {
    let Outcome::Write(change) = outcome else { return Vec::new() };
    let states = around.changeable.get(&change.contact.id()).into_iter().chain([&change.contact]);
    let details = states.map(Contact::details);
    details
        .flat_map(|details| {
            let by = plan.way.stored_keys(&details.person.contact_points, &details.external_ids).into_iter().map(|key| format!("m:{key}"));
            by.chain(details.external_ids.iter().map(|pair| format!("x:{}:{}", pair.system, pair.id)))
        })
        .map(|key| plan.mark(&key))
        .collect()
}

/// The places that a row would take if the accounts that it names are private customers.
fn sought_places(read: &Read) -> Vec<String> {
    read.sent.accounts.iter().filter_map(|role| Some(format!("s:{}", name::split(&role.account)?.1))).collect()
}

/// The places with private customers that a contact takes.
fn places(outcome: &Outcome<Change>) -> Vec<String> {
    let Outcome::Write(change) = outcome else { return Vec::new() };
    change.contact.details().accounts.iter().filter(|role| role.sole).map(|role| format!("s:{}", role.account)).collect()
}

async fn decide(plan: &Plan<'_>, around: &Around, read: Read) -> Result<Outcome<Change>, Fault> {
    let ctx = plan.run.ctx();
    let known = matching::one(&around.matched, &read.keys)?;
    if known.is_none() && plan.requires_keys() && read.keys.is_empty() {
        return Err(plan::without_key());
    }
    let held = |pair: &rapport_proto::common::v1::ExternalId| around.holders.get(&(pair.system.clone(), pair.id.clone()));
    if read.sent.external_ids.iter().filter_map(held).any(|holder| Some(*holder) != known) {
        return Err(external_id::taken("contact.external_ids"));
    }
    let (contact, fact) = match (known, plan.mode) {
        (None, ImportMode::Update) => return Err(plan::unknown()),
        (Some(_), ImportMode::Create | ImportMode::Unspecified) => return Err(plan::known()),
        // A name that is none, or hidden, is no wish for a copy.
        (None, _) if plan.way.by == By::Record && !read.keys.is_empty() => return Err(plan::unknown()),
        (None, _) => {
            batch::require_create(ctx, CREATE)?;
            let mut sent = pb::Contact { name: String::new(), owner: plan.owner(&read.sent.owner), ..read.sent };
            country::complete(&mut sent.person.get_or_insert_default().addresses, around.country.as_deref());
            Contact::create(clock::new_id(), around.surroundings.new_details(ctx, sent)?, ctx.now())
        }
        (Some(id), _) => {
            let before = around.changeable.get(&id).ok_or_else(|| batch::read_only(&name::format(COLLECTION, id)))?;
            let mut sent = read.sent;
            if plan.way.by == By::ExternalId {
                // Reached by an id of a contact that was merged into it, it keeps the one that it has of that system.
                sent.external_ids.retain(|pair| pair.system != plan.way.system || before.is_called(&pair.system, &pair.id));
            }
            let mut merged = merge::contact(convert::to_proto(before.clone()), sent, &read.empty, around.region);
            country::complete(&mut merged.person.get_or_insert_default().addresses, around.country.as_deref());
            let details = around.surroundings.details(ctx, merged, Some(before.details()))?;
            contact::rpc::require_free(plan.run.db(), ctx, &before.details().leaves(&details.accounts)).await?;
            let mut after = before.clone();
            match after.change(details, ctx.now())? {
                None => return Ok(Outcome::Keep),
                Some(fact) => (after, fact),
            }
        }
    };
    let mut soles = contact.details().accounts.iter().filter(|role| role.sole);
    if soles.any(|role| around.customers.get(&role.account).is_some_and(|holder| *holder != contact.id())) {
        return Err(sql::has_contact());
    }
    let entry = events::contact(ctx, &contact, fact)?;
    Ok(Outcome::Write(Box::new(Change { contact, fact, entry })))
}
