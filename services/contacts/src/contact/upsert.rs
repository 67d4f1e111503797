//! Batches that create or change contacts: match, decide, write all in one transaction.

use std::collections::{HashMap, HashSet};

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_contact_result::{Outcome, Result as Outcomes};
use rapport_kit::journal::{self, Earlier, Record};
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, clock, command, name};
use uuid::Uuid;

use super::rpc::{require_free, require_unmerged};
use super::surroundings::Surroundings;
use super::{COLLECTION, Contact, Fact, RESOURCE, convert, sql};
use crate::batch::{self, Reference, Target};
use crate::duplicate::check::{Guard, Sought};
use crate::duplicate::{Profile, Rules};
use crate::search::Kind;
use crate::{events, external_id, limits, update};

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
pub async fn upsert(
    db: &Db,
    policy: &Policy,
    rules: &Rules,
    ctx: &Ctx,
    request: pb::BatchUpsertContactsRequest,
) -> Result<pb::BatchUpsertContactsResponse, Fault> {
    if request.contacts.is_empty() {
        return Err(Fault::invalid("contacts", "is required"));
    }
    command::require_size(request.contacts.len(), limits::BATCH_UPSERT)?;
    for _ in 0..command::ATTEMPTS {
        // Asked first: entries written by the earlier request would look unchanged to this one.
        let earlier = Earlier::find(db, ctx).await?;
        let plans = plan(db, policy, ctx, &request.contacts, earlier.as_ref()).await?;
        // Asked again: the same request may have been carried out while this one was planned.
        if earlier.is_none() && Earlier::find(db, ctx).await?.is_some() {
            continue;
        }
        let guard = Guard::of(rules, db, ctx, Kind::Contact).await?;
        let plans = if request.allow_duplicates || earlier.is_some() { plans } else { without_duplicates(db, ctx, &guard, plans).await? };
        let plans = if request.atomic && earlier.is_none() { all_or_none(plans) } else { plans };
        if let Some(earlier) = earlier {
            return replayed(db, ctx, plans, &earlier).await;
        }
        batch::require_tellable(&plans, bytes)?;
        if write(db, ctx, &guard, &plans).await? {
            return Ok(answer(ctx, plans));
        }
    }
    Err(Fault::contended())
}

