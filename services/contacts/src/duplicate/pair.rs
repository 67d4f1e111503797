//! A pair of records that seem to be about the same, and what people say of it.
//!
//! ```text
//! OPEN ──→ NOT_DUPLICATE   and back, as often as people like
//!   └────→ LATER           counts as OPEN from its day on
//! ```
//! A pair of which a record is in the bin counts as MERGED, whatever was said of it, until the record comes back.

use chrono::{DateTime, NaiveDate, Utc};
use rapport_kit::{Fault, clock, name};
use uuid::Uuid;

use super::rule::Reason;
use crate::owner::Owner;
use crate::search::Kind;

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) kind: Kind,
    pub(super) first: Uuid,
    pub(super) second: Uuid,
    pub(super) score: i32,
    pub(super) reasons: Vec<Reason>,
    pub(super) verdict: Verdict,
    pub(super) gone: bool,
    pub(super) reviewer: Option<Owner>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) reviewed_at: Option<DateTime<Utc>>,
}

/// What people say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Open,
    /// They are two.
    NotDuplicate,
    /// It is to be looked at from this day on.
    Later(NaiveDate),
}

impl Verdict {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Open => 1,
            Self::NotDuplicate => 2,
            Self::Later(_) => 3,
        }
    }

    /// The day of a pair that is put off.
    #[must_use]
    pub fn day(self) -> Option<NaiveDate> {
        if let Self::Later(day) = self { Some(day) } else { None }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_stored(number: i16, day: Option<NaiveDate>) -> Option<Self> {
        match (number, day) {
            (1, None) => Some(Self::Open),
            (2, None) => Some(Self::NotDuplicate),
            (3, Some(day)) => Some(Self::Later(day)),
            _ => None,
        }
    }
}

/// Two records in order, and the id of their pair.
#[must_use]
pub fn identify(one: Uuid, other: Uuid) -> (Uuid, Uuid, Uuid) {
    let (first, second) = (one.min(other), one.max(other));
    (clock::derived_id(first, &second.to_string()), first, second)
}

impl Pair {
    /// Takes a verdict; false if it is so already.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (PAIR_MERGED).
    pub fn review(&mut self, verdict: Verdict, reviewer: Owner, now: DateTime<Utc>) -> Result<bool, Fault> {
        if self.gone {
            return Err(Fault::precondition("PAIR_MERGED", "One of the records is deleted; bring it back before you review the pair."));
        }
        if self.verdict == verdict && self.version > 0 {
            return Ok(false);
        }
        self.verdict = verdict;
        self.version += 1;
        self.reviewer = Some(reviewer);
        self.reviewed_at = Some(now);
        Ok(true)
    }

    /// What was said of it, said of the pair that `survivor` makes in the place of `loser`; none if the pair is of these two.
    #[must_use]
    pub fn follow(self, loser: Uuid, survivor: Uuid) -> Option<Self> {
        let other = if self.first == loser { self.second } else { self.first };
        let (id, first, second) = identify(survivor, other);
        (other != survivor).then_some(Self { id, version: 1, first, second, ..self })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// How often it was reviewed.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Its records.
    #[must_use]
    pub fn records(&self) -> [Uuid; 2] {
        [self.first, self.second]
    }

    /// What its records are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Such as `duplicatePairs/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        name::format(super::PAIRS, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner;

    fn pair(gone: bool) -> Pair {
        let (id, first, second) = identify(Uuid::max(), Uuid::nil());
        let (created_at, reasons) = (DateTime::UNIX_EPOCH, Vec::new());
        let verdict = Verdict::Open;
        Pair { id, version: 0, kind: Kind::Contact, first, second, score: 90, reasons, verdict, gone, reviewer: None, created_at, reviewed_at: None }
    }

    #[test]
    fn two_records_are_one_pair_in_either_order() {
        assert_eq!(identify(Uuid::max(), Uuid::nil()), identify(Uuid::nil(), Uuid::max()));
    }

    #[test]
    fn what_was_said_of_a_pair_follows_the_record_that_went_on() {
        let (loser, survivor, other) = (Uuid::nil(), Uuid::from_u128(7), Uuid::max());
        let followed = pair(false).follow(loser, survivor).unwrap();
        assert_eq!((followed.id(), followed.records()), (identify(survivor, other).0, [survivor, other]));
        assert_eq!(pair(false).follow(loser, other), None);
    }

    #[test]
    fn a_verdict_can_be_taken_back_and_none_is_given_on_a_merged_pair() {
        let reviewer = Owner { kind: owner::Kind::User, id: Uuid::max() };
        let now = DateTime::UNIX_EPOCH;
        let mut open = pair(false);
        assert!(open.review(Verdict::NotDuplicate, reviewer, now).unwrap());
        assert!(!open.review(Verdict::NotDuplicate, reviewer, now).unwrap());
        assert!(open.review(Verdict::Open, reviewer, now).unwrap());
        assert_eq!(open.version(), 2);
        assert_eq!(pair(true).review(Verdict::Open, reviewer, now).unwrap_err().reason(), "PAIR_MERGED");
    }
}
