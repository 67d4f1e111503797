//! Everything that a new tenant comes with.

use rapport_kit::{Ctx, Fault, clock};
use uuid::Uuid;

use super::convert::Create;
use super::{Tenant, sql};
use crate::business_unit::{self, BusinessUnit};
use crate::events::{self, Fact, UserFact};
use crate::role;
use crate::security_policy::{self, SecurityPolicy};
use crate::user::{self, Grant, Level, User};
use crate::{Identity, password};

/// Creates the tenant of `ctx`; answers it with the id of its administrator.
pub(super) async fn create(own: &Identity, ctx: &Ctx, create: Create) -> Result<(Tenant, Uuid), Fault> {
    let now = ctx.now();
    let defaults = SecurityPolicy::defaults(now);
    let asked = create.security_policy.as_ref();
    let policy =
        asked.map(|policy| security_policy::parse(&defaults, policy, None, "security_policy.")).transpose()?.map(|policy| policy.stored(now));
    let min_length = policy.as_ref().unwrap_or(&defaults).password_min_length;
    if let Some(weakness) = password::weakness(&create.password, min_length, &[&create.email, &create.administrator, &create.slug]) {
        return Err(Fault::invalid("administrator.password", weakness));
    }
    let hash = own.passwords.turn().await?.hash(create.password).await?;

    let tenant = Tenant { id: ctx.tenant(), version: 1, slug: create.slug, display_name: create.display_name, created_at: now, updated_at: now };
    let unit = BusinessUnit::top(clock::derived_id(tenant.id, "unit:top"), &tenant.display_name, now);
    let roles = role::shipped(tenant.id, now);
    let mut administrator = User::new(clock::new_id(), create.administrator, create.email, now);
    administrator.grants.push(Grant { role: role::administrator(tenant.id), level: Level::All });

    let mut entries = events::tenant_created(ctx, &tenant)?;
    if let Some(policy) = &policy {
        entries.extend(events::security_policy_updated(ctx, policy)?);
    }
    entries.extend(events::business_unit(ctx, &unit, Fact::Created)?);
    for role in &roles {
        entries.extend(events::role(ctx, role, Fact::Created)?);
    }
    entries.extend(events::user(ctx, &administrator, UserFact::Created)?);

    let mut tx = own.db.begin(ctx).await?;
    sql::insert(&mut tx, &tenant).await.map_err(|fault| taken(fault, &tenant.slug))?;
    if let Some(policy) = &policy {
        security_policy::insert_in(&mut tx, ctx, policy).await?;
    }
    business_unit::insert_in(&mut tx, ctx, &unit).await?;
    for role in &roles {
        role::insert_in(&mut tx, ctx, role).await?;
    }
    user::insert_in(&mut tx, ctx, &administrator, Some(&hash)).await?;
    sql::record(&mut tx, &entries).await?;
    tx.commit().await?;
    own.heed(&entries).await;
    Ok((tenant, administrator.id))
}

fn taken(fault: Fault, slug: &str) -> Fault {
    match fault.constraint() {
        Some("tenant_slug" | "tenant_pkey") => {
            Fault::exists("TENANT_SLUG_TAKEN", format!("Choose another slug: {slug} is in use in this installation.")).with("slug", slug)
        }
        _ => fault,
    }
}
