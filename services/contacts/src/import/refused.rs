//! The file of refused rows: each as it was, with its line and why it was refused, in the format of the source.
//!
//! A table and cards are appended to at each step. So is a workbook, but a part of one is none: it is given out when it is
//! whole, so that an import that ends before its last row has none.

use std::borrow::Cow;

use encoding_rs::Encoding;
use prost::Message;
use rapport_contacts_api::v1::ImportFormat;
use rapport_kit::jobs::Run;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::csv::{self, Dialect};
use super::order::Order;
use super::text;
use super::workbook::piece::SheetRow;
use crate::export::workbook::Workbook;
use crate::layout::cell::unguarded;

/// What workbooks are sent as.
const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Columns that are added.
const ADDED: [&str; 3] = ["Line", "Reason", "Message"];

/// How far the workbook of refused rows is.
#[derive(Clone, PartialEq, Message)]
pub struct Begun {
    /// Its file.
    #[prost(bytes = "vec", tag = "1")]
    file: Vec<u8>,
    #[prost(message, required, tag = "2")]
    workbook: Workbook,
}

/// Refused rows of a step, in the source's own encoding and dialect.
#[derive(Debug)]
pub struct Refused {
    format: ImportFormat,
    encoding: &'static Encoding,
    dialect: Dialect,
    /// Cells of the header.
    width: usize,
    bytes: Vec<u8>,
    /// Those of a sheet.
    rows: Vec<Vec<String>>,
}

impl Refused {
    /// None yet.
    #[must_use]
    pub fn of(order: &Order) -> Self {
        let (encoding, dialect) = (order.encoding(), order.dialect());
        Self { format: order.format(), encoding, dialect, width: order.header.len(), bytes: Vec::new(), rows: Vec::new() }
    }

    /// Adds a row that was cut out of a window.
    pub fn add(&mut self, row: &[u8], line: i64, fault: &Fault) {
        match self.format {
            ImportFormat::Vcard => return self.add_card(row, line, fault),
            // One that has too much has no cells.
            ImportFormat::Xlsx => return self.add_cells(SheetRow::decode(row).unwrap_or_default().cells, line, fault),
            ImportFormat::Csv | ImportFormat::Unspecified => {}
        }
        if text::is_utf16(self.encoding) {
            self.bytes.extend(text::encoded(&String::from_utf8_lossy(row), self.encoding));
        } else {
            self.bytes.extend_from_slice(row);
        }
        // Cells that it leaves out at its end stand before those that are added.
        self.skip(self.width.saturating_sub(csv::width(row, self.dialect)));
        self.end([&line.to_string(), fault.reason(), fault.text()]);
    }

