//! XML that comes in pieces, as marks.
//!
//! Guarantees: an element with its attributes, and whatever else is one mark, may take 1 MiB; nothing is looked up
//! outside of the text, and names of characters other than XML's own five are refused, so that a text is never longer
//! than what was read.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use rapport_kit::Fault;

use super::package::{damaged, too_large};

/// Bytes of one mark.
const LONGEST: usize = 1024 * 1024;

/// A mark of a text; names are without their prefix.
#[derive(Debug)]
pub enum Mark<'a> {
    /// An element begins.
    Open(&'a str, &'a BytesStart<'a>),
    /// A stretch of a text, which may go on.
    Text(&'a str),
    /// An element ends.
    Close(&'a str),
}

/// What was read of a text and makes no mark yet.
#[derive(Debug, Default)]
pub struct Xml {
    rest: Vec<u8>,
    is_begun: bool,
}

impl Xml {
    /// Reads on; `take` gets each mark that is complete.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE); those of `take`.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Mark<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.rest.extend_from_slice(bytes);
        if !self.is_begun && self.rest.len() >= 3 {
            self.is_begun = true;
            if self.rest.starts_with(b"\xef\xbb\xbf") {
                self.rest.drain(..3);
            }
        }
        // Up to here no letter and no reference is cut in two; an element may be.
        if let (true, Some(last)) = (self.is_begun, self.rest.iter().rposition(|byte| *byte == b'>')) {
            let text = std::str::from_utf8(&self.rest[..=last]).map_err(|_| damaged())?;
            let done = read(text, &mut take)?;
            self.rest.drain(..done);
        }
        if self.rest.len() > LONGEST { Err(too_large("an element or a text of it takes more than 1 MiB")) } else { Ok(()) }
    }

    /// Refuses a text that ends within a mark.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE).
    pub fn finish(&self) -> Result<(), Fault> {
        if self.rest.trim_ascii().is_empty() { Ok(()) } else { Err(damaged()) }
    }
}

/// The marks of a text as a whole.
///
/// # Errors
/// As [`Xml::feed`] and [`Xml::finish`].
pub fn read_whole(bytes: &[u8], mut take: impl FnMut(Mark<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut xml = Xml::default();
    // A small part may be longer than a mark.
    bytes.chunks(LONGEST / 2).try_for_each(|bytes| xml.feed(bytes, &mut take))?;
    xml.finish()
}

/// An attribute of an element, by its name without prefix.
///
/// # Errors
/// FAILED_PRECONDITION (FILE_UNREADABLE).
pub fn attribute<'a>(start: &'a BytesStart<'_>, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| damaged())?;
        if attribute.key.local_name().into_inner() == name {
            return attribute.normalized_value(XmlVersion::Implicit1_0).map(Some).map_err(|_| damaged());
        }
    }
    Ok(None)
}

/// Reads marks until the text ends or one of them goes on behind it; answers where that begins.
fn read(text: &str, take: &mut impl FnMut(Mark<'_>) -> Result<(), Fault>) -> Result<usize, Fault> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    // What was opened may stand in an earlier piece.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    let mut done = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Eof) | Err(quick_xml::Error::Syntax(_)) => return Ok(done),
            Ok(Event::Start(start)) => take(Mark::Open(start.local_name().into_inner(), &start))?,
            Ok(Event::End(end)) => take(Mark::Close(end.local_name().into_inner()))?,
            Ok(Event::Text(text)) => take(Mark::Text(&text.xml10_content()))?,
            Ok(Event::CData(text)) => take(Mark::Text(&text.xml10_content()))?,
            Ok(Event::GeneralRef(name)) => match name.resolve_char_ref().map_err(|_| damaged())? {
                Some(letter) => take(Mark::Text(letter.encode_utf8(&mut [0; 4])))?,
                None => take(Mark::Text(quick_xml::escape::resolve_predefined_entity(&name).ok_or_else(damaged)?))?,
            },
            // Names of texts of its own: no program for workbooks writes them.
            Ok(Event::DocType(_)) | Err(_) => return Err(damaged()),
            Ok(_) => {}
        }
        done = usize::try_from(reader.buffer_position()).map_err(Fault::internal)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks of a text that comes in pieces of this size; neighbouring texts are one.
    fn told(text: &str, size: usize) -> Result<Vec<String>, Fault> {
        let mut marks: Vec<String> = Vec::new();
        let mut xml = Xml::default();
        for piece in text.as_bytes().chunks(size) {
            xml.feed(piece, |mark| {
                match mark {
                    Mark::Open(name, start) => {
                        let a = attribute(start, "a")?.map(|a| format!(" {a}")).unwrap_or_default();
                        marks.push(format!("<{name}{a}"));
                    }
                    Mark::Text(text) => match marks.last_mut().filter(|last| last.starts_with('"')) {
                        Some(last) => last.push_str(text),
                        None => marks.push(format!("\"{text}")),
                    },
                    Mark::Close(name) => marks.push(format!(">{name}")),
                }
                Ok(())
            })?;
        }
        xml.finish().map(|()| marks)
    }

    #[test]
    fn marks_are_the_same_wherever_the_pieces_end() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- > --><x:a a=\"1 &gt; > 2\"><b/>é &amp; > &#x41;<![CDATA[<c> & ]]>\r\n</x:a>";
        let whole = ["<a 1 > > 2", "<b", ">b", "\"é & > A<c> & \n", ">a"];
        for size in 1..=text.len() {
            assert_eq!(told(text, size).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn what_is_cut_off_or_makes_itself_longer_is_refused() {
        for text in ["<a><b", "<a>&b;</a>", "<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>", "<a>& </a>"] {
            assert_eq!(told(text, 1000).unwrap_err().reason(), "FILE_UNREADABLE", "{text}");
        }
        let endless = format!("<a b=\"{}", "x".repeat(2 * LONGEST));
        assert_eq!(told(&endless, 4096).unwrap_err().reason(), "WORKBOOK_TOO_LARGE");
    }
}
