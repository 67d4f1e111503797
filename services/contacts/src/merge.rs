//! A merge: two records became one, and can be made two again for 30 days.
//!
//! ```text
//! (new) --merge--> merged --unmerge--> unmerged
//! ```
//! Guarantees: both records, what names the loser, and the merge are written in one transaction that has locked the records
//! in the order hierarchy, contacts, accounts, each of both by their ids; each has one fact of its own: the survivor is
//! `merged`, the loser `deleted`, the others `updated`. What all were before stands in the journal and nowhere else. The
//! merges of one survivor are taken back in the reverse order of theirs.

pub mod accounts;
pub mod asked;
pub mod contacts;
pub mod convert;
pub mod lists;
pub mod model;
pub mod moved;
pub mod parts;
pub mod returned;
pub mod rpc;
pub mod shares;
pub mod sql;

pub use model::{Fact, Merge, Refusal, State};
pub use rpc::Merges;

/// Collection of merges in names.
pub const COLLECTION: &str = "merges";
