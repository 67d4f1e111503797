//! What a subject may do: permissions with their levels, field rules, and the predicate for rows.
//!
//! Guarantees: one function builds the condition under which a row is visible, and get, list, search, count
//! and error texts all use it. No grant means no row. Levels of several roles add up; a field is hidden only
//! if every role that lets the subject at the resource hides it.

mod fields;
mod scope;

use std::collections::HashMap;

use uuid::Uuid;

pub use fields::{Effect, FieldRules, masked};
pub use scope::{Action, Scope, Table};

/// Levels at which a permission is held; they add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    let mut touching = roles.iter().map(|(role, _)| role).filter(|role| role.touches(resource));
    let Some(first) = touching.next() else { return FieldRules::none() };
    let of = |role: &Role, path: &str| role.field_rules.iter().find(|(on, field, _)| on == resource && field == path).map(|(_, _, effect)| *effect);
    let others: Vec<&Role> = touching.collect();
    let rules = first.field_rules.iter().filter(|(on, _, _)| on == resource).filter_map(|(_, path, effect)| {
        let mildest = others.iter().try_fold(*effect, |mildest, role| of(role, path).map(|effect| effect.min(mildest)))?;
        Some((path.clone(), mildest))
    });
    FieldRules::new(rules.collect())
}
