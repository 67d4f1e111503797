//! What a bulk change makes of each record, decided before anything is written, and the write of one.

use std::collections::{HashMap, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, Tx, name};
use tonic::Code;
use uuid::Uuid;

use super::change::{Change, Work};
use crate::account::write::Decided;
use crate::account::{self, Account};
use crate::contact::{self, Contact};
use crate::layout::Resource;
use crate::{batch, events, number};

/// What becomes of a record.
#[derive(Debug)]
pub(super) enum Decision {
    Contact {
        before: Box<Contact>,
        after: Box<Contact>,
        fact: contact::Fact,
    },
    Account {
        before: Box<Account>,
        decided: Box<Decided>,
    },
    /// It is so already.
    KeepContact(Box<Contact>),
    KeepAccount(Box<Account>),
    Refuse(Fault),
}

/// Decides about each of `ids`, in their order.
///
/// # Errors
/// What the database answers.
pub(super) async fn decide(db: &Db, policy: &Policy, ctx: &Ctx, change: &Change, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Fault> {
    match change.resource {
        Resource::Contact => contacts(db, policy, ctx, change, ids).await,
        Resource::Account => accounts(db, policy, ctx, change, ids).await,
    }
}

async fn contacts(db: &Db, policy: &Policy, ctx: &Ctx, change: &Change, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let changeable = contact::sql::get_many(&mut conn, ctx, &ctx.scope_of(change.permission()), ids).await?;
    let readable = contact::sql::get_many(&mut conn, ctx, &ctx.scope_of(change.resource.read_permission()), ids).await?;
    drop(conn);
    let readable: HashSet<Uuid> = readable.iter().map(Contact::id).collect();
    let mut changeable: HashMap<Uuid, Contact> = changeable.into_iter().map(|contact| (contact.id(), contact)).collect();
    let mut merged: HashMap<Uuid, pb::Contact> = changeable.values().map(|contact| (contact.id(), merged_contact(contact, &change.work))).collect();
    let sent: Vec<pb::Contact> = merged.values().cloned().collect();
    let surroundings = contact::surroundings::Surroundings::read(db, policy, ctx, &sent, None).await?;
    let mut decisions = Vec::with_capacity(ids.len());
    for id in ids {
        let (Some(contact), Some(merged)) = (changeable.remove(id).filter(|_| readable.contains(id)), merged.remove(id)) else {
            decisions.push((*id, Decision::Refuse(out_of_reach(change.resource, *id, readable.contains(id)))));
            continue;
        };
        let decision = one_contact(db, ctx, &surroundings, contact, merged, &change.work).await;
        decisions.push((*id, refusing(decision)?));
    }
    Ok(decisions)
}

async fn one_contact(
    db: &Db,
    ctx: &Ctx,
    surroundings: &contact::surroundings::Surroundings,
    before: Contact,
    merged: pb::Contact,
    work: &Work,
) -> Result<Decision, Fault> {
    let mut after = before.clone();
    let fact = if *work == Work::Delete {
        contact::rpc::require_free(db, ctx, &before.details().leaves(&[])).await?;
        after.delete(ctx.now())
    } else {
        let details = surroundings.details(ctx, merged, Some(before.details()))?;
        contact::rpc::require_free(db, ctx, &before.details().leaves(&details.accounts)).await?;
        after.change(details, ctx.now())?
    };
    Ok(match fact {
        Some(fact) => Decision::Contact { before: Box::new(before), after: Box::new(after), fact },
        None => Decision::KeepContact(Box::new(before)),
    })
}

fn merged_contact(contact: &Contact, work: &Work) -> pb::Contact {
    match work {
        Work::SetContact { sent, paths } => contact::convert::merge(contact, sent, paths),
        Work::Assign(owner) => pb::Contact { owner: owner.clone(), ..contact::convert::to_proto(contact.clone()) },
        Work::AddTags(_) | Work::RemoveTags(_) => {
            let shown = contact::convert::to_proto(contact.clone());
            pb::Contact { tags: tagged(&shown.tags, work), ..shown }
        }
        Work::SetAccount { .. } | Work::Delete => contact::convert::to_proto(contact.clone()),
    }
}

async fn accounts(db: &Db, policy: &Policy, ctx: &Ctx, change: &Change, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let changeable = account::sql::get_many(&mut conn, ctx, &ctx.scope_of(change.permission()), ids).await?;
    let readable = account::sql::get_many(&mut conn, ctx, &ctx.scope_of(change.resource.read_permission()), ids).await?;
    drop(conn);
    let readable: HashSet<Uuid> = readable.iter().map(Account::id).collect();
    let mut changeable: HashMap<Uuid, Account> = changeable.into_iter().map(|account| (account.id(), account)).collect();
    let mut merged: HashMap<Uuid, pb::Account> = changeable.values().map(|account| (account.id(), merged_account(account, &change.work))).collect();
    let sent: Vec<pb::Account> = merged.values().cloned().collect();
    let surroundings = account::surroundings::Surroundings::read(db, policy, ctx, &sent, None).await?;
    let mut decisions = Vec::with_capacity(ids.len());
    for id in ids {
        let (Some(account), Some(merged)) = (changeable.remove(id).filter(|_| readable.contains(id)), merged.remove(id)) else {
            decisions.push((*id, Decision::Refuse(out_of_reach(change.resource, *id, readable.contains(id)))));
            continue;
        };
        let decision = one_account(db, ctx, &surroundings, account, merged, &change.work).await;
        decisions.push((*id, refusing(decision)?));
    }
    Ok(decisions)
}

async fn one_account(
    db: &Db,
    ctx: &Ctx,
    surroundings: &account::surroundings::Surroundings,
    before: Account,
    merged: pb::Account,
    work: &Work,
) -> Result<Decision, Fault> {
    let mut after = before.clone();
    let fact = if *work == Work::Delete {
        after.delete(ctx.now())
    } else {
        let details = surroundings.details(ctx, merged, Some(before.details()))?;
        after.change(details, ctx.now())?
    };
    let Some(fact) = fact else { return Ok(Decision::KeepAccount(Box::new(before))) };
    let decided = Decided::changed(&before, after, fact);
    number::require_known(db, ctx, decided.joins.into_iter().collect()).await?;
    Ok(Decision::Account { before: Box::new(before), decided: Box::new(decided) })
}

fn merged_account(account: &Account, work: &Work) -> pb::Account {
    match work {
        Work::SetAccount { sent, paths } => account::convert::merge(account, sent, paths),
        Work::Assign(owner) => pb::Account { owner: owner.clone(), ..account::convert::to_proto(account.clone()) },
        Work::AddTags(_) | Work::RemoveTags(_) => {
            let shown = account::convert::to_proto(account.clone());
            pb::Account { tags: tagged(&shown.tags, work), ..shown }
        }
        Work::SetContact { .. } | Work::Delete => account::convert::to_proto(account.clone()),
    }
}

fn tagged(tags: &[String], work: &Work) -> Vec<String> {
    match work {
        Work::AddTags(added) => tags.iter().chain(added.iter().filter(|tag| !tags.contains(tag))).cloned().collect(),
        Work::RemoveTags(removed) => tags.iter().filter(|tag| !removed.contains(tag)).cloned().collect(),
        _ => tags.to_vec(),
    }
}

/// The refusal of a record that was there when the change was started.
fn out_of_reach(resource: Resource, id: Uuid, is_readable: bool) -> Fault {
    let name = name::format(resource.collection(), id);
    if is_readable { batch::read_only(&name) } else { Fault::not_found(name) }
}

/// What is wrong with a record alone is its refusal; all else is the step's.
pub(super) fn refusing(decision: Result<Decision, Fault>) -> Result<Decision, Fault> {
    decision.or_else(|fault| if is_of_record(&fault) { Ok(Decision::Refuse(fault)) } else { Err(fault) })
}

/// Whether a fault is about the record and would come again.
pub(super) fn is_of_record(fault: &Fault) -> bool {
    matches!(fault.code(), Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::PermissionDenied | Code::FailedPrecondition)
}

/// Writes what was decided; false if somebody else has changed the record since.
///
/// # Errors
/// Those of a single change; what the database answers.
pub(super) async fn write(tx: &mut Tx, ctx: &Ctx, decision: &Decision) -> Result<bool, Fault> {
    match decision {
        Decision::Contact { after, fact, .. } => {
            let entry = events::contact(ctx, after, *fact)?;
            contact::sql::update(tx.conn(), ctx, after, entry, None).await
        }
        Decision::Account { decided, .. } => account::write::write_one(tx, ctx, decided).await,
        Decision::KeepContact(_) | Decision::KeepAccount(_) | Decision::Refuse(_) => Ok(true),
    }
}
