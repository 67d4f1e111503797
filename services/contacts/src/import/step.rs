//! One step of an import: at most 500 rows. While they are written, those of the next step are read and decided about.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use prost::Message;
use rapport_contacts_api::v1::ImportFormat;
use rapport_kit::jobs::{Committed, Run, Step};
use rapport_kit::{Fault, Tx};
use tokio::time::timeout;

use super::order::Order;
use super::plan::{Keys, Outcome, Plan, Planned};
use super::refused::{Begun, Refused};
use super::remembered;
use super::report::{self, Counts};
use super::{account, contact, link, read, workbook, write};
use crate::layout::Resource;

/// How long the next rows are waited for after these are committed.
const LOOK_AHEAD: Duration = Duration::from_secs(2);

/// Where a step begins.
#[derive(Clone, PartialEq, Message)]
pub struct Place {
    /// Byte of the file.
    #[prost(int64, tag = "1")]
    pub(super) offset: i64,
    /// Line on which it stands; while accounts are put below their parents, the last line that this was done for.
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
    /// Whether the rest of a line that was given up comes first.
    #[prost(bool, tag = "3")]
    pub(super) skipping: bool,
    /// Whether all rows were read, and what was remembered of them is forgotten.
    #[prost(bool, tag = "4")]
    pub forgetting: bool,
    /// Whether all rows were read, and accounts are put below their parents.
    #[prost(bool, tag = "5")]
    pub(super) linking: bool,
    /// Whether the sheet of a workbook is unpacked. The offset is the number of a piece of it then.
    #[prost(bool, tag = "6")]
    pub(super) unpacked: bool,
    /// How many pieces there are.
    #[prost(int32, tag = "7")]
    pub(super) pieces: i32,
    /// How far the workbook of refused rows is.
    #[prost(message, optional, tag = "8")]
    pub(super) refused: Option<Begun>,
}

/// Does a step.
///
/// # Errors
/// Those of [`Plan::of`]; NOT_FOUND (RECORD_NOT_FOUND) if the file was deleted; ABORTED (CONTENDED); what the database
/// answers.
pub async fn step(run: &Run) -> Result<Committed, Fault> {
    let order: Order = run.request()?;
    let place: Place = run.checkpoint()?;
    if place.forgetting {
        let mut tx = run.begin().await?;
        let is_done = remembered::forget(&mut tx, run.ctx(), run.id()).await?;
        return run.commit(tx, Step { ended: is_done, ..Step::to(&place) }).await;
    }
    let plan = Plan::of(run, &order)?;
    if place.linking {
        return link(&plan, place).await;
    }
    if order.format() == ImportFormat::Xlsx && !place.unpacked {
        return unpack(run, &order).await;
    }
    let decided = match run.take_ahead::<Decided>().filter(|ahead| ahead.begin == (place.offset, place.line)) {
        // Refused rows are stored with those that are written.
        Some(ahead) => Decided { next: Place { refused: place.refused, ..ahead.next }, ..ahead },
        None => decide(&plan, place, &Keys::new()).await?,
    };
    let (next, unwritten) = (decided.next.clone(), decided.tally.keys());
    match select(pin!(write(&plan, decided)), pin!(look_ahead(&plan, next, &unwritten))).await {
        Either::Left((written, ahead)) => Ok(written?.with_ahead(timeout(LOOK_AHEAD, ahead).await.ok().flatten())),
        Either::Right((ahead, writing)) => Ok(writing.await?.with_ahead(ahead)),
    }
}

/// What is to become of the rows of a step.
struct Decided {
    /// Byte and line on which they begin.
    begin: (i64, i64),
    tally: Tally,
    changes: Changes,
    next: Place,
}

enum Changes {
    Contacts(Box<write::Contacts>),
    /// With the lines of their rows.
    Accounts(Vec<(i64, account::Change)>),
}

async fn decide(plan: &Plan<'_>, place: Place, unwritten: &Keys) -> Result<Decided, Fault> {
    let begin = (place.offset, place.line);
    let read::Batch { text, rows, next } = read::rows(plan, place).await?;
    let (tally, changes) = match plan.mapping.resource {
        Resource::Contact => {
            let (tally, changes) = tally(plan.order, &text, contact::plan(plan, rows, unwritten).await?);
            let changes = write::Contacts::of(changes.into_iter().map(|(_, change)| change))?;
            (tally, Changes::Contacts(Box::new(changes)))
        }
        Resource::Account => {
            let (tally, changes) = tally(plan.order, &text, account::plan(plan, rows, unwritten).await?);
            (tally, Changes::Accounts(changes))
        }
    };
    Ok(Decided { begin, tally, changes, next })
}

/// What the next step begins with. What goes wrong here, even a panic, does so again in that step, which tells, and not in
/// the one that is being written.
async fn look_ahead(plan: &Plan<'_>, place: Place, unwritten: &Keys) -> Option<Decided> {
    if place.forgetting {
        return None;
    }
    AssertUnwindSafe(decide(plan, place, unwritten)).catch_unwind().await.ok()?.ok()
}

async fn write(plan: &Plan<'_>, decided: Decided) -> Result<Committed, Fault> {
    let Decided { tally, changes, next, .. } = decided;
    match changes {
        Changes::Contacts(changes) => contacts(plan, tally, *changes, next).await,
        Changes::Accounts(changes) => accounts(plan, tally, &changes, next).await,
    }
}

