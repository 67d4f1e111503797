//! What a tenant is.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) slug: String,
    pub(crate) display_name: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Whether `text` can be a slug: 2 to 63 small letters, digits and inner hyphens, a letter first.
pub(crate) fn is_slug(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (2..=63).contains(&text.len()) && plain && text.as_bytes()[0].is_ascii_lowercase() && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_begins_with_a_letter_and_has_hyphens_inside_only() {
        for good in ["ab", "acme-2", &"a".repeat(63)] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "a", "-a", "2a", "a-", "Acme", "a_b", "é-a", &"a".repeat(64)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
