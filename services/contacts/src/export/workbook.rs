//! Rows as a workbook of Office Open XML (ECMA-376), written piece by piece.
//!
//! Every cell is a text that stands in its own cell: no table of texts has to be held. Nothing is a number or a date,
//! which programs would show in their own way, and nothing a formula.

use std::borrow::Cow;
use std::fmt::Write;

use prost::Message;
use rapport_kit::Fault;

use super::Row;
use super::zip::Archive;
use crate::layout::cell;

/// Rows of a sheet, its header not counted: what programs open.
const ROWS: u32 = 1_048_575;
/// Bytes of a sheet before compression, after which another one begins.
const SHEET: u64 = 2 << 30;
/// Bytes that are compressed at once.
const PIECE: usize = 1 << 20;

const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

/// How far a workbook is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Workbook {
    #[prost(message, optional, tag = "1")]
    archive: Option<Archive>,
    /// Sheets begun.
    #[prost(uint32, tag = "2")]
    sheets: u32,
    /// Rows of the last one, its header not counted.
    #[prost(uint32, tag = "3")]
    rows: u32,
}

impl Workbook {
    /// Appends rows; each sheet begins with the headers.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (EXPORT_TOO_LARGE).
    pub(crate) fn write<'r>(&mut self, out: &mut Vec<u8>, headers: &[String], rows: impl Iterator<Item = Row<'r>>) -> Result<(), Fault> {
        self.write_by(out, headers, rows, ROWS)
    }

    fn write_by<'r>(&mut self, out: &mut Vec<u8>, headers: &[String], rows: impl Iterator<Item = Row<'r>>, most: u32) -> Result<(), Fault> {
        let mut archive = self.archive.take().unwrap_or_default();
        let mut xml = String::new();
        if self.sheets == 0 {
            self.begin_sheet(&mut archive, out, &mut xml, headers);
        }
        for row in rows {
            if self.rows == most || archive.size() > SHEET {
                end_sheet(&mut archive, out, &mut xml)?;
                self.begin_sheet(&mut archive, out, &mut xml, headers);
            }
            self.rows += 1;
            push_row(&mut xml, self.rows + 1, row.iter().map(|text| cell::guarded(text)));
            if xml.len() > PIECE {
                archive.feed(out, xml.as_bytes())?;
                xml.clear();
            }
        }
        archive.feed(out, xml.as_bytes())?;
        self.archive = Some(archive);
        Ok(())
    }

    fn begin_sheet(&mut self, archive: &mut Archive, out: &mut Vec<u8>, xml: &mut String, headers: &[String]) {
        self.sheets += 1;
        self.rows = 0;
        archive.open(out, &format!("xl/worksheets/sheet{}.xml", self.sheets));
        let _ = write!(xml, "{HEAD}<worksheet xmlns=\"{MAIN}\"><sheetData>");
        push_row(xml, 1, headers.iter().map(|header| header.as_str().into()));
    }

    /// Appends the rest: the end of the last sheet and what says where all of them are.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (EXPORT_TOO_LARGE).
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut archive = self.archive.take().unwrap_or_default();
        end_sheet(&mut archive, out, &mut String::new())?;
        for (name, xml) in self.parts() {
            archive.open(out, name);
            archive.feed(out, xml.as_bytes())?;
            archive.close(out)?;
        }
        archive.end(out)?;
        self.archive = Some(archive);
        Ok(())
    }

    /// The files besides the sheets.
    fn parts(&self) -> [(&'static str, String); 4] {
        let each = |part: &dyn Fn(u32) -> String| (1..=self.sheets).map(part).collect::<String>();
        let sheets = each(&|n| format!("<sheet name=\"Sheet {n}\" sheetId=\"{n}\" r:id=\"rId{n}\"/>"));
        let targets = each(&|n| format!("<Relationship Id=\"rId{n}\" Type=\"{RELATIONS}/worksheet\" Target=\"worksheets/sheet{n}.xml\"/>"));
        let types = each(&|n| format!("<Override PartName=\"/xl/worksheets/sheet{n}.xml\" ContentType=\"{TYPE}.worksheet+xml\"/>"));
        [
            ("xl/workbook.xml", format!("{HEAD}<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONS}\"><sheets>{sheets}</sheets></workbook>")),
            ("xl/_rels/workbook.xml.rels", format!("{HEAD}<Relationships xmlns=\"{PACKAGE}/relationships\">{targets}</Relationships>")),
            (
                "_rels/.rels",
                format!(
                    "{HEAD}<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"rId1\" Type=\"{RELATIONS}/officeDocument\" \
                     Target=\"xl/workbook.xml\"/></Relationships>"
                ),
            ),
            (
                "[Content_Types].xml",
                format!(
                    "{HEAD}<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"rels\" \
                     ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" \
                     ContentType=\"application/xml\"/><Override PartName=\"/xl/workbook.xml\" ContentType=\"{TYPE}.sheet.main+xml\"/>{types}</Types>"
                ),
            ),
        ]
    }
}

