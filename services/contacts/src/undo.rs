//! Takes back what a job did to contacts and accounts, the last first.
//!
//! Guarantees: what the job made goes to the bin, what it put there comes back, and what it changed gets back what it had
//! before the job. A record
//! that anybody else has changed since stays as it is and is named in a file, with the reason. A record is taken back as
//! a whole, however often the job wrote it. Whoever undoes needs the rights to do the same by hand. A step is one
//! transaction, so that an undoing that broke off goes on where it was; one that was given up can be begun again, and
//! finds what is taken back already. No account goes to the bin while a live one names it as parent. Accounts that
//! the job made and that cannot go now wait for a further pass over the accounts, until a pass gets nowhere; what is left
//! then is named once, with what keeps it: ACCOUNT_HAS_CHILDREN, or that it was changed meanwhile.

pub mod account;
pub mod contact;

use std::collections::{HashMap, HashSet};

use prost::Message;
use rapport_kit::jobs::{Committed, Run, Step};
use rapport_kit::journal::{self, Written};
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::Executor;
use tonic::Code;
use uuid::Uuid;

use crate::in_bulk::wait_behind_people;

/// Journal rows that one step looks at.
const ROWS: i64 = 200;
/// Collections in the order in which they are taken back: contacts act for accounts.
const COLLECTIONS: [&str; 2] = [crate::contact::COLLECTION, crate::account::COLLECTION];

/// Where a step begins.
#[derive(Clone, PartialEq, Message)]
struct Place {
    /// Which of the collections.
    #[prost(uint32, tag = "1")]
    collection: u32,
    /// Place in the journal before which the next facts stand; 0 for its end.
    #[prost(int64, tag = "2")]
    before: i64,
    /// Which pass over the accounts it is.
    #[prost(message, required, tag = "3")]
    pass: Pass,
}

/// A pass over the accounts that a job wrote. There are as many as the tree that it made has levels, and two more if any
/// stays.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Pass {
    /// Whether it is about those alone that waited.
    #[prost(bool, tag = "1")]
    pub again: bool,
    /// Whether none may wait any more.
    #[prost(bool, tag = "2")]
    pub last: bool,
    /// Whether one has waited in it.
    #[prost(bool, tag = "3")]
    pub waited: bool,
    /// Whether one was taken back in it.
    #[prost(bool, tag = "4")]
    pub advanced: bool,
}

impl Pass {
    /// The pass after this one, if one has waited.
    fn next(self) -> Option<Self> {
        self.waited.then_some(Self { again: true, last: !self.advanced, waited: false, advanced: false })
    }
}

/// What a job did to a record.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The record.
    pub record: Uuid,
    /// Version that the job made of it first.
    pub first: i64,
    /// And last.
    pub last: i64,
    /// Whether nobody else changed it in between.
    pub unbroken: bool,
}

/// A record that was not taken back.
#[derive(Debug)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

/// Does a step of taking a job back.
///
/// # Errors
/// ABORTED (CONTENDED) if others change a record right now; what the database answers.
pub async fn step(run: &Run) -> Result<Committed, Fault> {
    let undone = run.undoes().ok_or_else(|| Fault::internal("a job that takes nothing back"))?;
    let mut place: Place = run.checkpoint()?;
    let Some(collection) = usize::try_from(place.collection).ok().and_then(|index| COLLECTIONS.get(index)) else {
        return run.commit(run.begin().await?, Step::last()).await;
    };
    let written = journal::written_by(run.db(), run.ctx(), undone, collection, (place.before > 0).then_some(place.before), ROWS).await?;
    match written.last() {
        Some(last) => place.before = last.id,
        None => {
            let next = place.pass.next();
            place = Place { collection: place.collection + u32::from(next.is_none()), before: 0, pass: next.unwrap_or_default() };
        }
    }
    let spans = spans(run, undone, &written).await?;
    let mut tx = run.begin().await?;
    wait_behind_people(&mut tx).await?;
    let (left, done) = match *collection {
        crate::account::COLLECTION => account::undo(&mut tx, run, &mut place.pass, &spans).await?,
        _ => (contact::undo(&mut tx, run, &spans).await?, spans.len()),
    };
    let mut output_files = Vec::new();
    list(&mut tx, run, &left, &mut output_files).await?;
    let count = |count: usize| i64::try_from(count).map_err(Fault::internal);
    let step = Step { done: count(done)?, refused: count(left.len())?, output_files, ..Step::to(&place) };
    run.commit(tx, step).await
}

/// What the job did to the records whose last fact of it stands in `written`, in that order.
async fn spans(run: &Run, job: Uuid, written: &[Written]) -> Result<Vec<Span>, Fault> {
    let ids: Vec<Uuid> = written.iter().map(|row| row.record_id).collect::<HashSet<_>>().into_iter().collect();
    let rows = sqlx::query!(
        r#"select record_id, min(version) as "first!", max(version) as "last!", count(distinct version) as "count!" from kit.journal
           where tenant_id = $1 and job_id = $2 and record_id = any($3) group by record_id"#,
        run.ctx().tenant(),
        job,
        &ids
    )
    .fetch_all(&mut run.db().for_tenant(run.ctx()).await?)
    .await?;
    let span = |first: i64, last: i64, count: i64, record: Uuid| Span { record, first, last, unbroken: count == last - first + 1 };
    let spans: HashMap<Uuid, Span> = rows.into_iter().map(|row| (row.record_id, span(row.first, row.last, row.count, row.record_id))).collect();
    let last_facts = written.iter().filter_map(|row| spans.get(&row.record_id).filter(|span| span.last == row.version));
    Ok(last_facts.copied().collect())
}

/// Names the records that were not taken back in a file of the job.
async fn list(tx: &mut Tx, run: &Run, left: &[Left], output_files: &mut Vec<Uuid>) -> Result<(), Fault> {
    if left.is_empty() {
        return Ok(());
    }
    let file = match run.output_files().first() {
        Some(file) => *file,
        None => {
            let file = run.files().create(tx, run.ctx(), "not undone.csv", "text/csv").await?;
            run.files().append(tx, run.ctx(), file, b"Name,Reason\r\n").await?;
            output_files.push(file);
            file
        }
    };
    let rows: String = left.iter().map(|left| format!("{},{}\r\n", left.name, left.reason)).collect();
    run.files().append(tx, run.ctx(), file, rows.as_bytes()).await
}

/// The refusal of a record that was changed since the job.
#[must_use]
pub fn edited() -> Fault {
    Fault::precondition("EDITED_SINCE", "The record was changed since the job; take it back by hand.")
}

/// Tries a write that a constraint may refuse, without losing the transaction.
///
/// # Errors
/// What the database answers.
pub(crate) async fn begin_try(tx: &mut Tx) -> Result<(), Fault> {
    tx.conn().execute("savepoint record").await?;
    Ok(())
}

/// Takes the write back that was refused.
///
/// # Errors
/// What the database answers.
pub(crate) async fn end_try(tx: &mut Tx) -> Result<(), Fault> {
    tx.conn().execute("rollback to savepoint record").await?;
    Ok(())
}

/// Whether a fault is about this moment and not about the record, so that the step is to be taken again.
pub(crate) fn passes(fault: &Fault) -> bool {
    matches!(fault.code(), Code::Aborted | Code::Internal | Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}

/// What a job wrote, as whoever undoes it may see and change it.
pub(crate) fn scopes(ctx: &Ctx, resource: &str) -> [rapport_kit::access::Scope; 3] {
    ["read", "update", "delete"].map(|action| ctx.scope_of(&format!("contacts.{resource}.{action}")))
}
