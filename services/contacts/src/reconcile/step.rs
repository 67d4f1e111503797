//! One step of a reconciliation: at most 500 rows of one file.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_kit::jobs::{Committed, Run, Step};
use rapport_kit::{Fault, name};

use super::compare::{self, About};
use crate::import::order::Order;
use crate::import::plan::{self, Plan};
use crate::import::read;
use crate::import::row::Row;
use crate::import::step::Place;
use crate::import::{account, remembered, write};
use crate::layout::Resource;

/// The files, as the job keeps what is asked for.
#[derive(Clone, PartialEq, Message)]
pub struct Orders {
    /// How each is read.
    #[prost(message, repeated, tag = "1")]
    pub orders: Vec<Order>,
}

/// Where a step begins, and what was found so far.
#[derive(Clone, PartialEq, Message)]
pub struct Checkpoint {
    /// Place in the file.
    #[prost(message, required, tag = "1")]
    place: Place,
    /// Which of the files.
    #[prost(uint32, tag = "2")]
    file: u32,
    /// Whether what accounts are called is known, and rows are compared.
    #[prost(bool, tag = "3")]
    comparing: bool,
    /// What was found of each file.
    #[prost(message, repeated, tag = "4")]
    pub files: Vec<pb::ReconciledFile>,
}

/// Does a step.
///
/// # Errors
/// Those of [`Plan::of`]; NOT_FOUND (RECORD_NOT_FOUND) if a file was deleted; what the database answers.
pub async fn step(run: &Run) -> Result<Committed, Fault> {
    let orders: Orders = run.request()?;
    let mut at: Checkpoint = run.checkpoint()?;
    if at.files.is_empty() {
        at.files = orders.orders.iter().zip(run.input_files()).map(|(order, file)| begun(order, *file)).collect();
    }
    let index = usize::try_from(at.file).map_err(Fault::internal)?;
    let (Some(order), Some(source)) = (orders.orders.get(index), run.input_files().get(index)) else {
        return turn(run, at).await;
    };
    let plan = Plan { mode: ImportMode::Update, lenient: true, file: at.file, ..Plan::of(run, order)? };
    if !at.comparing && plan.mapping.resource == Resource::Contact {
        return run.commit(run.begin().await?, Step::to(&Checkpoint { file: at.file + 1, ..at })).await;
    }
    let batch = read::table(run, *source, order, at.place).await?;
    let told = &mut at.files[index];
    let about = match (at.comparing, plan.mapping.resource) {
        (false, _) => gather(&plan, batch.rows, told),
        (true, Resource::Account) => compare::accounts(&plan, batch.rows, told).await?,
        (true, Resource::Contact) => compare::contacts(&plan, batch.rows, told).await?,
    };
    let (place, file) = if batch.next.forgetting { (Place::default(), at.file + 1) } else { (batch.next, at.file) };
    let mut tx = run.begin().await?;
    remembered::remember(&mut tx, run.ctx(), run.id(), &about.keys, &about.lines).await?;
    let next = Checkpoint { place, file, ..at };
    run.commit(tx, Step { done: about.count, ..Step::to(&next) }).await
}

/// What comes when every file was read: comparing them, then forgetting what was remembered of rows.
async fn turn(run: &Run, at: Checkpoint) -> Result<Committed, Fault> {
    let mut tx = run.begin().await?;
    if !at.comparing {
        return run.commit(tx, Step::to(&Checkpoint { comparing: true, file: 0, place: Place::default(), ..at })).await;
    }
    let is_done = remembered::forget(&mut tx, run.ctx(), run.id()).await?;
    let (found, all) = at.files.iter().fold((0, 0), |(found, all), file| (found + file.found_count, all + file.row_count));
    let message = Some(format!("{found} of {all} rows were found"));
    run.commit(tx, Step { ended: is_done, message, ..Step::to(&at) }).await
}

fn begun(order: &Order, file: uuid::Uuid) -> pb::ReconciledFile {
    let collection = order.rules.as_ref().map(|rules| rules.collection.clone()).unwrap_or_default();
    pb::ReconciledFile { file: name::format_own("contacts", "files", file), collection, ..pb::ReconciledFile::default() }
}

/// What other rows may call the accounts of these ones, and the sums of their numbers. Nothing counts as done by it.
fn gather(plan: &Plan<'_>, rows: Vec<Row>, told: &mut pb::ReconciledFile) -> About {
    let mut about = About::default();
    for mut row in rows {
        let line = row.line;
        let Ok((account, called)) = account::glance(plan, &mut row) else { continue };
        super::report::add(told, &account, super::report::Side::Source);
        let called = called.iter().filter(|key| !key.contains('\0'));
        about.add(line, called.map(|key| write::called(key)));
    }
    about
}

/// Whether a row could not be decided about because its record is not there.
#[must_use]
pub fn is_missing(fault: &Fault) -> bool {
    fault.reason() == plan::unknown().reason()
}
