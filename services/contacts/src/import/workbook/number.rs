//! What a number in a cell shows.
//!
//! Days are numbers in workbooks (ECMA-376, 18.17.4): it is the cell's style that makes one of them a day.

use chrono::{Days, NaiveDate};

/// Seconds of a day.
const DAY: i32 = 86_400;
/// The most digits that a format pads a number to: more than any number has.
const WIDEST: usize = 32;
/// The last day that workbooks know, 31 December 9999.
const LAST: i32 = 2_958_465;
/// What 1 January 1904 is in workbooks that count from 1900: those that count from it are that many days behind.
const BEHIND: i32 = 1462;

/// How numbers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As numbers.
    Plain,
    /// With zeros in front, so many digits in all.
    Padded(usize),
    /// As days.
    Day,
    /// As times of a day, or as durations.
    Time,
    /// As both.
    DayAndTime,
}

/// How numbers look in the format that workbooks have under this number, or that a workbook describes with `code`.
#[must_use]
pub fn look(number: u32, code: Option<&str>) -> Look {
    match (number, code) {
        (_, Some(code)) => described(code),
        (14..=17 | 27..=31 | 34..=36 | 50..=54 | 57..=58, None) => Look::Day,
        (18..=21 | 32..=33 | 45..=47 | 55..=56, None) => Look::Time,
        (22, None) => Look::DayAndTime,
        _ => Look::Plain,
    }
}

fn described(code: &str) -> Look {
    // What comes after a semicolon is for negative numbers and texts.
    let code = code.split(';').next().unwrap_or_default();
    // A longer one would make much of little: a format has no such width.
    if (2..=WIDEST).contains(&code.len()) && code.bytes().all(|byte| byte == b'0') {
        return Look::Padded(code.len());
    }
    let letters = letters(code);
    if letters.contains("general") {
        return Look::Plain;
    }
    let letters = letters.replace("am/pm", "h").replace("a/p", "h");
    let has = |of: &[char]| letters.contains(of);
    match (has(&['y', 'd']) || has(&['m']) && !has(&['h', 's']), has(&['h', 's'])) {
        (true, true) => Look::DayAndTime,
        (true, false) => Look::Day,
        (false, true) => Look::Time,
        (false, false) => Look::Plain,
    }
}

/// The letters of a format that stand for something, in lower case: none in quotation marks or brackets but durations
/// (`[h]`), and none behind a sign that says to leave it as it is.
fn letters(code: &str) -> String {
    let mut found = String::new();
    let mut signs = code.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => drop(signs.by_ref().find(|sign| *sign == '"')),
            '\\' | '_' | '*' => drop(signs.next()),
            '[' => {
                let inner: String = signs.by_ref().take_while(|sign| *sign != ']').collect();
                if !inner.is_empty() && inner.chars().all(|sign| matches!(sign.to_ascii_lowercase(), 'h' | 'm' | 's')) {
                    found.push('h');
                }
            }
            sign => found.push(sign.to_ascii_lowercase()),
        }
    }
    found
}

/// What the stored `text` of a number shows: digits without exponent, a day as `2026-01-31`, a time as `08:30:00`, both
/// with a `T` between. A day at midnight is a day. What is no number, or no day that there was, stays as it is.
#[must_use]
pub fn shown(text: &str, look: Look, is_1904: bool) -> String {
    let text = text.trim();
    let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else { return text.to_owned() };
    match look {
        Look::Plain => plain(text, value),
        Look::Padded(width) => format!("{:0>width$}", plain(text, value)),
        Look::Day | Look::Time | Look::DayAndTime => moment(value, look, is_1904).unwrap_or_else(|| plain(text, value)),
    }
}

/// Digits without exponent, with the fifteen that programs for workbooks know.
fn plain(text: &str, value: f64) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    match format!("{value:.14e}").parse::<f64>() {
        Ok(0.0) | Err(_) => "0".to_owned(),
        Ok(value) => value.to_string(),
    }
}

