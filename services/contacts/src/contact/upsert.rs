//! Batches that create or change contacts: match, decide, write all in one transaction.

use std::collections::{HashMap, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_contact_result::{Outcome, Result as Outcomes};
use rapport_kit::{Ctx, Db, Fault, clock, journal, name};
use uuid::Uuid;

use super::rpc::require_no_live;
use super::surroundings::Surroundings;
use super::{COLLECTION, Contact, Fact, RESOURCE, convert, sql};
use crate::batch::{self, Reference, Target};
use crate::{convert as parts, events, external_id, limits, update};

const READ: &str = "contacts.contact.read";
const CREATE: &str = "contacts.contact.create";

/// What is to become of an entry.
enum Plan {
    Write(Box<Contact>, Fact),
    Keep(Box<Contact>),
    Refuse(Fault),
}

/// Creates or changes the contacts of a batch.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE, IDEMPOTENCY_KEY_REUSED); ABORTED (CONTENDED); what the
/// database answers. Errors of entries are in the answer.
pub async fn upsert(db: &Db, ctx: &Ctx, request: pb::BatchUpsertContactsRequest) -> Result<pb::BatchUpsertContactsResponse, Fault> {
    if request.contacts.is_empty() {
        return Err(Fault::invalid("contacts", "is required"));
    }
    batch::require_size(request.contacts.len(), limits::BATCH_UPSERT)?;
    for _ in 0..limits::ATTEMPTS {
        // Asked first: entries written by the earlier request would look unchanged to this one.
        let earlier = batch::earlier(db, ctx).await?;
        let plans = plan(db, ctx, &request.contacts, earlier.as_deref().unwrap_or_default()).await?;
        // Asked again: the same request may have been carried out while this one was planned.
        if earlier.is_none() && batch::earlier(db, ctx).await?.is_some() {
            continue;
        }
        let plans = if request.atomic && earlier.is_none() { all_or_none(plans) } else { plans };
        if let Some(written) = earlier {
            return replayed(db, ctx, plans, &written).await;
        }
        if write(db, ctx, &plans).await? {
            return Ok(answer(ctx, plans));
        }
    }
    Err(Fault::contended())
}

/// Decides about every entry; those that an earlier request with the same key wrote (`done`) are left as they are.
async fn plan(db: &Db, ctx: &Ctx, sent: &[pb::Contact], done: &[(Uuid, i64)]) -> Result<Vec<Plan>, Fault> {
    let entries: Vec<Reference<'_>> = sent.iter().map(|sent| Reference { name: &sent.name, external_ids: &sent.external_ids }).collect();
    let targets = batch::targets(db, ctx, COLLECTION, &entries).await?;
    let ids: Vec<Uuid> = targets.iter().flatten().filter_map(|target| target.id()).collect();
    let mut conn = db.for_tenant(ctx).await?;
    let changeable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope(), &ids).await?);
    let readable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope_of(READ), &ids).await?);
    drop(conn);
    let surroundings = Surroundings::read(db, ctx, sent).await?;
    let mut seen = HashSet::new();
    let mut plans = Vec::with_capacity(sent.len());
    for (sent, target) in sent.iter().zip(targets) {
        let plan = match target {
            Err(fault) => Err(fault),
            Ok(Target::New) => create(ctx, &surroundings, sent),
            Ok(Target::Named(id) | Target::Matched(id)) if !seen.insert(id) => Err(batch::repeated()),
            Ok(Target::Named(id) | Target::Matched(id))
                if let Some(contact) = changeable.get(&id)
                    && done.iter().any(|(written, _)| *written == id) =>
            {
                Ok(Plan::Keep(Box::new(contact.clone())))
            }
            Ok(Target::Named(id) | Target::Matched(id)) if let Some(contact) = changeable.get(&id) => {
                change(db, ctx, &surroundings, sent, contact).await
            }
            Ok(Target::Named(id) | Target::Matched(id)) if readable.contains_key(&id) => Err(batch::read_only(&name::format(COLLECTION, id))),
            Ok(Target::Named(id)) => Err(Fault::not_found(name::format(COLLECTION, id))),
            Ok(Target::Matched(_)) => Err(external_id::taken("external_ids")),
        };
        plans.push(plan.unwrap_or_else(Plan::Refuse));
    }
    Ok(plans)
}

fn create(ctx: &Ctx, surroundings: &Surroundings, sent: &pb::Contact) -> Result<Plan, Fault> {
    batch::require_create(ctx, CREATE)?;
    let details = surroundings.new_details(ctx, sent.clone())?;
    let (contact, fact) = Contact::create(clock::new_id(), details, ctx.now());
    Ok(Plan::Write(Box::new(contact), fact))
}

