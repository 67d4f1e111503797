//! The parents of imported accounts, found when every row has been read.
//!
//! A parent that is not found, or whose place in the tree is refused, leaves its account without one: the account is
//! loaded all the same, and its row is listed with the reason.

use std::collections::HashMap;

use rapport_kit::access::Access;
use rapport_kit::{Ctx, Fault, Tx, name};
use uuid::Uuid;

use super::account::Change;
use super::foresee;
use super::matching;
use super::plan::Plan;
use super::remembered;
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
    /// Whether the import made the account.
    created: bool,
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
    /// The last line that was looked at.
    pub last: i64,
}

/// Remembers the parents that rows name; of a dry run, whose accounts are not there, every account that may be one.
///
/// # Errors
/// What the database answers.
pub async fn remember(tx: &mut Tx, plan: &Plan<'_>, changes: &[(i64, Change)]) -> Result<(), Fault> {
    let keeps_all = plan.order.dry_run && plan.mapping.paths().contains("parent");
    let named: Vec<&(i64, Change)> = changes.iter().filter(|(_, change)| keeps_all || !change.parent.is_empty()).collect();
    if named.is_empty() {
        return Ok(());
    }
    let lines: Vec<i64> = named.iter().map(|(line, _)| *line).collect();
    let records: Vec<Uuid> = named.iter().map(|(_, change)| change.id).collect();
    let parents: Vec<String> = named.iter().map(|(_, change)| change.parent.clone()).collect();
    let unchanged: Vec<bool> = named.iter().map(|(_, change)| change.decided.is_none()).collect();
    let is_new = |change: &Change| change.decided.as_ref().is_some_and(|decided| decided.fact == account::Fact::Created);
    let created: Vec<bool> = named.iter().map(|(_, change)| is_new(change)).collect();
    sqlx::query!(
        "insert into import_links (tenant_id, job_id, line, record_id, parent, unchanged, created)
         select $1, $2, l.line, l.record, l.parent, l.unchanged, l.created
         from unnest($3::bigint[], $4::uuid[], $5::text[], $6::boolean[], $7::boolean[]) l(line, record, parent, unchanged, created)",
        plan.run.ctx().tenant(),
        plan.run.id(),
        &lines,
        &records,
        &parents,
        &unchanged,
        &created
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Links the next accounts behind the row on line `after` to their parents. The tree is held until the step ends, and
/// read under that lock. A dry run decides the same over the tree as it would be.
///
/// # Errors
/// ABORTED (CONTENDED); what the database answers.
pub async fn step(tx: &mut Tx, plan: &Plan<'_>, after: i64) -> Result<Linked, Fault> {
    let (run, ctx, dry_run) = (plan.run, plan.run.ctx(), plan.order.dry_run);
    let links = if dry_run { next(tx, ctx, run.id(), after).await? } else { take(tx, ctx, run.id()).await? };
    let keys: Vec<String> = links.iter().filter_map(|link| plan.link.key(&link.parent)).collect();
    let scope = ctx.scope_of("contacts.account.read");
    let mut found = matching::find(tx.conn(), ctx, &scope, Resource::Account, plan.link.way(), &keys).await?;
    if dry_run {
        add_planned(tx, plan, &keys, &mut found).await?;
    } else {
        tree::lock(tx, ctx).await?;
    }
    let found = super::plan::Linked::of(found);
    let mut changeable = changeable(tx, ctx, &links).await?;
    let named: Vec<Uuid> = links.iter().filter_map(|link| found.one(&plan.link, &link.parent).ok()).collect();
    let seen = sql::get_many(tx.conn(), ctx, &scope, &named).await?;
    let mut linked = Linked { is_done: links.is_empty(), last: links.last().map_or(after, |link| link.line), ..Linked::default() };
    for link in links {
        let is_there = |parent: &Uuid| seen.iter().any(|account| account.id() == *parent && !account.is_deleted());
        let is_planned = |parent: &Uuid| dry_run && plan.link.key(&link.parent).is_some() && !seen.iter().any(|account| account.id() == *parent);
        let parent = found
            .one(&plan.link, &link.parent)
            .and_then(|parent| if is_there(&parent) || is_planned(&parent) { Ok(parent) } else { Err(super::plan::unlinked(&link.parent)) });
        let done = match (parent, changeable.remove(&link.record)) {
            (Err(fault), _) => Err(fault),
            (Ok(parent), account) if dry_run && (account.is_some() || link.created) => {
                match account.is_some_and(|account| account.details().parent == Some(parent)) {
                    true => Ok(false),
                    false => foresee::place(tx.conn(), ctx, run.id(), link.line, link.record, parent).await.map(|()| true),
                }
            }
            (Ok(parent), Some(account)) => place(tx, ctx, account, parent).await,
            (Ok(_), None) => Err(crate::batch::read_only(&name::format(COLLECTION, link.record))),
        };
        match done {
            Ok(is_changed) => linked.updated += i64::from(is_changed && link.unchanged),
            Err(fault) if crate::undo::passes(&fault) => return Err(fault),
            Err(fault) => linked.left.push((link.line, fault)),
        }
    }
    Ok(linked)
}

/// The accounts of `links` that may get another parent: those that the caller may change, and those that the import has
/// made a moment ago and nobody has changed since, whatever rights the caller has over them.
async fn changeable(tx: &mut Tx, ctx: &Ctx, links: &[Link]) -> Result<HashMap<Uuid, Account>, Fault> {
    let ids: Vec<Uuid> = links.iter().map(|link| link.record).collect();
    let created: Vec<Uuid> = links.iter().filter(|link| link.created).map(|link| link.record).collect();
    let mut accounts = sql::get_many(tx.conn(), ctx, &ctx.scope_of("contacts.account.update"), &ids).await?;
    if accounts.len() < ids.len() && !created.is_empty() {
        let anybodys = Access::everything().scope("contacts.account.update");
        let own = sql::get_many(tx.conn(), ctx, &anybodys, &created).await?;
        accounts.extend(own.into_iter().filter(|account| account.version() == 1));
    }
    Ok(accounts.into_iter().map(|account| (account.id(), account)).collect())
}

/// Puts an account below its parent; false if it is there already.
async fn place(tx: &mut Tx, ctx: &Ctx, mut account: Account, parent: Uuid) -> Result<bool, Fault> {
    let details = account::Details { parent: Some(parent), ..account.details().clone() };
    let Some(fact) = account.change(details, ctx.now())? else { return Ok(false) };
    tree::require_place(tx, ctx, account.id(), parent).await?;
    let entry = events::account(ctx, &account, fact)?;
    if sql::update(tx.conn(), ctx, &account, entry).await? { Ok(true) } else { Err(Fault::contended()) }
}

/// Adds the accounts to `found` that the rows of a dry run would be.
async fn add_planned(tx: &mut Tx, plan: &Plan<'_>, keys: &[String], found: &mut HashMap<String, Vec<Uuid>>) -> Result<(), Fault> {
    let (ctx, job) = (plan.run.ctx(), plan.run.id());
    let called: Vec<String> = keys.iter().map(|key| write::called(key)).collect();
    let lines = remembered::lines(tx.conn(), ctx, job, &called).await?;
    let records = foresee::records(tx.conn(), ctx, job, &lines.values().copied().collect::<Vec<_>>()).await?;
    for key in keys {
        let Some(record) = lines.get(&write::called(key)).and_then(|line| records.get(line)) else { continue };
        found.entry(key.clone()).or_default().push(*record);
    }
    Ok(())
}

/// Takes the next links out, in the order of lines.
async fn take(tx: &mut Tx, ctx: &Ctx, job: Uuid) -> Result<Vec<Link>, Fault> {
    let mut links = sqlx::query_as!(
        Link,
        r#"with next as (
           select line from import_links where tenant_id = $1 and job_id = $2 order by line limit $3
         )
         delete from import_links l using next where l.tenant_id = $1 and l.job_id = $2 and l.line = next.line
         returning l.line, l.record_id as record, l.parent, l.unchanged, l.created"#,
        ctx.tenant(),
        job,
        LINKS
    )
    .fetch_all(tx.conn())
    .await?;
    links.sort_unstable_by_key(|link| link.line);
    Ok(links)
}

/// The next links of a dry run behind the row on line `after`; they stay until it ends.
async fn next(tx: &mut Tx, ctx: &Ctx, job: Uuid, after: i64) -> Result<Vec<Link>, Fault> {
    let links = sqlx::query_as!(
        Link,
        "select line, record_id as record, parent, unchanged, created from import_links
         where tenant_id = $1 and job_id = $2 and line > $3 and parent <> '' order by line limit $4",
        ctx.tenant(),
        job,
        after,
        LINKS
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(links)
}