fn moment(value: f64, look: Look, is_1904: bool) -> Option<String> {
    let day_count = value.floor();
    if !(0.0..=f64::from(LAST)).contains(&day_count) {
        return None;
    }
    // Both are whole and small.
    let mut days: i32 = format!("{day_count:.0}").parse().ok()?;
    let mut seconds: i32 = format!("{:.0}", (value - day_count) * f64::from(DAY)).parse().ok()?;
    if seconds == DAY {
        (days, seconds) = (days + 1, 0);
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let is_time = look == Look::Time || days == 0 && !is_1904;
    if is_time {
        let hours = hours + if look == Look::Time { days * 24 } else { 0 };
        return Some(format!("{hours:02}:{minutes:02}:{rest:02}"));
    }
    let day = day(days, is_1904)?.format("%Y-%m-%d");
    Some(if look == Look::Day || seconds == 0 { day.to_string() } else { format!("{day}T{hours:02}:{minutes:02}:{rest:02}") })
}

/// The day of this number. The first program took 1900 for a leap year, and every other one does since.
fn day(number: i32, is_1904: bool) -> Option<NaiveDate> {
    let number = if is_1904 { number + BEHIND } else { number };
    let date = match number {
        1..=59 => 31,
        61..=LAST => 30,
        _ => return None,
    };
    NaiveDate::from_ymd_opt(1899, 12, date)?.checked_add_days(Days::new(u64::try_from(number).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_see_them() {
        for (text, look, expected) in [
            ("905321234567", Look::Plain, "905321234567"),
            ("9.05321234567E11", Look::Plain, "905321234567"),
            ("1.2E+3", Look::Plain, "1200"),
            ("1.5", Look::Plain, "1.5"),
            ("0.30000000000000004", Look::Plain, "0.3"),
            ("-7.0", Look::Plain, "-7"),
            ("-0", Look::Plain, "0"),
            ("9007199254740993", Look::Plain, "9007199254740993"),
            ("42", Look::Padded(5), "00042"),
            ("n/a", Look::Plain, "n/a"),
            ("NaN", Look::Day, "NaN"),
        ] {
            assert_eq!(shown(text, look, false), expected, "{text}");
        }
    }

    #[test]
    fn days_are_those_that_programs_show() {
        for (text, look, is_1904, expected) in [
            ("44197", Look::Day, false, "2021-01-01"),
            ("42735", Look::Day, true, "2021-01-01"),
            ("0", Look::Day, true, "1904-01-01"),
            ("2957003", Look::Day, true, "9999-12-31"),
            ("2957004", Look::Day, true, "2957004"),
            ("2958465", Look::Day, false, "9999-12-31"),
            ("1", Look::Day, false, "1900-01-01"),
            ("59", Look::Day, false, "1900-02-28"),
            ("60", Look::Day, false, "60"),
            ("61", Look::Day, false, "1900-03-01"),
            ("44197.5", Look::DayAndTime, false, "2021-01-01T12:00:00"),
            ("44197", Look::DayAndTime, false, "2021-01-01"),
            ("44196.9999999", Look::Day, false, "2021-01-01"),
            ("0.354166666666667", Look::Time, false, "08:30:00"),
            ("1.5", Look::Time, false, "36:00:00"),
            ("-1", Look::Day, false, "-1"),
            ("2958466", Look::Day, false, "2958466"),
        ] {
            assert_eq!(shown(text, look, is_1904), expected, "{text}");
        }
    }

    #[test]
    fn a_format_says_whether_numbers_are_days() {
        for (code, expected) in [
            ("General", Look::Plain),
            ("0.00E+00", Look::Plain),
            ("#,##0.00 \"days\"", Look::Plain),
            ("[Red]0", Look::Plain),
            ("0\\d", Look::Plain),
            ("00000", Look::Padded(5)),
            ("yyyy-mm-dd", Look::Day),
            ("mmm", Look::Day),
            ("[$-409]d\\ mmm\\ yy;@", Look::Day),
            ("hh:mm", Look::Time),
            ("[h]:mm:ss", Look::Time),
            ("h:mm AM/PM", Look::Time),
            ("dd.mm.yyyy hh:mm", Look::DayAndTime),
        ] {
            assert_eq!(look(164, Some(code)), expected, "{code}");
        }
        assert_eq!([14, 22, 46, 1].map(|number| look(number, None)), [Look::Day, Look::DayAndTime, Look::Time, Look::Plain]);
    }
}
