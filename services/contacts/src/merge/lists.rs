//! The lists that contacts and accounts have in common, as merges unite and part them. Pure.

use crate::address::Address;
use crate::contact_point::{self, ContactPoint};
use crate::external_id::ExternalId;
use crate::merge::parts::Entries;

#[cfg(test)]
pub(crate) mod tests;

/// Ways to reach a record.
pub const POINTS: Entries<ContactPoint> = Entries {
    is_same: ContactPoint::is_same,
    may_replace: |one, other| one.kind == other.kind,
    words_tell: false,
    primary: Some(|point| &mut point.primary),
};
/// Postal addresses.
pub const ADDRESSES: Entries<Address> = Entries {
    is_same: is_same_address,
    may_replace: |one, other| one.kind == other.kind,
    words_tell: false,
    primary: Some(|address| &mut address.primary),
};
/// One id a system.
pub const EXTERNAL_IDS: Entries<ExternalId> =
    Entries { is_same: |one, other| one.system == other.system, may_replace: |_, _| false, words_tell: true, primary: None };
/// Labels.
pub const TAGS: Entries<String> = Entries { is_same: |one, other| one == other, may_replace: |_, _| false, words_tell: false, primary: None };

/// Why two records cannot become one, or cannot part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// The list that would be too long.
    pub field: &'static str,
    /// Entries that it may have.
    pub max: usize,
}

fn is_same_address(one: &Address, other: &Address) -> bool {
    Address { primary: other.primary, ..one.clone() } == *other
}

/// The survivor's list after a merge: both's, or the loser's alone if it was asked for.
#[must_use]
pub fn list<T: Clone + PartialEq>(entries: &Entries<T>, survivor: &[T], loser: &[T], is_losers: bool) -> Vec<T> {
    if is_losers { loser.to_vec() } else { entries.unite(survivor, loser) }
}

/// Leaves one primary point for each kind.
pub fn settle_points(points: &mut [ContactPoint]) {
    POINTS.settle_primary(points, |one, other| one.kind == other.kind);
    contact_point::settle_primary(points);
}

/// Leaves one primary address at most for each kind.
pub fn settle_addresses(addresses: &mut [Address]) {
    ADDRESSES.settle_primary(addresses, |one, other| one.kind == other.kind);
}

/// Sorted and without doubles.
pub fn settle_labels(labels: &mut Vec<String>) {
    labels.sort_unstable();
    labels.dedup();
}

/// Refuses the first of `lists` that has more entries than it may; each with its name, its entries and its bound.
///
/// # Errors
/// [`TooMany`].
pub fn require_fit(lists: &[(&'static str, usize, usize)]) -> Result<(), TooMany> {
    match lists.iter().find(|(_, entries, max)| entries > max) {
        Some((field, _, max)) => Err(TooMany { field, max: *max }),
        None => Ok(()),
    }
}
