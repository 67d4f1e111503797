//! What an import is to do, as its job keeps it, and how a file is read.

use encoding_rs::{Encoding, UTF_8};
use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_kit::files::{File, Files};
use rapport_kit::{Ctx, Fault};

use super::csv::{self, Dialect};
use super::text;
use super::window::{self, Window};
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
}

/// Looks at the beginning of a file; `source` says what is known of it.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID); FAILED_PRECONDITION (FILE_EMPTY, FILE_UNREADABLE); NOT_FOUND (RECORD_NOT_FOUND) if
/// the file was deleted meanwhile; what the database answers.
pub async fn look(files: &Files, ctx: &Ctx, file: &File, source: &pb::ImportSource) -> Result<Looked, Fault> {
    let known = Known::parse(source)?;
    let mut start = Window::open(files, ctx, file.id, 0).await?;
    // A small file is there as a whole, or the last row that is looked at may be half of one.
    while start.bytes().len() <= csv::LONGEST_ROW && start.grow(files, ctx).await? {}
    if start.bytes().is_empty() {
        return Err(empty());
    }
    if start.bytes().starts_with(b"PK\x03\x04") || start.bytes().starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(unreadable("Save it as CSV: this is a spreadsheet or an archive."));
    }
    let (encoding, mark) = match known.encoding {
        Some(encoding) => (encoding, text::mark(start.bytes(), encoding)),
        None => text::detect(start.bytes(), start.at_end),
    };
    let start = start.after(mark);
    let (cuttable, cut) = (start.cuttable(encoding), window::cut_encoding(encoding));
    let told = csv::detect(&cuttable, start.at_end, cut);
    let dialect = Dialect { delimiter: known.delimiter.unwrap_or(told.delimiter), quote: known.quote.unwrap_or(told.quote) };
    let first = csv::rows(&cuttable, start.at_end, dialect, cut, 1, 1);
    let Some(header) = first.rows.into_iter().next() else { return Err(empty()) };
    let header = header.cells.map_err(|fault| unreadable(fault.text()))?;
    if header.iter().all(|cell| cell.trim().is_empty()) {
        return Err(empty());
    }
    let next = csv::rows(&cuttable[first.consumed..], start.at_end, dialect, cut, first.line, SHOWN);
    let rows = next.rows.iter().filter_map(|row| row.cells.as_ref().ok().cloned()).collect();
    let length = |bytes: usize| i64::try_from(bytes).map_err(Fault::internal);
    let begin = length(mark + window::length(&cuttable, first.consumed, encoding))?;
    let of_rows = length(window::length(&cuttable[first.consumed..], next.consumed, encoding))?;
    let estimated = match length(next.rows.len())? {
        count if count < 5 || of_rows == 0 => count,
        count => (file.size.unwrap_or_default() - begin) * count / of_rows,
    };
    Ok(Looked { encoding, dialect, header, begin, line: first.line, rows, estimated })
}

/// What a caller knows of a file.
#[derive(Debug, Default)]
struct Known {
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
        if pb::ImportFormat::try_from(source.format).is_err() {
            found.add("source.format", "must be a format that is known");
        }
        found.finish().map(|()| known)
    }
}

fn empty() -> Fault {
    Fault::precondition("FILE_EMPTY", "The file has no header; choose one with a line of headers and rows below it.")
}

fn unreadable(why: &str) -> Fault {
    Fault::precondition("FILE_UNREADABLE", format!("The file cannot be read. {why}"))
}
