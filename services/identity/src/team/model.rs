//! What a team is and how its members change.

use chrono::{DateTime, Utc};
use rapport_kit::{Fault, name};
use uuid::Uuid;

/// Members of a team at most.
pub(super) const MOST: usize = 1000;

/// People who own records together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Team {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    /// Sorted, without doubles.
    pub(crate) members: Vec<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl Team {
    /// `teams/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("teams", self.id)
    }

    /// Adds a user; answers whether anything changed.
    pub(super) fn add(&mut self, user: Uuid) -> Result<bool, Fault> {
        let Err(place) = self.members.binary_search(&user) else { return Ok(false) };
        if self.members.len() >= MOST {
            return Err(Fault::precondition("TEAM_FULL", format!("Remove somebody first: a team has at most {MOST} members.")));
        }
        self.members.insert(place, user);
        Ok(true)
    }

    /// Removes a user; answers whether anything changed.
    pub(super) fn remove(&mut self, user: Uuid) -> bool {
        let Ok(place) = self.members.binary_search(&user) else { return false };
        self.members.remove(place);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_sorted_and_single_up_to_the_limit() {
        let now = DateTime::UNIX_EPOCH;
        let mut team = Team {
            id: Uuid::nil(),
            version: 1,
            display_name: String::new(),
            description: String::new(),
            members: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        for id in (0..1000).rev() {
            assert!(team.add(Uuid::from_u128(id)).unwrap());
        }
        assert!(team.members.is_sorted());
        assert!(!team.add(Uuid::from_u128(7)).unwrap());
        assert_eq!(team.add(Uuid::from_u128(1000)).unwrap_err().reason(), "TEAM_FULL");
        assert!(team.remove(Uuid::from_u128(7)) && !team.remove(Uuid::from_u128(7)));
    }
}
