//! Reading requests: every value that is wrong is named, all of them at once.

use isolang::Language;
use rapport_kit::{Fault, name};
use uuid::Uuid;

/// The fields at fault so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    violations: Vec<(String, String)>,
}

impl Problems {
    /// Notes that `field` is wrong.
    pub(crate) fn note(&mut self, field: &str, description: impl Into<String>) {
        self.violations.push((field.to_owned(), description.into()));
    }

    /// A text of `least` to `most` characters without control characters, trimmed.
    pub(crate) fn text(&mut self, field: &str, value: &str, least: usize, most: usize) -> String {
        let text = value.trim();
        let length = text.chars().count();
        if length < least || length > most {
            self.note(field, format!("must have {least} to {most} characters"));
        }
        if text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t') {
            self.note(field, "must not contain control characters");
        }
        text.to_owned()
    }

    /// A number within limits.
    pub(crate) fn number(&mut self, field: &str, value: i32, least: i32, most: i32) -> i32 {
        if !(least..=most).contains(&value) {
            self.note(field, format!("must be {least} to {most}"));
        }
        value
    }

    /// An e-mail address.
    pub(crate) fn email(&mut self, field: &str, value: &str) -> String {
        let text = value.trim();
        if !is_email(text) {
            self.note(field, "must be an e-mail address of at most 254 characters");
        }
        text.to_owned()
    }

    /// The name of a record that may be left out.
    pub(crate) fn optional_name(&mut self, collection: &str, value: &str, field: &str) -> Option<Uuid> {
        match name::parse_optional(collection, value, field) {
            Ok(id) => id,
            Err(_) => {
                self.note(field, format!("must look like {collection}/{{uuid}}"));
                None
            }
        }
    }

    /// A language tag of BCP 47; may be left out unless `required`.
    pub(crate) fn language(&mut self, field: &str, value: &str, required: bool) -> String {
        let text = value.trim();
        if !(is_language(text) || text.is_empty() && !required) {
            self.note(field, "must be a BCP 47 tag such as fr-CH");
        }
        text.to_owned()
    }

    /// The name of a time zone in IANA's database; may be left out unless `required`.
    pub(crate) fn time_zone(&mut self, field: &str, value: &str, required: bool) -> String {
        let text = value.trim();
        if !(is_time_zone(text) || text.is_empty() && !required) {
            self.note(field, "must be an IANA time zone such as Europe/Istanbul");
        }
        text.to_owned()
    }

    /// Ends reading.
    pub(crate) fn done(self) -> Result<(), Fault> {
        if self.violations.is_empty() { Ok(()) } else { Err(Fault::invalid_fields(self.violations)) }
    }
}

/// The message that a request must carry.
pub(crate) fn required<M>(message: Option<M>, field: &str) -> Result<M, Fault> {
    message.ok_or_else(|| Fault::invalid(field, "must be given"))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = !text.chars().any(|letter| letter.is_whitespace() || letter.is_control() || matches!(letter, '<' | '>' | ',' | ';' | '"'));
    let short = text.chars().count() <= 254 && local.len() <= 64;
    plain && short && !local.is_empty() && !local.contains('@') && !domain.is_empty() && domain.split('.').all(|label| !label.is_empty())
}

/// The shape of BCP 47 with a primary language that ISO 639 knows, by its shortest code.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default().to_ascii_lowercase();
    let known = match first.len() {
        2 => Language::from_639_1(&first).is_some(),
        3 => Language::from_639_3(&first).is_some_and(|language| language.to_639_1().is_none()),
        _ => false,
    };
    known && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())) && text.len() <= 35
}

fn is_time_zone(text: &str) -> bool {
    text.parse::<chrono_tz::Tz>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_local_part_and_a_domain() {
        for good in ["a@b.example", "first.last+tag@b", "çelik@örnek.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a@@b", "a b@c", "a@b..c", "<a@b>", "a@b,c@d"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn languages_and_time_zones_are_those_that_the_world_knows() {
        for good in ["tr", "tr-TR", "zh-Hant-TW", "fil-PH", "FR-ch"] {
            assert!(is_language(good), "{good}");
        }
        for bad in ["", "t", "tr_TR", "tr-", "123", "qq", "xx-FR", "qqq", "tur", "english"] {
            assert!(!is_language(bad), "{bad}");
        }
        for good in ["UTC", "Europe/Istanbul", "America/Argentina/Buenos_Aires", "Asia/Kolkata"] {
            assert!(is_time_zone(good), "{good}");
        }
        for bad in ["", "Europe", "Europe/", "Mars/Base", "../etc", "Europe/Atlantis", "europe/istanbul", "+03:00"] {
            assert!(!is_time_zone(bad), "{bad}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut problems = Problems::default();
        problems.text("display_name", " ", 1, 10);
        problems.email("email", "nobody");
        let fault = problems.done().unwrap_err();
        assert_eq!(fault.reason(), "FIELD_INVALID");
        assert!(fault.text().contains("display_name, email"));
    }
}
