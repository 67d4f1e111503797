//! What an account is and what can happen to it.

use chrono::{DateTime, Utc};
use rapport_kit::Fault;
use rapport_kit::filter::fold;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::Address;
use crate::contact_point::ContactPoint;
use crate::external_id::ExternalId;
use crate::owner::Owner;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) kind: Kind,
    pub(super) number: String,
    pub(super) details: Details,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    /// The account that goes on in its place.
    pub(super) merged_into: Option<Uuid>,
}

/// What callers can change; made by [`super::convert::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What people call it.
    pub display_name: String,
    /// What it is to us, without doubles.
    pub relationships: Vec<Relationship>,
    /// The company of ours that deals with it.
    pub legal_entity: Option<Uuid>,
    /// The account it is part of.
    pub parent: Option<Uuid>,
    /// Line of business.
    pub sector: String,
    /// What is read with the record only. Stored without what is empty: each word is written and read with every row.
    pub profile: Profile,
    /// Who is responsible.
    pub owner: Owner,
    /// What other systems call it.
    pub external_ids: Vec<ExternalId>,
    /// Labels.
    pub tags: Vec<String>,
}

/// What is read with the record only. Stored without what is empty: each word is written and read with every row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Web site.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub website: String,
    /// How many people work there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub employee_count: Option<i32>,
    /// Turnover of a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annual_revenue: Option<Money>,
    /// Year it was founded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founded_year: Option<i32>,
    /// Ways to reach it as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact_points: Vec<ContactPoint>,
    /// Postal addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// An amount of at least 0 with at most 4 decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// ISO 4217.
    pub currency: String,
    /// Whole units.
    pub units: i64,
    /// Billionths of a unit.
    pub nanos: i32,
}

/// What sort of party an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A company, authority or association.
    Organisation,
    /// A private customer.
    Person,
    /// People who live and decide together.
    Household,
}

/// What an account is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relationship {
    /// Has bought.
    Customer,
    /// May buy.
    Prospect,
    /// Sells or works with us.
    Partner,
    /// Sells against us.
    Competitor,
    /// Sells to us.
    Vendor,
}

/// What happened to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It came to be.
    Created,
    /// Some of its details are others.
    Updated,
    /// It went to the bin.
    Deleted,
    /// It came back.
    Undeleted,
}

/// Why something cannot happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is in the bin.
    Deleted,
    /// It is not in the bin.
    NotDeleted,
    /// Its legal entity is set.
    LegalEntityFixed,
    /// Another one goes on in its place.
    Merged,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Deleted => Self::precondition("RECORD_DELETED", "The account is deleted; bring it back before you change it."),
            Refusal::NotDeleted => Self::exists("RECORD_NOT_DELETED", "The account is not deleted."),
            Refusal::LegalEntityFixed => {
                Self::precondition("LEGAL_ENTITY_FIXED", "The account has its legal entity; it can be set once and not be changed.")
            }
            Refusal::Merged => {
                Self::precondition("RECORD_MERGED", "The account was merged into another one; change that one, or take the merge back.")
            }
        }
    }
}

impl Kind {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Organisation => 1,
            Self::Person => 2,
            Self::Household => 3,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Organisation, Self::Person, Self::Household].into_iter().find(|kind| kind.number() == number)
    }
}

impl Relationship {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Customer, Self::Prospect, Self::Partner, Self::Competitor, Self::Vendor];

    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Customer => 1,
            Self::Prospect => 2,
            Self::Partner => 3,
            Self::Competitor => 4,
            Self::Vendor => 5,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|relationship| relationship.number() == number)
    }
}

impl Account {
    /// A new account; its number is given when it is written.
    #[must_use]
    pub fn create(id: Uuid, kind: Kind, details: Details, now: DateTime<Utc>) -> (Self, Fact) {
        let number = String::new();
        (Self { id, version: 1, kind, number, details, created_at: now, updated_at: now, deleted_at: None, merged_into: None }, Fact::Created)
    }

    /// Gives the number that a new account keeps for good.
    #[must_use]
    pub fn numbered(mut self, number: String) -> Self {
        if self.number.is_empty() {
            self.number = number;
        }
        self
    }

