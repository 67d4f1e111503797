//! A company's customer base as input for the demo and the tests.
//!
//! The data comes from one of two places: [`generate`] makes a sample company out of a seed, [`read`]
//! takes files (the layout that [`write()`] leaves, or the published research files listed in
//! [`public_files`]). Either way it is a [`Dataset`]: rows exactly as they stand in their files, faults
//! included. [`prepare`] then decides row by row what may be loaded, mends known misspellings and
//! reports the rest.
//!
//! Guarantees:
//! - The same seed and size give the same bytes on every machine: no clock, no hash map order, no
//!   floating point, an own random generator.
//! - For each file, rows loaded + rows reported = rows present ([`Prepared::counts`]).
//! - Nothing is corrected silently: each mended cell is listed with the rule that changed it.
//! - Company and personal names are put together from common words; telephone numbers come from ranges
//!   set aside for fiction where a country has them, mail domains end in `.example`.

mod generate;
mod layout;
mod names;
mod phones;
mod places;
mod prepare;
pub mod public_files;
mod random;
mod read;
mod rows;
mod rules;
mod sheet;

pub use generate::{Size, generate};
pub use layout::{to_files, write};
pub use prepare::{Count, LONGEST_CELL, Prepared, prepare};
pub use read::{ReadError, read};
pub use rows::{AccountRow, Dataset, Expected, Mended, PersonRow, PhoneRow, Problem, Table};
pub use rules::{country_code, duplicate_pairs, link, mend, phone_for, stable_hash};
