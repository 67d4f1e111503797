//! Cards out of a stream of bytes, each as it stands there but for pictures, sounds and keys, which are passed over
//! while they are read: a card with a large picture takes no memory.
//!
//! A card is what stands between its first and its last line; a card within a card (an agent) is part of the outer one.

use rapport_kit::Fault;

use super::csv::LONGEST_ROW;

/// Bytes of a card in the file, with what is passed over.
const LARGEST: i64 = 64 * 1024 * 1024;
/// Properties that are passed over.
const SKIPPED: [&[u8]; 4] = [b"PHOTO", b"LOGO", b"SOUND", b"KEY"];
/// Bytes of a line that tell whether it is passed over.
const TELLING: usize = 64;

/// A card of a file.
#[derive(Debug)]
pub struct Card {
    /// Line on which it begins, from 1.
    pub line: i64,
    /// Its bytes, in the file's encoding.
    pub text: Result<Vec<u8>, Fault>,
}

/// Cuts cards out of bytes that come in pieces.
#[derive(Debug)]
pub struct Cutter {
    /// Line on which the next byte stands.
    line: i64,
    /// Bytes of the line that has not ended, as far as they are kept.
    partial: Vec<u8>,
    /// Whether the rest of the line is passed over.
    skips_line: bool,
    /// Whether the property of the last line was passed over, so that the lines that go on with it are too.
    skips_property: bool,
    open: Option<Open>,
    /// Cards that have ended.
    pub cards: Vec<Card>,
    /// Bytes up to the end of the last card, or of the last line outside of cards.
    pub consumed: i64,
    /// Line on which what comes after that begins.
    pub next_line: i64,
    seen: i64,
}

/// A card whose last line has not come.
#[derive(Debug)]
struct Open {
    line: i64,
    begun: i64,
    text: Vec<u8>,
    depth: usize,
    too_long: bool,
}

impl Cutter {
    /// Begins on `line`.
    #[must_use]
    pub fn new(line: i64) -> Self {
        Self {
            line,
            partial: Vec::new(),
            skips_line: false,
            skips_property: false,
            open: None,
            cards: Vec::new(),
            consumed: 0,
            next_line: line,
            seen: 0,
        }
    }

    /// Bytes of the cards that have ended.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.cards.iter().filter_map(|card| card.text.as_ref().ok()).map(Vec::len).sum()
    }

    /// Reads on, until `most` cards have ended; answers how many of the bytes it took.
    pub fn feed(&mut self, bytes: &[u8], most: usize) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.cards.len() < most {
            let rest = &bytes[taken..];
            let (piece, ends) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..=end], true),
                None => (rest, false),
            };
            taken += piece.len();
            self.seen += i64::try_from(piece.len()).unwrap_or_default();
            self.keep(piece);
            if ends {
                self.end_line();
            }
        }
        taken
    }

    /// Ends the last line and, where its last line is missing, the card.
    pub fn finish(&mut self) {
        if !self.partial.is_empty() || self.skips_line {
            self.end_line();
        }
        if let Some(open) = self.open.take() {
            self.refuse(open.line, unfinished());
        }
        (self.consumed, self.next_line) = (self.seen, self.line);
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.skips_line {
            return;
        }
        self.partial.extend_from_slice(&piece[..piece.len().min(LONGEST_ROW + 1 - self.partial.len().min(LONGEST_ROW))]);
        let goes_on = matches!(self.partial.first(), Some(b' ' | b'\t'));
        if self.partial.len() < TELLING && !self.partial.ends_with(b"\n") {
            return;
        }
        let skips = if goes_on { self.skips_property } else { is_skipped(&self.partial) };
        if skips {
            self.skips_property |= !goes_on;
            self.skips_line = true;
            self.partial.clear();
        }
    }

    fn end_line(&mut self) {
        let (line, was_skipped) = (std::mem::take(&mut self.partial), std::mem::take(&mut self.skips_line));
        let number = self.line;
        self.line += 1;
        if !was_skipped {
            self.skips_property = false;
            self.take(number, &line);
        }
        if let Some(open) = self.open.as_mut().filter(|open| self.seen - open.begun > LARGEST) {
            open.too_long = true;
        }
        if self.open.is_none() {
            (self.consumed, self.next_line) = (self.seen, self.line);
        }
    }

    /// A line that is kept.
    fn take(&mut self, number: i64, line: &[u8]) {
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        // A line that goes on with the one before it begins and ends nothing, whatever it says.
        let goes_on = self.open.is_some() && matches!(line.first(), Some(b' ' | b'\t'));
        let is = |word: &[u8]| !goes_on && text.eq_ignore_ascii_case(word);
        let (begins, ends) = (is(b"BEGIN:VCARD"), is(b"END:VCARD"));
        let begun = self.seen - i64::try_from(line.len()).unwrap_or_default();
        match (&mut self.open, begins, ends) {
            (None, true, _) => self.open = Some(Open { line: number, begun, text: line.to_vec(), depth: 1, too_long: false }),
            (None, false, _) => {}
            (Some(open), _, _) => {
                // An agent's card begins after the property that holds it.
                let is_agent =
                    begins && open.text.rsplit(|byte| *byte == b'\n').nth(1).is_some_and(|last| last.to_ascii_uppercase().starts_with(b"AGENT"));
                if begins && !is_agent {
                    let line = open.line;
                    self.refuse(line, unfinished());
                    (self.consumed, self.next_line) = (begun, number);
                    self.open = Some(Open { line: number, begun, text: line_of(text), depth: 1, too_long: false });
                    return;
                }
                open.depth = open.depth + usize::from(begins) - usize::from(ends);
                open.too_long |= open.text.len() + line.len() > LONGEST_ROW;
                if !open.too_long {
                    open.text.extend_from_slice(line);
                }
                if open.depth == 0
                    && let Some(open) = self.open.take()
                {
                    let text = if open.too_long { Err(too_long()) } else { Ok(open.text) };
                    self.cards.push(Card { line: open.line, text });
                }
            }
        }
    }

    fn refuse(&mut self, line: i64, fault: Fault) {
        self.cards.push(Card { line, text: Err(fault) });
    }
}

