//! Duplicates: records that seem to be about the same person or organisation.
//!
//! A rule (`rule.rs`) says what two records have to have in common. Only records that share a key (`keys.rs`) are compared:
//! a write leaves a row in a queue, a task (`task.rs`) keeps the record's keys and compares it with those that it meets there,
//! and a sweep (`sweep.rs`) compares all that meet anywhere. Where a rule refuses duplicates, the write itself looks (`check.rs`).
//!
//! Guarantees: a pair in the list is one that the rules took for the same in the versions that its records have; what people
//! said of a pair stays, whatever compares it again; nobody learns of a record, or of a field's value, that they may not see.

pub mod check;
pub mod compare;
pub mod convert;
mod email;
pub mod follow;
pub mod found_sql;
#[cfg(test)]
mod generated;
pub mod keys;
pub mod pair;
pub mod pair_sql;
pub mod profile;
pub mod queue_sql;
pub mod rpc;
pub mod rule;
pub mod rule_convert;
pub mod rule_rpc;
pub mod rule_sql;
pub mod rules;
pub mod shipped;
pub mod sound;
pub mod sql;
pub mod sweep;
pub mod task;

pub use profile::Profile;
pub use rpc::Duplicates;
pub use rule::Rule;
pub use rule_rpc::DuplicateRules;
pub use rules::Rules;

/// Collection of rules in names.
pub const RULES: &str = "duplicateRules";
/// Collection of pairs in names.
pub const PAIRS: &str = "duplicatePairs";
