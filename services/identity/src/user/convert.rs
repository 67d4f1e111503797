//! Between users and their messages.

use chrono::{DateTime, Utc};
use rapport_identity_api::v1 as pb;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::mask::Mask;
use rapport_kit::{Fault, clock, name};
use rapport_proto::common::v1 as common;

use super::{Grant, Level, User};
use crate::parse::Problems;

pub(super) const KNOWN: &[&str] = &["display_name", "email", "business_unit", "locale", "time_zone"];

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("u.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "email", column: Column::Plain("u.email_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("u.created_at"), kind: Kind::Time, sort: true },
    Field { path: "business_unit", column: Column::Plain("u.unit_id"), kind: Kind::Uuid { collection: "businessUnits" }, sort: false },
    Field {
        path: "state",
        column: Column::Plain("(case when u.disabled then 2 when u.locked_until > now() then 3 else 1 end)::smallint"),
        kind: Kind::Enum(&[("ACTIVE", 1), ("DISABLED", 2), ("LOCKED", 3), ("STATE_ACTIVE", 1), ("STATE_DISABLED", 2), ("STATE_LOCKED", 3)]),
        sort: false,
    },
    Field {
        path: "grants.role",
        column: Column::Within { before: "exists (select from jsonb_array_elements(u.grants) g where ", column: "(g->>'role')::uuid", after: ")" },
        kind: Kind::Uuid { collection: "roles" },
        sort: false,
    },
];

/// `user` with the fields of the mask as the request says.
pub(super) fn change(mut user: User, request: &pb::User, mask: &Mask) -> Result<User, Fault> {
    let mut problems = Problems::default();
    for field in mask.paths() {
        match *field {
            "display_name" => user.display_name = problems.text("user.display_name", &request.display_name, 1, 200),
            "email" => user.email = problems.email("user.email", &request.email),
            "business_unit" => user.unit = problems.optional_name("businessUnits", &request.business_unit, "user.business_unit"),
            "locale" => user.locale = problems.language("user.locale", &request.locale, false),
            _ => user.time_zone = problems.time_zone("user.time_zone", &request.time_zone, false),
        }
    }
    problems.done()?;
    Ok(user)
}

pub(super) fn populated(user: &pb::User, field: &str) -> bool {
    match field {
        "display_name" => !user.display_name.is_empty(),
        "email" => !user.email.is_empty(),
        "business_unit" => !user.business_unit.is_empty(),
        "locale" => !user.locale.is_empty(),
        _ => !user.time_zone.is_empty(),
    }
}

impl User {
    /// The user as it is at `now`.
    pub(crate) fn to_proto(&self, now: DateTime<Utc>) -> pb::User {
        let locked = self.is_locked(now);
        let state = match (self.disabled, locked) {
            (true, _) => pb::user::State::Disabled,
            (false, true) => pb::user::State::Locked,
            (false, false) => pb::user::State::Active,
        };
        pb::User {
            name: self.name(),
            display_name: self.display_name.clone(),
            email: self.email.clone(),
            business_unit: self.unit.map(|id| name::format("businessUnits", id)).unwrap_or_default(),
            state: state.into(),
            lock_expire_time: self.locked_until.filter(|_| locked).map(clock::timestamp),
            grants: self.grants.iter().map(pb::Grant::from).collect(),
            locale: self.locale.clone(),
            time_zone: self.time_zone.clone(),
            etag: self.version.to_string(),
            create_time: Some(clock::timestamp(self.created_at)),
            update_time: Some(clock::timestamp(self.updated_at)),
        }
    }
}

impl From<&Grant> for pb::Grant {
    fn from(grant: &Grant) -> Self {
        Self { role: name::format("roles", grant.role), level: common::GrantLevel::from(grant.level).into() }
    }
}

impl From<&Grant> for common::PolicyGrant {
    fn from(grant: &Grant) -> Self {
        Self { role: name::format("roles", grant.role), level: common::GrantLevel::from(grant.level).into() }
    }
}

impl From<Level> for common::GrantLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Own => Self::Own,
            Level::Team => Self::Team,
            Level::Subtree => Self::BusinessUnitSubtree,
            Level::All => Self::All,
        }
    }
}
