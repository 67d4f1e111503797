//! What a role is, and which ones every tenant has.

use chrono::{DateTime, Utc};
use rapport_kit::{access, clock, name};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A named set of permissions and field rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    pub(crate) shipped: bool,
    /// Sorted, without doubles.
    pub(crate) permissions: Vec<String>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A rule about one field of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) resource: String,
    pub(crate) field: String,
    pub(crate) effect: Effect,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Hidden,
    Masked,
    ReadOnly,
}

impl Role {
    /// `roles/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("roles", self.id)
    }

    /// The role as access sees it.
    pub(crate) fn for_access(&self) -> access::Role {
        let effect = |effect: Effect| match effect {
            Effect::Hidden => access::Effect::Hidden,
            Effect::Masked => access::Effect::Masked,
            Effect::ReadOnly => access::Effect::ReadOnly,
        };
        access::Role {
            display_name: self.display_name.clone(),
            permissions: self.permissions.clone(),
            field_rules: self.rules.iter().map(|rule| (rule.resource.clone(), rule.field.clone(), effect(rule.effect))).collect(),
        }
    }
}

const SHIPPED: [(&str, &str, &str, &[&str]); 6] = [
    ("administrator", "Administrator", "Everything, the access of others included.", &["*"]),
    (
        "sales-representative",
        "Sales representative",
        "Works on accounts and contacts.",
        &[
            "contacts.account.create",
            "contacts.account.read",
            "contacts.account.update",
            "contacts.contact.create",
            "contacts.contact.read",
            "contacts.contact.update",
            "identity.team.read",
        ],
    ),
    (
        "sales-manager",
        "Sales manager",
        "Leads sales representatives: all about accounts and contacts, and who stands where.",
        &["contacts.account.*", "contacts.contact.*", "identity.business_unit.read", "identity.team.read", "identity.user.read"],
    ),
    (
        "marketing",
        "Marketing",
        "Reaches contacts and keeps their data.",
        &["contacts.account.read", "contacts.contact.create", "contacts.contact.read", "contacts.contact.update", "identity.team.read"],
    ),
    (
        "service-agent",
        "Service agent",
        "Helps contacts and corrects their data.",
        &["contacts.account.read", "contacts.contact.read", "contacts.contact.update", "identity.team.read"],
    ),
    (
        "auditor",
        "Auditor",
        "Reads everything and verifies the history; changes nothing.",
        &[
            "audit.seal.verify",
            "contacts.account.read",
            "contacts.contact.read",
            "identity.access.explain",
            "identity.api_key.read",
            "identity.business_unit.read",
            "identity.legal_entity.read",
            "identity.role.read",
            "identity.security_policy.read",
            "identity.service_account.read",
            "identity.session.read",
            "identity.team.read",
            "identity.user.read",
        ],
    ),
];

/// Id of the shipped administrator.
pub(crate) fn administrator(tenant: Uuid) -> Uuid {
    clock::derived_id(tenant, "role:administrator")
}

/// The roles of a new tenant.
pub(crate) fn shipped(tenant: Uuid, now: DateTime<Utc>) -> Vec<Role> {
    let role = |(key, display_name, description, permissions): &(&str, &str, &str, &[&str])| Role {
        id: clock::derived_id(tenant, &format!("role:{key}")),
        version: 1,
        display_name: (*display_name).to_owned(),
        description: (*description).to_owned(),
        shipped: true,
        permissions: permissions.iter().map(|permission| (*permission).to_owned()).collect(),
        rules: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    SHIPPED.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn shipped_roles_name_permissions_that_exist_sorted_and_once() {
        let roles = shipped(Uuid::nil(), DateTime::UNIX_EPOCH);
        assert_eq!(roles[0].id, administrator(Uuid::nil()));
        for role in roles {
            assert!(role.permissions.is_sorted(), "{}", role.display_name);
            for permission in &role.permissions {
                assert!(catalogue::has_permission(permission), "{permission}");
            }
        }
    }
}
