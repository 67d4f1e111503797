//! Tells the story to whoever watches and writes the same words into the report.
//!
//! Guarantees: a statement is printed, reported and counted in one place, so that the three cannot differ.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::clients::{self, Trouble};
use super::report::Report;

/// Letters of a printed line.
const WIDTH: usize = 100;
/// Letters of a printed cell; the report has the rest.
const CELL: usize = 44;
/// Rows of a printed table; the report has the rest.
const PRINTED_ROWS: usize = 12;
/// Rows of a table in the report: it has to stay readable when a large file is full of mistakes.
const REPORTED_ROWS: usize = 500;

/// A story in the telling.
#[derive(Debug)]
pub(crate) struct Story {
    report: Report,
    begun: Instant,
    held: usize,
    failed: usize,
}

impl Story {
    pub(crate) fn begin(title: &str) -> Self {
        line(title);
        Self { report: Report::new(title), begun: Instant::now(), held: 0, failed: 0 }
    }

    /// Begins a chapter. Blank lines in the text part its paragraphs.
    pub(crate) fn chapter(&mut self, title: &str, text: &str) {
        line("");
        line(title);
        line(&"─".repeat(title.chars().count()));
        for paragraph in text.split("\n\n") {
            wrapped("", paragraph);
        }
        self.report.chapter(title, text);
    }

    /// A sentence for whoever watches; the report says the same in its tables.
    pub(crate) fn say(&self, text: &str) {
        wrapped("  ", text);
    }

    /// How far long work has come.
    pub(crate) fn progress(&self, what: &str, done: usize, total: usize, elapsed: Duration) {
        line(&format!("    {what}: {done} of {total}, {} rows/s", rate(done, elapsed)));
    }

    /// A statement and whether it holds. The detail is what was found.
    pub(crate) fn check(&mut self, statement: &str, holds: bool, detail: &str) {
        if holds {
            self.held += 1;
            line(&format!("  ✓ {statement}"));
        } else {
            self.failed += 1;
            line(&format!("  ✗ {statement}: {detail}"));
        }
        self.report.check(statement, holds, detail);
    }

    /// The statement that something was found as expected.
    pub(crate) fn equal<T: PartialEq + Display>(&mut self, statement: &str, found: &T, expected: &T) {
        let holds = found == expected;
        let detail = if holds { found.to_string() } else { format!("found {found}, expected {expected}") };
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
        line(&format!("{seconds} s; the whole story is in {}", path.display()));
        Ok(held)
    }
}

/// How many rows a second that was.
pub(crate) fn rate(rows: usize, elapsed: Duration) -> usize {
    let millis = usize::try_from(elapsed.as_millis()).unwrap_or(usize::MAX).max(1);
    rows.saturating_mul(1000) / millis
}

fn print_table(headers: &[&str], rows: &[Vec<String>]) {
    let shown: Vec<Vec<String>> = rows.iter().take(PRINTED_ROWS).map(|row| row.iter().map(|cell| short(cell)).collect()).collect();
    let length = |text: &str| text.chars().count();
    let width =
        |column: usize| shown.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).chain([length(headers[column])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(format!("    {}", padded.join("  ")).trim_end());
    };
    print(&mut headers.iter().copied());
    for row in &shown {
        print(&mut row.iter().map(String::as_str));
    }
    if rows.len() > PRINTED_ROWS {
        line(&format!("    … and {} more in the report", rows.len() - PRINTED_ROWS));
    }
}

fn short(cell: &str) -> String {
    if cell.chars().count() <= CELL {
        return cell.to_owned();
    }
    let begin: String = cell.chars().take(CELL - 1).collect();
    format!("{begin}…")
}

fn wrapped(indent: &str, text: &str) {
    let mut current = String::new();
    for word in text.split_whitespace() {
        if !current.is_empty() && current.chars().count() + word.chars().count() >= WIDTH {
            line(&format!("{indent}{current}"));
            current.clear();
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    if !current.is_empty() {
        line(&format!("{indent}{current}"));
    }
}

/// The only place that prints. Somebody who stopped reading (`| head`) does not stop the story.
fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
