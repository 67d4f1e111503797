//! One step of an import: at most 500 rows.

use prost::Message;
use rapport_contacts_api::v1::ImportFormat;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::jobs::{Committed, Run, Step};
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::card;
use super::csv;
use super::order::Order;
use super::plan::{Outcome, Plan, Planned};
use super::refused::{Begun, Refused};
use super::remembered;
use super::report::{self, Counts};
use super::row::{Content, Row};
use super::text;
use super::vcard::Cutter;
use super::window::{self, Window};
use super::workbook::{self, piece};
use super::{account, contact, link, write};
use crate::layout::Resource;

/// Rows of one step.
const ROWS: usize = 500;
/// Bytes of cards after which no more are read in a step.
const KEPT: usize = 8 * 1024 * 1024;

/// Where a step begins.
#[derive(Clone, PartialEq, Message)]
pub struct Place {
    /// Byte of the file.
    #[prost(int64, tag = "1")]
    offset: i64,
    /// Line on which it stands; while accounts are put below their parents, the last line that this was done for.
    #[prost(int64, tag = "2")]
    line: i64,
    /// Whether the rest of a line that was given up comes first.
    #[prost(bool, tag = "3")]
    skipping: bool,
    /// Whether all rows were read, and what was remembered of them is forgotten.
    #[prost(bool, tag = "4")]
    pub forgetting: bool,
    /// Whether all rows were read, and accounts are put below their parents.
    #[prost(bool, tag = "5")]
    linking: bool,
    /// Whether the sheet of a workbook is unpacked. The offset is the number of a piece of it then.
    #[prost(bool, tag = "6")]
    unpacked: bool,
    /// How many pieces there are.
    #[prost(int32, tag = "7")]
    pieces: i32,
    /// How far the workbook of refused rows is.
    #[prost(message, optional, tag = "8")]
    refused: Option<Begun>,
}

/// Rows of a file, with the text that they were cut out of; of a sheet, with its rows as they were unpacked.
#[derive(Debug)]
pub struct Batch {
    text: Vec<u8>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next ones begin; with `forgetting` if there are none.
    pub next: Place,
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
    let batch = match order.format() {
        ImportFormat::Xlsx if !place.unpacked => return unpack(run, &order).await,
        ImportFormat::Xlsx => sheet(run, &order, place).await?,
        ImportFormat::Vcard => cards(&plan, place).await?,
        ImportFormat::Csv | ImportFormat::Unspecified => read(run, source(run)?, &order, place).await?,
    };
    match plan.mapping.resource {
        Resource::Contact => contacts(&plan, batch).await,
        Resource::Account => accounts(&plan, batch).await,
    }
}

/// What became of rows, as it was decided.
struct Tally<W> {
    counts: Counts,
    refused: Refused,
    /// What is to be written, with the lines of the rows.
    written: Vec<(i64, W)>,
    keys: Vec<String>,
    lines: Vec<i64>,
}

fn tally<W>(order: &Order, text: &[u8], planned: Vec<Planned<W>>) -> Tally<W> {
    let mut tally = Tally { counts: Counts::default(), refused: Refused::of(order), written: Vec::new(), keys: Vec::new(), lines: Vec::new() };
    for row in planned {
        tally.lines.extend(row.keys.iter().map(|_| row.line));
        tally.keys.extend(row.keys);
        let is_loaded = !matches!(row.outcome, Outcome::Refuse(_));
        tally.counts.unknown_owners += i64::from(row.unknown_owner && is_loaded);
        match row.outcome {
            Outcome::Keep => tally.counts.unchanged += 1,
            Outcome::Pass => tally.counts.deleted += 1,
            Outcome::Write(change) => tally.written.push((row.line, *change)),
            Outcome::Refuse(fault) => {
                *tally.counts.refusals.entry(fault.reason().to_owned()).or_default() += 1;
                tally.refused.add(&text[row.place], row.line, &fault);
            }
        }
    }
    tally
}

