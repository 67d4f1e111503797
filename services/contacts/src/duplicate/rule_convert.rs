//! Rules as they are sent and shown: parsing, merging of updates.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_rule::Action;
use rapport_kit::{Fault, clock, command};

use super::Rule;
use super::rule::{Comparison, Details, Field, Method};
use crate::limits;
use crate::search::Kind;
use crate::violations::Violations;

/// What an update can write.
pub const PATHS: &[&str] = &["display_name", "comparisons", "threshold", "action", "disabled"];
/// Comparisons of a rule at most.
const COMPARISONS: usize = 20;

/// A rule as it is shown and published.
#[must_use]
pub fn to_proto(rule: &Rule) -> pb::DuplicateRule {
    pb::DuplicateRule {
        name: rule.name(),
        etag: command::etag(rule.version),
        create_time: Some(clock::timestamp(rule.created_at)),
        update_time: Some(clock::timestamp(rule.updated_at)),
        ..shipped_to_proto(&rule.details)
    }
}

/// A rule that is nobody's own.
#[must_use]
pub fn shipped_to_proto(details: &Details) -> pb::DuplicateRule {
    let comparison = |comparison: &Comparison| pb::DuplicateComparison {
        field: comparison.field as i32,
        method: comparison.method as i32,
        weight: comparison.weight,
        penalty: comparison.penalty,
        system: comparison.system.clone(),
    };
    pb::DuplicateRule {
        display_name: details.display_name.clone(),
        collection: details.kind.collection().to_owned(),
        comparisons: details.comparisons.iter().map(comparison).collect(),
        threshold: details.threshold,
        action: if details.blocks { Action::Block } else { Action::Warn }.into(),
        disabled: details.disabled,
        ..pb::DuplicateRule::default()
    }
}

/// Whether `sent` fills in one of [`PATHS`].
#[must_use]
pub fn is_populated(sent: &pb::DuplicateRule, path: &str) -> bool {
    match path {
        "display_name" => !sent.display_name.is_empty(),
        "comparisons" => !sent.comparisons.is_empty(),
        "threshold" => sent.threshold != 0,
        "action" => sent.action() != Action::Unspecified,
        "disabled" => sent.disabled,
        _ => false,
    }
}

/// The rule as it is, with `paths` taken from `sent`.
#[must_use]
pub fn merge(rule: &Rule, sent: &pb::DuplicateRule, paths: &[&str]) -> pb::DuplicateRule {
    let mut merged = to_proto(rule);
    for path in paths {
        match *path {
            "display_name" => merged.display_name.clone_from(&sent.display_name),
            "comparisons" => merged.comparisons.clone_from(&sent.comparisons),
            "threshold" => merged.threshold = sent.threshold,
            "action" => merged.action = sent.action,
            "disabled" => merged.disabled = sent.disabled,
            _ => {}
        }
    }
    merged
}

/// The details in `sent`.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault.
pub fn parse(sent: pb::DuplicateRule) -> Result<Details, Fault> {
    let mut found = Violations::default();
    let blocks = sent.action() == Action::Block;
    let display_name = found.required("duplicate_rule.display_name", sent.display_name, limits::NAME);
    if !(1..=100).contains(&sent.threshold) {
        found.add("duplicate_rule.threshold", "must be from 1 to 100");
    }
    let kind = kind(&sent.collection);
    if kind.is_none() {
        found.add("duplicate_rule.collection", "is required: accounts or contacts");
    }
    if sent.comparisons.is_empty() {
        found.add("duplicate_rule.comparisons", "is required");
    }
    if blocks && kind == Some(Kind::Account) {
        found.add("duplicate_rule.action", "must be ACTION_WARN for accounts");
    }
    let kind = kind.unwrap_or(Kind::Contact);
    let mut comparisons: Vec<Comparison> = Vec::new();
    for (index, sent) in found.at_most("duplicate_rule.comparisons", sent.comparisons, COMPARISONS).into_iter().enumerate() {
        let at = format!("duplicate_rule.comparisons[{index}]");
        let Some(comparison) = comparison(&mut found, &at, kind, sent) else { continue };
        if comparisons.iter().any(|other| (other.field, &other.system) == (comparison.field, &comparison.system)) {
            found.add(format!("{at}.field"), "stands in the list twice");
        }
        comparisons.push(comparison);
    }
    found.finish()?;
    Ok(Details { display_name, kind, comparisons, threshold: sent.threshold, blocks, disabled: sent.disabled })
}

fn comparison(found: &mut Violations, at: &str, kind: Kind, sent: pb::DuplicateComparison) -> Option<Comparison> {
    let field = Field::ALL.into_iter().find(|field| *field as i32 == sent.field);
    let method = Method::ALL.into_iter().find(|method| *method as i32 == sent.method);
    match (field, method) {
        (None, _) => found.add(format!("{at}.field"), "is required"),
        (Some(_), None) => found.add(format!("{at}.method"), "is required"),
        (Some(field), _) if field.methods(kind).is_empty() => found.add(format!("{at}.field"), "is none of the rule's collection"),
        (Some(field), Some(method)) if !field.methods(kind).contains(&method) => found.add(format!("{at}.method"), "does not suit the field"),
        _ => {}
    }
    if !(1..=100).contains(&sent.weight) {
        found.add(format!("{at}.weight"), "must be from 1 to 100");
    }
    if !(0..=100).contains(&sent.penalty) {
        found.add(format!("{at}.penalty"), "must be from 0 to 100");
    }
    let system = found.text(&format!("{at}.system"), sent.system, limits::SYSTEM);
    if !system.is_empty() && (field != Some(Field::ExternalId) || system.contains('.')) {
        found.add(format!("{at}.system"), "is the part of a system's name before its first dot, for FIELD_EXTERNAL_ID alone");
    }
    Some(Comparison { field: field?, method: method?, weight: sent.weight, penalty: sent.penalty, system })
}

/// Records of which kind are in a collection.
#[must_use]
pub fn kind(collection: &str) -> Option<Kind> {
    [Kind::Account, Kind::Contact].into_iter().find(|kind| kind.collection() == collection)
}

#[cfg(test)]
mod tests {
    use super::super::shipped;
    use super::*;

    #[test]
    fn a_shipped_rule_can_be_copied() {
        for kind in [Kind::Contact, Kind::Account] {
            let shipped = shipped::rule(kind);
            assert_eq!(parse(shipped_to_proto(&shipped)).unwrap(), shipped);
        }
    }

    #[test]
    fn fields_and_methods_are_numbered_as_in_the_proto() {
        for field in Field::ALL {
            let told = pb::duplicate_comparison::Field::try_from(field as i32).unwrap().as_str_name().replace(['_'], "");
            assert_eq!(told, format!("FIELD{}", format!("{field:?}").to_uppercase()));
        }
        for method in Method::ALL {
            let told = pb::duplicate_comparison::Method::try_from(method as i32).unwrap().as_str_name().replace(['_'], "");
            assert_eq!(told, format!("METHOD{}", format!("{method:?}").to_uppercase()));
        }
    }
}
