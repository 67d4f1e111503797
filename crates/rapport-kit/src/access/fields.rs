//! Rules about single fields: hidden, masked, read-only.

use crate::fault::Fault;

/// What a rule does to a field, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Can be read, not changed.
    ReadOnly,
    /// Texts show their first letter, all else is absent.
    Masked,
    /// Absent.
    Hidden,
}

/// The rules in force for one caller on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRules {
    rules: Vec<(String, Effect)>,
}

impl FieldRules {
    /// No rule.
    #[must_use]
    pub const fn none() -> Self {
        Self { rules: Vec::new() }
    }

    /// These rules.
    #[must_use]
    pub fn new(rules: Vec<(String, Effect)>) -> Self {
        Self { rules }
    }

    /// Whether there is no rule at all, the usual case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Paths and effects.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Effect)> {
        self.rules.iter().map(|(path, effect)| (path.as_str(), *effect))
    }

    /// Rules that concern `path`: on it, on a message around it or on a part of it.
    pub fn concerning(&self, path: &str) -> impl Iterator<Item = (&str, Effect)> {
        self.iter().filter(move |(rule, _)| covers(rule, path) || covers(path, rule))
    }

    /// Effect on `path`, given directly or by a rule on a message around it.
    #[must_use]
    pub fn effect(&self, path: &str) -> Option<Effect> {
        self.rules.iter().filter(|(rule, _)| covers(rule, path)).map(|(_, effect)| *effect).max()
    }

    /// Effect on a value that is shown whole or not at all: a rule on any part of it counts too.
    #[must_use]
    pub fn effect_on_whole(&self, path: &str) -> Option<Effect> {
        self.concerning(path).map(|(_, effect)| effect).max()
    }

    /// Refuses a filter or order by a field whose value the caller may not learn.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_HIDDEN) naming the field.
    pub fn require_readable(&self, path: &str) -> Result<(), Fault> {
        if self.concerning(path).any(|(_, effect)| effect > Effect::ReadOnly) {
            return Err(Fault::denied("FIELD_HIDDEN", format!("Leave out {path}: your roles do not show it.")).with("field", path));
        }
        Ok(())
    }

    /// Refuses a change of a field that the caller may not change as a whole, because of itself or of a part.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_READ_ONLY) naming the field or its part.
    pub fn require_writable(&self, path: &str) -> Result<(), Fault> {
        let Some((rule, _)) = self.concerning(path).next() else { return Ok(()) };
        let field = if covers(rule, path) { path } else { rule };
        Err(Fault::denied("FIELD_READ_ONLY", format!("Leave {field} as it is: your roles do not let you change it.")).with("field", field))
    }
}

/// Whether the field at `path` is the one at `outer` or lies in it.
#[must_use]
pub fn covers(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a masked text shows: its first letter.
#[must_use]
pub fn masked(text: &str) -> String {
    text.chars().next().map_or_else(String::new, |first| format!("{first}…"))
}
