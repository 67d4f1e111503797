//! Rows as accounts: what each is about, and what becomes of it. Parents are found when every row has been read
//! ([`super::link`]), because they may stand below their children.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::{Ctx, Fault, clock, name};
use rapport_proto::common::v1::ExternalId;
use rlibphonenumber::Region;
use uuid::Uuid;

use super::matching::{self, Marks};
use super::plan::{self, Keys, Outcome, Plan, Planned, Seen, Unread};
use super::row::Row;
use super::{country, looked, merge, write};
use crate::account::surroundings::Surroundings;
use crate::account::write::Decided;
use crate::account::{Account, COLLECTION, convert, sql};
use crate::layout::{self, Column, Resource};
use crate::search::Kind;
use crate::violations::Violations;
use crate::{batch, events, external_id, region};

const READ: &str = "contacts.account.read";
const CREATE: &str = "contacts.account.create";
const UPDATE: &str = "contacts.account.update";

/// A row that becomes an account or stays one, with the parent that it names.
#[derive(Debug)]
pub struct Change {
    /// What is written; none if the account is as the row says.
    pub decided: Option<Decided>,
    /// The account.
    pub id: Uuid,
    /// What the row calls the parent; empty if it names none.
    pub parent: String,
}

/// A row as it was read; the parent stands apart.
struct Read {
    sent: pb::Account,
    parent: String,
    empty: Vec<Column>,
    keys: Vec<String>,
    /// What other rows may call it as their parent.
    called: Vec<String>,
    unknown_owner: bool,
}

/// What stands around the rows of a step.
struct Around {
    /// The tenant's own country.
    country: Option<String>,
    surroundings: Surroundings,
    matched: HashMap<String, Vec<Uuid>>,
    changeable: HashMap<Uuid, Account>,
    holders: HashMap<(String, String), Uuid>,
    /// Legal entities that are known here, each with its country.
    entities: HashMap<Uuid, String>,
    /// Where telephone numbers are read of accounts without a legal entity.
    region: Option<Region>,
}

/// Decides about every row; one about a record of `unwritten`, of the step that is being written, is refused as repeated.
///
/// # Errors
/// What the database answers; refusals of rows are in the answer.
pub async fn plan(plan: &Plan<'_>, mut rows: Vec<Row>, unwritten: &Keys) -> Result<Vec<Planned<Change>>, Fault> {
    let country = region::country(plan.run.db(), plan.run.ctx(), None).await?;
    let region = country.as_deref().and_then(|country| country.parse().ok());
    let mut reads: Vec<Result<Read, Unread>> = rows.iter_mut().map(|row| read(plan, row)).collect();
    let named: Vec<Uuid> = reads.iter().flatten().filter_map(|read| entity(&read.sent)).collect();
    let entities = looked::entities(&mut plan.run.db().for_tenant(plan.run.ctx()).await?, plan.run.ctx(), &named).await?;
    for read in reads.iter_mut().flatten() {
        let region = region_of(&entities, entity(&read.sent), region);
        (read.keys, read.called) = (plan.way.keys(&marks(&read.sent), region), plan.link.keys(&marks(&read.sent)));
    }
    let around = Around { country, ..around(plan, &reads, entities, region).await? };
    let mut seen = Seen::read(plan, reads.iter().flatten().flat_map(|read| seen_keys(plan, read, &around)).collect(), unwritten).await?;
    let mut planned = Vec::with_capacity(rows.len());
    for (row, read) in rows.iter().zip(reads) {
        planned.push(match read {
            Err(why) => Planned::unread(row, why),
            Ok(read) => {
                let (unknown_owner, record) = (read.unknown_owner, matched(&around, &read));
                let mut keys = seen_keys(plan, &read, &around);
                let as_parent: Vec<String> = read.called.iter().map(|key| write::called(key)).collect();
                let decided = seen.require_new(&keys).and_then(|()| decide(plan, &around, read));
                keys.extend(as_parent);
                keys.extend(decided.iter().flat_map(|outcome| called(plan, &around, outcome)));
                Planned { record, unknown_owner, ..seen.settle(row, keys, decided) }
            }
        });
    }
    Ok(planned)
}

