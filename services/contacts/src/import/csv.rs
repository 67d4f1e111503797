//! Rows of cells out of text between delimiters.
//!
//! The text is cut into rows before its letters are read: every delimiter, quotation mark and line break is a byte of
//! its own in the encodings that come here. A row that never ends is given up at its first line, so that one quotation
//! mark too many does not take the rest of the file with it.

use encoding_rs::Encoding;
use rapport_kit::Fault;

use super::row::{Content, Row};
use super::text;

/// Bytes of one row.
pub const LONGEST_ROW: usize = 1024 * 1024;
/// Cells of one row.
pub const WIDEST_ROW: usize = 1000;

/// What stands between cells and around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Between cells.
    pub delimiter: u8,
    /// Around cells.
    pub quote: u8,
}

/// Rows out of a window, and where the next one begins.
#[derive(Debug, Default)]
pub struct Rows {
    /// In order.
    pub rows: Vec<Row>,
    /// Bytes of the window that they take.
    pub consumed: usize,
    /// Line on which the next one begins.
    pub line: i64,
    /// Whether the window is used up and its last row goes on behind it.
    pub incomplete: bool,
    /// Whether what comes next is the rest of a line that was given up.
    pub skipping: bool,
    /// Bytes that were read for rows that were given up then.
    #[cfg(test)]
    read_in_vain: usize,
}

/// At most `most` rows out of `window`, whose first byte stands on `line`; `at_end` says that nothing comes after it.
/// Lines without any cell are no rows. However many quotation marks are not closed, no byte is read more than a few times.
#[must_use]
pub fn rows(window: &[u8], at_end: bool, dialect: Dialect, encoding: &'static Encoding, line: i64, most: usize) -> Rows {
    let mut found = Rows { line, ..Rows::default() };
    let mut open: Option<Open> = None;
    while found.rows.len() < most && !found.incomplete && !found.skipping {
        let before = found.consumed;
        let start = before + window[before..].iter().take_while(|byte| is_break(**byte)).count();
        if open.as_mut().is_some_and(|open| open.covers(window, dialect, start)) {
            let line = found.line + breaks(&window[before..start]);
            give_up(window, start, line, &mut found);
            continue;
        }
        // Where a row was given up, the next one is looked at by itself: it may be open as well.
        let is_doubtful = open.as_ref().is_some_and(|open| start < open.until);
        let most = if is_doubtful { found.rows.len() + 1 } else { most };
        open = read(window, at_end, dialect, encoding, most, &mut found).map(Open::at).or(open);
        if found.consumed == before {
            break;
        }
    }
    found
}

/// How far a row was read that was given up because it does not end: every line break up to there stands in a quoted cell.
/// A row that begins in between and is inside of a quoted cell at its first line break goes on as that one does.
#[derive(Debug)]
struct Open {
    /// What was read.
    until: usize,
    /// What is read there.
    inside: Inside,
}

/// What part of a row is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The beginning of a cell.
    Start,
    /// A cell without quotation marks around it.
    Plain,
    /// A cell between quotation marks.
    Quoted,
    /// What follows a quotation mark in such a cell: the second one of a pair, or what comes after its end.
    Closed,
}

impl Inside {
    fn after(self, byte: u8, dialect: Dialect) -> Self {
        match self {
            Self::Start if byte == dialect.quote => Self::Quoted,
            Self::Quoted if byte == dialect.quote => Self::Closed,
            Self::Closed if byte == dialect.quote => Self::Quoted,
            Self::Quoted => Self::Quoted,
            Self::Start | Self::Plain | Self::Closed if byte == dialect.delimiter => Self::Start,
            Self::Start | Self::Plain | Self::Closed => Self::Plain,
        }
    }
}

impl Open {
    /// Nothing is read yet of the row that was given up and begins at `start`.
    fn at(start: usize) -> Self {
        Self { until: start, inside: Inside::Start }
    }