/// What was decided about the rows of a step, apart from the changes to be written.
struct Tally {
    counts: Counts,
    refused: Refused,
    keys: Vec<String>,
    lines: Vec<i64>,
}

impl Tally {
    fn of(order: &Order) -> Self {
        Self { counts: Counts::default(), refused: Refused::of(order), keys: Vec::new(), lines: Vec::new() }
    }

    /// What the rows are about.
    fn keys(&self) -> Keys {
        self.keys.iter().cloned().zip(self.lines.iter().copied()).collect()
    }
}

/// Beside what became of rows, the changes with the lines of their rows.
fn tally<W>(order: &Order, text: &[u8], planned: Vec<Planned<W>>) -> (Tally, Vec<(i64, W)>) {
    let (mut tally, mut changes) = (Tally::of(order), Vec::new());
    for row in planned {
        tally.lines.extend(row.keys.iter().map(|_| row.line));
        tally.keys.extend(row.keys);
        let is_loaded = !matches!(row.outcome, Outcome::Refuse(_));
        tally.counts.unknown_owners += i64::from(row.unknown_owner && is_loaded);
        match row.outcome {
            Outcome::Keep => tally.counts.unchanged += 1,
            Outcome::Pass => tally.counts.deleted += 1,
            Outcome::Write(change) => changes.push((row.line, *change)),
            Outcome::Refuse(fault) => {
                *tally.counts.refusals.entry(fault.reason().to_owned()).or_default() += 1;
                tally.refused.add(&text[row.place], row.line, &fault);
            }
        }
    }
    (tally, changes)
}

async fn contacts(plan: &Plan<'_>, mut tally: Tally, changes: write::Contacts, next: Place) -> Result<Committed, Fault> {
    let (run, order) = (plan.run, plan.order);
    (tally.counts.created, tally.counts.updated) = changes.counts();
    let mut tx = run.begin().await?;
    if order.dry_run {
        write::begin_dry(&mut tx).await?;
    }
    write::contacts(&mut tx, run.ctx(), changes).await?;
    if order.dry_run {
        write::end_dry(&mut tx).await?;
    }
    commit(plan, tx, tally, next).await
}

async fn accounts(plan: &Plan<'_>, mut tally: Tally, changes: &[(i64, account::Change)], next: Place) -> Result<Committed, Fault> {
    let (run, order, ctx) = (plan.run, plan.order, plan.run.ctx());
    for (_, change) in changes {
        match change.decided.as_ref().map(|decided| decided.fact) {
            None => tally.counts.unchanged += 1,
            Some(crate::account::Fact::Created) => tally.counts.created += 1,
            Some(_) => tally.counts.updated += 1,
        }
    }
    let numbers = write::numbers(run.db(), ctx, changes, order.dry_run).await?;
    let mut tx = run.begin().await?;
    if order.dry_run {
        write::begin_dry(&mut tx).await?;
    }
    write::accounts(&mut tx, ctx, numbers, changes, order.dry_run).await?;
    if order.dry_run {
        write::end_dry(&mut tx).await?;
    }
    link::remember(&mut tx, plan, changes).await?;
    // Parents may stand anywhere in the file.
    let next = match next.forgetting {
        true => Place { linking: true, forgetting: false, line: 0, ..next },
        false => next,
    };
    commit(plan, tx, tally, next).await
}

async fn link(plan: &Plan<'_>, place: Place) -> Result<Committed, Fault> {
    let mut tx = plan.run.begin().await?;
    let linked = link::step(&mut tx, plan, place.line).await?;
    let mut tally = Tally::of(plan.order);
    // Accounts that get a parent here were counted as unchanged before.
    (tally.counts.updated, tally.counts.unchanged) = (linked.updated, -linked.updated);
    tally.counts.unlinked = i64::try_from(linked.left.len()).map_err(Fault::internal)?;
    for (line, fault) in &linked.left {
        tally.refused.mention(*line, fault);
    }
    let next = Place { linking: !linked.is_done, forgetting: linked.is_done, line: linked.last, ..place };
    commit(plan, tx, tally, next).await
}

/// Unpacks the sheet of a workbook, before anything is written. A process that dies begins it anew.
async fn unpack(run: &Run, order: &Order) -> Result<Committed, Fault> {
    let unpacked = workbook::unpack(run, order).await?;
    let next = Place { unpacked: true, pieces: unpacked.pieces, ..Place::default() };
    run.commit(run.begin().await?, Step { total: Some(unpacked.rows), ..Step::to(&next) }).await
}

async fn commit(plan: &Plan<'_>, mut tx: Tx, tally: Tally, mut next: Place) -> Result<Committed, Fault> {
    let (run, order, ctx) = (plan.run, plan.order, plan.run.ctx());
    remembered::remember(&mut tx, ctx, run.id(), &tally.keys, &tally.lines).await?;
    let (file, is_new) = tally.refused.store(&mut tx, run, order, &mut next.refused, next.forgetting).await?;
    report::begin(tx.conn(), ctx, run.id(), order.dry_run).await?;
    report::add(&mut tx, ctx, run.id(), &tally.counts, file).await?;
    let output_files = file.filter(|_| is_new).into_iter().collect();
    let step = Step { done: tally.counts.rows(), refused: tally.counts.refused(), output_files, ..Step::to(&next) };
    run.commit(tx, step).await
}
