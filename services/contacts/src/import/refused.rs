//! The file of refused rows: each as it was, with its line and why it was refused.

use encoding_rs::Encoding;
use rapport_kit::jobs::Run;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::csv::Dialect;
use super::order::Order;
use super::text;

/// Columns that are added.
const ADDED: [&str; 3] = ["Line", "Reason", "Message"];

/// Refused rows of a step, in the source's own encoding and dialect.
#[derive(Debug)]
pub struct Refused {
    encoding: &'static Encoding,
    dialect: Dialect,
    bytes: Vec<u8>,
}

impl Refused {
    /// None yet.
    #[must_use]
    pub fn of(order: &Order) -> Self {
        Self { encoding: order.encoding(), dialect: order.dialect(), bytes: Vec::new() }
    }

    /// Adds a row that was cut out of a window.
    pub fn add(&mut self, row: &[u8], line: i64, fault: &Fault) {
        if text::is_utf16(self.encoding) {
            self.bytes.extend(text::encoded(&String::from_utf8_lossy(row), self.encoding));
        } else {
            self.bytes.extend_from_slice(row);
        }
        self.end([&line.to_string(), fault.reason(), fault.text()]);
    }

    /// Adds a row that was loaded, but not as it says: its line and the reason, behind empty cells.
    pub fn mention(&mut self, order: &Order, line: i64, fault: &Fault) {
        let delimiters = char::from(self.dialect.delimiter).to_string().repeat(order.header.len().saturating_sub(1));
        self.bytes.extend(text::encoded(&delimiters, self.encoding));
        self.end([&line.to_string(), fault.reason(), fault.text()]);
    }

    /// Adds cells behind those of a row, and ends it.
    fn end(&mut self, cells: [&str; 3]) {
        let Dialect { delimiter, quote } = self.dialect;
        let (delimiter, quote) = (char::from(delimiter), char::from(quote));
        let quoted = |cell: &str| format!("{delimiter}{quote}{}{quote}", cell.replace(quote, &format!("{quote}{quote}")));
        let text: String = cells.iter().map(|cell| quoted(cell)).collect();
        self.bytes.extend(text::encoded(&(text + "\r\n"), self.encoding));
    }

    /// Appends the rows to the file of the job, which begins with the first of them; answers its id if there is one,
    /// and whether it began now.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn store(self, tx: &mut Tx, run: &Run, order: &Order) -> Result<(Option<Uuid>, bool), Fault> {
        let known = run.output_files().first().copied();
        if self.bytes.is_empty() {
            return Ok((known, false));
        }
        let file = match known {
            Some(file) => file,
            None => {
                let file = run.files().create(tx, run.ctx(), &name(&order.file_name), "text/csv").await?;
                run.files().append(tx, run.ctx(), file, &self.header(order)).await?;
                file
            }
        };
        run.files().append(tx, run.ctx(), file, &self.bytes).await?;
        Ok((Some(file), known.is_none()))
    }

    /// The header of the source with the added columns, after the mark that its encoding needs.
    fn header(&self, order: &Order) -> Vec<u8> {
        let mut header = Self { bytes: Vec::new(), ..*self };
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
fn name(source: &str) -> String {
    let (stem, extension) = source.rsplit_once('.').unwrap_or((source, "csv"));
    let stem: String = stem.chars().take(200).collect();
    let extension: String = extension.chars().take(10).collect();
    format!("{stem} (refused).{extension}")
}