    /// Whether the row at `start` is known to be longer than a row may be.
    fn covers(&mut self, window: &[u8], dialect: Dialect, start: usize) -> bool {
        let most = start + LONGEST_ROW + 1;
        while self.until < most.min(window.len()) && !(is_break(window[self.until]) && self.inside != Inside::Quoted) {
            self.inside = self.inside.after(window[self.until], dialect);
            self.until += 1;
        }
        let Some(first_line) = window.get(start..self.until).filter(|_| self.until >= most) else { return false };
        let Some(length) = first_line.iter().position(|byte| is_break(*byte)) else { return false };
        first_line[..length].iter().fold(Inside::Start, |inside, byte| inside.after(*byte, dialect)) == Inside::Quoted
    }
}

/// Reads until the window ends or a row has to be given up, after which reading begins anew; answers where that row begins.
fn read(window: &[u8], at_end: bool, dialect: Dialect, encoding: &'static Encoding, most: usize, found: &mut Rows) -> Option<usize> {
    let base = found.consumed;
    let mut reader =
        ::csv::ReaderBuilder::new().delimiter(dialect.delimiter).quote(dialect.quote).has_headers(false).flexible(true).from_reader(&window[base..]);
    let mut record = ::csv::ByteRecord::new();
    while found.rows.len() < most {
        // From memory and with rows of any width, nothing can go wrong.
        let is_row = reader.read_byte_record(&mut record).unwrap_or(false);
        let end = base + usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        let start = found.consumed + window[found.consumed..end].iter().take_while(|byte| is_break(**byte)).count();
        let line = found.line + breaks(&window[found.consumed..start]);
        // What ends with the window may go on behind it, and a carriage return may have its line feed there.
        if end == window.len() && !at_end && (is_row || start == end) {
            found.incomplete = true;
            if is_row && end - start > LONGEST_ROW {
                #[cfg(test)]
                {
                    found.read_in_vain += end - start;
                }
                give_up(window, start, line, found);
                return Some(start);
            }
            // Empty lines are behind us, but for the last break, which may be half of one.
            let kept = if window[found.consumed..start].ends_with(b"\r\n") { 2 } else { 1 };
            let passed = start.saturating_sub(kept).max(found.consumed);
            (found.line, found.consumed) = (found.line + breaks(&window[found.consumed..passed]), passed);
            return None;
        }
        if !is_row {
            (found.consumed, found.line) = (end, line);
            return None;
        }
        let (end, stop) = ends(window, start, end);
        if stop - start > LONGEST_ROW {
            #[cfg(test)]
            {
                found.read_in_vain += end - start;
            }
            give_up(window, start, line, found);
            return Some(start);
        }
        found.rows.push(Row { line, place: start..stop, content: cells(&record, encoding).map(Content::Cells) });
        (found.consumed, found.line) = (end, line + breaks(&window[start..end]));
    }
    None
}

/// Refuses the line at `start`; the next row begins after it.
fn give_up(window: &[u8], start: usize, line: i64, found: &mut Rows) {
    let end = window[start..].iter().position(|byte| is_break(*byte)).map(|length| start + length);
    let stop = end.unwrap_or(window.len());
    let fault = Fault::argument("ROW_TOO_LONG", "A row may take at most 1 MiB; look for a quotation mark that is not closed.");
    // What is too long to be kept is told by its line alone.
    let place = if stop - start > LONGEST_ROW { start..start } else { start..stop };
    found.rows.push(Row { line, place, content: Err(fault) });
    found.incomplete = false;
    found.skipping = end.is_none();
    (found.consumed, found.line) = (stop, line);
}

/// Where the row at `start` ends with its line break and without it, if the reader stopped at `end`.
fn ends(window: &[u8], start: usize, end: usize) -> (usize, usize) {
    let stop = start + window[start..end].iter().rposition(|byte| !is_break(*byte)).map_or(0, |last| last + 1);
    let is_pair = end > start && window[end - 1] == b'\r' && window.get(end) == Some(&b'\n');
    (if is_pair { end + 1 } else { end }, stop)
}

