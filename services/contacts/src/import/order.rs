//! What an import is to do, as its job keeps it, and how a file is read.

use std::collections::{BTreeMap, BTreeSet};

use encoding_rs::{Encoding, UTF_8};
use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_kit::files::{File, Files};
use rapport_kit::{Ctx, Fault};

use super::card;
use super::csv::{self, Dialect};
use super::row::Content;
use super::text;
use super::vcard::Cutter;
use super::window::{self, Window};
use super::workbook;
use crate::layout::Column;
use crate::violations::Violations;

/// Rows that are shown of a file.
const SHOWN: usize = 5;

/// What an import is to do. Everything about the file that has to be told from it was told when it was asked for.
#[derive(Clone, PartialEq, Message)]
pub struct Order {
    /// What becomes of the rows.
    #[prost(message, optional, tag = "1")]
    pub rules: Option<pb::ImportRules>,
    /// Label of the encoding.
    #[prost(string, tag = "2")]
    pub encoding: String,
    /// Between cells.
    #[prost(uint32, tag = "3")]
    pub delimiter: u32,
    /// Around cells.
    #[prost(uint32, tag = "4")]
    pub quote: u32,
    /// The header's cells.
    #[prost(string, repeated, tag = "5")]
    pub header: Vec<String>,
    /// Where the first row begins in the file.
    #[prost(int64, tag = "6")]
    pub begin: i64,
    /// Line on which it begins.
    #[prost(int64, tag = "7")]
    pub line: i64,
    /// Whether nothing is to be kept.
    #[prost(bool, tag = "8")]
    pub dry_run: bool,
    /// What people call the file.
    #[prost(string, tag = "9")]
    pub file_name: String,
    /// What the file is written in.
    #[prost(enumeration = "pb::ImportFormat", tag = "10")]
    pub format: i32,
    /// Name of the sheet, of a workbook.
    #[prost(string, tag = "11")]
    pub sheet: String,
    /// Bytes of the file.
    #[prost(int64, tag = "12")]
    pub size: i64,
}

impl Order {
    /// The encoding of the file.
    #[must_use]
    pub fn encoding(&self) -> &'static Encoding {
        text::by_label(&self.encoding).unwrap_or(UTF_8)
    }

    /// The dialect of the file.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        let byte = |byte: u32, otherwise: u8| u8::try_from(byte).unwrap_or(otherwise);
        Dialect { delimiter: byte(self.delimiter, b','), quote: byte(self.quote, b'"') }
    }
}

/// A file at which somebody has looked.
#[derive(Debug)]
pub struct Looked {
    /// What it is written in.
    pub format: pb::ImportFormat,
    /// Its encoding.
    pub encoding: &'static Encoding,
    /// Its dialect.
    pub dialect: Dialect,
    /// The cells of its header.
    pub header: Vec<String>,
    /// Where its first row begins.
    pub begin: i64,
    /// Line on which that begins.
    pub line: i64,
    /// Its first rows.
    pub rows: Vec<Vec<String>>,
    /// About how many it has.
    pub estimated: i64,
    /// Names of the sheets of a workbook; empty for other files.
    pub sheets: Vec<String>,
    /// The one that is read.
    pub sheet: String,
}

/// Looks at the beginning of a file; `source` says what is known of it.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID); FAILED_PRECONDITION (FILE_EMPTY, FILE_UNREADABLE, WORKBOOK_TOO_LARGE); NOT_FOUND
/// (RECORD_NOT_FOUND) if the file was deleted meanwhile; what the database answers.
pub async fn look(files: &Files, ctx: &Ctx, file: &File, source: &pb::ImportSource) -> Result<Looked, Fault> {
    let known = Known::parse(source)?;
    let mut start = Window::open(files, ctx, file.id, 0).await?;
    // A small file is there as a whole, or the last row that is looked at may be half of one.
    while start.bytes().len() <= csv::LONGEST_ROW && start.grow(files, ctx).await? {}
    if start.bytes().is_empty() {
        return Err(empty());
    }
    if start.bytes().starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(unreadable("Save it as XLSX without a password: this is a workbook of an old kind, or a protected one."));
    }
    let is_archive = start.bytes().starts_with(b"PK\x03\x04");
    match known.format {
        pb::ImportFormat::Unspecified | pb::ImportFormat::Xlsx if is_archive => return workbook(files, ctx, file, &source.sheet).await,
        pb::ImportFormat::Xlsx => return Err(workbook::package::damaged()),
        _ if is_archive => return Err(unreadable("Leave its format out: this is a workbook or an archive.")),
        _ => {}
    }
    if !source.sheet.is_empty() {
        return Err(Fault::invalid("source.sheet", "must be empty: only workbooks have sheets"));
    }
    let (encoding, mark) = match known.encoding {
        Some(encoding) => (encoding, text::mark(start.bytes(), encoding)),
        None => text::detect(start.bytes(), start.at_end),
    };
    let start = start.after(mark);
    let is_card = |bytes: &[u8]| bytes.trim_ascii_start().get(..11).is_some_and(|begin| begin.eq_ignore_ascii_case(b"BEGIN:VCARD"));
    if known.format == pb::ImportFormat::Vcard || known.format == pb::ImportFormat::Unspecified && is_card(start.bytes()) {
        return cards(file, &start, encoding, mark);
    }
    let (cuttable, cut) = (start.cuttable(encoding), window::cut_encoding(encoding));
    let told = csv::detect(&cuttable, start.at_end, cut);
    let dialect = Dialect { delimiter: known.delimiter.unwrap_or(told.delimiter), quote: known.quote.unwrap_or(told.quote) };
    let first = csv::rows(&cuttable, start.at_end, dialect, cut, 1, 1);
    let Some(header) = first.rows.into_iter().next() else { return Err(empty()) };
    let header = match header.content {
        Ok(Content::Cells(cells)) => cells,
        Ok(Content::Card(_)) => Vec::new(),
        Err(fault) => return Err(unreadable(fault.text())),
    };
    if header.iter().all(|cell| cell.trim().is_empty()) {
        return Err(empty());
    }
    let next = csv::rows(&cuttable[first.consumed..], start.at_end, dialect, cut, first.line, SHOWN);
    let rows = next.rows.iter().filter_map(|row| row.cells().cloned()).collect();
    let length = |bytes: usize| i64::try_from(bytes).map_err(Fault::internal);
    let begin = length(mark + window::length(&cuttable, first.consumed, encoding))?;
    let of_rows = length(window::length(&cuttable[first.consumed..], next.consumed, encoding))?;
    let estimated = match length(next.rows.len())? {
        count if count < 5 || of_rows == 0 => count,
        count => (file.size.unwrap_or_default() - begin) * count / of_rows,
    };
    let (sheets, sheet) = (Vec::new(), String::new());
    Ok(Looked { format: pb::ImportFormat::Csv, encoding, dialect, header, begin, line: first.line, rows, estimated, sheets, sheet })
}

