//! Contacts back to what they were.

use std::collections::HashMap;

use rapport_kit::jobs::Run;
use rapport_kit::{Fault, Tx, journal, name};
use uuid::Uuid;

use super::{Left, Span, begin_try, edited, end_try, passes, scopes};
use crate::contact::{COLLECTION, Contact, Fact, RESOURCE, Refusal, convert, rpc, snapshot, sql};
use crate::merge::returned;
use crate::{batch, events};

/// Takes back what a job did to contacts; answers those that stay as they are.
///
/// # Errors
/// ABORTED (CONTENDED); what the database answers.
pub async fn undo(tx: &mut Tx, run: &Run, spans: &[Span]) -> Result<Vec<Left>, Fault> {
    let ctx = run.ctx();
    let ids: Vec<Uuid> = spans.iter().map(|span| span.record).collect();
    let [read, update, delete] = scopes(ctx, "contact");
    let by_id = |contacts: Vec<Contact>| -> HashMap<Uuid, Contact> { contacts.into_iter().map(|contact| (contact.id(), contact)).collect() };
    let seen = by_id(sql::get_many(tx.conn(), ctx, &read, &ids).await?);
    let changeable = by_id(sql::get_many(tx.conn(), ctx, &update, &ids).await?);
    let deletable = by_id(sql::get_many(tx.conn(), ctx, &delete, &ids).await?);
    let mut left = Vec::new();
    for span in spans {
        let name = name::format(COLLECTION, span.record);
        let undone = match seen.get(&span.record) {
            // It is gone for good, or not for these eyes.
            None => Err(Fault::not_found(&name)),
            Some(_) if span.first == 1 && !deletable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(contact) if contact.is_deleted() && !deletable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(_) if span.first > 1 && !changeable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(contact) => undo_one(tx, run, *span, contact.clone()).await,
        };
        match undone {
            Ok(()) => {}
            Err(fault) if passes(&fault) => return Err(fault),
            Err(fault) => left.push(Left { name, reason: fault.reason() }),
        }
    }
    Ok(left)
}

async fn undo_one(tx: &mut Tx, run: &Run, span: Span, mut contact: Contact) -> Result<(), Fault> {
    let ctx = run.ctx();
    let is_untouched = span.unbroken && contact.version() == span.last;
    let fact = if span.first == 1 {
        // Its data went on in another record, which somebody else decided.
        if contact.merged_into().is_some() {
            return Err(Refusal::Merged.into());
        }
        // One that is in the bin already is what it is to be, whoever put it there.
        if contact.is_deleted() {
            return Ok(());
        }
        contact.delete(ctx.now())
    } else if contact.is_deleted() && is_untouched {
        // The job put it into the bin.
        returned::contact(run.db(), ctx, &mut contact).await?;
        rpc::follow_accounts(tx.conn(), ctx, &mut contact).await?;
        Some(contact.undelete(ctx.now())?)
    } else {
        let snapshot = journal::at_version(run.db(), ctx, span.record, span.first - 1).await?;
        let details = snapshot::followed(tx.conn(), ctx, vec![snapshot], &[]).await?.pop().ok_or_else(edited)?;
        let stands = contact.clone();
        let fact = contact.change(details, ctx.now()).map_err(|_| edited())?;
        require_writable(run, &stands, &contact)?;
        fact
    };
    let Some(fact) = fact else { return Ok(()) };
    if !is_untouched {
        return Err(edited());
    }
    write(tx, run, &contact, fact).await
}

async fn write(tx: &mut Tx, run: &Run, contact: &Contact, fact: Fact) -> Result<(), Fault> {
    let entry = events::contact(run.ctx(), contact, fact)?;
    begin_try(tx).await?;
    match sql::update(tx.conn(), run.ctx(), contact, entry, None).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::contended()),
        Err(fault) => {
            end_try(tx).await?;
            Err(fault)
        }
    }
}

/// Refuses to give a field back that whoever undoes may not write.
fn require_writable(run: &Run, before: &Contact, after: &Contact) -> Result<(), Fault> {
    let rules = run.ctx().fields(RESOURCE);
    if rules.is_empty() {
        return Ok(());
    }
    convert::differing(before, after).try_for_each(|path| rules.require_writable(path))
}
