//! Which fields an update writes, under the caller's field rules.

use prost_types::FieldMask;
use rapport_kit::Fault;
use rapport_kit::access::FieldRules;
use rapport_kit::mask::Mask;

/// The paths that an update writes. Paths that the mask names must be writable; where it names none (omitted
/// or `*`), what the caller may not write stays as it is, so that a hidden field is never wiped.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) for unknown paths; PERMISSION_DENIED (FIELD_READ_ONLY).
pub fn paths(
    mask: Option<FieldMask>,
    populated: impl Fn(&str) -> bool,
    known: &'static [&'static str],
    rules: &FieldRules,
) -> Result<Vec<&'static str>, Fault> {
    let is_explicit = mask.as_ref().is_some_and(|mask| !mask.paths.is_empty() && mask.paths.iter().all(|path| path != "*"));
    let mask = Mask::parse(mask, populated, known)?;
    if is_explicit {
        mask.require_writable(rules)?;
    }
    Ok(mask.paths().iter().copied().filter(|path| rules.concerning(path).next().is_none()).collect())
}

/// Refuses a new record with fields that the caller may not write.
///
/// # Errors
/// PERMISSION_DENIED (FIELD_READ_ONLY) naming the field.
pub fn require_writable(populated: impl Fn(&str) -> bool, known: &'static [&'static str], rules: &FieldRules) -> Result<(), Fault> {
    Mask::parse(None, populated, known)?.require_writable(rules)
}

#[cfg(test)]
mod tests {
    use rapport_kit::access::Effect;

    use super::*;

    const KNOWN: &[&str] = &["person.given_name", "person.notes", "tags"];

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    }

    #[test]
    fn a_star_leaves_out_what_the_caller_may_not_write() {
        let rules = FieldRules::new(vec![("person.notes".to_owned(), Effect::Hidden)]);
        assert_eq!(paths(mask(&["*"]), |_| false, KNOWN, &rules).unwrap(), ["person.given_name", "tags"]);
        assert_eq!(paths(None, |_| true, KNOWN, &rules).unwrap(), ["person.given_name", "tags"]);
    }

    #[test]
    fn a_named_path_under_a_rule_is_refused() {
        let rules = FieldRules::new(vec![("person.notes".to_owned(), Effect::ReadOnly)]);
        assert_eq!(paths(mask(&["person.notes"]), |_| false, KNOWN, &rules).unwrap_err().reason(), "FIELD_READ_ONLY");
    }
}