    /// Adds a card with its line and the reason; one that cannot be given back is told by these alone.
    fn add_card(&mut self, card: &[u8], line: i64, fault: &Fault) {
        let last = card.trim_ascii_end().iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (body, end) = if last == 0 { (&b"BEGIN:VCARD\r\nVERSION:3.0\r\n"[..], &b"END:VCARD"[..]) } else { card.split_at(last) };
        let text = fault.text().replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;").replace(['\r', '\n'], " ");
        let told = format!("X-RAPPORT-LINE:{line}\r\nX-RAPPORT-REASON:{}\r\nX-RAPPORT-MESSAGE:{text}\r\n", fault.reason());
        self.bytes.extend_from_slice(body);
        self.bytes.extend(text::encoded(&told, self.encoding));
        self.bytes.extend_from_slice(end.trim_ascii_end());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a row that was loaded, but not as it says: its line and the reason, behind empty cells.
    pub fn mention(&mut self, line: i64, fault: &Fault) {
        if self.format == ImportFormat::Xlsx {
            return self.add_cells(Vec::new(), line, fault);
        }
        self.skip(self.width.saturating_sub(1));
        self.end([&line.to_string(), fault.reason(), fault.text()]);
    }

    /// Adds a row of a sheet. Imported again, a cell is what it was: what would be a formula is guarded when it is written.
    fn add_cells(&mut self, mut cells: Vec<String>, line: i64, fault: &Fault) {
        cells.iter_mut().for_each(|cell| *cell = unguarded(cell).to_owned());
        cells.resize(cells.len().max(self.width), String::new());
        cells.extend([line.to_string(), fault.reason().to_owned(), fault.text().to_owned()]);
        self.rows.push(cells);
    }

    /// Adds empty cells.
    fn skip(&mut self, cells: usize) {
        let delimiters = char::from(self.dialect.delimiter).to_string().repeat(cells);
        self.bytes.extend(text::encoded(&delimiters, self.encoding));
    }

    /// Adds cells behind those of a row, and ends it.
    fn end(&mut self, cells: [&str; 3]) {
        let Dialect { delimiter, quote } = self.dialect;
        let (delimiter, quote) = (char::from(delimiter), char::from(quote));
        let quoted = |cell: &str| format!("{delimiter}{quote}{}{quote}", cell.replace(quote, &format!("{quote}{quote}")));
        let text: String = cells.iter().map(|cell| quoted(cell)).collect();
        self.bytes.extend(text::encoded(&(text + "\r\n"), self.encoding));
    }

    /// Appends the rows to the file of the job, which begins with the first of them; answers its id if there is one to be
    /// given out, and whether that is so from now on. `begun` is how far a workbook is, which `is_last` rows make whole.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_TOO_LARGE); what the database answers.
    pub async fn store(self, tx: &mut Tx, run: &Run, order: &Order, begun: &mut Option<Begun>, is_last: bool) -> Result<(Option<Uuid>, bool), Fault> {
        if self.format == ImportFormat::Xlsx {
            let whole = self.store_in_workbook(tx, run, order, begun, is_last).await?;
            return Ok((whole, whole.is_some()));
        }
        let known = run.output_files().first().copied();
        if self.bytes.is_empty() {
            return Ok((known, false));
        }
        let file = match known {
            Some(file) => file,
            None => {
                let is_table = self.format != ImportFormat::Vcard;
                let media_type = if is_table { "text/csv" } else { "text/vcard" };
                let file = run.files().create(tx, run.ctx(), &name(&order.file_name, self.format), media_type).await?;
                if is_table {
                    run.files().append(tx, run.ctx(), file, &self.header(order)).await?;
                }
                file
            }
        };
        run.files().append(tx, run.ctx(), file, &self.bytes).await?;
        Ok((Some(file), known.is_none()))
    }

    /// The same in a workbook; answers its file when it is whole.
    async fn store_in_workbook(self, tx: &mut Tx, run: &Run, order: &Order, begun: &mut Option<Begun>, is_last: bool) -> Result<Option<Uuid>, Fault> {
        if self.rows.is_empty() && begun.is_none() {
            return Ok(None);
        }
        let mut at = match begun.take() {
            Some(at) => at,
            None => {
                let file = run.files().create(tx, run.ctx(), &name(&order.file_name, self.format), WORKBOOK).await?;
                Begun { file: file.as_bytes().to_vec(), workbook: Workbook::default() }
            }
        };
        let file = Uuid::from_slice(&at.file).map_err(Fault::internal)?;
        let header: Vec<String> = order.header.iter().map(String::as_str).chain(ADDED).map(str::to_owned).collect();
        let mut bytes = Vec::new();
        at.workbook.write(&mut bytes, &header, self.rows.iter().map(|row| row.iter().map(Cow::from).collect()))?;
        if is_last {
            at.workbook.end(&mut bytes)?;
        }
        run.files().append(tx, run.ctx(), file, &bytes).await?;
        if is_last {
            return Ok(Some(file));
        }
        *begun = Some(at);
        Ok(None)
    }

    /// The header of the source with the added columns, after the mark that its encoding needs.
    fn header(&self, order: &Order) -> Vec<u8> {
        let mut header = Self { bytes: Vec::new(), rows: Vec::new(), ..*self };
        let quote = char::from(self.dialect.quote);
        let delimiter = char::from(self.dialect.delimiter).to_string();
        let cells = order.header.iter().map(|cell| format!("{quote}{}{quote}", cell.replace(quote, &format!("{quote}{quote}"))));
        let mark = if self.encoding == encoding_rs::UTF_8 || text::is_utf16(self.encoding) { "\u{feff}" } else { "" };
        header.bytes = text::encoded(&format!("{mark}{}", cells.collect::<Vec<_>>().join(&delimiter)), self.encoding);
        header.end(ADDED);
        header.bytes
    }
}

/// What people call the file of rows that were refused of the file `source`.
fn name(source: &str, format: ImportFormat) -> String {
    let (stem, extension) = source.rsplit_once('.').unwrap_or((source, "csv"));
    let stem: String = stem.chars().take(200).collect();
    let extension: String = if format == ImportFormat::Xlsx { "xlsx".to_owned() } else { extension.chars().take(10).collect() };
    format!("{stem} (refused).{extension}")
}
