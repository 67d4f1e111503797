//! What a key is.

use chrono::{DateTime, Utc};
use rapport_identity_api::v1 as pb;
use rapport_kit::name;
use uuid::Uuid;

use crate::parse::timestamp;

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

    /// The key as events carry it: without its last use.
    pub(crate) fn snapshot(&self) -> pb::ApiKey {
        pb::ApiKey {
            name: name::format("apiKeys", self.id),
            display_name: self.display_name.clone(),
            scopes: self.scopes.clone(),
            expire_time: Some(timestamp(self.expires_at)),
            secret_prefix: self.secret_prefix.clone(),
            last_use_time: None,
            service_account: name::format("serviceAccounts", self.account),
            revoke_time: self.revoked_at.map(timestamp),
            create_time: Some(timestamp(self.created_at)),
        }
    }

    /// The key as it is answered.
    pub(super) fn to_proto(&self) -> pb::ApiKey {
        pb::ApiKey { last_use_time: self.last_use_at.map(timestamp), ..self.snapshot() }
    }
}