fn cells(record: &::csv::ByteRecord, encoding: &'static Encoding) -> Result<Vec<String>, Fault> {
    if record.len() > WIDEST_ROW {
        return Err(Fault::argument("ROW_TOO_WIDE", format!("A row may have at most {WIDEST_ROW} cells.")).with("cells", record.len().to_string()));
    }
    let decoded = record.iter().map(|cell| text::decoded(cell, encoding).map(std::borrow::Cow::into_owned));
    decoded.collect::<Option<Vec<String>>>().ok_or_else(|| unreadable(encoding))
}

/// Cells of a row; an empty one has one.
#[must_use]
pub fn width(row: &[u8], dialect: Dialect) -> usize {
    let mut record = ::csv::ByteRecord::new();
    let mut reader = ::csv::ReaderBuilder::new().delimiter(dialect.delimiter).quote(dialect.quote).has_headers(false).flexible(true).from_reader(row);
    let is_row = reader.read_byte_record(&mut record).unwrap_or(false);
    if is_row { record.len() } else { 1 }
}

/// The refusal of what is not written in the file's encoding.
#[must_use]
pub fn unreadable(encoding: &'static Encoding) -> Fault {
    Fault::argument("TEXT_UNREADABLE", format!("The row is not written in {}; save the file in one encoding.", encoding.name()))
        .with("encoding", encoding.name())
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// How many lines end in `bytes`: carriage return and line feed together end one.
#[must_use]
pub fn breaks(bytes: &[u8]) -> i64 {
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    i64::try_from(ends.count()).unwrap_or(i64::MAX)
}

/// The dialect of a text that begins so: the delimiter with which its first rows have the same number of cells, and
/// the most of them.
#[must_use]
pub fn detect(start: &[u8], whole: bool, encoding: &'static Encoding) -> Dialect {
    let quote = b'"';
    let width = |delimiter: u8| {
        let dialect = Dialect { delimiter, quote };
        let found = rows(start, whole, dialect, encoding, 1, 20);
        let widths: Vec<usize> = found.rows.iter().filter_map(Row::cells).map(Vec::len).collect();
        let header = widths.first().copied().unwrap_or_default();
        let same = widths.iter().filter(|width| **width == header).count();
        // Half of the rows have to agree; a header alone does.
        if header > 1 && same * 2 > widths.len() { (same * 100 / widths.len(), header) } else { (0, 0) }
    };
    let candidates = [b',', b';', b'\t', b'|'].map(|delimiter| (width(delimiter), delimiter));
    let best = candidates.iter().rev().max_by_key(|((same, header), _)| (*same, *header));
    Dialect { delimiter: best.filter(|((same, _), _)| *same > 0).map_or(b',', |(_, delimiter)| *delimiter), quote }
}

#[cfg(test)]
mod tests {
    use encoding_rs::UTF_8;
    use proptest::prelude::*;

    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', quote: b'"' };

    /// Lines and cells of rows; a refused one by its reason.
    fn told(found: &Rows) -> Vec<(i64, Vec<String>)> {
        let cells = |row: &Row| match &row.content {
            Ok(_) => row.cells().expect("cells").clone(),
            Err(fault) => vec![fault.reason().to_owned()],
        };
        found.rows.iter().map(|row| (row.line, cells(row))).collect()
    }

    fn read(text: &[u8]) -> Vec<(i64, Vec<String>)> {
        told(&rows(text, true, COMMA, UTF_8, 1, 100))
    }

    fn row(line: i64, cells: &[&str]) -> (i64, Vec<String>) {
        (line, cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        for text in ["a,b\n\n\"c\nd\",e\nf,g", "a,b\r\n\r\n\"c\nd\",e\r\nf,g\r\n", "a,b\r\r\"c\nd\",e\rf,g\r"] {
            assert_eq!(read(text.as_bytes()), [row(1, &["a", "b"]), row(3, &["c\nd", "e"]), row(5, &["f", "g"])], "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_refuses_its_own_row() {
        assert_eq!(read(b"a\n\xff\nb\n"), [row(1, &["a"]), row(2, &["TEXT_UNREADABLE"]), row(3, &["b"])]);
    }

    #[test]
    fn a_row_that_does_not_end_is_given_up_at_its_first_line() {
        let long = [b"a\n\"b\n".as_slice(), "c\n".repeat(LONGEST_ROW).as_bytes()].concat();
        let found = rows(&long, false, COMMA, UTF_8, 1, 4);
        assert_eq!(told(&found), [row(1, &["a"]), row(2, &["ROW_TOO_LONG"]), row(3, &["c"]), row(4, &["c"])]);
    }

    #[test]
    fn lines_that_all_leave_a_quotation_mark_open_are_given_up_without_reading_on_from_each() {
        // Each line closes what is open before it and opens anew.
        let lines = 400_000;
        let text = "a\",\"b\n".repeat(lines);
        let found = rows(text.as_bytes(), false, COMMA, UTF_8, 1, usize::MAX);
        let given_up = (text.len() - LONGEST_ROW) / 6;
        assert!(found.rows.len() >= given_up - 1, "{} of {given_up}", found.rows.len());
        assert!(found.rows.iter().all(|row| row.content.is_err()));
        assert_eq!(found.rows.last().map(|row| row.line), i64::try_from(found.rows.len()).ok());
        assert!(found.read_in_vain <= text.len(), "{} bytes were read in vain", found.read_in_vain);
    }

    #[test]
    fn rows_in_between_that_end_are_read() {
        let open = "a\",\"b\n";
        let long = [open, "x,y\n", open, open, "x,z\n"].concat() + &"c,d\n".repeat(LONGEST_ROW);
        let found = rows(long.as_bytes(), false, COMMA, UTF_8, 1, 6);
        let given_up = |line: i64| row(line, &["ROW_TOO_LONG"]);
        assert_eq!(told(&found), [given_up(1), row(2, &["x", "y"]), given_up(3), given_up(4), row(5, &["x", "z"]), row(6, &["c", "d"])]);
        assert!(found.read_in_vain <= long.len(), "{} bytes were read in vain", found.read_in_vain);
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let long = vec![b','; LONGEST_ROW + 2];
        let found = rows(&long, false, COMMA, UTF_8, 7, 4);
        assert_eq!((told(&found), found.consumed, found.skipping), (vec![row(7, &["ROW_TOO_LONG"])], long.len(), true));
        let wide = ",".repeat(WIDEST_ROW);
        assert_eq!(read(wide.as_bytes()), [row(1, &["ROW_TOO_WIDE"])]);
    }

    #[test]
    fn the_delimiter_is_the_one_that_makes_rows_alike() {
        for (text, delimiter) in
            [("a;b\n1,5;2\n", b';'), ("a,b\n\"x;y\",z\n", b','), ("a\tb\n1\t2\n", b'\t'), ("a|b|c\n1|2|3", b'|'), ("a\nb\n", b','), ("a;b;c", b';')]
        {
            assert_eq!(detect(text.as_bytes(), true, UTF_8).delimiter, delimiter, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn rows_are_the_same_wherever_the_window_ends(
            text in "([a-c,;\"é]{0,6}(\n|\r\n|\r)?){0,8}",
            cut in 0..60_usize,
            most in 1..5_usize,
        ) {
            let text = text.as_bytes();
            let whole = read(text);
            let mut parts = Vec::new();
            let (mut from, mut line, mut size) = (0, 1, cut);
            while from < text.len() {
                let to = text.len().min(from + size);
                let found = rows(&text[from..to], to == text.len(), COMMA, UTF_8, line, most);
                parts.extend(told(&found));
                size = if found.consumed == 0 { size + 1 } else { cut };
                (from, line) = (from + found.consumed, found.line);
                if to == text.len() && found.consumed == 0 {
                    break;
                }
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
