//! The demo's report: one HTML file that tells a story with its figures and its proofs.
//!
//! Guarantees: the file needs nothing but itself (no script, no font, no picture from elsewhere; its
//! content policy forbids them); every text is escaped, so that data can never become markup; each
//! chart has its values as a table too; it reads on a phone, in light and dark, and on paper.

use std::fmt::Write as _;

const STYLE: &str = include_str!("report.css");

/// A report in the making. Parts appear in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    body: String,
    chapters: Vec<String>,
    held: usize,
    failed: Vec<String>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new(), chapters: Vec::new(), held: 0, failed: Vec::new() }
    }

    /// Begins a chapter. Blank lines in the text part its paragraphs.
    pub(crate) fn chapter(&mut self, title: &str, text: &str) -> &mut Self {
        self.chapters.push(title.to_owned());
        let number = self.chapters.len();
        let title = escape(title);
        self.add(&format!("<h2 id=\"chapter-{number}\">{title}</h2>\n"));
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            self.add(&format!("<p dir=\"auto\">{}</p>\n", escape(paragraph.trim())));
        }
        self
    }

    /// A table. Columns of numbers stand to the right.
    pub(crate) fn table(&mut self, caption: &str, headers: &[&str], rows: &[Vec<String>]) -> &mut Self {
        self.add("<figure>\n");
        self.add(&table(caption, headers, rows));
        self.add("</figure>\n");
        self
    }

    /// A bar chart of finite values, with the same values as a table below it.
    pub(crate) fn bars(&mut self, caption: &str, values: &[(String, f64)]) -> &mut Self {
        let rows: Vec<Vec<String>> = values.iter().map(|(label, value)| vec![label.clone(), figure(*value)]).collect();
        self.add(&format!("<figure>\n<figcaption dir=\"auto\">{}</figcaption>\n", escape(caption)));
        self.add(&chart(caption, values));
        self.add("<details><summary>The values as a table</summary>\n");
        self.add(&table(caption, &["Name", "Value"], &rows));
        self.add("</details>\n</figure>\n");
        self
    }

    /// A statement with the finding whether it holds. All of them are counted at the report's top.
    pub(crate) fn check(&mut self, statement: &str, holds: bool, detail: &str) -> &mut Self {
        let (class, word) = if holds { ("holds", "Holds") } else { ("fails", "Fails") };
        if holds {
            self.held += 1;
        } else {
            self.failed.push(statement.to_owned());
        }
        let (statement, detail) = (escape(statement), escape(detail));
        self.add(&format!(
            "<div class=\"check {class}\"><strong class=\"verdict\">{word}</strong>\
             <div><p dir=\"auto\">{statement}</p><p class=\"detail\" dir=\"auto\">{detail}</p></div></div>\n"
        ));
        self
    }

    /// The whole report as an HTML page.
    pub(crate) fn finish(&self) -> String {
        let title = escape(&self.title);
        let mut contents = String::new();
        for (index, chapter) in self.chapters.iter().enumerate() {
            let number = index + 1;
            let link = format!("<li><a href=\"#chapter-{number}\">{}</a></li>\n", escape(chapter));
            contents.push_str(&link);
        }
        let summary = self.summary();
        let body = &self.body;
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{title}</h1>\n{summary}</header>\n\
             <nav aria-label=\"Chapters\"><ol>\n{contents}</ol></nav>\n\
             <main>\n{body}</main>\n</body>\n</html>\n"
        )
    }

    fn summary(&self) -> String {
        let checks = self.held + self.failed.len();
        if checks == 0 {
            return String::new();
        }
        if self.failed.is_empty() {
            return format!("<p class=\"summary holds\">All {checks} statements hold.</p>\n");
        }
        let mut failed = String::new();
        for statement in &self.failed {
            let _ = write!(failed, "<li dir=\"auto\">{}</li>", escape(statement));
        }
        let held = self.held;
        format!("<div class=\"summary fails\"><p>{held} of {checks} statements hold. These fail:</p><ul>{failed}</ul></div>\n")
    }

    fn add(&mut self, html: &str) {
        self.body.push_str(html);
    }
}

