//! What a single cell must look like.
//!
//! Guarantees: pure functions of the text. The checks refuse what cannot be right and nothing more: the
//! product decides the finer points when the row is loaded.

/// The day in ISO form, from `1980-02-29` or `19800229`; `None` when there is no such day between 1850
/// and 2100.
pub(super) fn iso_date(text: &str) -> Option<String> {
    let parts: Vec<&str> = match text.len() {
        8 => vec![text.get(..4)?, text.get(4..6)?, text.get(6..)?],
        10 => text.split('-').collect(),
        _ => return None,
    };
    let [year, month, day] = parts[..] else {
        return None;
    };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let real = (1850..=2100).contains(&year) && (1..=days_in_month(year, month)).contains(&day);
    real.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if right { text.parse().ok() } else { None }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Why the text cannot be a mail address.
pub(super) fn email_fault(text: &str) -> Option<&'static str> {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Some("a mail address has an @");
    };
    if local.is_empty() || local.contains('@') {
        return Some("a mail address has one name before one @");
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Some("a mail address has no white space");
    }
    let labels_empty = domain.split('.').any(str::is_empty);
    if labels_empty || !domain.contains('.') {
        return Some("a mail address ends in a domain");
    }
    None
}

/// Why the text cannot be an amount: digits with at most one point.
pub(super) fn money_fault(text: &str) -> Option<&'static str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (!digits(whole) || !digits(fraction)).then_some("must be a decimal number such as 12.50")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        assert_eq!(iso_date("19800229").as_deref(), Some("1980-02-29"));
        assert_eq!(iso_date("2000-12-31").as_deref(), Some("2000-12-31"));
        for wrong in ["19000229", "1981-02-29", "1980-13-01", "1980-00-10", "19_00101", "1980-1-01", "", "31/31/1980", "1é80011"] {
            assert_eq!(iso_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn plain_addresses_pass_and_broken_ones_do_not() {
        for right in ["a@b.example", "noa.cohen2@arazim-medical.example", "o'brien+x@mail.example"] {
            assert_eq!(email_fault(right), None, "{right}");
        }
        for wrong in ["", "nobody.example", "no body@mail.example", "a@@b.example", "a@", "@b.example", "a@b", "a@.b"] {
            assert!(email_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_plain_decimals() {
        for right in ["0", "1100.04"] {
            assert_eq!(money_fault(right), None, "{right}");
        }
        for wrong in ["", ".5", "5.", "1,100.04", "-3", "1e6", "1.2.3"] {
            assert!(money_fault(wrong).is_some(), "{wrong}");
        }
    }
}
