//! A contact: a person, with the accounts they act for.
//!
//! ```text
//! (new) --create--> live --delete--> in the bin --undelete--> live
//!                   live --change--> live
//!                   live --merge into another--> in the bin, merged --unmerge--> live
//! ```
//! Invariants: a person has a name or a way to be reached; one account at most is the primary one; the one
//! contact of a live private customer neither leaves it nor goes to the bin.

pub mod bulk;
pub mod convert;
pub mod list;
pub mod merge;
pub mod model;
pub mod parse;
pub mod part;
pub mod roles;
pub mod rpc;
pub mod snapshot;
pub mod sql;
pub mod surroundings;
pub mod upsert;

pub use model::{AccountRole, BirthDate, Contact, Details, Fact, Person, Refusal};
pub use rpc::Contacts;

/// Collection of contacts in names.
pub const COLLECTION: &str = "contacts";
/// Contacts as field rules name them.
pub const RESOURCE: &str = "contacts.contact";
