//! Exports: contacts and accounts as files, in one call or by a job.
//!
//! Guarantees: what is written is what reading the records by name shows the caller at that moment, of records that both
//! the permission to read and the one to export reach; each record once, in the order of ids. Memory is bounded by a page of
//! records and the columns. A call and a job write the same bytes, whatever process the job's steps run in: both
//! advance by `progress::advance` from one stored place to the next. No byte leaves before the access log has its row.

mod csv;
mod job;
mod json;
mod plan;
mod progress;
mod records;
mod rpc;
mod vcard;
pub(crate) mod workbook;
mod zip;

use std::borrow::Cow;

pub use job::KIND;
pub use rpc::Exports;

/// The texts of a row, one for each column.
pub(crate) type Row<'r> = Vec<Cow<'r, str>>;

/// What whoever exports must be permitted, besides reading the records.
const PERMISSION: &str = "contacts.export.create";
