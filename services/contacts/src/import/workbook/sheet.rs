//! Rows out of the cells of a sheet.
//!
//! A cell is what people see in it: the value that a formula had when the workbook was saved, `TRUE` and `FALSE`, an
//! error such as `#N/A` by its name. Rows without any text are no rows.

use rapport_kit::Fault;

use super::number::shown;
use super::package::damaged;
use super::piece::SheetRow;
use super::style::Styles;
use super::texts::{Texts, unescaped};
use super::xml::{Mark, Xml, attribute};
use crate::import::csv::{LONGEST_ROW, WIDEST_ROW};

/// Lines and columns that workbooks have.
const LINES: i64 = 1_048_576;
const COLUMNS: usize = 16_384;

/// A row as it was read; texts that cells share are looked up later.
#[derive(Debug, Default)]
pub struct RawRow {
    line: i64,
    /// Columns, from 0 and in order, with what stands there.
    cells: Vec<(usize, Raw)>,
    /// Bytes of its texts.
    size: usize,
    /// Cells up to the last one, if they are too many.
    width: usize,
}

#[derive(Debug)]
enum Raw {
    Text(String),
    /// A text by its number.
    Shared(usize),
}

/// Rows of a sheet that comes in pieces.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Those that are complete.
    pub done: Vec<RawRow>,
    xml: Xml,
    at: At<'a>,
}

/// Where reading stands.
#[derive(Debug)]
struct At<'a> {
    styles: &'a Styles,
    is_in_table: bool,
    is_over: bool,
    /// The line of the last row.
    line: i64,
    /// The column after the last cell.
    column: usize,
    row: RawRow,
    cell: Cell,
    is_in_value: bool,
    /// How something is said that stands above it: no part of the cell.
    is_in_sound: bool,
}

/// A cell that is being read.
#[derive(Debug, Default)]
struct Cell {
    column: usize,
    kind: String,
    style: usize,
    text: String,
}

impl<'a> Rows<'a> {
    /// None yet.
    #[must_use]
    pub fn new(styles: &'a Styles) -> Self {
        let at = At {
            styles,
            is_in_table: false,
            is_over: false,
            line: 0,
            column: 0,
            row: RawRow::default(),
            cell: Cell::default(),
            is_in_value: false,
            is_in_sound: false,
        };
        Self { done: Vec::new(), xml: Xml::default(), at }
    }

    /// Reads on.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE).
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Self { done, xml, at } = self;
        xml.feed(bytes, |mark| {
            done.extend(at.take(&mark)?);
            Ok(())
        })
    }

    /// Refuses a sheet that ended before its table did.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE).
    pub fn finish(&self) -> Result<(), Fault> {
        if self.at.is_over { self.xml.finish() } else { Err(damaged()) }
    }
}

impl At<'_> {
    /// Takes a mark; answers the row that it ends.
    fn take(&mut self, mark: &Mark<'_>) -> Result<Option<RawRow>, Fault> {
        match mark {
            Mark::Open("sheetData", _) if !self.is_over => self.is_in_table = true,
            Mark::Close("sheetData") => (self.is_in_table, self.is_over) = (false, true),
            _ if !self.is_in_table => {}
            Mark::Open("row", start) => {
                let told = attribute(start, "r")?.map(|line| line.parse::<i64>().map_err(|_| damaged())).transpose()?;
                let line = told.unwrap_or(self.line + 1);
                // Out of order, a line could stand twice.
                if line <= self.line || line > LINES {
                    return Err(damaged());
                }
                (self.line, self.column) = (line, 0);
                self.row = RawRow { line, ..RawRow::default() };
            }
            Mark::Close("row") => {
                let row = std::mem::take(&mut self.row);
                return Ok((!row.cells.is_empty() || row.is_too_large()).then_some(row));
            }
            Mark::Open("c", start) => {
                let column = attribute(start, "r")?.map(|name| column(&name).ok_or_else(damaged)).transpose()?.unwrap_or(self.column);
                if column < self.column || column >= COLUMNS {
                    return Err(damaged());
                }
                let style = attribute(start, "s")?.and_then(|style| style.parse().ok()).unwrap_or_default();
                let kind = attribute(start, "t")?.unwrap_or_default().into_owned();
                (self.column, self.cell) = (column + 1, Cell { column, kind, style, text: String::new() });
            }
            Mark::Close("c") => self.end_cell()?,
            Mark::Open("rPh", _) => self.is_in_sound = true,
            Mark::Close("rPh") => self.is_in_sound = false,
            Mark::Open("v", _) => self.is_in_value = self.cell.kind != "inlineStr",
            Mark::Open("t", _) => self.is_in_value = self.cell.kind == "inlineStr" && !self.is_in_sound,
            Mark::Close("v" | "t") => self.is_in_value = false,
            Mark::Text(text) if self.is_in_value => {
                self.row.size += text.len();
                // What is too long to be a row need not be kept.
                if self.row.size <= LONGEST_ROW {
                    self.cell.text.push_str(text);
                }
            }
            Mark::Open(..) | Mark::Close(_) | Mark::Text(_) => {}
        }
        Ok(None)
    }

    fn end_cell(&mut self) -> Result<(), Fault> {
        let Cell { column, kind, style, text } = std::mem::take(&mut self.cell);
        let raw = match kind.as_str() {
            _ if text.is_empty() => return Ok(()),
            "s" => Raw::Shared(text.trim().parse().map_err(|_| damaged())?),
            "b" => Raw::Text(if text.trim() == "0" { "FALSE" } else { "TRUE" }.to_owned()),
            "n" | "" => Raw::Text(shown(&text, self.styles.look(style), self.styles.is_1904)),
            "str" | "inlineStr" => Raw::Text(unescaped(&text)),
            // Errors, and days that are written out.
            _ => Raw::Text(text),
        };
        if column >= WIDEST_ROW {
            self.row.width = column + 1;
        } else {
            self.row.cells.push((column, raw));
        }
        if self.row.is_too_large() {
            self.row.cells.clear();
        }
        Ok(())
    }
}

