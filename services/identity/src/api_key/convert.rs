//! From keys to their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::{clock, name};

use super::ApiKey;

impl ApiKey {
    /// The key as events carry it: without its last use.
    pub(crate) fn snapshot(&self) -> pb::ApiKey {
        pb::ApiKey {
            name: name::format("apiKeys", self.id),
            display_name: self.display_name.clone(),
            scopes: self.scopes.clone(),
            expire_time: Some(clock::timestamp(self.expires_at)),
            secret_prefix: self.secret_prefix.clone(),
            last_use_time: None,
            service_account: name::format("serviceAccounts", self.account),
            revoke_time: self.revoked_at.map(clock::timestamp),
            create_time: Some(clock::timestamp(self.created_at)),
        }
    }

    /// The key as it is answered.
    pub(super) fn to_proto(&self) -> pb::ApiKey {
        pb::ApiKey { last_use_time: self.last_use_at.map(clock::timestamp), ..self.snapshot() }
    }
}
