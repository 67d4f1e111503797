//! What a subject may do: permissions with their levels, field rules, and the predicate for rows.
//!
//! Guarantees: one function builds the condition under which a row is visible, and get, list, search, count
//! and error texts all use it. No grant means no row. Levels of several roles add up; a field is hidden only
//! if every role that lets the subject at the resource hides it.

mod fields;
mod scope;

use std::collections::HashMap;

use uuid::Uuid;

pub use fields::{Effect, FieldRules, covers, masked};
pub use scope::{Action, Scope, Table};

/// Levels at which a permission is held; they add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Levels {
    /// Records the subject owns.
    pub own: bool,
    /// Records of the subject's teams and their members.
    pub team: bool,
    /// Records owned in the subject's unit and below.
    pub subtree: bool,
    /// Every record.
    pub all: bool,
}

impl Levels {
    fn join(self, other: Self) -> Self {
        Self { own: self.own || other.own, team: self.team || other.team, subtree: self.subtree || other.subtree, all: self.all || other.all }
    }

    fn any(self) -> bool {
        self.own || self.team || self.subtree || self.all
    }
}

/// A role as far as access is concerned.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// Its name for people.
    pub display_name: String,
    /// Permissions; `contacts.contact.*` permits every action below.
    pub permissions: Vec<String>,
    /// Resource, field path and effect.
    pub field_rules: Vec<(String, String, Effect)>,
}

impl Role {
    /// Whether the role permits `permission`.
    #[must_use]
    pub fn permits(&self, permission: &str) -> bool {
        within(&self.permissions, permission)
    }

    fn rules_of(&self, resource: &str) -> FieldRules {
        let own = self.field_rules.iter().filter(|(on, _, _)| on == resource);
        FieldRules::new(own.map(|(_, path, effect)| (path.clone(), *effect)).collect())
    }

    fn touches(&self, resource: &str) -> bool {
        self.permissions
            .iter()
            .any(|own| own == "*" || own.rsplit_once('.').is_some_and(|(of, _)| of == resource || resource.starts_with(&format!("{of}."))))
    }
}

/// Whether one of `patterns` is the permission, or ends in `*` and begins it.
pub(crate) fn within(patterns: &[String], permission: &str) -> bool {
    patterns.iter().any(|own| own == permission || own.strip_suffix('*').is_some_and(|prefix| permission.starts_with(prefix)))
}

/// Everything that decides about one subject's calls, computed once and kept until the policy changes.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The subject.
    pub subject: Uuid,
    /// Its business unit.
    pub unit: Option<Uuid>,
    /// Its teams, its unit and the units above: whatever a share may name besides itself.
    pub groups: Vec<Uuid>,
    /// Granted roles with the level of each.
    pub roles: Vec<(Role, Levels)>,
    unlimited: bool,
    fields: HashMap<String, FieldRules>,
}

impl Access {
    /// The access of a subject with these roles.
    #[must_use]
    pub fn new(subject: Uuid, unit: Option<Uuid>, groups: Vec<Uuid>, roles: Vec<(Role, Levels)>) -> Self {
        let mut resources: Vec<&str> = roles.iter().flat_map(|(role, _)| role.field_rules.iter().map(|(resource, _, _)| resource.as_str())).collect();
        resources.sort_unstable();
        resources.dedup();
        let fields = resources.iter().map(|resource| ((*resource).to_owned(), field_rules(resource, &roles))).collect();
        Self { subject, unit, groups, roles, unlimited: false, fields }
    }

    /// For work that the service does on its own account.
    #[must_use]
    pub fn everything() -> Self {
        Self { unlimited: true, ..Self::default() }
    }

    /// Levels at which `permission` is held.
    #[must_use]
    pub fn levels(&self, permission: &str) -> Levels {
        if self.unlimited {
            return Levels { all: true, ..Levels::default() };
        }
        self.roles.iter().filter(|(role, _)| role.permits(permission)).fold(Levels::default(), |sum, (_, levels)| sum.join(*levels))
    }

    /// Whether `permission` is held at any level.
    #[must_use]
    pub fn permits(&self, permission: &str) -> bool {
        self.levels(permission).any()
    }

