//! What a contact is and what can happen to it.

use chrono::{DateTime, NaiveDate, Utc};
use rapport_kit::Fault;
use rapport_kit::filter::fold;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::roles;
use crate::address::Address;
use crate::contact_point::ContactPoint;
use crate::external_id::ExternalId;
use crate::owner::Owner;

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) details: Details,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
    /// The contact that goes on in its place.
    pub(super) merged_into: Option<Uuid>,
}

/// What callers can change; made by [`super::parse::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The person.
    pub person: Person,
    /// The accounts the person acts for.
    pub accounts: Vec<AccountRole>,
    /// Who is responsible.
    pub owner: Owner,
    /// What other systems call the contact.
    pub external_ids: Vec<ExternalId>,
    /// Labels.
    pub tags: Vec<String>,
}

/// What is known of a person. Stored without what is empty: each word is written and read with every row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Given name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given_name: String,
    /// Family name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub family_name: String,
    /// Middle or second names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub additional_name: String,
    /// Such as `Dr`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salutation: String,
    /// BCP 47 tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Date of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<BirthDate>,
    /// What the person does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job_title: String,
    /// Ways to reach the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact_points: Vec<ContactPoint>,
    /// Postal addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Anything worth knowing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

/// A date of birth, whose year may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthDate {
    /// The year; none if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<i32>,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// What a person is to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRole {
    /// The account.
    pub account: Uuid,
    /// Whether the account is a private customer, whose one contact this is.
    pub sole: bool,
    /// The part the person plays.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// The account to show with the person.
    pub primary: bool,
    /// First day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<NaiveDate>,
    /// Last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<NaiveDate>,
}

/// What happened to a contact.
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
    /// Another one goes on in its place.
    Merged,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Deleted => Self::precondition("RECORD_DELETED", "The contact is deleted; bring it back before you change it."),
            Refusal::NotDeleted => Self::exists("RECORD_NOT_DELETED", "The contact is not deleted."),
            Refusal::Merged => {
                Self::precondition("RECORD_MERGED", "The contact was merged into another one; change that one, or take the merge back.")
            }
        }
    }
}

impl Contact {
    /// A new contact.
    #[must_use]
    pub fn create(id: Uuid, details: Details, now: DateTime<Utc>) -> (Self, Fact) {
        (Self { id, version: 1, details, created_at: now, updated_at: now, deleted_at: None, merged_into: None }, Fact::Created)
    }

    /// Takes new details; nothing happens if they are the same.
    ///
    /// # Errors
    /// [`Refusal::Deleted`], [`Refusal::Merged`].
    pub fn change(&mut self, details: Details, now: DateTime<Utc>) -> Result<Option<Fact>, Refusal> {
        self.require_live()?;
        if self.details == details {
            return Ok(None);
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

    /// As [`Details::follow_accounts`]; before it comes back from the bin, while nobody hears of it.
    pub fn follow_accounts(&mut self, merged: &[(Uuid, Uuid)]) {
        self.details.follow_accounts(merged);
    }

    /// Has the roles that it had before a merge of accounts that was taken back; before it comes back from the bin, while
    /// nobody hears of it.
    pub fn return_to(&mut self, roles: Vec<AccountRole>) {
        self.details.accounts = roles;
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
        self.version += 1;
        self.updated_at = now;
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

    /// Its version; the one before a change is one less.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What callers can change.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Whether `system` calls it `id`.
    #[must_use]
    pub fn is_called(&self, system: &str, id: &str) -> bool {
        self.details.external_ids.iter().any(|pair| pair.system == system && pair.id == id)
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

    /// The contact that goes on in its place, if it was merged; after several merges in a row the last one.
    #[must_use]
    pub fn merged_into(&self) -> Option<Uuid> {
        self.merged_into
    }

    /// Such as `contacts/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::COLLECTION, self.id)
    }
}

impl Details {
    /// Private customers whose one contact this is, and that are not among those of `next`.
    #[must_use]
    pub fn leaves(&self, next: &[AccountRole]) -> Vec<Uuid> {
        let stays = |id: Uuid| next.iter().any(|role| role.account == id);
        self.accounts.iter().filter(|role| role.sole && !stays(role.account)).map(|role| role.account).collect()
    }

    /// Names the accounts that go on in the place of `merged` ones, each a pair of both.
    pub fn follow_accounts(&mut self, merged: &[(Uuid, Uuid)]) {
        for (loser, survivor) in merged {
            self.accounts = roles::moved(&self.accounts, *loser, *survivor);
        }
    }
}

impl Person {
    /// The family name as it is sorted and searched.
    #[must_use]
    pub fn family_folded(&self) -> String {
        fold(&self.family_name)
    }

    /// The given name as it is sorted and searched.
    #[must_use]
    pub fn given_folded(&self) -> String {
        fold(&self.given_name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rapport_kit::clock;

    use super::super::parse::tests::details;
    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Change(bool),
        Delete,
        Undelete,
    }

    proptest! {
        #[test]
        fn the_version_counts_what_happened_and_nothing_else(
            steps in prop::collection::vec(prop::sample::select(vec![Step::Change(true), Step::Change(false), Step::Delete, Step::Undelete]), 0..20),
        ) {
            let now = clock::now();
            let (mut contact, _) = Contact::create(clock::new_id(), details("Ada"), now);
            let mut facts = 1;
            for step in steps {
                let (was_deleted, before) = (contact.is_deleted(), contact.clone());
                let happened = match step {
                    Step::Change(other) => contact.change(details(if other { "Ada" } else { "Grace" }), now).unwrap_or(None).is_some(),
                    Step::Delete => contact.delete(now).is_some(),
                    Step::Undelete => contact.undelete(now).is_ok(),
                };
                facts += i64::from(happened);
                prop_assert_eq!(contact.version(), facts);
                prop_assert!(happened || contact == before);
                prop_assert!(!(was_deleted && matches!(step, Step::Change(_)) && happened));
            }
        }
    }
}
