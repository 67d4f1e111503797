//! Batches that create or change accounts: match, decide, write all in one transaction.

use std::collections::{HashMap, HashSet};

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::upsert_account_result::{Outcome, Result as Outcomes};
use rapport_kit::journal::{self, Earlier, Record};
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, clock, command, name};
use uuid::Uuid;

use super::rpc::require_unmerged;
use super::surroundings::Surroundings;
use super::write::{self, Decided};
use super::{Account, COLLECTION, Fact, RESOURCE, convert, sql};
use crate::batch::{self, Reference, Target};
use crate::{external_id, limits, search, update};

const READ: &str = "contacts.account.read";
const CREATE: &str = "contacts.account.create";

/// What is to become of an entry.
enum Plan {
    Write(Box<Decided>),
    Keep(Box<Account>),
    Refuse(Fault),
}

/// Creates or changes the accounts of a batch.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE, IDEMPOTENCY_KEY_REUSED); ABORTED (CONTENDED); what the
/// database answers. Errors of entries are in the answer.
pub async fn upsert(db: &Db, policy: &Policy, ctx: &Ctx, request: pb::BatchUpsertAccountsRequest) -> Result<pb::BatchUpsertAccountsResponse, Fault> {
    if request.accounts.is_empty() {
        return Err(Fault::invalid("accounts", "is required"));
    }
    command::require_size(request.accounts.len(), limits::BATCH_UPSERT)?;
    for _ in 0..command::ATTEMPTS {
        // Asked first: entries written by the earlier request would look unchanged to this one.
        let earlier = Earlier::find(db, ctx).await?;
        let plans = plan(db, policy, ctx, &request.accounts, earlier.as_ref()).await?;
        // Asked again: the same request may have been carried out while this one was planned.
        if earlier.is_none() && Earlier::find(db, ctx).await?.is_some() {
            continue;
        }
        let mut plans = if request.atomic && earlier.is_none() { all_or_none(plans) } else { plans };
        if let Some(earlier) = earlier {
            return replayed(db, ctx, plans, &earlier).await;
        }
        batch::require_tellable(&plans, bytes)?;
        if write_all(db, ctx, &mut plans).await? {
            return Ok(answer(ctx, plans));
        }
    }
    Err(Fault::contended())
}

/// Decides about every entry; those that an earlier request with the same key has dealt with are left as they are.
async fn plan(db: &Db, policy: &Policy, ctx: &Ctx, sent: &[pb::Account], earlier: Option<&Earlier>) -> Result<Vec<Plan>, Fault> {
    let done: HashSet<Uuid> = earlier.iter().flat_map(|earlier| earlier.written.iter().chain(&earlier.found)).map(|(_, id, _)| *id).collect();
    let entries: Vec<Reference<'_>> = sent.iter().map(|sent| Reference { name: &sent.name, external_ids: &sent.external_ids }).collect();
    let targets = batch::targets(db, ctx, search::Kind::Account, &entries).await?;
    let ids: Vec<Uuid> = targets.iter().flatten().filter_map(|target| target.id()).collect();
    let mut conn = db.for_tenant(ctx).await?;
    let changeable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope(), &ids).await?);
    let readable = by_id(sql::get_many(&mut conn, ctx, &ctx.scope_of(READ), &ids).await?);
    drop(conn);
    // A telephone number is read in the country of the legal entity, which may be the stored one.
    let merged: Vec<pb::Account> = sent
        .iter()
        .zip(&targets)
        .map(|(sent, target)| {
            let before = target.as_ref().ok().and_then(|target| changeable.get(&target.id()?));
            before.map_or_else(|| sent.clone(), |before| convert::merge(before, sent, &populated(sent)))
        })
        .collect();
    let surroundings = Surroundings::read(db, policy, ctx, &merged, None).await?;
    let mut seen = HashSet::new();
    let mut plans = Vec::with_capacity(sent.len());
    for (sent, target) in sent.iter().zip(targets) {
        let plan = match target {
            Err(fault) => Err(fault),
            Ok(Target::New) => create(ctx, &surroundings, sent),
            Ok(Target::Named(id) | Target::Matched(id)) if !seen.insert(id) => Err(batch::repeated()),
            Ok(Target::Named(id) | Target::Matched(id))
                if let Some(account) = changeable.get(&id)
                    && done.contains(&id) =>
            {
                Ok(Plan::Keep(Box::new(account.clone())))
            }
            Ok(Target::Named(id) | Target::Matched(id)) if let Some(account) = changeable.get(&id) => {
                change(db, ctx, &surroundings, sent, account).await
            }
            Ok(Target::Named(id) | Target::Matched(id)) if readable.contains_key(&id) => Err(batch::read_only(&name::format(COLLECTION, id))),
            Ok(Target::Named(id)) => Err(Fault::not_found(name::format(COLLECTION, id))),
            Ok(Target::Matched(_)) => Err(external_id::taken("external_ids")),
        };
        plans.push(plan.unwrap_or_else(Plan::Refuse));
    }
    Ok(plans)
}

