//! What a key is.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A key of a service account, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) account: Uuid,
    pub(crate) display_name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) secret_prefix: String,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) last_use_at: Option<DateTime<Utc>>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
}

impl ApiKey {
    /// Whether it can be exchanged.
    pub(super) fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}