async fn change(db: &Db, ctx: &Ctx, surroundings: &Surroundings, sent: &pb::Contact, contact: &Contact) -> Result<Plan, Fault> {
    parts::require_etag(&sent.etag, contact.version(), &contact.name())?;
    let paths = update::paths(None, |path| convert::is_populated(sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
    let mut contact = contact.clone();
    let details = surroundings.details(ctx, convert::merge(&contact, sent, &paths), Some(contact.details()))?;
    require_no_live(db, ctx, &contact.details().leaves(&details.accounts)).await?;
    Ok(match contact.change(details, ctx.now())? {
        Some(fact) => Plan::Write(Box::new(contact), fact),
        None => Plan::Keep(Box::new(contact)),
    })
}

/// After one refusal, no entry is written.
fn all_or_none(plans: Vec<Plan>) -> Vec<Plan> {
    if !plans.iter().any(|plan| matches!(plan, Plan::Refuse(_))) {
        return plans;
    }
    plans.into_iter().map(|plan| if matches!(plan, Plan::Write(..)) { Plan::Refuse(batch::abandoned()) } else { plan }).collect()
}

/// Writes what is to be written; false if others changed one of the records, or took an external id or the
/// idempotency key, since the plan was made: nothing is written then.
async fn write(db: &Db, ctx: &Ctx, plans: &[Plan]) -> Result<bool, Fault> {
    let mut changes: Vec<(&Contact, Fact)> =
        plans.iter().filter_map(|plan| if let Plan::Write(contact, fact) = plan { Some((contact.as_ref(), *fact)) } else { None }).collect();
    if changes.is_empty() {
        return Ok(true);
    }
    // In the order of ids, so that two batches never wait for each other.
    changes.sort_unstable_by_key(|(contact, _)| contact.id());
    let mut tx = db.begin(ctx).await?;
    for (contact, fact) in changes {
        let entry = events::contact(ctx, contact, fact)?;
        let written = match fact {
            Fact::Created => sql::insert(tx.conn(), ctx, contact, entry).await.map(|()| true),
            Fact::Updated | Fact::Deleted | Fact::Undeleted => sql::update(tx.conn(), ctx, contact, entry).await,
        };
        match written {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(fault) if batch::is_stale(&fault) => return Ok(false),
            Err(fault) => return Err(fault),
        }
    }
    tx.commit().await?;
    Ok(true)
}

fn answer(ctx: &Ctx, plans: Vec<Plan>) -> pb::BatchUpsertContactsResponse {
    let results = plans.into_iter().enumerate().map(|(index, plan)| match plan {
        Plan::Write(contact, Fact::Created) => result(ctx, index, Outcome::Created, convert::to_proto(&contact)),
        Plan::Write(contact, _) => result(ctx, index, Outcome::Updated, convert::to_proto(&contact)),
        Plan::Keep(contact) => result(ctx, index, Outcome::Unchanged, convert::to_proto(&contact)),
        Plan::Refuse(fault) => failed(index, fault),
    });
    pb::BatchUpsertContactsResponse { results: results.collect() }
}

/// The answer of the earlier request: what it wrote as it wrote it, the others as they are now.
async fn replayed(db: &Db, ctx: &Ctx, plans: Vec<Plan>, written: &[(Uuid, i64)]) -> Result<pb::BatchUpsertContactsResponse, Fault> {
    let snapshots: Vec<pb::Contact> = journal::snapshots(db, ctx, written).await?;
    let mut written: HashMap<Uuid, (i64, pb::Contact)> =
        written.iter().zip(snapshots).map(|((id, version), snapshot)| (*id, (*version, snapshot))).collect();
    let results = plans.into_iter().enumerate().map(|(index, plan)| {
        let (contact, fact) = match plan {
            Plan::Write(contact, fact) => (contact, Some(fact)),
            Plan::Keep(contact) => (contact, None),
            Plan::Refuse(fault) => return failed(index, fault),
        };
        match (written.remove(&contact.id()), fact) {
            (Some((1, snapshot)), _) => result(ctx, index, Outcome::Created, snapshot),
            (Some((_, snapshot)), _) => result(ctx, index, Outcome::Updated, snapshot),
            (None, None) => result(ctx, index, Outcome::Unchanged, convert::to_proto(&contact)),
            (None, Some(_)) => failed(index, Fault::contended()),
        }
    });
    Ok(pb::BatchUpsertContactsResponse { results: results.collect() })
}

fn result(ctx: &Ctx, index: usize, outcome: Outcome, mut contact: pb::Contact) -> pb::UpsertContactResult {
    convert::hide(&mut contact, ctx.fields(RESOURCE));
    pb::UpsertContactResult { index: position(index), outcome: outcome.into(), result: Some(Outcomes::Contact(contact)) }
}

fn failed(index: usize, fault: Fault) -> pb::UpsertContactResult {
    pb::UpsertContactResult { index: position(index), outcome: Outcome::Failed.into(), result: Some(Outcomes::Error(batch::status(fault))) }
}

fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn by_id(contacts: Vec<Contact>) -> HashMap<Uuid, Contact> {
    contacts.into_iter().map(|contact| (contact.id(), contact)).collect()
}