fn table(caption: &str, headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = format!(
        "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\">\
         <table><caption dir=\"auto\">{0}</caption>\n<thead><tr>",
        escape(caption)
    );
    let numbers: Vec<bool> =
        (0..headers.len()).map(|column| !rows.is_empty() && rows.iter().all(|row| row.get(column).is_some_and(|cell| numeric(cell)))).collect();
    for (header, number) in headers.iter().zip(&numbers) {
        let class = if *number { " class=\"number\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(header));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (cell, number) in row.iter().zip(&numbers) {
            let class = if *number { " class=\"number\"" } else { " dir=\"auto\"" };
            let _ = write!(html, "<td{class}>{}</td>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// Bars to the right of the zero line, negative ones to its left. Lengths are percentages of the
/// chart's width while letters keep their size, so that the chart fits every screen.
fn chart(caption: &str, values: &[(String, f64)]) -> String {
    const ROW: usize = 44;
    // Room for the figure behind the longest bar.
    const USABLE: f64 = 82.0;
    let lowest = values.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let highest = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let span = if highest > lowest { highest - lowest } else { 1.0 };
    let zero = -lowest / span * USABLE;

    let height = values.len() * ROW;
    let mut svg = format!("<svg role=\"img\" aria-label=\"{}\" width=\"100%\" height=\"{height}\">\n", escape(caption));
    for (index, (label, value)) in values.iter().enumerate() {
        let top = index * ROW;
        let length = value.abs() / span * USABLE;
        let left = if *value < 0.0 { zero - length } else { zero };
        let (text_line, bar_line, figure_line) = (top + 14, top + 20, top + 33);
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{text_line}\">{}</text>\
             <rect x=\"{left:.2}%\" y=\"{bar_line}\" width=\"{length:.2}%\" height=\"16\" rx=\"3\"/>\
             <text class=\"figure\" x=\"{:.2}%\" dx=\"6\" y=\"{figure_line}\">{}</text>",
            escape(label),
            left + length,
            figure(*value)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The value with at most two decimals and spaces between thousands: `12 345.5`.
fn figure(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.find('.').map_or((digits, ""), |point| digits.split_at(point));
    let mut grouped = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

fn numeric(cell: &str) -> bool {
    let marks = |letter: char| letter.is_ascii_digit() || " \u{202f},.-+%".contains(letter);
    cell.chars().any(|letter| letter.is_ascii_digit()) && cell.chars().all(marks)
}

/// Text as it may stand between tags and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "</td><script>alert(\"x\")</script> & 'y'";

    #[test]
    fn data_never_becomes_markup() {
        let page = Report::new(NASTY)
            .chapter(NASTY, NASTY)
            .table(NASTY, &[NASTY], &[vec![NASTY.to_owned()]])
            .bars(NASTY, &[(NASTY.to_owned(), 1.0)])
            .check(NASTY, true, NASTY)
            .check(NASTY, false, NASTY)
            .finish();
        assert!(!page.contains("<script"));
        assert!(!page.contains("\"x\""));
        assert!(page.contains("&lt;/td&gt;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;"));
    }

    #[test]
    fn failed_statements_are_counted_at_the_top() {
        let mut report = Report::new("Story");
        report.check("Water is wet", true, "").check("The sky is green", false, "it was blue");
        let page = report.finish();
        assert!(page.contains("1 of 2 statements hold. These fail:</p><ul><li dir=\"auto\">The sky is green</li>"));
    }

    #[test]
    fn a_number_among_words_stands_where_the_words_do() {
        let row = |what: &str, value: &str| vec![what.to_owned(), value.to_owned()];
        let mixed = table("", &["Rule", "Value"], &[row("tries", "5"), row("rest", "1 hour")]);
        assert!(!mixed.contains("class=\"number\""), "{mixed}");
        let figures = table("", &["File", "Rows"], &[row("people.csv", "5000"), row("phones.csv", "12")]);
        assert_eq!(figures.matches("class=\"number\"").count(), 3, "{figures}");
    }

    #[test]
    fn figures_are_grouped_and_cut_to_two_decimals() {
        assert_eq!(figure(1_234_567.5), "1\u{202f}234\u{202f}567.5");
        assert_eq!(figure(-999.999), "-1\u{202f}000");
        assert_eq!(figure(0.0), "0");
        assert_eq!(figure(100.0), "100");
    }

    #[test]
    fn charts_with_no_or_negative_values_stay_inside() {
        assert!(chart("empty", &[]).contains("height=\"0\""));
        let svg = chart("both", &[("loss".into(), -5.0), ("gain".into(), 5.0), ("none".into(), 0.0)]);
        assert!(svg.contains("x=\"0.00%\"") && svg.contains("x=\"41.00%\"") && !svg.contains("NaN"), "{svg}");
    }
}