impl RawRow {
    fn is_too_large(&self) -> bool {
        self.size > LONGEST_ROW || self.width > 0
    }

    /// Numbers of the texts that its cells share with others.
    pub fn shared(&self) -> impl Iterator<Item = usize> {
        self.cells.iter().filter_map(|(_, raw)| if let Raw::Shared(number) = raw { Some(*number) } else { None })
    }

    /// The row with its texts.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE) for a text that is not there.
    pub fn settle(self, texts: &Texts) -> Result<SheetRow, Fault> {
        let width = u32::try_from(self.width).map_err(Fault::internal)?;
        let mut row = SheetRow { line: self.line, cells: Vec::new(), is_too_long: self.size > LONGEST_ROW, width };
        let mut size = 0;
        for (column, raw) in self.cells {
            let text = match raw {
                Raw::Text(text) => text,
                Raw::Shared(number) => texts.get(number).ok_or_else(damaged)?.to_owned(),
            };
            size += text.len();
            // One text may stand in every cell.
            if size > LONGEST_ROW {
                return Ok(SheetRow { cells: Vec::new(), is_too_long: true, ..row });
            }
            if !text.trim().is_empty() {
                row.cells.resize(column, String::new());
                row.cells.push(text);
            }
        }
        Ok(row)
    }
}

/// The column of a cell such as `AB12`, from 0.
fn column(name: &str) -> Option<usize> {
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let number = letters.fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::number::Look;
    use super::*;

    /// Lines and cells of a sheet's rows, read in pieces of this size.
    fn read(table: &str, size: usize) -> Result<Vec<(i64, Vec<String>)>, Fault> {
        let styles = Styles::of(&[Look::Plain, Look::Day]);
        let mut rows = Rows::new(&styles);
        let xml = format!("<worksheet><cols><col/></cols><sheetData>{table}</sheetData><c><v>9</v></c></worksheet>");
        xml.as_bytes().chunks(size).try_for_each(|bytes| rows.feed(bytes))?;
        rows.finish()?;
        rows.done.into_iter().map(|row| row.settle(&Texts::default())).map(|row| row.map(|row| (row.line, row.cells))).collect()
    }

    fn row(line: i64, cells: &[&str]) -> (i64, Vec<String>) {
        (line, cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn cells_are_what_people_see_in_them() {
        let table = "<row r=\"2\" spans=\"1:3\"><c r=\"B2\"><v>1E3</v></c><c r=\"D2\" s=\"1\"><v>44197</v></c></row><row r=\"3\"><c r=\"A3\" s=\"1\"/></row>\
            <row r=\"7\"><c r=\"A7\" t=\"b\"><v>1</v></c><c t=\"str\"><f>A1&amp;B1</f><v>x_x000D_</v></c><c r=\"C7\" t=\"e\"><v>#N/A</v></c>\
            <c r=\"D7\" t=\"inlineStr\"><is><r><t>two</t></r><r><t> runs</t></r><rPh><t>no</t></rPh></is></c><c t=\"d\"><v>2021-01-01</v></c></row>";
        let expected = [row(2, &["", "1000", "", "2021-01-01"]), row(7, &["TRUE", "x\r", "#N/A", "two runs", "2021-01-01"])];
        for size in [1, 7, 10_000] {
            assert_eq!(read(table, size).unwrap(), expected);
        }
    }

    #[test]
    fn rows_and_cells_may_leave_out_where_they_stand() {
        let table = "<row><c><v>1</v></c><c><v>2</v></c></row><row r=\"9\"><c r=\"C9\"><v>3</v></c></row><row><c><v>4</v></c></row>";
        assert_eq!(read(table, 9).unwrap(), [row(1, &["1", "2"]), row(9, &["", "", "3"]), row(10, &["4"])]);
    }

    #[test]
    fn a_sheet_that_contradicts_itself_is_refused() {
        for table in [
            "<row r=\"2\"/><row r=\"2\"><c><v>1</v></c></row>",
            "<row r=\"2000000\"><c><v>1</v></c></row>",
            "<row><c r=\"B1\"><v>1</v></c><c r=\"A1\"><v>1</v></c></row>",
            "<row><c r=\"ZZZ1\"><v>1</v></c></row>",
            "<row><c t=\"s\"><v>7</v></c></row>",
            "<row><c t=\"s\"><v>x</v></c></row>",
        ] {
            assert_eq!(read(table, 100).unwrap_err().reason(), "FILE_UNREADABLE", "{table}");
        }
    }

    #[test]
    fn columns_are_numbered_as_programs_name_them() {
        for (name, expected) in [("A1", Some(0)), ("Z9", Some(25)), ("AA10", Some(26)), ("xfd1", Some(16_383)), ("12", None)] {
            assert_eq!(column(name), expected, "{name}");
        }
    }
}
