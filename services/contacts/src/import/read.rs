//! Reading the next rows of a file, whatever its format.

use prost::Message;
use rapport_contacts_api::v1::ImportFormat;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::Fault;
use rapport_kit::jobs::Run;
use uuid::Uuid;

use super::order::Order;
use super::plan::Plan;
use super::row::{Content, Row};
use super::step::Place;
use super::vcard::Cutter;
use super::window::{self, Window};
use super::workbook::piece;
use super::{card, csv, text};

/// Rows of one step.
const ROWS: usize = 500;
/// Bytes of a table after which no more are read in a step whose rows end in them.
const ENOUGH: usize = 1024 * 1024;
/// Bytes of cards after which no more are read in a step.
const KEPT: usize = 8 * 1024 * 1024;

/// Rows of a file.
#[derive(Debug)]
pub struct Batch {
    /// What they were cut out of; of a sheet, its rows as they were unpacked.
    pub text: Vec<u8>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next ones begin; with `forgetting` if there are none.
    pub next: Place,
}

/// The next rows of the file.
///
/// # Errors
/// As [`table`].
pub async fn rows(plan: &Plan<'_>, place: Place) -> Result<Batch, Fault> {
    let (run, order) = (plan.run, plan.order);
    match order.format() {
        ImportFormat::Xlsx => sheet(run, order, place).await,
        ImportFormat::Vcard => cards(plan, place).await,
        ImportFormat::Csv | ImportFormat::Unspecified => table(run, source(run)?, order, place).await,
    }
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
pub async fn table(run: &Run, file: Uuid, order: &Order, place: Place) -> Result<Batch, Fault> {
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
        // Long rows fill a step as well.
        if found.rows.len() < ROWS && !skipping && !found.skipping && !window.at_end && window.bytes().len() < ENOUGH {
            drop(text);
            window.grow(run.files(), ctx).await?;
            continue;
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
        return Ok(Batch { text: text[skipped..skipped + found.consumed].to_vec(), rows: found.rows, next });
    }
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
        let bytes = run.files().read_at(run.ctx(), file, read, window::AT_ONCE).await?;
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