fn line_of(text: &[u8]) -> Vec<u8> {
    [text, b"\r\n"].concat()
}

/// Whether a line begins with a property that is passed over, in a group or not.
fn is_skipped(line: &[u8]) -> bool {
    let end = line.iter().position(|byte| matches!(byte, b':' | b';')).unwrap_or(line.len());
    let name = line[..end].rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    end < line.len() && SKIPPED.iter().any(|skipped| name.eq_ignore_ascii_case(skipped))
}

fn unfinished() -> Fault {
    Fault::argument("CARD_UNFINISHED", "The card has no last line END:VCARD.")
}

fn too_long() -> Fault {
    Fault::argument("ROW_TOO_LONG", "A card may take at most 1 MiB without its pictures, and 64 MiB with them.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines and texts of cards that are cut out of pieces of this size; a refused one by its reason.
    fn cut(text: &[u8], size: usize) -> Vec<(i64, String)> {
        let mut cutter = Cutter::new(1);
        for piece in text.chunks(size) {
            cutter.feed(piece, usize::MAX);
        }
        cutter.finish();
        let told = |card: Card| (card.line, card.text.map_or_else(|fault| fault.reason().to_owned(), |text| String::from_utf8(text).unwrap()));
        cutter.cards.into_iter().map(told).collect()
    }

    #[test]
    fn cards_are_cut_with_their_lines_and_without_their_pictures() {
        let text = "junk\nBEGIN:VCARD\nFN:A\nitem1.PHOTO;ENCODING=b:AAAA\n BBBB\nTEL:1\nEND:VCARD\n\nbegin:vcard\r\nFN:B\r\nend:vcard";
        let expected = [(2, "BEGIN:VCARD\nFN:A\nTEL:1\nEND:VCARD\n".to_owned()), (9, "begin:vcard\r\nFN:B\r\nend:vcard".to_owned())];
        assert_eq!(cut(text.as_bytes(), text.len()), expected);
    }

    #[test]
    fn an_agent_is_part_of_the_card_and_a_card_without_end_is_refused() {
        let text = "BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nFN:B\nEND:VCARD\nAGENT:BEGIN:VCARD\n END:VCARD\nEND:VCARD\nBEGIN:VCARD\nFN:C\nBEGIN:VCARD\nFN:D\nEND:VCARD\nBEGIN:VCARD\n";
        let told: Vec<(i64, bool)> = cut(text.as_bytes(), 7).into_iter().map(|(line, text)| (line, text == "CARD_UNFINISHED")).collect();
        assert_eq!(told, [(1, false), (9, true), (11, false), (14, true)]);
    }

    #[test]
    fn a_large_picture_takes_no_memory() {
        let mut cutter = Cutter::new(1);
        cutter.feed(b"BEGIN:VCARD\nFN:A\nPHOTO:", usize::MAX);
        for _ in 0..20 {
            cutter.feed(&vec![b'x'; 1024 * 1024], usize::MAX);
            assert!(cutter.partial.len() < LONGEST_ROW);
        }
        cutter.feed(b"\nEND:VCARD\n", usize::MAX);
        assert_eq!(cutter.cards.len(), 1);
        assert_eq!(cutter.cards[0].text.as_deref().unwrap(), b"BEGIN:VCARD\nFN:A\nEND:VCARD\n");
    }

    proptest! {
        #[test]
        fn cards_are_the_same_whatever_the_pieces(
            lines in prop::collection::vec("(BEGIN:VCARD|END:VCARD| END:VCARD|FN:[a-c]{1,3}|PHOTO:x|PHOTO;a=b:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx| c|AGENT:|)", 0..12),
            size in 1..40_usize,
        ) {
            let text = lines.join("\n");
            prop_assert_eq!(cut(text.as_bytes(), size), cut(text.as_bytes(), text.len().max(1)));
        }
    }
}
