//! What a user is and how one changes.

use chrono::{DateTime, Utc};
use rapport_kit::access::Levels;
use rapport_kit::name;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A person who works with the system. The password's hash is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) unit: Option<Uuid>,
    pub(crate) disabled: bool,
    pub(crate) locked_until: Option<DateTime<Utc>>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A role and how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) role: Uuid,
    pub(crate) level: Level,
}

/// How far a role reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Own,
    Team,
    Subtree,
    All,
}

impl Level {
    /// Whether somebody who holds a permission at `levels` may give it at this one: at least as far, and what is held
    /// in a business unit only to who stands in that unit or below (`inside`).
    pub(crate) fn is_within(self, levels: Levels, inside: bool) -> bool {
        let subtree = levels.subtree && inside;
        match self {
            Self::Own => levels.own || levels.team || subtree || levels.all,
            Self::Team => levels.team || levels.all,
            Self::Subtree => subtree || levels.all,
            Self::All => levels.all,
        }
    }
}

/// What decides whether two addresses are the same.
pub(crate) fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Gives `grant`; a role that is held takes the new level. Answers whether anything changed.
pub(crate) fn put_grant(grants: &mut Vec<Grant>, grant: Grant) -> bool {
    match grants.iter_mut().find(|own| own.role == grant.role) {
        Some(own) if own.level == grant.level => false,
        Some(own) => {
            own.level = grant.level;
            true
        }
        None => {
            grants.push(grant);
            true
        }
    }
}

/// Takes `role` back; answers whether it was held.
pub(crate) fn remove_grant(grants: &mut Vec<Grant>, role: Uuid) -> bool {
    let before = grants.len();
    grants.retain(|grant| grant.role != role);
    grants.len() < before
}

impl User {
    /// A new user without unit and grants.
    pub(crate) fn new(id: Uuid, display_name: String, email: String, now: DateTime<Utc>) -> Self {
        Self {
            id,
            version: 1,
            display_name,
            email,
            unit: None,
            disabled: false,
            locked_until: None,
            grants: Vec::new(),
            locale: String::new(),
            time_zone: String::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// `users/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("users", self.id)
    }

    /// Whether a lock is in force.
    pub(crate) fn is_locked(&self, now: DateTime<Utc>) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }

    /// Whether this is an administrator who can act: `role` is the shipped one.
    pub(crate) fn administers(&self, role: Uuid) -> bool {
        !self.disabled && self.grants.contains(&Grant { role, level: Level::All })
    }

    /// The next version. A lock that is over by then is nothing that the journal would tell.
    pub(crate) fn touch(&mut self, now: DateTime<Utc>) {
        self.version += 1;
        self.updated_at = now;
        self.locked_until = self.locked_until.filter(|until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_held_at_one_level() {
        let role = Uuid::nil();
        let mut grants = Vec::new();
        assert!(put_grant(&mut grants, Grant { role, level: Level::Own }));
        assert!(!put_grant(&mut grants, Grant { role, level: Level::Own }));
        assert!(put_grant(&mut grants, Grant { role, level: Level::All }));
        assert_eq!(grants, [Grant { role, level: Level::All }]);
        assert!(remove_grant(&mut grants, role) && !remove_grant(&mut grants, role));
    }

    #[test]
    fn a_lock_that_is_over_does_not_outlive_the_next_change() {
        let later = |seconds| DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds);
        let mut user = User::new(Uuid::nil(), "A".to_owned(), "a@b".to_owned(), later(0));
        user.locked_until = Some(later(30));
        user.disabled = true;
        user.touch(later(29));
        assert_eq!(user.to_proto(later(29)).lock_expire_time.map(|time| time.seconds), Some(30));
        user.touch(later(30));
        assert_eq!((user.locked_until, user.to_proto(later(30)).lock_expire_time), (None, None));
    }

    #[test]
    fn team_and_unit_do_not_contain_each_other() {
        let team = Levels { team: true, ..Levels::default() };
        let subtree = Levels { subtree: true, ..Levels::default() };
        let all = Levels { all: true, ..Levels::default() };
        assert!(Level::Own.is_within(team, true) && Level::Team.is_within(team, true) && !Level::Subtree.is_within(team, true));
        assert!(!Level::Team.is_within(subtree, true) && !Level::All.is_within(subtree, true) && Level::All.is_within(all, true));
        assert!(!Level::Own.is_within(Levels::default(), true));
    }

    #[test]
    fn what_is_held_in_a_unit_is_given_inside_it_only() {
        let subtree = Levels { subtree: true, ..Levels::default() };
        let all = Levels { all: true, ..subtree };
        for level in [Level::Own, Level::Subtree] {
            assert!(level.is_within(subtree, true) && !level.is_within(subtree, false) && level.is_within(all, false));
        }
    }

    #[test]
    fn who_is_disabled_administers_nothing() {
        let mut user = User::new(Uuid::nil(), "A".to_owned(), "a@b".to_owned(), DateTime::UNIX_EPOCH);
        user.grants.push(Grant { role: Uuid::max(), level: Level::All });
        assert!(user.administers(Uuid::max()));
        user.disabled = true;
        assert!(!user.administers(Uuid::max()));
    }
}