async fn contacts(plan: &Plan<'_>, batch: Batch) -> Result<Committed, Fault> {
    let (run, order) = (plan.run, plan.order);
    let mut tally = tally(order, &batch.text, contact::plan(plan, batch.rows).await?);
    for (_, change) in &tally.written {
        match change.fact {
            crate::contact::Fact::Created => tally.counts.created += 1,
            _ => tally.counts.updated += 1,
        }
    }
    let changes = std::mem::take(&mut tally.written).into_iter().map(|(_, change)| change).collect();
    let mut tx = run.begin().await?;
    if order.dry_run {
        write::begin_dry(&mut tx).await?;
    }
    write::contacts(&mut tx, run.ctx(), changes).await?;
    if order.dry_run {
        write::end_dry(&mut tx).await?;
    }
    commit(plan, tx, tally, batch.next).await
}

async fn accounts(plan: &Plan<'_>, batch: Batch) -> Result<Committed, Fault> {
    let (run, order, ctx) = (plan.run, plan.order, plan.run.ctx());
    let mut tally = tally(order, &batch.text, account::plan(plan, batch.rows).await?);
    for (_, change) in &tally.written {
        match change.decided.as_ref().map(|decided| decided.fact) {
            None => tally.counts.unchanged += 1,
            Some(crate::account::Fact::Created) => tally.counts.created += 1,
            Some(_) => tally.counts.updated += 1,
        }
    }
    let written = std::mem::take(&mut tally.written);
    let changes: Vec<(i64, &account::Change)> = written.iter().map(|(line, change)| (*line, change)).collect();
    let numbers = write::numbers(run.db(), ctx, &changes, order.dry_run).await?;
    let mut tx = run.begin().await?;
    if order.dry_run {
        write::begin_dry(&mut tx).await?;
    }
    write::accounts(&mut tx, ctx, numbers, &changes, order.dry_run).await?;
    if order.dry_run {
        write::end_dry(&mut tx).await?;
    }
    link::remember(&mut tx, plan, &changes).await?;
    // Parents may stand anywhere in the file.
    let next = match batch.next.forgetting {
        true => Place { linking: true, forgetting: false, line: 0, ..batch.next },
        false => batch.next,
    };
    commit(plan, tx, tally, next).await
}

async fn link(plan: &Plan<'_>, place: Place) -> Result<Committed, Fault> {
    let mut tx = plan.run.begin().await?;
    let linked = link::step(&mut tx, plan, place.line).await?;
    let mut tally = tally::<()>(plan.order, &[], Vec::new());
    // These were told to be as their rows say.
    (tally.counts.updated, tally.counts.unchanged) = (linked.updated, -linked.updated);
    tally.counts.unlinked = i64::try_from(linked.left.len()).map_err(Fault::internal)?;
    for (line, fault) in &linked.left {
        tally.refused.mention(*line, fault);
    }
    let next = Place { linking: !linked.is_done, forgetting: linked.is_done, line: linked.last, ..place };
    commit(plan, tx, tally, next).await
}

/// The file of an import.
///
/// # Errors
/// INTERNAL if it has none.
pub(super) fn source(run: &Run) -> Result<Uuid, Fault> {
    run.input_files().first().copied().ok_or_else(|| Fault::internal("an import without a file"))
}

/// The next rows of a table.
///
/// # Errors
/// NOT_FOUND (RECORD_NOT_FOUND) if it was deleted; what the database answers.
pub async fn read(run: &Run, file: Uuid, order: &Order, place: Place) -> Result<Batch, Fault> {
    let (ctx, encoding) = (run.ctx(), order.encoding());
    let place = if place.offset == 0 { Place { offset: order.begin, line: order.line, ..place } } else { place };
    let mut window = Window::open(run.files(), ctx, file, place.offset).await?;
    loop {
        let text = window.cuttable(encoding);
        let (skipped, skipping) = if place.skipping { rest_of_line(&text) } else { (0, false) };
        let mut found = csv::rows(&text[skipped..], window.at_end, order.dialect(), window::cut_encoding(encoding), place.line, ROWS);
        if skipping {
            (found.rows, found.consumed) = (Vec::new(), text.len() - skipped);
        }
        // Rows that are there are taken first; the one that goes on is the next step's.
        if found.rows.is_empty() && found.incomplete && skipped + found.consumed == 0 && !window.at_end {
            drop(text);
            if !window.grow(run.files(), ctx).await? && !window.at_end {
                return Err(Fault::internal("a row that neither ends nor is given up"));
            }
            continue;
        }
        let consumed = i64::try_from(window::length(&text, skipped + found.consumed, encoding)).map_err(Fault::internal)?;
        let is_over = window.at_end && skipped + found.consumed == text.len();
        let skipping = (skipping || found.skipping) && !is_over;
        let next = Place { offset: place.offset + consumed, line: found.line, skipping, forgetting: is_over, ..place };
        return Ok(Batch { text: text[skipped..].to_vec(), rows: found.rows, next });
    }
}