fn end_sheet(archive: &mut Archive, out: &mut Vec<u8>, xml: &mut String) -> Result<(), Fault> {
    xml.push_str("</sheetData></worksheet>");
    archive.feed(out, xml.as_bytes())?;
    xml.clear();
    archive.close(out)
}

/// A row; empty cells are left out.
fn push_row<'a>(xml: &mut String, number: u32, texts: impl Iterator<Item = Cow<'a, str>>) {
    let _ = write!(xml, "<row r=\"{number}\">");
    for (place, text) in texts.enumerate().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(xml, "<c r=\"{}{number}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">", letters(place));
        push_text(xml, &text);
        xml.push_str("</t></is></c>");
    }
    xml.push_str("</row>");
}

/// What a column is called, from 0: A to Z, AA …
fn letters(place: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = place + 1;
    while rest > 0 {
        letters.push(b'A' + u8::try_from((rest - 1) % 26).unwrap_or_default());
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().map(|letter| char::from(*letter)).collect()
}

/// A text as XML holds it. What XML cannot hold stands as `_xHHHH_` (ECMA-376, ST_Xstring), and what only looks so has
/// its first sign written in this way.
fn push_text(xml: &mut String, text: &str) {
    for (at, letter) in text.char_indices() {
        match letter {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '_' if is_escape(&text[at..]) => xml.push_str("_x005F_"),
            '\t' | '\n' => xml.push(letter),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(xml, "_x{:04X}_", u32::from(letter));
            }
            _ => xml.push(letter),
        }
    }
}

/// Whether a text begins with something like `_x000D_`.
fn is_escape(text: &str) -> bool {
    let digits = text.strip_prefix("_x").and_then(|rest| rest.get(..5)).and_then(|digits| digits.strip_suffix('_'));
    digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, Reader, Xlsx};

    use super::*;

    const MOST: u32 = 3;

    fn row(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// The texts of each sheet as another program reads them.
    fn read(bytes: Vec<u8>) -> Vec<Vec<Vec<String>>> {
        let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).expect("a workbook");
        let names = workbook.sheet_names();
        let text = |cell: &Data| {
            if let Data::String(text) = cell {
                text.clone()
            } else {
                assert_eq!(*cell, Data::Empty);
                String::new()
            }
        };
        let sheet = |name: &String| workbook.worksheet_range(name).expect("a sheet").rows().map(|row| row.iter().map(text).collect()).collect();
        names.iter().map(sheet).collect()
    }

    /// A workbook of these rows, each written apart by whoever finds the stored state.
    fn written(headers: &[String], rows: &[Vec<String>]) -> Vec<u8> {
        let (mut bytes, mut state) = (Vec::new(), Workbook::default().encode_to_vec());
        for row in rows.iter().map(Some).chain([None]) {
            let mut workbook = Workbook::decode(state.as_slice()).unwrap();
            workbook.write_by(&mut bytes, headers, row.map(|row| row.iter().map(Cow::from).collect()).into_iter(), MOST).unwrap();
            if row.is_none() {
                workbook.end(&mut bytes).unwrap();
            }
            state = workbook.encode_to_vec();
        }
        bytes
    }

    #[test]
    fn another_program_reads_what_was_written_in_pieces() {
        let headers = row(&["Name", "", "Notes"]);
        let rows = [row(&["Ada & <Co>", "", "two\nlines \"here\""]), row(&["=1+1", "é", "  spaces  "])];
        let read = read(written(&headers, &rows));
        assert_eq!(read, [vec![headers.clone(), rows[0].clone(), row(&["'=1+1", "é", "  spaces  "])]]);
    }

    #[test]
    fn a_full_sheet_is_followed_by_another_one_with_the_same_header() {
        let headers = row(&["Number"]);
        let rows: Vec<Vec<String>> = (0..7).map(|number| row(&[&number.to_string()])).collect();
        let sheets = read(written(&headers, &rows));
        assert_eq!(sheets.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(sheets.iter().all(|sheet| sheet.first() == Some(&headers)));
        assert_eq!(sheets.iter().flat_map(|sheet| &sheet[1..]).cloned().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn a_workbook_without_rows_has_a_header() {
        assert_eq!(read(written(&row(&["Name"]), &[])), [vec![row(&["Name"])]]);
    }

    #[test]
    fn columns_are_called_as_programs_call_them() {
        for (place, name) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")] {
            assert_eq!(letters(place), name);
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_written_as_its_number() {
        let mut xml = String::new();
        push_text(&mut xml, "a\u{1}b\r\n_x000D_ _x_ é");
        assert_eq!(xml, "a_x0001_b_x000D_\n_x005F_x000D_ _x_ é");
    }
}
