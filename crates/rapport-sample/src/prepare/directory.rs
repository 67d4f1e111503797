//! Finding an account by what other rows call it.
//!
//! Guarantees: an external id wins over a name; a name that several accounts bear finds none of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::AccountRow;

/// Accounts by external id and by name.
pub(super) struct Directory<'a> {
    by_id: BTreeMap<&'a str, usize>,
    by_name: BTreeMap<&'a str, BTreeSet<usize>>,
}

impl<'a> Directory<'a> {
    pub(super) fn of(rows: &'a [AccountRow]) -> Self {
        let mut directory = Self { by_id: BTreeMap::new(), by_name: BTreeMap::new() };
        for (index, row) in rows.iter().enumerate() {
            directory.by_id.entry(&row.external_id).or_insert(index);
            directory.by_name.entry(&row.name).or_default().insert(index);
        }
        directory
    }

    /// The account of that external id or else of that name.
    pub(super) fn find(&self, name: &str) -> Result<usize, String> {
        if let Some(index) = self.by_id.get(name) {
            return Ok(*index);
        }
        let named = self.by_name.get(name).ok_or("no account has this name or external id")?;
        if named.len() > 1 {
            return Err(format!("{} accounts have this name; give the external id", named.len()));
        }
        named.first().copied().ok_or_else(|| "no account has this name or external id".to_owned())
    }
}
