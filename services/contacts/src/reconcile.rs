//! Reconciliations: the files of a migration against what is there now.
//!
//! Guarantees: every row of a file is counted once, as found, missing, deleted in the source or not compared. Nothing of
//! a record is written. What a row says is decided by the code of imports, so that a row differs if and only if importing
//! it again would change its record. A step is at most 500 rows and commits the report with its checkpoint, so that a
//! process that dies anywhere changes nothing of the end; the report itself is bounded whatever the files hold.
//!
//! The files of accounts are read twice: first for what their accounts are called, because a parent, or the account of
//! a contact, may stand anywhere; then all files are compared, one after the other.

pub mod compare;
pub mod report;
pub mod rpc;
pub mod step;

use rapport_kit::jobs::Kind;

pub use rpc::Reconciliations;

/// The kind of its jobs. It does less than an import, and asks for the same.
pub const KIND: Kind =
    Kind { name: "contacts.reconciliation", permission: crate::import::PERMISSION, step: |run| Box::pin(step::step(run)), undo: None };
