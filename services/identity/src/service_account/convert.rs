//! Between service accounts and their messages.

use chrono::{DateTime, Utc};
use rapport_identity_api::v1 as pb;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::{Fault, clock, name};

use super::ServiceAccount;
use crate::parse::Problems;

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("a.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("a.created_at"), kind: Kind::Time, sort: true },
    Field { path: "business_unit", column: Column::Plain("a.unit_id"), kind: Kind::Uuid { collection: "businessUnits" }, sort: false },
    Field {
        path: "grants.role",
        column: Column::Within { before: "exists (select from jsonb_array_elements(a.grants) g where ", column: "(g->>'role')::uuid", after: ")" },
        kind: Kind::Uuid { collection: "roles" },
        sort: false,
    },
];

/// The service account that is asked for.
pub(super) fn create(request: &pb::ServiceAccount, now: DateTime<Utc>) -> Result<ServiceAccount, Fault> {
    let mut problems = Problems::default();
    let account = ServiceAccount {
        id: clock::new_id(),
        version: 1,
        display_name: problems.text("service_account.display_name", &request.display_name, 1, 200),
        description: problems.text("service_account.description", &request.description, 0, 1000),
        unit: problems.optional_name("businessUnits", &request.business_unit, "service_account.business_unit"),
        grants: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    problems.done()?;
    Ok(account)
}

impl From<&ServiceAccount> for pb::ServiceAccount {
    fn from(account: &ServiceAccount) -> Self {
        Self {
            name: account.name(),
            display_name: account.display_name.clone(),
            description: account.description.clone(),
            business_unit: account.unit.map(|id| name::format("businessUnits", id)).unwrap_or_default(),
            grants: account.grants.iter().map(pb::Grant::from).collect(),
            etag: account.version.to_string(),
            create_time: Some(clock::timestamp(account.created_at)),
            update_time: Some(clock::timestamp(account.updated_at)),
        }
    }
}