/// The same for a workbook.
async fn workbook(files: &Files, ctx: &Ctx, file: &File, sheet: &str) -> Result<Looked, Fault> {
    let workbook::Looked { sheets, sheet, header, line, rows, estimated } = workbook::look(files, ctx, file, sheet, SHOWN).await?;
    let dialect = Dialect { delimiter: b',', quote: b'"' };
    Ok(Looked { format: pb::ImportFormat::Xlsx, encoding: UTF_8, dialect, header, begin: 0, line: line + 1, rows, estimated, sheets, sheet })
}

/// The same for a file of cards: its header are the columns that the first cards fill.
fn cards(file: &File, start: &Window, encoding: &'static Encoding, mark: usize) -> Result<Looked, Fault> {
    if text::is_utf16(encoding) {
        return Err(unreadable("Save the cards in UTF-8."));
    }
    let mut cutter = Cutter::new(1);
    cutter.feed(start.bytes(), SHOWN);
    if start.at_end && cutter.cards.len() < SHOWN {
        cutter.finish();
    }
    let texts = cutter.cards.iter().filter_map(|card| text::decoded(card.text.as_ref().ok()?, encoding));
    let shown: Vec<BTreeMap<Column, String>> = texts.filter_map(|text| Some(card::cells(&text, false).ok()?.into_iter().collect())).collect();
    let columns: BTreeSet<&Column> = shown.iter().flat_map(BTreeMap::keys).collect();
    let header: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let row = |card: &BTreeMap<Column, String>| columns.iter().map(|column| card.get(*column).cloned().unwrap_or_default()).collect();
    let length = |count: usize| i64::try_from(count).map_err(Fault::internal);
    let (begin, count) = (length(mark)?, length(cutter.cards.len())?);
    let estimated = if cutter.consumed == 0 { count } else { (file.size.unwrap_or_default() - begin) * count / cutter.consumed };
    let dialect = Dialect { delimiter: b',', quote: b'"' };
    let rows = shown.iter().map(row).collect();
    let (sheets, sheet) = (Vec::new(), String::new());
    Ok(Looked { format: pb::ImportFormat::Vcard, encoding, dialect, header, begin, line: 1, rows, estimated, sheets, sheet })
}

/// What a caller knows of a file.
#[derive(Debug, Default)]
struct Known {
    format: pb::ImportFormat,
    encoding: Option<&'static Encoding>,
    delimiter: Option<u8>,
    quote: Option<u8>,
}

impl Known {
    fn parse(source: &pb::ImportSource) -> Result<Self, Fault> {
        let mut found = Violations::default();
        let mut known = Self::default();
        if !source.encoding.is_empty() {
            known.encoding = text::by_label(&source.encoding);
            if known.encoding.is_none() {
                found.add("source.encoding", "must be the label of an encoding such as utf-8 or windows-1254");
            }
        }
        let byte = |found: &mut Violations, field: &str, text: &str, of: &[u8], problem: &str| match text.as_bytes() {
            [] => None,
            [byte] if of.contains(byte) => Some(*byte),
            _ => {
                found.add(field, problem);
                None
            }
        };
        known.delimiter = byte(&mut found, "source.delimiter", &source.delimiter, b",;|\t", "must be a comma, a semicolon, a bar or a tab");
        known.quote = byte(&mut found, "source.quote", &source.quote, b"\"'", "must be \" or '");
        match pb::ImportFormat::try_from(source.format) {
            Ok(format) => known.format = format,
            Err(_) => found.add("source.format", "must be a format that is known"),
        }
        found.finish().map(|()| known)
    }
}

/// The refusal of a file without a header.
pub(super) fn empty() -> Fault {
    Fault::precondition("FILE_EMPTY", "The file has no header; choose one with a line of headers and rows below it.")
}

/// The refusal of a file that is of no format that is known, or not sound.
pub(super) fn unreadable(why: &str) -> Fault {
    Fault::precondition("FILE_UNREADABLE", format!("The file cannot be read. {why}"))
}
