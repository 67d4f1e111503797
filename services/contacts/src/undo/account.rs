//! Accounts back to what they were.

use std::collections::HashMap;

use rapport_kit::jobs::Run;
use rapport_kit::{Fault, Tx, journal, name};
use uuid::Uuid;

use super::{Left, Pass, Span, begin_try, edited, end_try, passes, scopes};
use crate::account::{Account, COLLECTION, Fact, RESOURCE, Refusal, convert, rpc, snapshot, sql, tree};
use crate::merge::returned;
use crate::{batch, events};

/// Takes back what a job did to accounts; answers those that stay as they are, and how many were dealt with. The tree is
/// held until the step ends.
///
/// # Errors
/// ABORTED (CONTENDED); what the database answers.
pub async fn undo(tx: &mut Tx, run: &Run, pass: &mut Pass, spans: &[Span]) -> Result<(Vec<Left>, usize), Fault> {
    let ctx = run.ctx();
    if spans.is_empty() {
        return Ok((Vec::new(), 0));
    }
    tree::lock(tx, ctx).await?;
    let ids: Vec<Uuid> = spans.iter().map(|span| span.record).collect();
    let [read, update, delete] = scopes(ctx, "account");
    let by_id = |accounts: Vec<Account>| -> HashMap<Uuid, Account> { accounts.into_iter().map(|account| (account.id(), account)).collect() };
    let seen = by_id(sql::get_many(tx.conn(), ctx, &read, &ids).await?);
    let changeable = by_id(sql::get_many(tx.conn(), ctx, &update, &ids).await?);
    let deletable = by_id(sql::get_many(tx.conn(), ctx, &delete, &ids).await?);
    let (mut left, mut done) = (Vec::new(), 0);
    for span in spans {
        let name = name::format(COLLECTION, span.record);
        let waits = seen.get(&span.record).is_some_and(|account| may_wait(*span, account));
        // The others were dealt with in the first pass.
        if pass.again && !waits {
            continue;
        }
        let undone = match seen.get(&span.record) {
            None => Err(Fault::not_found(&name)),
            Some(_) if span.first == 1 && !deletable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(account) if account.is_deleted() && !deletable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(_) if span.first > 1 && !changeable.contains_key(&span.record) => Err(batch::read_only(&name)),
            Some(account) => undo_one(tx, run, *span, account.clone()).await,
        };
        match undone {
            Ok(is_written) => pass.advanced |= is_written,
            Err(fault) if passes(&fault) => return Err(fault),
            Err(_) if waits && !pass.last => {
                pass.waited = true;
                continue;
            }
            Err(fault) => left.push(Left { name, reason: fault.reason() }),
        }
        done += 1;
    }
    Ok((left, done))
}

/// Whether the account is one that the job made and that is not in the bin. Whatever keeps it from there is told in the
/// last pass alone: until then it may go behind its children, and anybody may change it between two passes.
fn may_wait(span: Span, account: &Account) -> bool {
    span.first == 1 && (!account.is_deleted() || account.merged_into().is_some())
}

/// Takes back what the job did to an account; false if it is what it was already.
async fn undo_one(tx: &mut Tx, run: &Run, span: Span, mut account: Account) -> Result<bool, Fault> {
    let ctx = run.ctx();
    let is_untouched = span.unbroken && account.version() == span.last;
    let before = account.details().clone();
    let fact = if span.first == 1 {
        // Its data went on in another record, which somebody else decided.
        if account.merged_into().is_some() {
            return Err(Refusal::Merged.into());
        }
        // One that is in the bin already is what it is to be, whoever put it there.
        if account.is_deleted() {
            return Ok(false);
        }
        account.delete(ctx.now())
    } else if account.is_deleted() && is_untouched {
        // The job put it into the bin.
        returned::account(run.db(), ctx, &mut account).await?;
        rpc::follow_parent(tx.conn(), ctx, &mut account).await?;
        Some(account.undelete(ctx.now())?)
    } else {
        let snapshot = journal::at_version(run.db(), ctx, span.record, span.first - 1).await?;
        let details = snapshot::followed(tx.conn(), ctx, vec![snapshot], &[]).await?.pop().ok_or_else(edited)?;
        let stands = account.clone();
        let fact = account.change(details, ctx.now()).map_err(|_| edited())?;
        require_writable(run, &stands, &account)?;
        fact
    };
    let Some(fact) = fact else { return Ok(false) };
    if !is_untouched {
        return Err(edited());
    }
    if fact == Fact::Deleted {
        tree::require_no_children(tx, ctx, account.id()).await?;
    } else if let Some(parent) = account.details().parent.filter(|parent| fact == Fact::Undeleted || before.parent != Some(*parent)) {
        tree::require_place(tx, ctx, account.id(), parent).await?;
    }
    write(tx, run, &account, fact).await.map(|()| true)
}

async fn write(tx: &mut Tx, run: &Run, account: &Account, fact: Fact) -> Result<(), Fault> {
    let entry = events::account(run.ctx(), account, fact)?;
    begin_try(tx).await?;
    match sql::update(tx.conn(), run.ctx(), account, entry).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::contended()),
        Err(fault) => {
            end_try(tx).await?;
            Err(fault)
        }
    }
}

/// Refuses to give a field back that whoever undoes may not write.
fn require_writable(run: &Run, before: &Account, after: &Account) -> Result<(), Fault> {
    let rules = run.ctx().fields(RESOURCE);
    if rules.is_empty() {
        return Ok(());
    }
    convert::differing(before, after).try_for_each(|path| rules.require_writable(path))
}
