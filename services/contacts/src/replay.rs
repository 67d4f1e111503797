//! A request sent again under its idempotency key.

use rapport_kit::journal::{self, Earlier};
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

/// What the earlier request with the caller's key left of its one record; the refusal stands if there was none.
///
/// # Errors
/// `refusal`; INVALID_ARGUMENT (IDEMPOTENCY_KEY_REUSED) if the key came with another request.
pub async fn earlier<S: prost::Message + Default>(db: &Db, ctx: &Ctx, refusal: Fault) -> Result<(Uuid, S), Fault> {
    let Some(earlier) = Earlier::find(db, ctx).await? else {
        return Err(refusal);
    };
    let (id, version) = earlier.record()?;
    let snapshot = journal::snapshots(db, ctx, &[(id, version)]).await?.pop().ok_or(refusal)?;
    Ok((id, snapshot))
}