/// The legal entity that a row names.
fn entity(sent: &pb::Account) -> Option<Uuid> {
    name::split(&sent.legal_entity).map(|(_, id)| id)
}

/// Where telephone numbers are read of an account of this legal entity.
fn region_of(entities: &HashMap<Uuid, String>, entity: Option<Uuid>, otherwise: Option<Region>) -> Option<Region> {
    entity.and_then(|entity| entities.get(&entity)?.parse().ok()).or(otherwise)
}

/// What a row says of amounts, and what other rows may call its account: for whoever reads a file without loading it.
///
/// # Errors
/// What reading the row says.
pub fn glance(plan: &Plan<'_>, row: &mut Row) -> Result<(pb::Account, Vec<String>), Unread> {
    let read = read(plan, row)?;
    let called = plan.link.keys(&marks(&read.sent));
    Ok((read.sent, called))
}

fn read(plan: &Plan<'_>, row: &mut Row) -> Result<Read, Unread> {
    let filled = plan.fill(row)?;
    let mut found = Violations::default();
    let mut sent = layout::account::record(&mut found, filled.cells.iter().map(|(column, text)| (column, text.as_str())));
    found.finish()?;
    country::settle(&mut sent.addresses);
    let parent = std::mem::take(&mut sent.parent);
    let empty = if plan.rules.clear_empty { filled.empty } else { Vec::new() };
    Ok(Read { sent, parent, empty, keys: Vec::new(), called: Vec::new(), unknown_owner: filled.unknown_owner })
}

fn marks(sent: &pb::Account) -> Marks<'_> {
    Marks {
        record: &sent.name,
        external_ids: &sent.external_ids,
        points: &sent.contact_points,
        number: &sent.number,
        display_name: &sent.display_name,
    }
}

async fn around(
    plan: &Plan<'_>,
    reads: &[Result<Read, Unread>],
    mut entities: HashMap<Uuid, String>,
    region: Option<Region>,
) -> Result<Around, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let sent: Vec<pb::Account> =
        reads.iter().flatten().map(|read| pb::Account { owner: plan.owner(&read.sent.owner), ..read.sent.clone() }).collect();
    let keys: Vec<String> = reads.iter().flatten().flat_map(|read| read.keys.clone()).collect();
    let mut conn = run.db().for_tenant(ctx).await?;
    let matched = matching::find(&mut conn, ctx, &ctx.scope_of(READ), Resource::Account, plan.way, &keys).await?;
    let ids: Vec<Uuid> = matched.values().flatten().copied().collect();
    let changeable = if ids.is_empty() { Vec::new() } else { sql::get_many(&mut conn, ctx, &ctx.scope_of(UPDATE), &ids).await? };
    let holders = looked::holders(&mut conn, ctx, Kind::Account, sent.iter().flat_map(|sent| &sent.external_ids)).await?;
    // What is stored is read in the country of its own legal entity.
    let stored: Vec<Uuid> = changeable.iter().filter_map(|account| account.details().legal_entity).collect();
    entities.extend(looked::entities(&mut conn, ctx, &stored).await?);
    drop(conn);
    let changeable: HashMap<Uuid, Account> = changeable.into_iter().map(|account| (account.id(), account)).collect();
    // A telephone number is read in the country of the legal entity, which may be the stored one.
    let stored = changeable.values().map(|account| convert::to_proto(account.clone()));
    let all: Vec<pb::Account> = sent.into_iter().chain(stored).collect();
    let surroundings = Surroundings::read(run.db(), run.policy(), ctx, &all, None).await?;
    Ok(Around { country: None, surroundings, matched, changeable, holders, entities, region })
}

/// The record that a row is about; none also if it may be several.
fn matched(around: &Around, read: &Read) -> Option<Uuid> {
    matching::one(&around.matched, &read.keys).ok().flatten()
}

/// What a row is about, for rows that come after it. Capitals, because one job may compare accounts and contacts, whose
/// ids are their own.
fn seen_keys(plan: &Plan<'_>, read: &Read, around: &Around) -> Vec<String> {
    let by = read.keys.iter().map(|key| plan.mark(&format!("M:{key}")));
    let pairs = read.sent.external_ids.iter().map(|pair| plan.mark(&format!("X:{}:{}", pair.system, pair.id)));
    by.chain(pairs).chain(matched(around, read).map(|id| plan.mark(&format!("r:{id}")))).collect()
}

