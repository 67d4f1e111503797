//! Sheets of workbooks of Office Open XML (ECMA-376): what they hold, as rows of texts as people see them.
//!
//! Guarantees: whatever a file says of itself, a bounded amount is read of it and kept. A workbook takes at most
//! 32 MiB with 10,000 parts; a sheet 512 MiB unpacked, not more than 200 times what it is packed, and 256 MiB of texts; the
//! texts that cells share take 16 MiB, 500,000 of them. They are kept while a sheet is read; of everything else a few
//! megabytes are in memory at a time. Refused before a row is imported: what is larger, damaged, cut off or protected.
//!
//! ```text
//! file → package (parts, unpacked) → xml (marks) → parts, style, texts → sheet (rows) → piece (rows in the database)
//! ```

pub mod number;
pub mod package;
pub mod parts;
pub mod piece;
pub mod sheet;
pub mod style;
pub mod texts;
pub mod xml;

use std::collections::BTreeSet;

use rapport_kit::files::{File, Files};
use rapport_kit::jobs::Run;
use rapport_kit::{Ctx, Fault};

use self::package::Package;
use self::parts::{Book, Sheet};
use self::piece::{Piece, SheetRow};
use self::sheet::{RawRow, Rows};
use super::order::Order;
use super::read::source;

/// Rows at the beginning of a sheet among which its header is looked for.
const BEGINNING: usize = 50;
/// Bytes of a sheet among which its header is looked for.
const LOOKED: usize = 16 * 1024 * 1024;
/// Rows that are kept together, and are one step of an import.
const ROWS: usize = 500;
/// Bytes of rows after which a piece is full.
const PIECE: usize = 1024 * 1024;
/// Bytes of all rows of a sheet.
const MOST: usize = 256 * 1024 * 1024;

/// A workbook at which somebody has looked.
#[derive(Debug)]
pub struct Looked {
    /// Names of its sheets.
    pub sheets: Vec<String>,
    /// Name of the one that is read.
    pub sheet: String,
    /// Its first row with texts.
    pub header: Vec<String>,
    /// On which line that stands.
    pub line: i64,
    /// The first rows after it.
    pub rows: Vec<Vec<String>>,
    /// About how many there are.
    pub estimated: i64,
}

/// What one sheet was unpacked to.
#[derive(Debug, Clone, Copy)]
pub struct Unpacked {
    /// Pieces that hold its rows.
    pub pieces: i32,
    /// Rows below the header.
    pub rows: i64,
}

/// Looks at a workbook's sheet of this name, or at its first one; `shown` says how many rows are wanted.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) for a sheet that it has not; FAILED_PRECONDITION (FILE_EMPTY, FILE_UNREADABLE,
/// WORKBOOK_TOO_LARGE); NOT_FOUND (RECORD_NOT_FOUND) if the file was deleted meanwhile; what the database answers.
pub async fn look(files: &Files, ctx: &Ctx, file: &File, sheet: &str, shown: usize) -> Result<Looked, Fault> {
    let package = Package::open(files, ctx, file.id, file.size.unwrap_or_default()).await?;
    let book = parts::read(&package).await?;
    let sheets = book.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    let chosen = choose(&book, sheet).ok_or_else(|| Fault::invalid("source.sheet", "must be the name of a sheet of the workbook"))?;
    let styles = style::read(&package, &book).await?;
    let mut stream = package.stream(&chosen.path, package::SHEET).await?;
    let mut rows = Rows::new(&styles);
    let mut met = 0;
    let mut is_whole = false;
    while rows.done.len() < BEGINNING && met < LOOKED {
        let Some(bytes) = stream.next().await? else {
            is_whole = true;
            break;
        };
        met += bytes.len();
        rows.feed(&bytes)?;
    }
    let seen = i64::try_from(rows.done.len()).map_err(Fault::internal)?;
    rows.done.truncate(BEGINNING);
    let wanted: BTreeSet<usize> = rows.done.iter().flat_map(RawRow::shared).collect();
    let texts = texts::read(&package, &book, Some(&wanted)).await?;
    let read: Vec<SheetRow> = rows.done.into_iter().map(|row| row.settle(&texts)).collect::<Result<_, _>>()?;
    let mut read = read.into_iter().filter(|row| !row.is_blank());
    let header = read.next().ok_or_else(super::order::empty)?;
    let line = header.line;
    let header = header.cells().map_err(|fault| super::order::unreadable(fault.text()))?;
    let estimated = match (is_whole, i64::try_from(met).map_err(Fault::internal)?) {
        (false, met) if met > 0 => (stream.size() * seen / met - 1).max(seen - 1),
        _ => i64::try_from(read.clone().count()).map_err(Fault::internal)?,
    };
    let rows = read.take(shown).filter_map(|row| row.cells().ok()).collect();
    Ok(Looked { sheets, sheet: chosen.name.clone(), header, line, rows, estimated })
}

/// Unpacks the sheet of an import into pieces, from the beginning; what a process before has left of them is replaced.
///
/// # Errors
/// As [`look`]; FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE) also for what stands further down.
pub async fn unpack(run: &Run, order: &Order) -> Result<Unpacked, Fault> {
    let (ctx, files) = (run.ctx(), run.files());
    let package = Package::open(files, ctx, source(run)?, order.size).await?;
    let book = parts::read(&package).await?;
    let chosen = choose(&book, &order.sheet).ok_or_else(package::damaged)?;
    let styles = style::read(&package, &book).await?;
    let texts = texts::read(&package, &book, None).await?;
    let mut stream = package.stream(&chosen.path, package::SHEET).await?;
    let mut rows = Rows::new(&styles);
    let mut unpacked = Unpacked { pieces: 0, rows: 0 };
    let (mut piece, mut size, mut sum) = (Piece::default(), 0, 0);
    while let Some(bytes) = stream.next().await? {
        rows.feed(&bytes)?;
        for row in rows.done.drain(..) {
            let row = row.settle(&texts)?;
            // Lines up to the header are not rows of the table.
            if row.line < order.line || row.is_blank() {
                continue;
            }
            size += row.size();
            unpacked.rows += 1;
            piece.rows.push(row);
            if piece.rows.len() < ROWS && size < PIECE {
                continue;
            }
            sum += size;
            if sum > MOST {
                return Err(package::too_large("its texts take more than 256 MiB"));
            }
            piece::store(run, unpacked.pieces, &std::mem::take(&mut piece)).await?;
            unpacked.pieces += 1;
            size = 0;
        }
    }
    rows.finish()?;
    if !piece.rows.is_empty() {
        piece::store(run, unpacked.pieces, &piece).await?;
        unpacked.pieces += 1;
    }
    Ok(unpacked)
}

/// The sheet of this name; without one, the first that people see.
fn choose<'a>(book: &'a Book, name: &str) -> Option<&'a Sheet> {
    if !name.is_empty() {
        return book.sheets.iter().find(|sheet| sheet.name == name);
    }
    book.sheets.iter().find(|sheet| !sheet.is_hidden).or(book.sheets.first())
}
