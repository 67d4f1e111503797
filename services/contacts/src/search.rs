//! Search over accounts and contacts, by what somebody remembers of a name, a number or an address.
//!
//! A record is found by keys (`keys.rs`), made of the words of its fields (`words.rs`) when it changes: whoever writes it
//! leaves a row in a queue, and a task takes it from there (`index.rs`). A query is turned into keys by the same code.
//!
//! Guarantees: a key says of which field it is, so that by a field which the caller's roles hide nothing is asked for,
//! and nothing is found; what is found is read once more under the caller's access, as it is now.

pub mod index;
pub mod keys;
pub mod query;
pub mod rpc;
pub mod sql;
pub mod words;

pub use rpc::Search;

/// What a record is, as the index stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An account.
    Account,
    /// A contact.
    Contact,
}

impl Kind {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Account => 1,
            Self::Contact => 2,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Account, Self::Contact].into_iter().find(|kind| kind.number() == number)
    }

    /// Such as `accounts`.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            Self::Account => crate::account::COLLECTION,
            Self::Contact => crate::contact::COLLECTION,
        }
    }

    /// As field rules name it.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Account => crate::account::RESOURCE,
            Self::Contact => crate::contact::RESOURCE,
        }
    }
}
