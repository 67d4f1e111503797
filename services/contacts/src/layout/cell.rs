//! Values as texts in cells, and back.

use std::borrow::Cow;

use chrono::DateTime;
use prost_types::Timestamp;
use rapport_kit::clock;
use rapport_proto::google_type::Date;

/// What a cell may not begin with, because programs take it for a formula.
const SIGNS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text as it is written to a file that spreadsheet programs open: one that they would take for a formula gets an
/// apostrophe in front. [`unguarded`] takes away what this adds, and nothing else.
#[must_use]
pub fn guarded(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(SIGNS) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A text as it was before [`guarded`].
#[must_use]
pub fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(SIGNS) => rest,
        _ => text,
    }
}

/// Texts in one cell, with commas between; one with a comma, a quotation mark or spaces at its ends stands in
/// quotation marks.
#[must_use]
pub fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted = |text: &'a str| {
        let is_plain = !text.is_empty() && text.trim() == text && !text.contains([',', '"']);
        if is_plain { Cow::Borrowed(text) } else { Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))) }
    };
    texts.map(quoted).collect::<Vec<_>>().join(", ")
}

/// The texts of [`list`].
#[must_use]
pub fn read_list(cell: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = cell.trim();
    while !rest.is_empty() {
        let (text, after) = first(rest);
        if !text.is_empty() {
            texts.push(text);
        }
        rest = after.trim_start().strip_prefix(',').unwrap_or(after).trim_start();
    }
    texts
}

/// The first text of a list, and what comes after it.
fn first(list: &str) -> (String, &str) {
    if let Some(inner) = list.strip_prefix('"') {
        let mut ends = inner.match_indices('"').map(|(end, _)| end).peekable();
        while let Some(end) = ends.next() {
            if ends.next_if_eq(&(end + 1)).is_none() {
                let (text, after) = (&inner[..end], &inner[end + 1..]);
                // Nothing but a comma may follow; else it is no quoted text.
                if after.trim_start().is_empty() || after.trim_start().starts_with(',') {
                    return (text.replace("\"\"", "\""), after);
                }
                break;
            }
        }
    }
    let end = list.find(',').unwrap_or(list.len());
    (list[..end].trim_end().to_owned(), &list[end..])
}

/// Lines in one cell. Empty ones are left out.
#[must_use]
pub fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The lines of a cell.
#[must_use]
pub fn read_lines(cell: &str) -> Vec<String> {
    cell.lines().flat_map(|line| line.split('\r')).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `yes`, or nothing.
#[must_use]
pub fn flag(is_set: bool) -> &'static str {
    if is_set { "yes" } else { "" }
}

/// Whether a cell says so; none if it says neither.
#[must_use]
pub fn read_flag(cell: &str) -> Option<bool> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "t" | "1" | "x" | "*" => Some(true),
        "" | "no" | "n" | "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// A day such as `1815-12-10`, or `--12-10` in no certain year.
#[must_use]
pub fn day(date: Date) -> String {
    let Date { year, month, day } = date;
    if year == 0 { format!("--{month:02}-{day:02}") } else { format!("{year:04}-{month:02}-{day:02}") }
}

/// The day of a cell as [`day`] writes it, with the year first (`1815/12/10`, `18151210`) or last with dots
/// (`10.12.1815`); a time after it is passed over. Days with slashes and the year last are not read, because nobody
/// can tell day and month apart.
#[must_use]
pub fn read_day(cell: &str) -> Option<Date> {
    let cell = cell.trim();
    let cell = cell.split_once(['T', ' ']).map_or(cell, |(day, _)| day);
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten();
    let date = |year: &str, month: &str, day: &str| Some(Date { year: number(year)?, month: number(month)?, day: number(day)? });
    if let Some(rest) = cell.strip_prefix("--") {
        let (month, day) = rest.split_once('-').or_else(|| rest.split_at_checked(2))?;
        return date("0", month, day);
    }
    if cell.len() == 8 && number(cell).is_some() {
        return date(&cell[..4], &cell[4..6], &cell[6..]);
    }
    let parts: Vec<&str> = cell.split(['-', '/', '.']).collect();
    match parts.as_slice() {
        [year, month, day] if year.len() == 4 => date(year, month, day),
        [day, month, year] if year.len() == 4 && cell.contains('.') => date(year, month, day),
        _ => None,
    }
}

/// A time such as `2026-01-31T08:30:00Z`.
#[must_use]
pub fn time(time: Timestamp) -> String {
    clock::time(time).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)).unwrap_or_default()
}

/// The time of [`time`], in whatever zone it is written.
#[must_use]
pub fn read_time(cell: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(cell.trim()).ok().map(|time| clock::timestamp(time.to_utc()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_guarded() {
        for (text, written) in [("=1+1", "'=1+1"), ("+49 30 1", "'+49 30 1"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "'\tx"), ("'=x", "''=x")] {
            assert_eq!(guarded(text), written);
        }
        for text in ["", "x=1", "'tis", "'", "Ada"] {
            assert_eq!(guarded(text), text);
            assert_eq!(unguarded(text), text);
        }
    }

    #[test]
    fn a_day_is_read_unless_it_may_be_two() {
        let date = |year, month, day| Some(Date { year, month, day });
        for (cell, read) in [
            ("1815-12-10", date(1815, 12, 10)),
            ("1815/12/10", date(1815, 12, 10)),
            ("18151210", date(1815, 12, 10)),
            ("10.12.1815", date(1815, 12, 10)),
            ("1815-12-10T08:00:00Z", date(1815, 12, 10)),
            ("--12-10", date(0, 12, 10)),
            ("--1210", date(0, 12, 10)),
            ("10/12/1815", None),
            ("Monday", None),
            ("--é1", None),
        ] {
            assert_eq!(read_day(cell), read, "{cell}");
        }
    }

    proptest! {
        #[test]
        fn what_is_guarded_is_read_as_it_was(text in "['=+@\t\r-]{0,3}\\PC{0,9}") {
            let written = guarded(&text);
            prop_assert_eq!(unguarded(&written), text.as_str());
            prop_assert!(!written.starts_with(SIGNS));
        }

        #[test]
        fn a_list_is_read_as_it_was_written(texts in prop::collection::vec("[a-z ,\"']{0,6}", 0..5)) {
            let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
            prop_assert_eq!(read_list(&list(texts.iter().map(String::as_str))), texts);
        }

        #[test]
        fn any_cell_is_read_without_a_fall(cell in "\\PC{0,20}") {
            let _ = (read_list(&cell), read_lines(&cell), read_flag(&cell), read_day(&cell), read_time(&cell));
        }

        #[test]
        fn a_day_is_read_as_it_was_written(year in 0..10_000_i32, month in 1..13_i32, date in 1..32_i32) {
            let written = Date { year, month, day: date };
            prop_assert_eq!(read_day(&day(written)), Some(written));
        }
    }
}
