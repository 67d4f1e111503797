//! Between tenants and their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::{Fault, clock, name};
use secrecy::SecretString;

use super::Tenant;
use super::model::is_slug;
use crate::parse::{Problems, required};

/// A tenant as it is asked for.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) display_name: String,
    pub(super) slug: String,
    pub(super) administrator: String,
    pub(super) email: String,
    pub(super) password: SecretString,
    pub(super) security_policy: Option<pb::SecurityPolicy>,
}

pub(super) fn create(request: pb::CreateTenantRequest) -> Result<Create, Fault> {
    let tenant = required(request.tenant, "tenant")?;
    let administrator = required(request.administrator, "administrator")?;
    let mut problems = Problems::default();
    let create = Create {
        display_name: problems.text("tenant.display_name", &tenant.display_name, 1, 200),
        administrator: problems.text("administrator.display_name", &administrator.display_name, 1, 200),
        email: problems.email("administrator.email", &administrator.email),
        password: administrator.password.into(),
        security_policy: request.security_policy,
        slug: tenant.slug,
    };
    if !is_slug(&create.slug) {
        problems.note("tenant.slug", "must have 2 to 63 lower-case letters, digits and inner hyphens, a letter first");
    }
    problems.done()?;
    Ok(create)
}

impl From<&Tenant> for pb::Tenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            name: name::format("tenants", tenant.id),
            display_name: tenant.display_name.clone(),
            slug: tenant.slug.clone(),
            etag: tenant.version.to_string(),
            create_time: Some(clock::timestamp(tenant.created_at)),
            update_time: Some(clock::timestamp(tenant.updated_at)),
        }
    }
}