    /// Rows on which `permission` is held.
    #[must_use]
    pub fn scope(&self, permission: &str) -> Scope {
        Scope {
            levels: self.levels(permission),
            subject: self.subject,
            unit: self.unit,
            groups: self.groups.clone(),
            action: Action::of(permission),
            subject_shares: true,
        }
    }

    /// Resource and path of a rule that binds the subject and that `role`, held too, would take away; nobody may
    /// give or make such a role.
    #[must_use]
    pub fn freed_by(&self, role: &Role) -> Option<(&str, &str)> {
        self.fields.iter().filter(|(resource, _)| role.touches(resource)).find_map(|(resource, rules)| {
            let theirs = role.rules_of(resource);
            let freed = rules.iter().find(|(path, effect)| theirs.effect(path).is_none_or(|kept| kept < *effect));
            freed.map(|(path, _)| (resource.as_str(), path))
        })
    }

    /// Whether any field of anything is kept from the subject.
    #[must_use]
    pub fn has_field_rules(&self) -> bool {
        self.fields.values().any(|rules| !rules.is_empty())
    }

    /// Rules for the fields of `<service>.<resource>`.
    #[must_use]
    pub fn fields(&self, resource: &str) -> &FieldRules {
        static NONE: FieldRules = FieldRules::none();
        self.fields.get(resource).unwrap_or(&NONE)
    }
}

/// Rules that hold for the subject: those that every role with any permission on the resource carries; the
/// mildest effect wins.
fn field_rules(resource: &str, roles: &[(Role, Levels)]) -> FieldRules {
    let touching = roles.iter().map(|(role, _)| role).filter(|role| role.touches(resource));
    let each: Vec<FieldRules> = touching.map(|role| role.rules_of(resource)).collect();
    let mut paths: Vec<&str> = each.iter().flat_map(|rules| rules.iter().map(|(path, _)| path)).collect();
    paths.sort_unstable();
    paths.dedup();
    let mildest = |path: &str| each.iter().map(|rules| rules.effect(path)).min().flatten();
    FieldRules::new(paths.iter().filter_map(|path| Some(((*path).to_owned(), mildest(path)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(permissions: &[&str], hidden: &[&str]) -> (Role, Levels) {
        let rules = hidden.iter().map(|path| ("a.b".to_owned(), (*path).to_owned(), Effect::Hidden)).collect();
        let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        (Role { display_name: String::new(), permissions, field_rules: rules }, Levels { all: true, ..Levels::default() })
    }

    fn access(roles: Vec<(Role, Levels)>) -> Access {
        Access::new(Uuid::nil(), None, Vec::new(), roles)
    }

    #[test]
    fn a_field_is_hidden_only_if_every_role_on_the_resource_hides_it() {
        let hides = access(vec![role(&["a.b.read"], &["x"])]);
        assert_eq!(hides.fields("a.b").effect("x"), Some(Effect::Hidden));
        let one_shows = access(vec![role(&["a.b.read"], &["x"]), role(&["a.b.read"], &[])]);
        assert_eq!(one_shows.fields("a.b").effect("x"), None);
        let other_resource = access(vec![role(&["a.b.read"], &["x"]), role(&["c.d.read"], &[])]);
        assert_eq!(other_resource.fields("a.b").effect("x"), Some(Effect::Hidden));
    }

    #[test]
    fn rules_on_a_whole_and_on_its_part_both_hide_the_part() {
        let both = access(vec![role(&["a.b.read"], &["x"]), role(&["a.b.read"], &["x.y"])]);
        assert_eq!(both.fields("a.b").effect("x.y"), Some(Effect::Hidden));
        assert_eq!(both.fields("a.b").effect("x.z"), None);
    }

    #[test]
    fn a_role_without_a_rule_that_binds_somebody_would_set_them_free() {
        let bound = access(vec![role(&["a.b.read"], &["x"])]);
        assert_eq!(bound.freed_by(&role(&["a.b.read"], &[]).0), Some(("a.b", "x")));
        assert_eq!(bound.freed_by(&role(&["a.b.read"], &["x"]).0), None);
        assert_eq!(bound.freed_by(&role(&["c.d.read"], &[]).0), None);
    }
}