/// Decides about every entry; those that an earlier request with the same key has dealt with are left as they are.
async fn plan(db: &Db, policy: &Policy, ctx: &Ctx, sent: &[pb::Contact], earlier: Option<&Earlier>) -> Result<Vec<Plan>, Fault> {
    let done: HashSet<Uuid> = earlier.iter().flat_map(|earlier| earlier.written.iter().chain(&earlier.found)).map(|(_, id, _)| *id).collect();
    let entries: Vec<Reference<'_>> = sent.iter().map(|sent| Reference { name: &sent.name, external_ids: &sent.external_ids }).collect();
    let targets = batch::targets(db, ctx, Kind::Contact, &entries).await?;
    let ids: Vec<Uuid> = targets.iter().flatten().filter_map(|target| target.id()).collect();
    let mut conn = db.for_tenant(ctx).await?;
    let changeable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope(), &ids).await?);
    let readable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope_of(READ), &ids).await?);
    drop(conn);
    let surroundings = Surroundings::read(db, policy, ctx, sent, None).await?;
    let mut seen = HashSet::new();
    let mut plans = Vec::with_capacity(sent.len());
    for (sent, target) in sent.iter().zip(targets) {
        let plan = match target {
            Err(fault) => Err(fault),
            Ok(Target::New) => create(ctx, &surroundings, sent),
            Ok(Target::Named(id) | Target::Matched(id)) if !seen.insert(id) => Err(batch::repeated()),
            Ok(Target::Named(id) | Target::Matched(id))
                if let Some(contact) = changeable.get(&id)
                    && done.contains(&id) =>
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
    command::require_etag(&sent.etag, contact.version(), || contact.name())?;
    if contact.merged_into().is_some() {
        require_unmerged(&mut db.for_tenant(ctx).await?, ctx, contact).await?;
    }
    let mut paths = update::paths(None, |path| convert::is_populated(sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
    // Found by an id of one that was merged into it: that id leads here as it stands, and the contact keeps its own.
    if sent.name.is_empty() && !sent.external_ids.iter().any(|pair| contact.is_called(&pair.system, &pair.id)) {
        paths.retain(|path| *path != "external_ids");
    }
    let mut contact = contact.clone();
    let details = surroundings.details(ctx, convert::merge(&contact, sent, &paths), Some(contact.details()))?;
    require_free(db, ctx, &contact.details().leaves(&details.accounts)).await?;
    Ok(match contact.change(details, ctx.now())? {
        Some(fact) => Plan::Write(Box::new(contact), fact),
        None => Plan::Keep(Box::new(contact)),
    })
}

/// Refuses entries that a rule takes for a record that the caller sees; of stored contacts those that become so.
async fn without_duplicates(db: &Db, ctx: &Ctx, guard: &Guard, mut plans: Vec<Plan>) -> Result<Vec<Plan>, Fault> {
    if !guard.refuses() {
        return Ok(plans);
    }
    let written = |plan: &Plan| if let Plan::Write(contact, _) = plan { Some((contact.id(), Profile::from(contact.as_ref()))) } else { None };
    let ids: Vec<Uuid> = plans.iter().filter_map(written).map(|(id, _)| id).collect();
    let stored = sql::get_many(&mut db.for_tenant(ctx).await?, ctx, &ctx.scope(), &ids).await?;
    let before: HashMap<Uuid, Profile> = stored.iter().map(|contact| (contact.id(), Profile::from(contact))).collect();
    let becomes = |plan: &Plan| written(plan).filter(|(id, profile)| before.get(id) != Some(profile));
    let sought: Vec<Sought> = plans.iter().filter_map(becomes).map(|(id, profile)| Sought { id: Some(id), profile }).collect();
    let ids: Vec<Uuid> = sought.iter().filter_map(|sought| sought.id).collect();
    let refusals = guard.refusals(db, ctx, sought).await?;
    let mut refusals: HashMap<Uuid, Fault> = ids.into_iter().zip(refusals).filter_map(|(id, refusal)| Some((id, refusal?))).collect();
    for plan in &mut plans {
        if let Some(refusal) = written(plan).and_then(|(id, _)| refusals.remove(&id)) {
            *plan = Plan::Refuse(refusal);
        }
    }
    Ok(plans)
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
async fn write(db: &Db, ctx: &Ctx, guard: &Guard, plans: &[Plan]) -> Result<bool, Fault> {
    let mut changes: Vec<(&Contact, Fact)> =
        plans.iter().filter_map(|plan| if let Plan::Write(contact, fact) = plan { Some((contact.as_ref(), *fact)) } else { None }).collect();
    // In the order of ids, so that two batches never wait for each other.
    changes.sort_unstable_by_key(|(contact, _)| contact.id());
    let kept = kept(plans);
    if changes.is_empty() && (kept.is_empty() || ctx.key().is_none()) {
        return Ok(true);
    }
    let mut tx = db.begin(ctx).await?;
    for (contact, fact) in changes {
        let entry = events::contact(ctx, contact, fact)?;
        let keys = guard.keys(|| Profile::from(contact));
        let written = match fact {
            Fact::Created => sql::insert(tx.conn(), ctx, contact, entry, keys.as_deref()).await.map(|()| true),
            Fact::Updated | Fact::Deleted | Fact::Undeleted => sql::update(tx.conn(), ctx, contact, entry, keys.as_deref()).await,
        };
        match written {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(fault) if batch::is_stale(&fault) => return Ok(false),
            Err(fault) => return Err(fault),
        }
    }
    if !kept.is_empty() && !Earlier::keep(tx.conn(), ctx, &kept).await? {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// Records that are as their entries ask for; none where entries are refused and nothing is written, so that such a
/// batch can be sent again under its key.
fn kept(plans: &[Plan]) -> Vec<Record> {
    let any = |is: fn(&Plan) -> bool| plans.iter().any(is);
    if any(|plan| matches!(plan, Plan::Refuse(_))) && !any(|plan| matches!(plan, Plan::Write(..))) {
        return Vec::new();
    }
    let kept = plans.iter().filter_map(|plan| if let Plan::Keep(contact) = plan { Some(contact) } else { None });
    kept.map(|contact| Record { collection: COLLECTION, id: contact.id(), version: contact.version() }).collect()
}

/// What the answer to an entry takes, about.
fn bytes(plan: &Plan) -> usize {
    match plan {
        Plan::Write(contact, _) | Plan::Keep(contact) => convert::to_proto(contact.as_ref().clone()).encoded_len(),
        Plan::Refuse(fault) => fault.text().len(),
    }
}

fn answer(ctx: &Ctx, plans: Vec<Plan>) -> pb::BatchUpsertContactsResponse {
    let results = plans.into_iter().enumerate().map(|(index, plan)| match plan {
        Plan::Write(contact, Fact::Created) => result(ctx, index, Outcome::Created, convert::to_proto(*contact)),
        Plan::Write(contact, _) => result(ctx, index, Outcome::Updated, convert::to_proto(*contact)),
        Plan::Keep(contact) => result(ctx, index, Outcome::Unchanged, convert::to_proto(*contact)),
        Plan::Refuse(fault) => failed(ctx, index, fault),
    });
    pb::BatchUpsertContactsResponse { results: results.collect() }
}

/// The answer of the earlier request: what it wrote or found, as it was then.
async fn replayed(db: &Db, ctx: &Ctx, plans: Vec<Plan>, earlier: &Earlier) -> Result<pb::BatchUpsertContactsResponse, Fault> {
    let written = earlier.written.iter().map(|(_, id, version)| (*id, *version, if *version == 1 { Outcome::Created } else { Outcome::Updated }));
    let found = earlier.found.iter().map(|(_, id, version)| (*id, *version, Outcome::Unchanged));
    let told: Vec<(Uuid, i64, Outcome)> = written.chain(found).collect();
    let pairs: Vec<(Uuid, i64)> = told.iter().map(|(id, version, _)| (*id, *version)).collect();
    let snapshots: Vec<pb::Contact> = journal::snapshots(db, ctx, &pairs).await?;
    let then = |((id, version, outcome), snapshot)| (id, (outcome, pb::Contact { etag: command::etag(version), ..snapshot }));
    let mut told: HashMap<Uuid, (Outcome, pb::Contact)> = told.into_iter().zip(snapshots).map(then).collect();
    let results = plans.into_iter().enumerate().map(|(index, plan)| {
        let (contact, fact) = match plan {
            Plan::Write(contact, fact) => (contact, Some(fact)),
            Plan::Keep(contact) => (contact, None),
            Plan::Refuse(fault) => return failed(ctx, index, fault),
        };
        match (told.remove(&contact.id()), fact) {
            (Some((outcome, snapshot)), _) => result(ctx, index, outcome, snapshot),
            (None, None) => result(ctx, index, Outcome::Unchanged, convert::to_proto(*contact)),
            (None, Some(_)) => failed(ctx, index, Fault::contended()),
        }
    });
    Ok(pb::BatchUpsertContactsResponse { results: results.collect() })
}

fn result(ctx: &Ctx, index: usize, outcome: Outcome, mut contact: pb::Contact) -> pb::UpsertContactResult {
    convert::hide(&mut contact, ctx.fields(RESOURCE));
    pb::UpsertContactResult { index: position(index), outcome: outcome.into(), result: Some(Outcomes::Contact(contact)) }
}

fn failed(ctx: &Ctx, index: usize, fault: Fault) -> pb::UpsertContactResult {
    ctx.log_refused(&fault);
    pb::UpsertContactResult { index: position(index), outcome: Outcome::Failed.into(), result: Some(Outcomes::Error(fault.into())) }
}

fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn by_id(contacts: Vec<Contact>) -> HashMap<Uuid, Contact> {
    contacts.into_iter().map(|contact| (contact.id(), contact)).collect()
}
