//! Records as comma-separated values (RFC 4180).

use csv::{Terminator, WriterBuilder};
use rapport_kit::Fault;

use super::Row;
use crate::layout::cell;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows as lines; before the first ones the header, with a byte order mark in front if that is asked for.
///
/// # Errors
/// INTERNAL if rows are of several lengths.
pub(super) fn write<'r>(first: Option<(&Vec<String>, bool)>, rows: impl Iterator<Item = Row<'r>>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    if let Some((_, true)) = first {
        bytes.extend_from_slice(BYTE_ORDER_MARK);
    }
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(bytes);
    if let Some((headers, _)) = first {
        writer.write_record(headers).map_err(Fault::internal)?;
    }
    for row in rows {
        for text in &row {
            writer.write_field(cell::guarded(text).as_bytes()).map_err(Fault::internal)?;
        }
        writer.write_record(None::<&[u8]>).map_err(Fault::internal)?;
    }
    writer.into_inner().map_err(|error| Fault::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn row<'r>(texts: &[&'r str]) -> Row<'r> {
        texts.iter().map(|text| Cow::Borrowed(*text)).collect()
    }

    #[test]
    fn texts_are_quoted_where_they_must_be_and_formulas_are_none() {
        let headers = texts(&["Name", "Phone 1"]);
        let rows = [row(&["Ada \"Countess\", Lovelace", "+44 20"]), row(&["two\nlines", "=1+1"])];
        let written = String::from_utf8(write(Some((&headers, false)), rows.into_iter()).unwrap()).unwrap();
        assert_eq!(written, "Name,Phone 1\r\n\"Ada \"\"Countess\"\", Lovelace\",'+44 20\r\n\"two\nlines\",'=1+1\r\n");
        assert_eq!(write(Some((&headers, true)), std::iter::empty()).unwrap(), b"\xef\xbb\xbfName,Phone 1\r\n");
        assert_eq!(write(None, std::iter::once(row(&["Ada", ""]))).unwrap(), b"Ada,\r\n");
    }
}
