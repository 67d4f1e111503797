//! The parents of imported accounts, found when every row has been read.
//!
//! A parent that is not found, or whose place in the tree is refused, leaves its account without one: the account is
//! loaded all the same, and its row is listed with the reason.

use std::collections::HashMap;

use rapport_kit::jobs::Run;
use rapport_kit::{Ctx, Fault, Tx, name};
use uuid::Uuid;

use super::account::Change;
use super::matching;
use super::plan::Plan;
use super::report;
use super::write;
use crate::account::{self, Account, COLLECTION, sql, tree};
use crate::events;
use crate::layout::Resource;

/// Links of one step.
const LINKS: i64 = 500;

/// An account whose row names a parent.
#[derive(Debug)]
pub struct Link {
    /// Line of the row.
    pub line: i64,
    record: Uuid,
    parent: String,
    unchanged: bool,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Linked {
    /// Accounts that were told to be unchanged and have another parent now.
    pub updated: i64,
    /// Lines of accounts that are left without their parent, and why.
    pub left: Vec<(i64, Fault)>,
    /// Whether nothing is left to do.
    pub is_done: bool,
}

/// Remembers the parents that rows name.
///
/// # Errors
/// What the database answers.
pub async fn remember(tx: &mut Tx, ctx: &Ctx, job: Uuid, changes: &[(i64, &Change)]) -> Result<(), Fault> {
    let named: Vec<&(i64, &Change)> = changes.iter().filter(|(_, change)| !change.parent.is_empty()).collect();
    if named.is_empty() {
        return Ok(());
    }
    let lines: Vec<i64> = named.iter().map(|(line, _)| *line).collect();
    let records: Vec<Uuid> = named.iter().map(|(_, change)| change.id).collect();
    let parents: Vec<String> = named.iter().map(|(_, change)| change.parent.clone()).collect();
    let unchanged: Vec<bool> = named.iter().map(|(_, change)| change.decided.is_none()).collect();
    sqlx::query!(
        "insert into import_links (tenant_id, job_id, line, record_id, parent, unchanged)
         select $1, $2, l.line, l.record, l.parent, l.unchanged
         from unnest($3::bigint[], $4::uuid[], $5::text[], $6::boolean[]) l(line, record, parent, unchanged)",
        ctx.tenant(),
        job,
        &lines,
        &records,
        &parents,
        &unchanged
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Links the next accounts to their parents. The tree is held until the step ends, and read under that lock.
///
/// # Errors
/// ABORTED (CONTENDED); what the database answers.
pub async fn step(tx: &mut Tx, plan: &Plan<'_>) -> Result<Linked, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let links = take(tx, ctx, run.id()).await?;
    let keys: Vec<String> = links.iter().filter_map(|link| plan.link.key(&link.parent)).collect();
    let scope = ctx.scope_of("contacts.account.read");
    let found = matching::find(tx.conn(), ctx, &scope, Resource::Account, plan.link.way(), &keys).await?;
    let found = super::plan::Linked::of(found);
    if plan.order.dry_run {
        return Ok(Linked { is_done: links.is_empty(), left: unfound(run, plan, links, &found).await?, updated: 0 });
    }
    tree::lock(tx, ctx).await?;
    let ids: Vec<Uuid> = links.iter().map(|link| link.record).collect();
    let changeable = sql::get_many(tx.conn(), ctx, &ctx.scope_of("contacts.account.update"), &ids).await?;
    let mut changeable: HashMap<Uuid, Account> = changeable.into_iter().map(|account| (account.id(), account)).collect();
    let named: Vec<Uuid> = links.iter().filter_map(|link| found.one(&plan.link, &link.parent).ok()).collect();
    let seen = sql::get_many(tx.conn(), ctx, &scope, &named).await?;
    let mut linked = Linked { is_done: links.is_empty(), ..Linked::default() };
    for link in links {
        let done = match found.one(&plan.link, &link.parent) {
            Ok(parent) if seen.iter().any(|account| account.id() == parent && !account.is_deleted()) => match changeable.remove(&link.record) {
                Some(account) => place(tx, ctx, account, parent).await,
                None => Err(crate::batch::read_only(&name::format(COLLECTION, link.record))),
            },
            Ok(_) => Err(super::plan::unlinked()),
            Err(fault) => Err(fault),
        };
        match done {
            Ok(is_changed) => linked.updated += i64::from(is_changed && link.unchanged),
            Err(fault) if crate::undo::passes(&fault) => return Err(fault),
            Err(fault) => linked.left.push((link.line, fault)),
        }
    }
    Ok(linked)
}

/// Puts an account below its parent; false if it is there already.
async fn place(tx: &mut Tx, ctx: &Ctx, mut account: Account, parent: Uuid) -> Result<bool, Fault> {
    let details = account::Details { parent: Some(parent), ..account.details().clone() };
    let Some(fact) = account.change(details, ctx.now())? else { return Ok(false) };
    tree::require_place(tx, ctx, account.id(), parent).await?;
    let entry = events::account(ctx, &account, fact)?;
    if sql::update(tx.conn(), ctx, &account, entry).await? { Ok(true) } else { Err(Fault::contended()) }
}

/// Of a dry run, whose accounts are not there: those whose parent neither is there nor would be.
async fn unfound(run: &Run, plan: &Plan<'_>, links: Vec<Link>, found: &super::plan::Linked) -> Result<Vec<(i64, Fault)>, Fault> {
    let called: Vec<String> = links.iter().filter_map(|link| plan.link.key(&link.parent)).map(|key| write::called(&key)).collect();
    let lines = report::lines(&mut run.db().for_tenant(run.ctx()).await?, run.ctx(), run.id(), &called).await?;
    let is_called = |link: &Link| plan.link.key(&link.parent).is_some_and(|key| lines.contains_key(&write::called(&key)));
    let refused = |link: Link| match found.one(&plan.link, &link.parent) {
        Err(fault) if fault.reason() == "MATCH_AMBIGUOUS" || !is_called(&link) => Some((link.line, fault)),
        _ => None,
    };
    Ok(links.into_iter().filter_map(refused).collect())
}

/// Takes the next links out, in the order of lines.
async fn take(tx: &mut Tx, ctx: &Ctx, job: Uuid) -> Result<Vec<Link>, Fault> {
    let rows = sqlx::query!(
        "with next as (
           select line from import_links where tenant_id = $1 and job_id = $2 order by line limit $3
         )
         delete from import_links l using next where l.tenant_id = $1 and l.job_id = $2 and l.line = next.line
         returning l.line, l.record_id, l.parent, l.unchanged",
        ctx.tenant(),
        job,
        LINKS
    )
    .fetch_all(tx.conn())
    .await?;
    let mut links: Vec<Link> =
        rows.into_iter().map(|row| Link { line: row.line, record: row.record_id, parent: row.parent, unchanged: row.unchanged }).collect();
    links.sort_unstable_by_key(|link| link.line);
    Ok(links)
}
