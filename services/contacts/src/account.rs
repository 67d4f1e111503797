//! An account: an organisation, household or private customer, and what it is to us.
//!
//! ```text
//! (new) --create--> live --delete--> in the bin --undelete--> live
//!                   live --change--> live
//!                   live --merge into another--> in the bin --take the merge back--> live
//! ```
//! Invariants: accounts form trees of at most 32 levels without cycles; a live account's parent is live; kind
//! and number never change, and a legal entity that is set stays until a merge that gave it is taken back; one that was
//! merged changes no more, and names the account that goes on.

pub mod convert;
pub mod list;
pub mod merge;
pub mod model;
pub mod rpc;
pub mod snapshot;
pub mod sql;
pub mod surroundings;
pub mod tree;
pub mod upsert;
pub mod write;

pub use model::{Account, Details, Fact, Kind, Money, Refusal, Relationship};
pub use rpc::Accounts;

/// Collection of accounts in names.
pub const COLLECTION: &str = "accounts";
/// Accounts as field rules name them.
pub const RESOURCE: &str = "contacts.account";
