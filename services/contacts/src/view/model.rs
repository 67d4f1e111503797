//! What a view is and what can happen to it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::owner::Owner;

/// A view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) owner: Owner,
    pub(super) details: Details,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// What callers say of a view; made by [`super::convert::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What people call it.
    pub display_name: String,
    /// What it lists, such as `contacts`; stays.
    pub collection: String,
    /// As the list takes it.
    pub filter: String,
    /// As the list takes it.
    pub order_by: String,
    /// Paths of fields, each once.
    pub columns: Vec<String>,
    /// Who sees it.
    pub visibility: Visibility,
}

/// Who sees a view besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Nobody.
    Private,
    /// The members of a team.
    Team(Uuid),
    /// Everybody of the tenant.
    All,
}

/// What happened to a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It came to be.
    Created,
    /// It is another one now.
    Updated,
    /// It is gone.
    Deleted,
}

impl Visibility {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Private => 1,
            Self::Team(_) => 2,
            Self::All => 3,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_stored(number: i16, team: Option<Uuid>) -> Option<Self> {
        match (number, team) {
            (1, None) => Some(Self::Private),
            (2, Some(team)) => Some(Self::Team(team)),
            (3, None) => Some(Self::All),
            _ => None,
        }
    }

    /// The team that sees it.
    #[must_use]
    pub fn team(self) -> Option<Uuid> {
        match self {
            Self::Team(team) => Some(team),
            Self::Private | Self::All => None,
        }
    }
}

impl View {
    /// A new view.
    #[must_use]
    pub fn create(id: Uuid, owner: Owner, details: Details, now: DateTime<Utc>) -> (Self, Fact) {
        (Self { id, version: 1, owner, details, created_at: now, updated_at: now }, Fact::Created)
    }

    /// Takes new details; nothing happens if they are the same.
    pub fn change(&mut self, details: Details, now: DateTime<Utc>) -> Option<Fact> {
        if self.details == details {
            return None;
        }
        self.details = details;
        self.version += 1;
        self.updated_at = now;
        Some(Fact::Updated)
    }

    /// Is gone.
    pub fn delete(&mut self) -> Fact {
        self.version += 1;
        Fact::Deleted
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What callers say of it.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Such as `contactsViews/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::COLLECTION, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Kind;

    #[test]
    fn the_same_details_are_no_change() {
        let details = |display_name: &str| Details {
            display_name: display_name.to_owned(),
            collection: "contacts".to_owned(),
            filter: String::new(),
            order_by: String::new(),
            columns: Vec::new(),
            visibility: Visibility::Private,
        };
        let owner = Owner { kind: Kind::User, id: Uuid::nil() };
        let (mut view, fact) = View::create(Uuid::nil(), owner, details("Mine"), DateTime::UNIX_EPOCH);
        assert_eq!((fact, view.version()), (Fact::Created, 1));
        assert_eq!((view.change(details("Mine"), DateTime::UNIX_EPOCH), view.version()), (None, 1));
        assert_eq!((view.change(details("Ours"), DateTime::UNIX_EPOCH), view.version()), (Some(Fact::Updated), 2));
        assert_eq!((view.delete(), view.version()), (Fact::Deleted, 3));
    }

    #[test]
    fn a_stored_visibility_is_read_as_it_was_written_and_nothing_else_is() {
        for visibility in [Visibility::Private, Visibility::Team(Uuid::max()), Visibility::All] {
            assert_eq!(Visibility::from_stored(visibility.number(), visibility.team()), Some(visibility));
        }
        assert_eq!(Visibility::from_stored(2, None), None);
        assert_eq!(Visibility::from_stored(1, Some(Uuid::max())), None);
    }
}