/// What the account of a row is called before and after it: a later row is about the same one, though this row took from it
/// what that one calls it by.
fn called(plan: &Plan<'_>, around: &Around, outcome: &Outcome<Change>) -> Vec<String> {
    let Outcome::Write(change) = outcome else { return Vec::new() };
    let states = around.changeable.get(&change.id).into_iter().chain(change.decided.iter().map(|decided| &decided.account));
    let details = states.map(Account::details);
    details
        .flat_map(|details| {
            let by = plan.way.stored_keys(&details.profile.contact_points, &details.external_ids).into_iter().map(|key| format!("M:{key}"));
            by.chain(details.external_ids.iter().map(|pair| format!("X:{}:{}", pair.system, pair.id)))
        })
        .map(|key| plan.mark(&key))
        .collect()
}

fn decide(plan: &Plan<'_>, around: &Around, read: Read) -> Result<Outcome<Change>, Fault> {
    let ctx = plan.run.ctx();
    let known = matching::one(&around.matched, &read.keys)?;
    if known.is_none() && plan.requires_keys() && read.keys.is_empty() {
        return Err(plan::without_key());
    }
    let held = |pair: &ExternalId| around.holders.get(&(pair.system.clone(), pair.id.clone()));
    if read.sent.external_ids.iter().filter_map(held).any(|holder| Some(*holder) != known) {
        return Err(external_id::taken("account.external_ids"));
    }
    if name::split(&read.sent.legal_entity).is_some_and(|(_, entity)| !around.entities.contains_key(&entity)) {
        return Err(plan::entity_unknown());
    }
    let Some(id) = known else {
        // Numbers and names are given by the service: a row cannot bring its own.
        if plan.mode == ImportMode::Update || matches!(plan.way.by, By::Number | By::Record) {
            return Err(plan::unknown());
        }
        batch::require_create(ctx, CREATE)?;
        let mut sent = pb::Account { name: String::new(), number: String::new(), owner: plan.owner(&read.sent.owner), ..read.sent };
        country::complete(&mut sent.addresses, around.country.as_deref());
        let kind = convert::kind(&sent);
        let created = Account::create(clock::new_id(), kind, around.surroundings.new_details(ctx, sent)?, ctx.now());
        let (id, decided) = (created.0.id(), Decided::created(created));
        require_size(ctx, &decided)?;
        return Ok(Outcome::Write(Box::new(Change { decided: Some(decided), id, parent: read.parent })));
    };
    if matches!(plan.mode, ImportMode::Create | ImportMode::Unspecified) {
        return Err(plan::known());
    }
    let before = around.changeable.get(&id).ok_or_else(|| batch::read_only(&name::format(COLLECTION, id)))?;
    if read.sent.kind != 0 && convert::kind(&read.sent) != before.kind() {
        return Err(Fault::invalid("Kind", "stays what it was when the account was created"));
    }
    let region = region_of(&around.entities, entity(&read.sent).or(before.details().legal_entity), around.region);
    let mut sent = read.sent;
    if plan.way.by == By::ExternalId {
        // Reached by an id of an account that was merged into it, it keeps the one that it has of that system.
        sent.external_ids.retain(|pair| pair.system != plan.way.system || before.is_called(&pair.system, &pair.id));
    }
    let mut merged = merge::account(convert::to_proto(before.clone()), sent, &read.empty, region);
    country::complete(&mut merged.addresses, around.country.as_deref());
    let details = around.surroundings.details(ctx, merged, Some(before.details()))?;
    let mut after = before.clone();
    let decided = after.change(details, ctx.now())?.map(|fact| Decided::changed(before, after, fact));
    match &decided {
        None if read.parent.is_empty() => return Ok(Outcome::Keep),
        None => {}
        Some(decided) => require_size(ctx, decided)?,
    }
    Ok(Outcome::Write(Box::new(Change { decided, id, parent: read.parent })))
}

/// Refuses an account that is larger than the journal takes. What it says of itself is made when it is written, with
/// its number.
fn require_size(ctx: &Ctx, decided: &Decided) -> Result<(), Fault> {
    events::account(ctx, &decided.account, decided.fact).map(|_| ())
}
