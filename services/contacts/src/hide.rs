//! Field rules on answers: what is hidden is empty, what is masked shows its first letter.

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Effect, FieldRules, masked};

/// Covers a text.
pub fn text(text: &mut String, effect: Option<Effect>) {
    match effect {
        None | Some(Effect::ReadOnly) => {}
        Some(Effect::Masked) => *text = masked(text),
        Some(Effect::Hidden) => text.clear(),
    }
}

/// Covers a value that has no first letter: masked, it is absent too. Of one with parts the rules on all of them
/// count ([`FieldRules::effect_on_whole`]), since it is not shown in parts.
pub fn value<T: Default>(value: &mut T, effect: Option<Effect>) {
    if matches!(effect, Some(Effect::Masked | Effect::Hidden)) {
        *value = T::default();
    }
}

/// Covers contact points at `path`: as a whole, or the parts of each.
pub fn contact_points(points: &mut Vec<pb::ContactPoint>, path: &str, rules: &FieldRules) {
    if rules.concerning(path).next().is_none() {
        return;
    }
    let part = |name: &str| rules.effect(&format!("{path}.{name}"));
    let (value, label) = (part("value"), part("label"));
    // The normalised form says the same as the value and is covered with it.
    let normalized = value.max(part("normalized"));
    for point in points.iter_mut() {
        text(&mut point.value, value);
        text(&mut point.normalized, normalized);
        text(&mut point.label, label);
    }
    if rules.effect(path) == Some(Effect::Hidden) {
        points.clear();
    }
}

/// The rules for filters, with the one on the value of contact points at `path` on their normalised form too, which
/// would tell the same.
#[must_use]
pub fn with_normalized(path: &str, rules: &FieldRules) -> FieldRules {
    let own = rules.iter().map(|(path, effect)| (path.to_owned(), effect));
    let value = rules.effect(&format!("{path}.value")).map(|effect| (format!("{path}.normalized"), effect));
    FieldRules::new(own.chain(value).collect())
}
