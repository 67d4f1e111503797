//! What a merge is and what can happen to it.

use chrono::{DateTime, TimeDelta, Utc};
use rapport_kit::Fault;
use uuid::Uuid;

/// How long a merge can be taken back, in days.
pub const DAYS: i64 = 30;

/// A merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    pub(super) id: Uuid,
    pub(super) version: i64,
    /// Collection of both records.
    pub(super) collection: String,
    pub(super) survivor: Uuid,
    pub(super) loser: Uuid,
    pub(super) from_loser: Vec<String>,
    /// Version that it gave the survivor.
    pub(super) survivor_version: i64,
    /// Version that it gave the loser.
    pub(super) loser_version: i64,
    pub(super) state: State,
    /// Name of whose rights it was made under.
    pub(super) creator: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// Whether a merge holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The loser is part of the survivor.
    Merged,
    /// It was taken back.
    Unmerged,
}

/// What happened to a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It was made.
    Created,
    /// It was taken back.
    Undone,
}

/// Why a merge cannot be made, or be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its time is over, or what was before it is forgotten.
    TooOld,
    /// It was taken back already.
    Undone,
    /// The survivor took in others since.
    NotLast,
    /// They are of different kinds.
    KindsDiffer,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooOld => {
                Self::precondition("MERGE_TOO_OLD", format!("A merge can be taken back for {DAYS} days; create the other record anew."))
                    .with("days", DAYS.to_string())
            }
            Refusal::Undone => Self::precondition("MERGE_UNDONE", "The merge was taken back already."),
            Refusal::NotLast => Self::precondition(
                "MERGE_NOT_LAST",
                "The survivor took in other records after this one; take those merges back first, the last one first.",
            ),
            Refusal::KindsDiffer => Self::precondition(
                "MERGE_KINDS_DIFFER",
                "One is an organisation, a private customer or a household and the other one is not, and kinds never change; move what \
                 belongs to one to the other by hand and delete it.",
            ),
        }
    }
}

impl State {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Merged => 1,
            Self::Unmerged => 2,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Merged, Self::Unmerged].into_iter().find(|state| state.number() == number)
    }
}

/// Two records of a collection with the versions that a merge gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Id and version of the one that goes on.
    pub survivor: (Uuid, i64),
    /// Id and version of the one that becomes part of it.
    pub loser: (Uuid, i64),
}

impl Merge {
    /// A new merge.
    #[must_use]
    pub fn create(id: Uuid, collection: &str, pair: Pair, from_loser: &[&str], creator: &str, now: DateTime<Utc>) -> (Self, Fact) {
        let merge = Self {
            id,
            version: 1,
            collection: collection.to_owned(),
            survivor: pair.survivor.0,
            loser: pair.loser.0,
            from_loser: from_loser.iter().map(|path| (*path).to_owned()).collect(),
            survivor_version: pair.survivor.1,
            loser_version: pair.loser.1,
            state: State::Merged,
            creator: creator.to_owned(),
            created_at: now,
            updated_at: now,
        };
        (merge, Fact::Created)
    }

    /// Is taken back.
    ///
    /// # Errors
    /// [`Refusal::Undone`], [`Refusal::TooOld`].
    pub fn undo(&mut self, now: DateTime<Utc>) -> Result<Fact, Refusal> {
        if self.state == State::Unmerged {
            return Err(Refusal::Undone);
        }
        if now >= self.expires_at() {
            return Err(Refusal::TooOld);
        }
        self.state = State::Unmerged;
        self.version += 1;
        self.updated_at = now;
        Ok(Fact::Undone)
    }

    /// Until when it can be taken back.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.created_at + TimeDelta::days(DAYS)
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

    /// The record that goes on.
    #[must_use]
    pub fn survivor(&self) -> Uuid {
        self.survivor
    }

    /// The record that became part of it.
    #[must_use]
    pub fn loser(&self) -> Uuid {
        self.loser
    }

    /// Version that it gave the survivor.
    #[must_use]
    pub fn survivor_version(&self) -> i64 {
        self.survivor_version
    }

    /// Version that it gave the loser.
    #[must_use]
    pub fn loser_version(&self) -> i64 {
        self.loser_version
    }

    /// Such as `contacts`, of both records.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Such as `contacts/{uuid}`.
    #[must_use]
    pub fn survivor_name(&self) -> String {
        rapport_kit::name::format(&self.collection, self.survivor)
    }

    /// Such as `contacts/{uuid}`.
    #[must_use]
    pub fn loser_name(&self) -> String {
        rapport_kit::name::format(&self.collection, self.loser)
    }

    /// Such as `merges/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::COLLECTION, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge() -> Merge {
        let pair = Pair { survivor: (Uuid::nil(), 2), loser: (Uuid::max(), 2) };
        Merge::create(Uuid::nil(), "contacts", pair, &["owner"], "users/1", DateTime::UNIX_EPOCH).0
    }

    #[test]
    fn a_merge_is_taken_back_once_and_within_thirty_days() {
        let mut merge = merge();
        let last = DateTime::UNIX_EPOCH + TimeDelta::days(DAYS);
        assert_eq!(merge.clone().undo(last), Err(Refusal::TooOld));
        assert_eq!(merge.undo(last - TimeDelta::microseconds(1)), Ok(Fact::Undone));
        assert_eq!((merge.undo(DateTime::UNIX_EPOCH), merge.version()), (Err(Refusal::Undone), 2));
    }

    #[test]
    fn a_stored_state_is_read_as_it_was_written() {
        assert_eq!([State::Merged, State::Unmerged].map(|state| State::from_number(state.number())), [Some(State::Merged), Some(State::Unmerged)]);
        assert_eq!(State::from_number(3), None);
    }
}
