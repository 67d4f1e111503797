//! Giving roles, to users and to service accounts alike.

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, name};
use rapport_proto::common::v1::GrantLevel;
use uuid::Uuid;

use super::{Grant, Level};
use crate::business_unit;
use crate::role::{self, Role};

/// The grant that a request asks for.
///
/// # Errors
/// FAILED_PRECONDITION (TERRITORY_NOT_AVAILABLE); INVALID_ARGUMENT (FIELD_INVALID).
pub(crate) fn granting(role: &str, level: GrantLevel) -> Result<Grant, Fault> {
    let role = name::parse("roles", role, "role")?;
    let level = match level {
        GrantLevel::Own => Level::Own,
        GrantLevel::Team => Level::Team,
        GrantLevel::BusinessUnitSubtree => Level::Subtree,
        GrantLevel::All => Level::All,
        GrantLevel::Territory => {
            return Err(Fault::precondition("TERRITORY_NOT_AVAILABLE", "Choose another level: there are no territories yet."));
        }
        GrantLevel::Unspecified => return Err(Fault::invalid("level", "must be given")),
    };
    Ok(Grant { role, level })
}

/// Refuses what reaches further than the caller: each permission of the role must be held as far, and over the
/// business unit of who is given it.
pub(crate) async fn require_within(conn: &mut Conn, ctx: &Ctx, grant: Grant, unit: Option<Uuid>) -> Result<(), Fault> {
    let unknown = || Fault::invalid("role", "must be a role of this tenant");
    let role = role::find(conn, ctx, grant.role).await?.ok_or_else(unknown)?;
    require_rules_kept(ctx, &role)?;
    let inside = match (ctx.scope().unit, unit) {
        (Some(own), Some(unit)) => business_unit::upwards(conn, ctx, unit).await?.contains(&own),
        _ => false,
    };
    let exceeding = role.permissions.iter().find(|permission| !grant.level.is_within(ctx.scope_of(permission).levels, inside));
    match exceeding {
        None => Ok(()),
        Some(permission) => {
            let text = format!("Ask somebody who holds {permission} at this level and place: nobody can give more than they have.");
            Err(Fault::denied("GRANT_EXCEEDS_CALLER", text).with("permission", permission))
        }
    }
}

/// Refuses a role that lacks a field rule the caller is bound by: held by the caller, it would lift the rule.
pub(crate) fn require_rules_kept(ctx: &Ctx, role: &Role) -> Result<(), Fault> {
    match ctx.access().freed_by(&role.for_access()) {
        None => Ok(()),
        Some((resource, field)) => {
            let text = format!("Give the role the rule on {field} of {resource} that binds you too: nobody can give more than they have.");
            Err(Fault::denied("GRANT_EXCEEDS_CALLER", text).with("permission", format!("{resource}:{field}")))
        }
    }
}

/// Refuses a business unit that is not the caller's own, unless the caller reaches every record: where somebody
/// stands decides how far a grant at the level of units reaches.
pub(crate) fn require_unit_within(ctx: &Ctx, unit: Option<Uuid>) -> Result<(), Fault> {
    let scope = ctx.scope();
    if scope.is_everything() || unit.is_none() || unit == scope.unit {
        return Ok(());
    }
    let text = "Ask somebody whose roles reach all records: you can place people in your own business unit only.";
    Err(Fault::denied("GRANT_EXCEEDS_CALLER", text).with("permission", "business_unit"))
}

/// Refuses callers whose permission does not reach every record: teams and business units decide for others
/// how far their grants reach.
pub(crate) fn require_everything(ctx: &Ctx) -> Result<(), Fault> {
    if ctx.scope().is_everything() {
        return Ok(());
    }
    let text = "Ask somebody whose roles reach all records: this decides how far the grants of others reach.";
    Err(Fault::denied("GRANT_EXCEEDS_CALLER", text).with("permission", ctx.permission()))
}
