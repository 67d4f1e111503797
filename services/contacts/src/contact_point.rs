//! Ways to reach somebody: what was typed, and the form that is searched and compared.
//!
//! Guarantees: normalising what is normalised changes nothing more; a telephone number that cannot be read is
//! kept as typed and has no normalised form.

use rapport_kit::filter::fold;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};
use serde::{Deserialize, Serialize};

use crate::limits;

/// A way to reach somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPoint {
    /// What the value is.
    pub kind: Kind,
    /// As it was typed.
    pub value: String,
    /// The form that is compared; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub normalized: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The one to use among those of its kind.
    pub primary: bool,
    /// Whether it works and may be used.
    pub status: Status,
    /// Country in which a telephone number is read; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// What a contact point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// E-mail address.
    Email,
    /// Telephone number.
    Phone,
    /// Handle in a messenger.
    Chat,
    /// Web page or profile.
    Web,
}

/// Whether a contact point works and may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has tried it.
    Unverified,
    /// Something was delivered.
    Valid,
    /// Deliveries fail for now.
    Bouncing,
    /// Deliveries fail for good.
    Invalid,
    /// A message was reported as unwanted.
    Complained,
    /// The receiver does not want to be reached here.
    OptedOut,
}

impl Kind {
    /// As it is stored in look-up tables.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Email => 1,
            Self::Phone => 2,
            Self::Chat => 3,
            Self::Web => 4,
        }
    }
}

impl ContactPoint {
    /// Whether `other` is the same point, however it was typed.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |point: &Self| if point.normalized.is_empty() { point.value.clone() } else { point.normalized.clone() };
        self.kind == other.kind && key(self) == key(other)
    }
}

/// The form of `value` that is compared; empty for a telephone number that cannot be read in `region`.
///
/// # Errors
/// What is wrong with it.
pub fn normalize(kind: Kind, value: &str, region: Option<Region>) -> Result<String, &'static str> {
    match kind {
        Kind::Email => email(value),
        Kind::Phone => Ok(phone(value, region)),
        Kind::Chat => Ok(value.to_lowercase()),
        Kind::Web => web(value),
    }
}

/// Look-up keys of `points` without doubles: kinds and folded texts, in parallel.
#[must_use]
pub fn keys(points: &[ContactPoint]) -> (Vec<i16>, Vec<String>) {
    let mut keys: Vec<(i16, String)> =
        points.iter().filter(|point| !point.normalized.is_empty()).map(|point| (point.kind.number(), fold(&point.normalized))).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().unzip()
}

/// Sees to exactly one primary point for each kind: the first one where none is marked. Answers the position
/// of a second one that is marked.
pub fn settle_primary(points: &mut [ContactPoint]) -> Option<usize> {
    for kind in [Kind::Email, Kind::Phone, Kind::Chat, Kind::Web] {
        let marked: Vec<usize> = points.iter().enumerate().filter(|(_, point)| point.kind == kind && point.primary).map(|(index, _)| index).collect();
        if let Some(second) = marked.get(1) {
            return Some(*second);
        }
        if let (true, Some(first)) = (marked.is_empty(), points.iter_mut().find(|point| point.kind == kind)) {
            first.primary = true;
        }
    }
    None
}

/// Case does not matter, in names of mailboxes neither, as every large provider has it.
fn email(value: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "must be an e-mail address such as ada@example.org";
    if value.chars().count() > limits::EMAIL {
        return Err("must have at most 254 characters");
    }
    let (local, domain) = value.rsplit_once('@').ok_or(SHAPE)?;
    let is_local = !local.is_empty()
        && local.chars().count() <= limits::EMAIL_LOCAL
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(|letter| letter.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(letter));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().count() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-' || is_mark(letter))
    };
    let is_domain = domain.contains('.') && domain.split('.').all(is_label);
    if is_local && is_domain { Ok(value.to_lowercase()) } else { Err(SHAPE) }
}

/// Vowel signs and joiners, which words of many scripts need and no check of letters lets through.
fn is_mark(letter: char) -> bool {
    !letter.is_ascii() && !letter.is_whitespace() && !letter.is_control()
}

fn phone(value: &str, region: Option<Region>) -> String {
    match PHONE_NUMBER_UTIL.parse(value, region) {
        Ok(number) if number.is_valid() => number.format_as(PhoneNumberFormat::E164).into_owned(),
        Ok(_) | Err(_) => String::new(),
    }
}

/// Scheme and host in lower case; `https` where no scheme is given.
fn web(value: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "must be a web address such as https://example.org";
    let (scheme, rest) = value.split_once("://").unwrap_or(("https", value));
    let scheme = scheme.to_lowercase();
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_host = host.contains('.') && !host.starts_with('.') && !host.contains(|letter: char| letter.is_whitespace() || letter == '@');
    if !matches!(scheme.as_str(), "http" | "https") || !is_host || path.contains(char::is_whitespace) {
        return Err(SHAPE);
    }
    let path = if path == "/" { "" } else { path };
    Ok(format!("{scheme}://{}{path}", host.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_email_address_is_compared_without_case() {
        assert_eq!(normalize(Kind::Email, "Ada.Lovelace@Example.ORG", None).unwrap(), "ada.lovelace@example.org");
        assert_eq!(normalize(Kind::Email, "info@müller.example", None).unwrap(), "info@müller.example");
    }

    #[test]
    fn what_is_no_email_address_is_refused() {
        for value in ["ada", "@example.org", "ada@", "ada@example", "a b@example.org", "ada@-x.org", "ada@x..org", ".ada@x.org", "ada@x.org."] {
            assert!(normalize(Kind::Email, value, None).is_err(), "{value}");
        }
    }

    #[test]
    fn a_phone_number_is_read_in_its_region() {
        for (value, region, normalized) in [
            ("020 7183 8750", Some(Region::GB), "+442071838750"),
            ("+44 20 7183 8750", None, "+442071838750"),
            ("0532 123 45 67", Some(Region::TR), "+905321234567"),
            ("020 7183 8750", None, ""),
            ("ask Anna", Some(Region::GB), ""),
        ] {
            assert_eq!(normalize(Kind::Phone, value, region).unwrap(), normalized, "{value}");
        }
    }

    #[test]
    fn a_web_address_gets_a_scheme_and_a_lower_case_host() {
        assert_eq!(normalize(Kind::Web, "Example.ORG/Path", None).unwrap(), "https://example.org/Path");
        assert_eq!(normalize(Kind::Web, "HTTP://example.org/", None).unwrap(), "http://example.org");
        for value in ["ftp://example.org", "example", "javascript://example.org", "a b.org"] {
            assert!(normalize(Kind::Web, value, None).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing_more(
            kind in prop::sample::select(vec![Kind::Email, Kind::Phone, Kind::Chat, Kind::Web]),
            value in "(\\PC{0,30}|[a-zA-Z.]{1,8}@[a-z]{1,8}\\.[a-z]{2,3}|\\+49 ?30 ?[0-9]{4,8}|[a-zA-Z]{1,9}\\.org/[a-z]{0,5})",
        ) {
            if let Ok(once) = normalize(kind, &value, Some(Region::DE))
                && !once.is_empty()
            {
                // Lower case of a few letters has a lower case of its own.
                prop_assume!(once.to_lowercase() == once || kind == Kind::Web);
                prop_assert_eq!(normalize(kind, &once, None), Ok(once));
            }
        }
    }
}
