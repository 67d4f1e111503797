//! Bulk changes: one change of many contacts or accounts, shown before and made by a job.
//!
//! Guarantees: a change is made to the records that its preview counted and to no other one: they are chosen again when it is
//! started, compared with the preview's, and stored with the job in one transaction. Each record is changed under its
//! version as a single call would change it, with the rights that whoever asked has by then; a step's changes, its refusals
//! and how far the job is commit together. A record that others change at that very moment is tried again in the next
//! step.

mod change;
mod decide;
mod job;
mod rpc;
mod set;

pub use job::KIND;
pub use rpc::BulkChanges;

/// What whoever makes bulk changes must be permitted, besides each single change.
const PERMISSION: &str = "contacts.bulk.create";
