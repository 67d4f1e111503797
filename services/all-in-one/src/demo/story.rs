//! Tells the story to whoever watches and writes the same words into the report.
//!
//! Guarantees: a statement is printed, reported and counted in one place, so that the three cannot differ.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::clients::{self, Trouble};
use super::report::Report;

/// Letters of a printed line.
const WIDTH: usize = 100;
/// No column of a printed table is made narrower than this to fit the line.
const NARROWEST: usize = 12;
/// Between columns.
const GAP: usize = 2;
/// Before every printed row.
const INDENT: usize = 4;
/// Rows of a printed table; the report has the rest.
const PRINTED_ROWS: usize = 12;
/// Rows of a table in the report: it has to stay readable when a large file is full of mistakes.
const REPORTED_ROWS: usize = 500;

/// A story in the telling.
#[derive(Debug)]
pub(crate) struct Story {
    report: Report,
    begun: Instant,
    /// When progress was told last.
    told: Cell<Instant>,
    held: usize,
    failed: usize,
}

impl Story {
    pub(crate) fn begin(title: &str) -> Self {
        line(title);
        Self { report: Report::new(title), begun: Instant::now(), told: Cell::new(Instant::now()), held: 0, failed: 0 }
    }

    /// Begins a chapter. Blank lines in the text part its paragraphs.
    pub(crate) fn chapter(&mut self, title: &str, text: &str) {
        line("");
        line(title);
        line(&"─".repeat(title.chars().count()));
        for (number, paragraph) in text.split("\n\n").enumerate() {
            if number > 0 {
                line("");
            }
            wrapped("", paragraph);
        }
        line("");
        self.report.chapter(title, text);
    }

    /// A sentence for whoever watches; the report says the same in its tables.
    pub(crate) fn say(&self, text: &str) {
        wrapped("  ", text);
    }

    /// How far long work has come; told every second, and at its end.
    pub(crate) fn progress(&self, what: &str, done: usize, total: usize, elapsed: Duration) {
        if done < total && self.told.get().elapsed() < Duration::from_secs(1) {
            return;
        }
        self.told.set(Instant::now());
        line(&format!("    {what}: {done} of {total}, {} rows/s", rate(done, elapsed)));
    }

    /// A statement and whether it holds. The detail is what was found.
    pub(crate) fn check(&mut self, statement: &str, holds: bool, detail: &str) {
        if holds {
            self.held += 1;
            marked("  ✓ ", statement);
        } else {
            self.failed += 1;
            marked("  ✗ ", &format!("{statement}: {detail}"));
        }
        self.report.check(statement, holds, detail);
    }

    /// The statement that something was found as expected.
    pub(crate) fn equal<T: PartialEq + Display>(&mut self, statement: &str, found: &T, expected: &T) {
        let holds = found == expected;
        let detail = if holds { format!("{found}, as expected") } else { format!("found {found}, expected {expected}") };
        self.check(statement, holds, &detail);
    }

    /// The statement that a call was refused with that code and reason.
    pub(crate) fn refused<T>(&mut self, statement: &str, answer: Result<T, impl Into<Box<Status>>>, code: Code, reason: &str) {
        let Err(status) = answer.map_err(Into::into) else {
            self.check(statement, false, "it was done");
            return;
        };
        let holds = status.code() == code && clients::reason(&status).as_deref() == Some(reason);
        self.check(statement, holds, &clients::described(&status));
    }

    pub(crate) fn table(&mut self, caption: &str, headers: &[&str], rows: &[Vec<String>]) {
        line("");
        line(&format!("  {caption}"));
        print_table(headers, rows);
        line("");
        if rows.len() > REPORTED_ROWS {
            let caption = format!("{caption} (the first {REPORTED_ROWS} of {})", rows.len());
            self.report.table(&caption, headers, &rows[..REPORTED_ROWS]);
        } else {
            self.report.table(caption, headers, rows);
        }
    }

    /// A chart, for the report alone.
    pub(crate) fn bars(&mut self, caption: &str, values: &[(String, usize)]) {
        let figure = |value: &usize| f64::from(u32::try_from(*value).unwrap_or(u32::MAX));
        let values: Vec<(String, f64)> = values.iter().map(|(label, value)| (label.clone(), figure(value))).collect();
        self.report.bars(caption, &values);
    }

    /// Lines to copy, printed as they are.
    pub(crate) fn verbatim(&mut self, caption: &str, lines: &[String]) {
        line(&format!("  {caption}"));
        line("");
        for text in lines {
            line(text);
        }
        line("");
        let rows: Vec<Vec<String>> = lines.iter().map(|text| vec![text.clone()]).collect();
        self.report.table(caption, &["Line"], &rows);
    }

    /// The story cannot go on.
    pub(crate) fn broken(&mut self, trouble: &Trouble) {
        self.check("The story is told to its end", false, &trouble.to_string());
    }

