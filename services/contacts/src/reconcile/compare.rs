//! Rows against the records that they are about.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_kit::{Fault, name};
use uuid::Uuid;

use super::report::{self, Side};
use super::step::is_missing;
use crate::account::{self, Account};
use crate::contact::{self, Contact};
use crate::import::plan::{Keys, Outcome, Plan, Planned};
use crate::import::row::Row;
use crate::import::{self, remembered, write};

/// What rows were about, to be remembered.
#[derive(Debug, Default)]
pub struct About {
    /// What they were about.
    pub keys: Vec<String>,
    /// For each of these, the line of its row.
    pub lines: Vec<i64>,
    /// Rows that are done with.
    pub count: i64,
}

impl About {
    /// Adds what the row on `line` is about.
    pub fn add(&mut self, line: i64, keys: impl IntoIterator<Item = String>) {
        self.keys.extend(keys);
        self.lines.resize(self.keys.len(), line);
    }
}

/// Compares rows of accounts; parents as well.
///
/// # Errors
/// What the database answers.
pub async fn accounts(plan: &Plan<'_>, rows: Vec<Row>, told: &mut pb::ReconciledFile) -> Result<About, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let planned = import::account::plan(plan, rows, &Keys::new()).await?;
    let ids: Vec<Uuid> = planned.iter().filter_map(|row| row.record).collect();
    let scope = ctx.scope_of("contacts.account.read");
    let found = account::sql::get_many(&mut run.db().for_tenant(ctx).await?, ctx, &scope, &ids).await?;
    let here: HashMap<Uuid, Account> = found.into_iter().map(|account| (account.id(), account)).collect();
    let parents: Vec<&str> = planned.iter().filter_map(parent).collect();
    let linked = plan.linked(parents.iter().filter_map(|cell| plan.link.key(cell)).collect()).await?;
    let called = called(plan, &parents).await?;
    let mut about = About::default();
    for row in planned {
        let mut fields = Vec::new();
        let before = row.record.and_then(|id| here.get(&id));
        if let (Outcome::Write(change), Some(before)) = (&row.outcome, before) {
            if let Some(decided) = &change.decided {
                fields.extend(account::convert::differing(before, &decided.account));
            }
            match (change.parent.as_str(), linked.one(&plan.link, &change.parent)) {
                ("", _) => {}
                (_, Ok(parent)) if before.details().parent == Some(parent) => {}
                (_, Ok(_)) => fields.push("parent"),
                // Several accounts are called so; an import leaves the account where it is.
                (_, Err(fault)) if fault.reason() != "ACCOUNT_UNKNOWN" => {}
                (cell, Err(_)) => report::dangling(told, row.line, cell, stands_in_a_file(plan, &called, cell)),
            }
        }
        if let Some(before) = before.filter(|_| !matches!(row.outcome, Outcome::Refuse(_))) {
            // What the caller's roles hide is not in a sum either.
            let mut shown = account::convert::to_proto(before.clone());
            account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
            report::add(told, &shown, Side::Here);
        }
        count(told, row, account::COLLECTION, &fields, &mut about);
    }
    Ok(about)
}

/// Compares rows of contacts.
///
/// # Errors
/// What the database answers.
pub async fn contacts(plan: &Plan<'_>, rows: Vec<Row>, told: &mut pb::ReconciledFile) -> Result<About, Fault> {
    let (run, ctx) = (plan.run, plan.run.ctx());
    let planned = import::contact::plan(plan, rows, &Keys::new()).await?;
    let differ = planned.iter().filter(|row| matches!(row.outcome, Outcome::Write(_)));
    let ids: Vec<Uuid> = differ.filter_map(|row| row.record).collect();
    let scope = ctx.scope_of("contacts.contact.read");
    let found = contact::sql::get_many(&mut run.db().for_tenant(ctx).await?, ctx, &scope, &ids).await?;
    let here: HashMap<Uuid, Contact> = found.into_iter().map(|contact| (contact.id(), contact)).collect();
    let dangling: Vec<&str> = planned.iter().flat_map(|row| &row.dangling).map(String::as_str).collect();
    let called = called(plan, &dangling).await?;
    let mut about = About::default();
    for row in planned {
        let mut fields = Vec::new();
        if let (Outcome::Write(change), Some(before)) = (&row.outcome, row.record.and_then(|id| here.get(&id))) {
            fields.extend(contact::convert::differing(before, &change.contact));
        }
        for cell in &row.dangling {
            report::dangling(told, row.line, cell, stands_in_a_file(plan, &called, cell));
        }
        count(told, row, contact::COLLECTION, &fields, &mut about);
    }
    Ok(about)
}

fn parent(row: &Planned<import::account::Change>) -> Option<&str> {
    match &row.outcome {
        Outcome::Write(change) => Some(change.parent.as_str()).filter(|parent| !parent.is_empty()),
        _ => None,
    }
}

/// Of what cells call accounts, those that rows of the files are called.
async fn called(plan: &Plan<'_>, cells: &[&str]) -> Result<HashMap<String, i64>, Fault> {
    let keys: Vec<String> =
        cells.iter().filter_map(|cell| plan.link.key(cell)).filter(|key| !key.contains('\0')).map(|key| write::called(&key)).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let ctx = plan.run.ctx();
    remembered::lines(&mut plan.run.db().for_tenant(ctx).await?, ctx, plan.run.id(), &keys).await
}

fn stands_in_a_file(plan: &Plan<'_>, called: &HashMap<String, i64>, cell: &str) -> bool {
    plan.link.key(cell).is_some_and(|key| called.contains_key(&write::called(&key)))
}

/// Counts a row, once.
fn count<W>(told: &mut pb::ReconciledFile, row: Planned<W>, collection: &str, fields: &[&str], about: &mut About) {
    told.row_count += 1;
    match &row.outcome {
        Outcome::Pass => told.deleted_count += 1,
        Outcome::Refuse(fault) if is_missing(fault) => report::missing(told, row.line),
        Outcome::Refuse(fault) => report::uncompared(told, fault.reason()),
        Outcome::Keep => told.found_count += 1,
        Outcome::Write(_) => {
            told.found_count += 1;
            let record = row.record.map(|id| name::format(collection, id)).unwrap_or_default();
            report::differing(told, row.line, &record, fields);
        }
    }
    about.add(row.line, row.keys);
    about.count += 1;
}
