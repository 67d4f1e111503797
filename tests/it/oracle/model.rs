//! What access means, written down a second time and in another way: plain sets and loops over the whole
//! organisation. It shares no code with the services, so that both are not wrong together.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// How far a grant reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Own,
    Team,
    Subtree,
    All,
}

/// What somebody wants to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Update,
    Delete,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What a rule does to a field, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    ReadOnly,
    Masked,
    Hidden,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    pub(super) permissions: BTreeSet<String>,
    /// Rules on fields of contacts.
    pub(super) rules: BTreeMap<&'static str, Effect>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) unit: Option<Uuid>,
    pub(super) grants: Vec<(Uuid, Level)>,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Such as `contacts.contact`.
    pub(super) resource: &'static str,
    /// A user or a team.
    pub(super) owner: Uuid,
    /// What another system calls it.
    pub(super) external_id: String,
    /// Users, teams and units, and whether they may change the record.
    pub(super) shares: BTreeMap<Uuid, bool>,
}

/// One tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Organisation {
    pub(super) units: BTreeMap<Uuid, Option<Uuid>>,
    pub(super) teams: BTreeMap<Uuid, BTreeSet<Uuid>>,
    pub(super) roles: BTreeMap<Uuid, Role>,
    pub(super) users: BTreeMap<Uuid, User>,
    /// By name.
    pub(super) records: BTreeMap<String, Record>,
}

/// What a call on one record must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done.
    Allowed,
    /// The record is not there for the caller.
    Absent,
    /// The caller may not do this, to any record or to this one, which it sees.
    Denied,
}

impl Organisation {
    /// What becomes of `action` on the record of that name, which may be another tenant's.
    pub(super) fn verdict(&self, user: Uuid, action: Action, resource: &str, name: &str) -> Verdict {
        let levels = self.levels(user, resource, action);
        if levels.is_empty() {
            return Verdict::Denied;
        }
        let Some(record) = self.records.get(name) else { return Verdict::Absent };
        let by_role = levels.iter().any(|level| self.reaches(user, *level, record));
        if by_role || self.is_shared(user, action, record) {
            return Verdict::Allowed;
        }
        // What can be read is no secret: it may not be changed, and that is said.
        if action != Action::Read && self.sees(user, resource, name) { Verdict::Denied } else { Verdict::Absent }
    }

    /// Whether the user may see the record.
    pub(super) fn sees(&self, user: Uuid, resource: &str, name: &str) -> bool {
        self.verdict(user, Action::Read, resource, name) == Verdict::Allowed
    }

    /// Names of all records of `resource` that the user may see.
    pub(super) fn visible(&self, user: Uuid, resource: &str) -> BTreeSet<String> {
        let of_resource = self.records.iter().filter(|(_, record)| record.resource == resource);
        of_resource.map(|(name, _)| name.clone()).filter(|name| self.sees(user, resource, name)).collect()
    }

    /// The rule in force on a field of contacts: only if every role that lets the user at contacts has one.
    pub(super) fn effect(&self, user: Uuid, field: &str) -> Option<Effect> {
        let roles: Vec<&Role> = self.roles_of(user).map(|(role, _)| role).filter(|role| role.lets_at("contacts.contact")).collect();
        let effects: Vec<Effect> = roles.iter().filter_map(|role| role.rules.get(field).copied()).collect();
        if effects.is_empty() || effects.len() < roles.len() { None } else { effects.into_iter().min() }
    }

    /// Whether the value of the field must never reach the user.
    pub(super) fn hides(&self, user: Uuid, field: &str) -> bool {
        self.effect(user, field).is_some_and(|effect| effect > Effect::ReadOnly)
    }

    fn roles_of(&self, user: Uuid) -> impl Iterator<Item = (&Role, Level)> {
        let grants = self.users.get(&user).map(|user| user.grants.as_slice()).unwrap_or_default();
        grants.iter().filter_map(|(role, level)| Some((self.roles.get(role)?, *level)))
    }

    fn levels(&self, user: Uuid, resource: &str, action: Action) -> Vec<Level> {
        self.held(user, &format!("{resource}.{}", action.word()))
    }

    /// Levels at which the user holds the permission.
    pub(super) fn held(&self, user: Uuid, permission: &str) -> Vec<Level> {
        self.roles_of(user).filter(|(role, _)| role.permits(permission)).map(|(_, level)| level).collect()
    }

    /// Every level but that of territories includes the user's own records.
    pub(super) fn reaches(&self, user: Uuid, level: Level, record: &Record) -> bool {
        if record.owner == user {
            return true;
        }
        match level {
            Level::Own => false,
            Level::Team => {
                self.teams.iter().any(|(team, members)| members.contains(&user) && (record.owner == *team || members.contains(&record.owner)))
            }
            Level::Subtree => match (self.unit_of(user), self.unit_of(record.owner)) {
                (Some(mine), Some(theirs)) => self.lies_within(theirs, mine),
                // Teams stand in no unit, and neither do people above all units.
                _ => false,
            },
            Level::All => true,
        }
    }

    /// A share for reading opens a record to reading; one for writing to everything that the roles permit.
    fn is_shared(&self, user: Uuid, action: Action, record: &Record) -> bool {
        record.shares.iter().any(|(subject, can_write)| {
            let mine = *subject == user
                || self.teams.get(subject).is_some_and(|members| members.contains(&user))
                || self.unit_of(user).is_some_and(|unit| self.lies_within(unit, *subject));
            mine && (action == Action::Read || *can_write)
        })
    }

    pub(super) fn unit_of(&self, user: Uuid) -> Option<Uuid> {
        self.users.get(&user)?.unit
    }

    pub(super) fn lies_within(&self, unit: Uuid, top: Uuid) -> bool {
        let mut above = Some(unit);
        while let Some(unit) = above {
            if unit == top {
                return true;
            }
            above = self.units.get(&unit).copied().flatten();
        }
        false
    }
}

impl Role {
    fn permits(&self, permission: &str) -> bool {
        let mut wider: Vec<String> = vec![permission.to_owned(), "*".to_owned()];
        let parts: Vec<&str> = permission.split('.').collect();
        for length in 1..parts.len() {
            wider.push(format!("{}.*", parts.get(..length).unwrap_or_default().join(".")));
        }
        wider.iter().any(|permission| self.permissions.contains(permission))
    }

    /// Whether the role permits anything at all on the resource.
    fn lets_at(&self, resource: &str) -> bool {
        ["read", "create", "update", "delete"].iter().any(|action| self.permits(&format!("{resource}.{action}")))
    }
}
