//! Field masks of updates: which fields of a record a request changes.
//!
//! Guarantees: after parsing every path is one the resource knows. No mask means the fields that the request
//! fills in, `*` means all; any path unknown to the resource is refused by name, so that a misspelt one never
//! passes for a change. A mask that touches a field the caller may not change is refused as a whole.

use prost_types::FieldMask;

use crate::access::{FieldRules, covers};
use crate::fault::Fault;

const FIELD: &str = "update_mask";
/// Unknown paths that are named in a refusal, and letters of each: it has to fit into a trailer.
const NAMED: usize = 5;
const LETTERS: usize = 64;

/// The fields that an update changes, as paths known to the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    paths: Vec<&'static str>,
}

impl Mask {
    /// The paths of `known` that `mask` selects. `known` lists the smallest parts that can be changed by
    /// themselves, such as `person.given_name`; a path of a message around them selects all its parts.
    /// `populated` says whether the request fills a known path in.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID) on `update_mask`, naming the paths that are not known.
    pub fn parse(mask: Option<FieldMask>, populated: impl Fn(&str) -> bool, known: &'static [&'static str]) -> Result<Self, Fault> {
        let asked = mask.map(|mask| mask.paths).unwrap_or_default();
        if asked.is_empty() {
            return Ok(Self { paths: known.iter().copied().filter(|path| populated(path)).collect() });
        }
        let selects = |asked: &str, path: &str| asked == "*" || covers(asked, path);
        let unknown: Vec<&String> = asked.iter().filter(|asked| !known.iter().any(|path| selects(asked, path))).collect();
        if !unknown.is_empty() {
            return Err(Fault::invalid(FIELD, refusal(&unknown, known)));
        }
        Ok(Self { paths: known.iter().copied().filter(|path| asked.iter().any(|asked| selects(asked, path))).collect() })
    }

    /// Whether the update changes `path`, a part of it or a message around it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|own| covers(own, path) || covers(path, own))
    }

    /// Whether the update changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The known paths that the update changes, in the order in which the resource lists them.
    #[must_use]
    pub fn paths(&self) -> &[&'static str] {
        &self.paths
    }

    /// Refuses the update if the caller may not change, or not see, a field of it or a part of one.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_READ_ONLY) naming the field.
    pub fn require_writable(&self, rules: &FieldRules) -> Result<(), Fault> {
        self.paths.iter().try_for_each(|path| rules.require_writable(path))
    }
}

fn refusal(unknown: &[&String], known: &[&str]) -> String {
    let named: Vec<String> = unknown.iter().take(NAMED).map(|path| path.chars().take(LETTERS).collect()).collect();
    let parent = unknown.iter().find_map(|path| known.iter().find(|known| covers(known, path)));
    let whole = parent.map_or_else(String::new, |parent| format!("; {parent} changes as a whole"));
    format!("no such path that can be changed: {}{whole}; use *, or any of {}", named.join(", "), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Effect;

    const KNOWN: &[&str] = &["person.given_name", "person.family_name", "tags", "address"];

    fn parse(paths: &[&str]) -> Result<Mask, Fault> {
        let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        Mask::parse(Some(mask), |_| false, KNOWN)
    }

    fn problem(paths: &[&str]) -> String {
        let fault = parse(paths).unwrap_err();
        assert_eq!((fault.code(), fault.reason()), (tonic::Code::InvalidArgument, "FIELD_INVALID"));
        refusal(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>().iter().collect::<Vec<_>>(), KNOWN)
    }

    #[test]
    fn without_a_mask_the_populated_fields_change() {
        for mask in [None, Some(FieldMask::default())] {
            let mask = Mask::parse(mask, |path| path.starts_with("person"), KNOWN).unwrap();
            assert_eq!(mask.paths(), ["person.given_name", "person.family_name"]);
        }
    }

    #[test]
    fn a_star_means_every_field_even_an_empty_one() {
        assert_eq!(parse(&["*"]).unwrap().paths(), KNOWN);
    }

    #[test]
    fn a_named_field_changes_and_no_other() {
        let mask = parse(&["tags", "tags"]).unwrap();
        assert_eq!(mask.paths(), ["tags"]);
        assert!(mask.has("tags") && !mask.has("address") && !mask.has("tag") && !mask.has("tags_more"));
    }

    #[test]
    fn a_message_selects_its_parts_and_a_part_touches_its_message() {
        let whole = parse(&["person"]).unwrap();
        assert_eq!(whole.paths(), ["person.given_name", "person.family_name"]);
        let part = parse(&["person.given_name"]).unwrap();
        assert!(part.has("person") && !part.has("person.family_name"));
        assert!(parse(&["address"]).unwrap().has("address.postal_code"));
    }

    #[test]
    fn an_unknown_path_is_refused_by_name_even_beside_a_star() {
        for paths in [["surname", "tags"], ["*", "surname"]] {
            assert!(parse(&paths).is_err());
        }
        assert!(problem(&["surname"]).contains("surname"));
        assert!(problem(&["person."]).contains("person."));
        assert!(problem(&[""]).contains("no such path"));
    }

    #[test]
    fn a_part_of_what_changes_as_a_whole_is_refused_with_a_hint() {
        assert!(problem(&["address.postal_code"]).contains("address changes as a whole"));
    }

    #[test]
    fn a_refusal_stays_short_whatever_was_sent() {
        let long = "x".repeat(100_000);
        assert!(problem(&[long.as_str(); 100]).len() < 1000);
    }

    #[test]
    fn a_field_under_a_rule_cannot_be_changed_directly_or_as_part_of_a_message() {
        let rule = |path: &str| FieldRules::new(vec![(path.to_owned(), Effect::ReadOnly)]);
        assert!(parse(&["tags"]).unwrap().require_writable(&FieldRules::none()).is_ok());
        assert!(parse(&["tags"]).unwrap().require_writable(&rule("person")).is_ok());
        for (paths, path) in [(["person"], "person"), (["person"], "person.given_name"), (["address"], "address.city"), (["*"], "tags")] {
            let fault = parse(&paths).unwrap().require_writable(&rule(path)).unwrap_err();
            assert_eq!(fault.reason(), "FIELD_READ_ONLY", "{path}");
        }
    }
}
