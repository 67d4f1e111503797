//! The texts that cells of a workbook share.

use std::collections::BTreeSet;

use rapport_kit::Fault;

use super::package::{Package, too_large};
use super::parts::Book;
use super::xml::{Mark, Xml};

/// Bytes of the part with the texts.
const PART: u64 = 256 * 1024 * 1024;
/// Bytes of all texts.
const SUM: usize = 16 * 1024 * 1024;
/// How many there may be.
const COUNT: usize = 500_000;

/// Texts by their number.
#[derive(Debug, Default)]
pub struct Texts {
    /// One after the other.
    all: String,
    /// Where each ends.
    ends: Vec<usize>,
}

/// Texts that are being read.
#[derive(Default)]
struct Reading {
    texts: Texts,
    is_in_text: bool,
    /// How something is said that stands above it, as in Japanese: no part of it.
    is_in_sound: bool,
}

impl Texts {
    /// The text of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&str> {
        let start = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.all.get(start..*self.ends.get(number)?)
    }
}

/// Reads the texts, or those that are `wanted`; the others are empty then.
///
/// # Errors
/// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE); NOT_FOUND (RECORD_NOT_FOUND); what the database answers.
pub async fn read(package: &Package<'_>, book: &Book, wanted: Option<&BTreeSet<usize>>) -> Result<Texts, Fault> {
    let mut reading = Reading::default();
    let Some(path) = book.texts.as_ref().filter(|path| package.has(path)) else { return Ok(reading.texts) };
    let last = wanted.map(|wanted| wanted.last().map_or(0, |last| last + 1));
    let mut xml = Xml::default();
    let mut stream = package.stream(path, PART).await?;
    while last.is_none_or(|last| reading.texts.ends.len() < last)
        && let Some(bytes) = stream.next().await?
    {
        xml.feed(&bytes, |mark| reading.take(&mark, wanted))?;
    }
    if last.is_none() {
        xml.finish()?;
    }
    Ok(reading.texts)
}

impl Reading {
    fn take(&mut self, mark: &Mark<'_>, wanted: Option<&BTreeSet<usize>>) -> Result<(), Fault> {
        match mark {
            Mark::Open("rPh", _) => self.is_in_sound = true,
            Mark::Close("rPh") => self.is_in_sound = false,
            Mark::Open("t", _) => self.is_in_text = !self.is_in_sound,
            Mark::Close("t") => self.is_in_text = false,
            Mark::Text(text) if self.is_in_text => self.texts.all.push_str(text),
            Mark::Close("si") => {
                let start = self.texts.ends.last().copied().unwrap_or_default();
                let text = self.texts.all.split_off(start);
                if wanted.is_none_or(|wanted| wanted.contains(&self.texts.ends.len())) {
                    self.texts.all.push_str(&unescaped(&text));
                }
                self.texts.ends.push(self.texts.all.len());
            }
            _ => {}
        }
        if self.texts.all.len() > SUM || self.texts.ends.len() > COUNT {
            return Err(too_large("its cells share more than 500,000 texts or 16 MiB of them"));
        }
        Ok(())
    }
}

/// A text in which what XML cannot hold stands as `_xHHHH_` (ECMA-376, ST_Xstring).
#[must_use]
pub fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let escape = rest.get(at + 2..at + 7).and_then(|digits| digits.strip_suffix('_'));
        let letter = escape.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let letter = letter.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
        plain.push_str(&rest[..at]);
        match letter {
            Some(letter) => {
                plain.push(letter);
                rest = &rest[at + 7..];
            }
            None => {
                plain.push_str("_x");
                rest = &rest[at + 2..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::super::xml::read_whole;
    use super::*;

    const XML: &[u8] =
        "<sst><si><t>Ada</t></si><si/><si><r><rPr/><t>two </t></r><r><t xml:space=\"preserve\"> runs</t></r><rPh><t>sound</t></rPh></si>\
        <si><t>a_x000D__x005F_x000D_ _x é_xD800_</t></si></sst>"
            .as_bytes();

    fn read(wanted: Option<&BTreeSet<usize>>) -> Vec<String> {
        let mut reading = Reading::default();
        read_whole(XML, |mark| reading.take(&mark, wanted)).unwrap();
        let texts = reading.texts;
        assert_eq!(texts.get(4), None);
        (0..4).map(|number| texts.get(number).unwrap().to_owned()).collect()
    }

    #[test]
    fn texts_are_found_by_their_number() {
        assert_eq!(read(None), ["Ada", "", "two  runs", "a\r_x000D_ _x é_xD800_"]);
        assert_eq!(read(Some(&BTreeSet::from([2]))), ["", "", "two  runs", ""]);
    }
}
