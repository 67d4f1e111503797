//! Imports: contacts and accounts out of a file, by a job that works in steps of at most 500 rows.
//!
//! Guarantees: each row of the file is counted once, as created, updated, unchanged, passed over or refused, and a refused one comes
//! back in a file with its line and its reason. A step is one transaction: its records, their journal rows, the report,
//! what is remembered of its rows and its refused ones commit together, so that a process that dies anywhere changes
//! nothing of the end. What the next rows become is decided while these are written, from what these are about and not
//! from what they wrote: so a dry run, which takes the same steps and rolls back what they wrote, comes to the same. Whoever
//! asked for the import is asked about again at each step. Memory is bounded: the rows of two steps are held, of cards at
//! most 16 MiB.
//!
//! ```text
//! file → text (encoding) → csv (rows of cells) → mapping (cells of the layout) → contact (record, decision) → write
//! workbook (one sheet, unpacked by the first step) ↗
//! ```

pub mod account;
pub mod card;
pub mod contact;
pub mod country;
pub mod crosswalk;
pub mod csv;
pub mod foresee;
pub mod link;
pub mod looked;
pub mod mapping;
pub mod matching;
pub mod merge;
pub mod order;
pub mod owners;
pub mod plan;
pub mod read;
pub mod refused;
pub mod remembered;
pub mod report;
pub mod row;
pub mod rpc;
pub mod step;
pub mod suggest;
pub mod text;
pub mod vcard;
pub mod window;
pub mod workbook;
pub mod write;

pub use rpc::Imports;

/// The kind of its jobs.
pub const KIND: &str = "contacts.import";
/// What whoever asks for one must be permitted.
pub const PERMISSION: &str = "contacts.import.create";
