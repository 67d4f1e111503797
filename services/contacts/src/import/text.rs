//! What encoding a file is in, and its bytes as text.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The encoding of a file that begins with `start`, and how many bytes its mark takes. Without a mark, what is UTF-8
/// is that; else the letters decide. `whole` says that nothing comes after.
#[must_use]
pub fn detect(start: &[u8], whole: bool) -> (&'static Encoding, usize) {
    if let Some(marked) = Encoding::for_bom(start) {
        return marked;
    }
    if is_utf8(start, whole) && !start.contains(&0) {
        return (UTF_8, 0);
    }
    if let Some(encoding) = utf16(start) {
        return (encoding, 0);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(start, whole);
    let guess = detector.guess(None, Utf8Detection::Deny);
    (if guess.is_ascii_compatible() { guess } else { WINDOWS_1252 }, 0)
}

/// The encoding with this label, if files can be read in it.
#[must_use]
pub fn by_label(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.trim().as_bytes()).filter(|encoding| encoding.is_ascii_compatible() || is_utf16(encoding))
}

/// How many bytes the mark of `encoding` takes at the beginning of `start`.
#[must_use]
pub fn mark(start: &[u8], encoding: &'static Encoding) -> usize {
    Encoding::for_bom(start).filter(|(marked, _)| *marked == encoding).map_or(0, |(_, length)| length)
}

/// Whether letters take two bytes or four, so that no byte means anything by itself.
#[must_use]
pub fn is_utf16(encoding: &Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

/// Bytes in `encoding` as text; none if they are not.
#[must_use]
pub fn decoded<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Option<Cow<'a, str>> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

/// A text in `encoding`; letters that it has not are told by their numbers.
#[must_use]
pub fn encoded(text: &str, encoding: &'static Encoding) -> Vec<u8> {
    match encoding {
        encoding if encoding == UTF_16LE => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        encoding if encoding == UTF_16BE => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        encoding => encoding.encode(text).0.into_owned(),
    }
}

fn is_utf8(start: &[u8], whole: bool) -> bool {
    match std::str::from_utf8(start) {
        Ok(_) => true,
        // The last letter may go on behind what was read.
        Err(error) => !whole && error.error_len().is_none(),
    }
}

/// Headers are mostly ASCII, whose every other byte is nothing in UTF-16.
fn utf16(start: &[u8]) -> Option<&'static Encoding> {
    let start = &start[..start.len().min(1000)];
    let empty = |from: usize| start.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (empty(0), empty(1));
    let most = start.len() / 4;
    if odd > most && even == 0 {
        Some(UTF_16LE)
    } else if even > most && odd == 0 {
        Some(UTF_16BE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{WINDOWS_1254, WINDOWS_1255};

    use super::*;

    fn detected(bytes: &[u8]) -> (&'static str, usize) {
        let (encoding, mark) = detect(bytes, true);
        (encoding.name(), mark)
    }

    #[test]
    fn the_encoding_is_told_by_a_mark_or_by_the_letters() {
        let turkish = "Ad;Soyad\nAyşe;Yılmaz\nIşıl;Öztürk\nÇağrı;Şahin\nGülşah;Doğan\n";
        let hebrew = "שם;משפחה\nדוד;כהן\nשרה;לוי\nיעקב;מזרחי\nרחל;פרץ\n";
        let french = "Prénom;Nom\nÉlodie;Lefèvre\nFrançois;Noël\nHélène;Garçon\n";
        assert_eq!(detected(turkish.as_bytes()), ("UTF-8", 0));
        assert_eq!(detected(&[b"\xef\xbb\xbf", turkish.as_bytes()].concat()), ("UTF-8", 3));
        assert_eq!(detected(&encoded(turkish, WINDOWS_1254)), ("windows-1254", 0));
        assert_eq!(detected(&encoded(hebrew, WINDOWS_1255)), ("windows-1255", 0));
        assert_eq!(detected(&encoded(french, WINDOWS_1252)), ("windows-1252", 0));
        for encoding in [UTF_16LE, UTF_16BE] {
            assert_eq!(detected(&encoded(&format!("\u{feff}{turkish}"), encoding)), (encoding.name(), 2));
            assert_eq!(detected(&encoded(french, encoding)), (encoding.name(), 0));
        }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for encoding in [UTF_8, UTF_16LE, UTF_16BE, WINDOWS_1254] {
            assert_eq!(decoded(&encoded("Ayşe 1", encoding), encoding).as_deref(), Some("Ayşe 1"), "{}", encoding.name());
        }
        assert_eq!(decoded(b"a\xffb", UTF_8), None);
    }
}