/// Unpacks the sheet of a workbook, before anything is written. A process that dies begins it anew.
async fn unpack(run: &Run, order: &Order) -> Result<Committed, Fault> {
    let unpacked = workbook::unpack(run, order).await?;
    let next = Place { unpacked: true, pieces: unpacked.pieces, ..Place::default() };
    run.commit(run.begin().await?, Step { total: Some(unpacked.rows), ..Step::to(&next) }).await
}

/// The next rows of a sheet.
async fn sheet(run: &Run, order: &Order, place: Place) -> Result<Batch, Fault> {
    let number = i32::try_from(place.offset).map_err(Fault::internal)?;
    let piece = if number < place.pieces { piece::read(run, number).await? } else { piece::Piece::default() };
    let (mut text, mut rows) = (Vec::new(), Vec::with_capacity(piece.rows.len()));
    for row in piece.rows {
        let (line, start) = (row.line, text.len());
        text.extend(row.encode_to_vec());
        let content = row.cells().map(|mut cells| {
            // Cells at the end that are empty are not in a sheet.
            cells.resize(cells.len().max(order.header.len()), String::new());
            cells
        });
        rows.push(Row { line, place: start..text.len(), content: content.map(Content::Cells) });
    }
    let next = Place { offset: place.offset + 1, forgetting: number + 1 >= place.pieces, ..place };
    Ok(Batch { text, rows, next })
}

/// The next cards of the file, each without what is passed over.
async fn cards(plan: &Plan<'_>, place: Place) -> Result<Batch, Fault> {
    let (run, order, encoding) = (plan.run, plan.order, plan.order.encoding());
    let file = source(run)?;
    let place = if place.offset == 0 { Place { offset: order.begin, line: order.line, ..place } } else { place };
    let mut cutter = Cutter::new(place.line);
    let mut read = place.offset;
    let mut is_over = false;
    while cutter.cards.len() < ROWS && cutter.kept() < KEPT {
        let bytes = run.files().read_at(run.ctx(), file, read).await?;
        if bytes.is_empty() {
            cutter.finish();
            is_over = true;
            break;
        }
        read += i64::try_from(cutter.feed(&bytes, ROWS)).map_err(Fault::internal)?;
    }
    // What cards call an organisation may be an account's name.
    let names_accounts = plan.link.way().by == By::DisplayName;
    let next = Place { offset: place.offset + cutter.consumed, line: cutter.next_line, forgetting: is_over, ..place };
    let (mut text, mut rows) = (Vec::new(), Vec::new());
    for card in cutter.cards {
        let start = text.len();
        let content = card.text.and_then(|bytes| {
            text.extend_from_slice(&bytes);
            let decoded = text::decoded(&bytes, encoding).ok_or_else(|| csv::unreadable(encoding))?;
            card::cells(&decoded, names_accounts).map(Content::Card)
        });
        rows.push(Row { line: card.line, place: start..text.len(), content });
    }
    Ok(Batch { text, rows, next })
}

/// How long the rest of a line is that was given up, and whether it goes on behind `text`.
fn rest_of_line(text: &[u8]) -> (usize, bool) {
    match text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(length) => (length, false),
        None => (text.len(), true),
    }
}

async fn commit<W>(plan: &Plan<'_>, mut tx: Tx, tally: Tally<W>, mut next: Place) -> Result<Committed, Fault> {
    let (run, order, ctx) = (plan.run, plan.order, plan.run.ctx());
    remembered::remember(&mut tx, ctx, run.id(), &tally.keys, &tally.lines).await?;
    let (file, is_new) = tally.refused.store(&mut tx, run, order, &mut next.refused, next.forgetting).await?;
    report::begin(tx.conn(), ctx, run.id(), order.dry_run).await?;
    report::add(&mut tx, ctx, run.id(), &tally.counts, file).await?;
    let output_files = file.filter(|_| is_new).into_iter().collect();
    let step = Step { done: tally.counts.rows(), refused: tally.counts.refused(), output_files, ..Step::to(&next) };
    run.commit(tx, step).await
}
