//! How a workbook has its numbers look.

use std::collections::HashMap;

use rapport_kit::Fault;

use super::number::{Look, look};
use super::package::{Package, too_large};
use super::parts::Book;
use super::xml::{Mark, Xml, attribute};

/// Bytes of the part with the styles.
const PART: u64 = 32 * 1024 * 1024;
/// Styles that programs for workbooks allow.
const MOST: usize = 65_536;

/// The looks of cells, by the number of their style.
#[derive(Debug, Default)]
pub struct Styles {
    looks: Vec<Look>,
    /// Whether days are counted from 1904.
    pub is_1904: bool,
}

impl Styles {
    /// How numbers look in this style.
    #[must_use]
    pub fn look(&self, style: usize) -> Look {
        self.looks.get(style).copied().unwrap_or(Look::Plain)
    }

    #[cfg(test)]
    pub(super) fn of(looks: &[Look]) -> Self {
        Self { looks: looks.to_vec(), is_1904: false }
    }
}

/// Reads the styles of a workbook.
///
/// # Errors
/// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE); NOT_FOUND (RECORD_NOT_FOUND); what the database answers.
pub async fn read(package: &Package<'_>, book: &Book) -> Result<Styles, Fault> {
    let mut reading = Reading::default();
    if let Some(path) = book.styles.as_ref().filter(|path| package.has(path)) {
        let mut xml = Xml::default();
        let mut stream = package.stream(path, PART).await?;
        while let Some(bytes) = stream.next().await? {
            xml.feed(&bytes, |mark| reading.take(&mark))?;
        }
        xml.finish()?;
    }
    Ok(Styles { looks: reading.looks, is_1904: book.is_1904 })
}

/// Styles that are being read.
#[derive(Default)]
struct Reading {
    /// Formats that the workbook describes, by their number.
    described: HashMap<u32, Look>,
    looks: Vec<Look>,
    is_in_cells: bool,
}

impl Reading {
    fn take(&mut self, mark: &Mark<'_>) -> Result<(), Fault> {
        let number = |start, name| Ok::<_, Fault>(attribute(start, name)?.and_then(|number| number.parse::<u32>().ok()));
        match mark {
            Mark::Open("numFmt", start) => {
                if let (Some(number), Some(code)) = (number(start, "numFmtId")?, attribute(start, "formatCode")?) {
                    self.described.insert(number, look(number, Some(&code)));
                }
            }
            Mark::Open("cellXfs", _) => self.is_in_cells = true,
            Mark::Close("cellXfs") => self.is_in_cells = false,
            Mark::Open("xf", start) if self.is_in_cells => {
                let number = number(start, "numFmtId")?.unwrap_or_default();
                self.looks.push(self.described.get(&number).copied().unwrap_or_else(|| look(number, None)));
            }
            _ => {}
        }
        if self.looks.len().max(self.described.len()) > MOST { Err(too_large("it has more than 65,536 styles")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml::read_whole;
    use super::*;

    #[test]
    fn a_style_has_the_look_of_its_format() {
        let xml = b"<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"yyyy\"/></numFmts><cellStyleXfs><xf numFmtId=\"14\"/></cellStyleXfs>\
            <cellXfs><xf/><xf numFmtId=\"164\"/><xf numFmtId=\"22\"><alignment/></xf></cellXfs></styleSheet>";
        let mut reading = Reading::default();
        read_whole(xml, |mark| reading.take(&mark)).unwrap();
        assert_eq!(reading.looks, [Look::Plain, Look::Day, Look::DayAndTime]);
    }
}