fn create(ctx: &Ctx, surroundings: &Surroundings, sent: &pb::Account) -> Result<Plan, Fault> {
    batch::require_create(ctx, CREATE)?;
    let details = surroundings.new_details(ctx, sent.clone())?;
    let created = Account::create(clock::new_id(), convert::kind(sent), details, ctx.now());
    Ok(Plan::Write(Box::new(Decided::created(created))))
}

async fn change(db: &Db, ctx: &Ctx, surroundings: &Surroundings, sent: &pb::Account, before: &Account) -> Result<Plan, Fault> {
    command::require_etag(&sent.etag, before.version(), || before.name())?;
    if before.merged_into().is_some() {
        require_unmerged(&mut db.for_tenant(ctx).await?, ctx, before).await?;
    }
    let mut paths = update::paths(None, |path| convert::is_populated(sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
    // Found by an id of one that was merged into it: that id leads here as it stands, and the account keeps its own.
    if sent.name.is_empty() && !sent.external_ids.iter().any(|pair| before.is_called(&pair.system, &pair.id)) {
        paths.retain(|path| *path != "external_ids");
    }
    let details = surroundings.details(ctx, convert::merge(before, sent, &paths), Some(before.details()))?;
    let mut account = before.clone();
    Ok(match account.change(details, ctx.now())? {
        Some(fact) => Plan::Write(Box::new(Decided::changed(before, account, fact))),
        None => Plan::Keep(Box::new(account)),
    })
}

fn populated(sent: &pb::Account) -> Vec<&'static str> {
    convert::PATHS.iter().copied().filter(|path| convert::is_populated(sent, path)).collect()
}

/// After one refusal, no entry is written.
fn all_or_none(plans: Vec<Plan>) -> Vec<Plan> {
    if !plans.iter().any(|plan| matches!(plan, Plan::Refuse(_))) {
        return plans;
    }
    plans.into_iter().map(|plan| if matches!(plan, Plan::Write(..)) { Plan::Refuse(batch::abandoned()) } else { plan }).collect()
}

/// Writes what is to be written; false if others changed one of the records, or took an external id or the
/// idempotency key, since the plan was made: nothing is written then. A place in the tree that is refused is
/// refused to the whole batch, because it shows only under the tree's lock.
async fn write_all(db: &Db, ctx: &Ctx, plans: &mut [Plan]) -> Result<bool, Fault> {
    let kept = kept(plans);
    let mut changes: Vec<&mut Decided> =
        plans.iter_mut().filter_map(|plan| if let Plan::Write(decided) = plan { Some(decided.as_mut()) } else { None }).collect();
    if changes.is_empty() && (kept.is_empty() || ctx.key().is_none()) {
        return Ok(true);
    }
    // In the order of ids, so that two batches never wait for each other.
    changes.sort_unstable_by_key(|change| change.account.id());
    match write::write(db, ctx, &mut changes, &kept).await {
        Err(fault) if batch::is_stale(&fault) => Ok(false),
        done => done,
    }
}

/// Records that are as their entries ask for; none where entries are refused and nothing is written, so that such a
/// batch can be sent again under its key.
fn kept(plans: &[Plan]) -> Vec<Record> {
    let any = |is: fn(&Plan) -> bool| plans.iter().any(is);
    if any(|plan| matches!(plan, Plan::Refuse(_))) && !any(|plan| matches!(plan, Plan::Write(..))) {
        return Vec::new();
    }
    let kept = plans.iter().filter_map(|plan| if let Plan::Keep(account) = plan { Some(account) } else { None });
    kept.map(|account| Record { collection: COLLECTION, id: account.id(), version: account.version() }).collect()
}

/// What the answer to an entry takes, about.
fn bytes(plan: &Plan) -> usize {
    match plan {
        Plan::Write(decided) => convert::to_proto(decided.account.clone()).encoded_len(),
        Plan::Keep(account) => convert::to_proto(account.as_ref().clone()).encoded_len(),
        Plan::Refuse(fault) => fault.text().len(),
    }
}

fn answer(ctx: &Ctx, plans: Vec<Plan>) -> pb::BatchUpsertAccountsResponse {
    let results = plans.into_iter().enumerate().map(|(index, plan)| match plan {
        Plan::Write(done) if done.fact == Fact::Created => result(ctx, index, Outcome::Created, convert::to_proto(done.account)),
        Plan::Write(done) => result(ctx, index, Outcome::Updated, convert::to_proto(done.account)),
        Plan::Keep(account) => result(ctx, index, Outcome::Unchanged, convert::to_proto(*account)),
        Plan::Refuse(fault) => failed(ctx, index, fault),
    });
    pb::BatchUpsertAccountsResponse { results: results.collect() }
}

/// The answer of the earlier request: what it wrote or found, as it was then.
async fn replayed(db: &Db, ctx: &Ctx, plans: Vec<Plan>, earlier: &Earlier) -> Result<pb::BatchUpsertAccountsResponse, Fault> {
    let written = earlier.written.iter().map(|(_, id, version)| (*id, *version, if *version == 1 { Outcome::Created } else { Outcome::Updated }));
    let found = earlier.found.iter().map(|(_, id, version)| (*id, *version, Outcome::Unchanged));
    let told: Vec<(Uuid, i64, Outcome)> = written.chain(found).collect();
    let pairs: Vec<(Uuid, i64)> = told.iter().map(|(id, version, _)| (*id, *version)).collect();
    let snapshots: Vec<pb::Account> = journal::snapshots(db, ctx, &pairs).await?;
    let then = |((id, version, outcome), snapshot)| (id, (outcome, pb::Account { etag: command::etag(version), ..snapshot }));
    let mut told: HashMap<Uuid, (Outcome, pb::Account)> = told.into_iter().zip(snapshots).map(then).collect();
    let results = plans.into_iter().enumerate().map(|(index, plan)| {
        let (account, changes) = match plan {
            Plan::Write(decided) => (decided.account, true),
            Plan::Keep(account) => (*account, false),
            Plan::Refuse(fault) => return failed(ctx, index, fault),
        };
        match (told.remove(&account.id()), changes) {
            (Some((outcome, snapshot)), _) => result(ctx, index, outcome, snapshot),
            (None, false) => result(ctx, index, Outcome::Unchanged, convert::to_proto(account)),
            (None, true) => failed(ctx, index, Fault::contended()),
        }
    });
    Ok(pb::BatchUpsertAccountsResponse { results: results.collect() })
}

fn result(ctx: &Ctx, index: usize, outcome: Outcome, mut account: pb::Account) -> pb::UpsertAccountResult {
    convert::hide(&mut account, ctx.fields(RESOURCE));
    pb::UpsertAccountResult { index: position(index), outcome: outcome.into(), result: Some(Outcomes::Account(account)) }
}

fn failed(ctx: &Ctx, index: usize, fault: Fault) -> pb::UpsertAccountResult {
    ctx.log_refused(&fault);
    pb::UpsertAccountResult { index: position(index), outcome: Outcome::Failed.into(), result: Some(Outcomes::Error(fault.into())) }
}

fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn by_id(accounts: Vec<Account>) -> HashMap<Uuid, Account> {
    accounts.into_iter().map(|account| (account.id(), account)).collect()
}