    /// Writes the report and says how the story ended; answers whether every statement held.
    pub(crate) fn finish(self, path: &Path) -> io::Result<bool> {
        std::fs::write(path, self.report.finish())?;
        let seconds = self.begun.elapsed().as_secs();
        let held = self.failed == 0;
        let all = self.held + self.failed;
        line("");
        line(&if held { format!("All {all} statements hold.") } else { format!("{} of {all} statements do not hold.", self.failed) });
        line(&format!("The story took {seconds} s. As a page with charts and every finding: {}", path.display()));
        Ok(held)
    }
}

/// How many rows a second that was.
pub(crate) fn rate(rows: usize, elapsed: Duration) -> usize {
    let millis = usize::try_from(elapsed.as_millis()).unwrap_or(usize::MAX).max(1);
    rows.saturating_mul(1000) / millis
}

fn print_table(headers: &[&str], rows: &[Vec<String>]) {
    let shown = &rows[..rows.len().min(PRINTED_ROWS)];
    let widths = widths(headers, shown);
    print_row(headers, &widths);
    for row in shown {
        print_row(&row.iter().map(String::as_str).collect::<Vec<&str>>(), &widths);
    }
    if rows.len() > PRINTED_ROWS {
        line(&format!("    … and {} more in the report", rows.len() - PRINTED_ROWS));
    }
}

/// The width of each column: what its longest cell takes, the widest ones less until the row fits the line.
fn widths(headers: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let length = |text: &str| text.chars().count();
    let longest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).chain([length(headers[column])]).max();
    let mut widths: Vec<usize> = (0..headers.len()).map(|column| longest(column).unwrap_or(0)).collect();
    let room = WIDTH.saturating_sub(INDENT + GAP * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { break };
        *widest -= 1;
    }
    widths
}

/// Prints a row; cells that are wider than their column go on in the lines below.
fn print_row(cells: &[&str], widths: &[usize]) {
    let parts: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| broken(cell, *width)).collect();
    for number in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
        let row = parts.iter().zip(widths).map(|(part, width)| format!("{:<width$}", part.get(number).map_or("", String::as_str)));
        line(format!("{:INDENT$}{}", "", row.collect::<Vec<String>>().join(&" ".repeat(GAP))).trim_end());
    }
}

/// Text in lines of at most `width` letters, broken between words; a longer word is broken where the line ends.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + letters.len() > width {
            lines.push(std::mem::take(&mut current));
            length = 0;
        }
        if length > 0 {
            current.push(' ');
            length += 1;
        }
        for letter in letters {
            if length == width.max(1) {
                lines.push(std::mem::take(&mut current));
                length = 0;
            }
            current.push(letter);
            length += 1;
        }
    }
    lines.push(current);
    lines
}

fn wrapped(indent: &str, text: &str) {
    for part in broken(text, WIDTH - indent.len()) {
        line(&format!("{indent}{part}"));
    }
}

/// Text behind a mark; further lines begin where the text does.
fn marked(mark: &str, text: &str) {
    let indent = mark.chars().count();
    for (number, part) in broken(text, WIDTH - indent).into_iter().enumerate() {
        line(&if number == 0 { format!("{mark}{part}") } else { format!("{:indent$}{part}", "") });
    }
}

/// The only place that prints; two empty lines never follow each other. Somebody who stopped reading (`| head`) does not stop the story.
fn line(text: &str) {
    static EMPTY: AtomicBool = AtomicBool::new(false);
    if EMPTY.swap(text.is_empty(), Ordering::Relaxed) && text.is_empty() {
        return;
    }
    let _ = writeln!(io::stdout().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_nothing_of_it_is_lost() {
        assert_eq!(broken("Role permits reading at level OWN", 12), ["Role permits", "reading at", "level OWN"]);
        assert_eq!(broken("contacts/01a20143", 10), ["contacts/0", "1a20143"]);
        assert_eq!(broken("", 10), [""]);
        let long = "Straße İstanbul ".repeat(20);
        assert_eq!(broken(&long, 7).concat().replace(' ', ""), long.replace(' ', ""));
        assert!(broken(&long, 7).iter().all(|line| line.chars().count() <= 7));
    }

    #[test]
    fn a_table_fits_the_line_as_long_as_its_columns_can_be_read() {
        let cell = |length: usize| "x".repeat(length);
        assert_eq!(widths(&["one", "two"], &[vec![cell(5), cell(8)]]), [5, 8]);
        let fitted = widths(&["one", "two", "three"], &[vec![cell(10), cell(200), cell(60)]]);
        assert_eq!(fitted.iter().sum::<usize>() + INDENT + 2 * GAP, WIDTH);
        assert_eq!(fitted[0], 10);
        assert_eq!(widths(&["a", "b"].repeat(6), &[vec![cell(40); 12]]), [NARROWEST; 12]);
    }
}
