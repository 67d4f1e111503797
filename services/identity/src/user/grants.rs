//! Giving roles, to users and to service accounts alike.

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, name};
use rapport_proto::common::v1::GrantLevel;

use super::{Grant, Level};
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

/// Refuses what reaches further than the caller: each permission of the role must be held as far.
pub(crate) async fn require_within(conn: &mut Conn, ctx: &Ctx, grant: Grant) -> Result<(), Fault> {
    let unknown = || Fault::invalid("role", "must be a role of this tenant");
    let role = role::find(conn, ctx, grant.role).await?.ok_or_else(unknown)?;
    match exceeding(ctx, &role, grant.level) {
        None => Ok(()),
        Some(permission) => {
            let text = format!("Ask somebody who holds {permission} at this level: nobody can give more than they have.");
            Err(Fault::denied("GRANT_EXCEEDS_CALLER", text).with("permission", permission))
        }
    }
}

fn exceeding<'a>(ctx: &Ctx, role: &'a Role, level: Level) -> Option<&'a str> {
    role.permissions.iter().map(String::as_str).find(|permission| !level.is_within(ctx.scope_of(permission).levels))
}
