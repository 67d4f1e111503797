//! A file with named columns, read so that each fault keeps its line.
//!
//! Guarantees: every row of the file is either handed out or reported; one bad row never hides the
//! next. Only a file that cannot be opened, or lacks a column that must be there, is an error as a whole.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::read::ReadError;
use crate::rows::{Problem, Table};

/// The open file.
#[derive(Debug)]
pub(crate) struct Sheet {
    file: String,
    header: Vec<String>,
    bytes: Vec<u8>,
    delimiter: u8,
}

/// One row, its cells to be asked for by column.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: u64,
    header: &'a [String],
    cells: &'a csv::StringRecord,
}

/// A cell that is not what its column promises.
#[derive(Debug)]
pub(crate) struct BadCell {
    pub(crate) column: &'static str,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl Row<'_> {
    /// The cell's text; `None` when it is blank or there is no such column.
    pub(crate) fn text(&self, column: &str) -> Option<String> {
        let position = self.header.iter().position(|name| name == column)?;
        let cell = self.cells.get(position)?.trim();
        (!cell.is_empty()).then(|| cell.to_owned())
    }

    /// The cell's text; a blank is a fault.
    pub(crate) fn required(&self, column: &'static str) -> Result<String, BadCell> {
        let blank = || BadCell { column, value: String::new(), reason: "must not be blank".into() };
        self.text(column).ok_or_else(blank)
    }

    /// The cell as a value of another type, `what` saying what it must be.
    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str, what: &str) -> Result<Option<T>, BadCell> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(BadCell { column, value: text, reason: format!("must be {what}") }),
        }
    }
}

impl Sheet {
    /// Opens `dir/file`; `None` when there is no such file.
    pub(crate) fn open(dir: &Path, file: &str) -> Result<Option<Self>, ReadError> {
        let path = dir.join(file);
        if !path.is_file() {
            return Ok(None);
        }
        let unreadable = |reason: String| ReadError::Unreadable { path: path.clone(), reason };
        let bytes = fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
        let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |wanted: u8| first_line.iter().filter(|byte| **byte == wanted).count();
        let delimiter = if count(b';') > count(b',') { b';' } else { b',' };

        let mut sheet = Self { file: file.to_owned(), header: Vec::new(), bytes, delimiter };
        let mut reader = sheet.reader();
        let header = reader.headers().map_err(|error| unreadable(error.to_string()))?;
        sheet.header = header.iter().map(|name| name.trim().to_lowercase()).collect();
        Ok(Some(sheet))
    }

    fn reader(&self) -> csv::Reader<&[u8]> {
        csv::ReaderBuilder::new().delimiter(self.delimiter).flexible(true).from_reader(self.bytes.as_slice())
    }

    /// Reads every row, after making sure that the `columns` are there.
    pub(crate) fn table<T>(
        &self,
        dir: &Path,
        columns: &[&'static str],
        problems: &mut Vec<Problem>,
        parse: impl Fn(&Row<'_>) -> Result<T, BadCell>,
    ) -> Result<Table<T>, ReadError> {
        for column in columns {
            if !self.header.iter().any(|name| name == column) {
                return Err(ReadError::MissingColumn { path: dir.join(&self.file), column });
            }
        }
        let mut table = Table { file: self.file.clone(), ..Table::default() };
        let mut lines = Lines::of(&self.bytes);
        for record in self.reader().byte_records() {
            let record = record.map_err(|error| ReadError::Unreadable { path: dir.join(&self.file), reason: error.to_string() })?;
            table.present += 1;
            let line = lines.line_of(&record);
            match self.row(record, line, &parse) {
                Ok(row) => table.rows.push(row),
                Err(problem) => problems.push(problem),
            }
        }
        Ok(table)
    }

    fn row<T>(&self, record: csv::ByteRecord, line: u64, parse: impl Fn(&Row<'_>) -> Result<T, BadCell>) -> Result<T, Problem> {
        if record.len() != self.header.len() {
            let reason = format!("{} cells where the header has {}", record.len(), self.header.len());
            let whole = String::from_utf8_lossy(record.as_slice()).into_owned();
            return Err(Problem::new(&self.file, line, "", &whole, reason));
        }
        let cells = match csv::StringRecord::from_byte_record(record) {
            Ok(cells) => cells,
            Err(error) => {
                let whole = String::from_utf8_lossy(error.into_byte_record().as_slice()).into_owned();
                return Err(Problem::new(&self.file, line, "", &whole, "not UTF-8".into()));
            }
        };
        let row = Row { file: &self.file, line, header: &self.header, cells: &cells };
        parse(&row).map_err(|bad| Problem::new(&self.file, line, bad.column, &bad.value, bad.reason))
    }
}

/// The line on which a record begins. The CSV reader's own count is taken before it skips blank lines and
/// the second half of a CRLF, so it may be too low.
struct Lines<'a> {
    bytes: &'a [u8],
    counted: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, counted: 0, line: 1 }
    }

    /// The line of a record that comes after all those asked for before.
    fn line_of(&mut self, record: &csv::ByteRecord) -> u64 {
        let start = record.position().map_or(0, csv::Position::byte);
        let start = usize::try_from(start).expect("the file is in memory");
        while let Some(byte) = self.bytes.get(self.counted) {
            let line_end = matches!(byte, b'\r' | b'\n');
            if self.counted >= start && !line_end {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.counted += 1;
        }
        self.line
    }
}