    /// Takes new details; nothing happens if they are the same.
    ///
    /// # Errors
    /// [`Refusal::Deleted`], [`Refusal::Merged`], [`Refusal::LegalEntityFixed`].
    pub fn change(&mut self, details: Details, now: DateTime<Utc>) -> Result<Option<Fact>, Refusal> {
        self.require_live()?;
        if self.details == details {
            return Ok(None);
        }
        if self.details.legal_entity.is_some() && self.details.legal_entity != details.legal_entity {
            return Err(Refusal::LegalEntityFixed);
        }
        self.details = details;
        Ok(Some(self.advance(Fact::Updated, now)))
    }

    /// Goes to the bin; nothing happens if it is there.
    pub fn delete(&mut self, now: DateTime<Utc>) -> Option<Fact> {
        if self.deleted_at.is_some() {
            return None;
        }
        self.deleted_at = Some(now);
        Some(self.advance(Fact::Deleted, now))
    }

    /// Comes back from the bin.
    ///
    /// # Errors
    /// [`Refusal::NotDeleted`], [`Refusal::Merged`].
    pub fn undelete(&mut self, now: DateTime<Utc>) -> Result<Fact, Refusal> {
        if self.merged_into.is_some() {
            return Err(Refusal::Merged);
        }
        if self.deleted_at.take().is_none() {
            return Err(Refusal::NotDeleted);
        }
        Ok(self.advance(Fact::Undeleted, now))
    }

    /// As [`Details::follow_parent`]; before it comes back from the bin, while nobody hears of it.
    pub fn follow_parent(&mut self, merged: &[(Uuid, Uuid)]) {
        self.details.follow_parent(merged);
    }

    /// Goes to the bin because `survivor` goes on in its place.
    ///
    /// # Errors
    /// [`Refusal::Deleted`], [`Refusal::Merged`].
    pub fn merge_into(&mut self, survivor: Uuid, now: DateTime<Utc>) -> Result<Fact, Refusal> {
        self.require_live()?;
        self.merged_into = Some(survivor);
        self.deleted_at = Some(now);
        Ok(self.advance(Fact::Deleted, now))
    }

    /// Takes what a merge, or the end of one, makes of it; a new version though nothing may be another.
    ///
    /// # Errors
    /// [`Refusal::Deleted`], [`Refusal::Merged`].
    pub fn settle_merge(&mut self, details: Details, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.require_live()?;
        self.details = details;
        self.advance(Fact::Updated, now);
        Ok(())
    }

    /// Stands by itself again after a merge, with these details.
    pub fn leave_merge(&mut self, details: Details, now: DateTime<Utc>) -> Fact {
        self.details = details;
        self.merged_into = None;
        self.deleted_at = None;
        self.advance(Fact::Undeleted, now)
    }

    fn require_live(&self) -> Result<(), Refusal> {
        match (self.merged_into, self.deleted_at) {
            (Some(_), _) => Err(Refusal::Merged),
            (None, Some(_)) => Err(Refusal::Deleted),
            (None, None) => Ok(()),
        }
    }

    fn advance(&mut self, fact: Fact, now: DateTime<Utc>) -> Fact {
        self.version += 1;
        // A job decides with the time at which its step began.
        self.updated_at = now.max(self.updated_at);
        fact
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

    /// What sort of party it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What callers can change.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// When it was changed last.
    #[must_use]
    pub fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    /// When it went to the bin, if it is there.
    #[must_use]
    pub fn deleted_at(&self) -> Option<DateTime<Utc>> {
        self.deleted_at
    }

    /// Whether it is in the bin.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// The account that goes on in its place, if it was merged; after several merges in a row the last one.
    #[must_use]
    pub fn merged_into(&self) -> Option<Uuid> {
        self.merged_into
    }

    /// Whether `system` calls it `id`.
    #[must_use]
    pub fn is_called(&self, system: &str, id: &str) -> bool {
        self.details.external_ids.iter().any(|pair| pair.system == system && pair.id == id)
    }

    /// Such as `accounts/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::COLLECTION, self.id)
    }
}

impl Details {
    /// The name as it is sorted and searched.
    #[must_use]
    pub fn name_folded(&self) -> String {
        fold(&self.display_name)
    }

    /// Names the account that goes on in the place of the parent, if that is one of the `merged` ones, each a pair of both.
    pub fn follow_parent(&mut self, merged: &[(Uuid, Uuid)]) {
        if let Some((_, into)) = merged.iter().find(|(loser, _)| self.parent == Some(*loser)) {
            self.parent = Some(*into);
        }
    }
}
