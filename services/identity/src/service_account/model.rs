//! What a service account is.

use chrono::{DateTime, Utc};
use rapport_kit::name;
use uuid::Uuid;

use crate::user::Grant;

/// A program that calls the interface in its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    pub(crate) unit: Option<Uuid>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl ServiceAccount {
    /// `serviceAccounts/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("serviceAccounts", self.id)
    }

    /// The next version.
    pub(super) fn touch(&mut self, now: DateTime<Utc>) {
        self.version += 1;
        self.updated_at = now;
    }
}
