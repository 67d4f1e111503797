//! What a business unit is, and which trees are allowed.

use chrono::{DateTime, Utc};
use rapport_kit::{Fault, name};
use uuid::Uuid;

/// Levels of the tree at most.
const DEEPEST: usize = 32;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BusinessUnit {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) parent: Option<Uuid>,
    pub(crate) legal_entity: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl BusinessUnit {
    /// The unit that a tenant begins with.
    pub(crate) fn top(id: Uuid, display_name: &str, now: DateTime<Utc>) -> Self {
        Self { id, version: 1, display_name: display_name.to_owned(), parent: None, legal_entity: None, created_at: now, updated_at: now }
    }

    /// `businessUnits/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("businessUnits", self.id)
    }
}

/// Whether `unit`, with `height` levels from itself down, may stand below units whose ids are `above`, the
/// nearest first.
pub(super) fn require_place(unit: Uuid, above: &[Uuid], height: usize) -> Result<(), Fault> {
    if above.contains(&unit) {
        return Err(Fault::precondition("HIERARCHY_CYCLE", "Choose another parent: this one is the unit itself or lies below it."));
    }
    if above.len() + height > DEEPEST {
        let text = format!("Choose a parent further up: the tree may be {DEEPEST} levels deep.");
        return Err(Fault::precondition("HIERARCHY_TOO_DEEP", text).with("levels", DEEPEST.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_stands_neither_below_itself_nor_below_the_last_level() {
        let id = Uuid::from_u128;
        assert!(require_place(id(1), &[id(2), id(3)], 1).is_ok());
        assert_eq!(require_place(id(1), &[id(2), id(1)], 1).unwrap_err().reason(), "HIERARCHY_CYCLE");
        let above: Vec<Uuid> = (10..41).map(id).collect();
        assert!(require_place(id(1), &above, 1).is_ok());
        assert_eq!(require_place(id(1), &above, 2).unwrap_err().reason(), "HIERARCHY_TOO_DEEP");
    }
}
