//! What a saved mapping is and what can happen to it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::owner::Owner;

/// A saved mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMapping {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) owner: Owner,
    pub(super) details: Details,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// What callers say of a mapping; made by [`super::convert::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What people call it.
    pub display_name: String,
    /// What rows become, such as `contacts`.
    pub collection: String,
    /// What the files are written in.
    pub format: Format,
    /// Header of the columns that it was made for.
    pub header: Vec<String>,
    /// What becomes of the rows, encoded as the request has it: it means something to imports alone.
    pub rules: Vec<u8>,
    /// Who sees it.
    pub visibility: Visibility,
}

/// What files are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines with cells between delimiters.
    Csv,
    /// Cards.
    Vcard,
    /// Workbooks.
    Xlsx,
}

/// Who sees a mapping besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Nobody.
    Private,
    /// Everybody of the tenant.
    All,
}

/// What happened to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It came to be.
    Created,
    /// It is another one now.
    Updated,
    /// It is gone.
    Deleted,
}

impl Format {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Csv => 1,
            Self::Vcard => 2,
            Self::Xlsx => 3,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Csv, Self::Vcard, Self::Xlsx].into_iter().find(|format| format.number() == number)
    }
}

impl Visibility {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Private => 1,
            Self::All => 2,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Private, Self::All].into_iter().find(|visibility| visibility.number() == number)
    }
}

impl ImportMapping {
    /// A new mapping.
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

    /// Such as `importMappings/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::COLLECTION, self.id)
    }
}
