//! A request sent again under its idempotency key.

use rapport_kit::journal::{self, Earlier};
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

/// Id and version of the one record that the earlier request with the caller's key wrote; the refusal stands
/// if there was none.
///
/// # Errors
/// `refusal`; INVALID_ARGUMENT (IDEMPOTENCY_KEY_REUSED) if the key came with another request.
pub async fn earlier(db: &Db, ctx: &Ctx, refusal: Fault) -> Result<(Uuid, i64), Fault> {
    match Earlier::find(db, ctx).await? {
        Some(earlier) => earlier.record(),
        None => Err(refusal),
    }
}

/// The record as it was at a version.
///
/// # Errors
/// FAILED_PRECONDITION (ANSWER_EXPIRED) if it was emptied since.
pub async fn snapshot<S: prost::Message + Default>(db: &Db, ctx: &Ctx, id: Uuid, version: i64) -> Result<S, Fault> {
    let snapshot = journal::snapshots(db, ctx, &[(id, version)]).await?.pop();
    snapshot.ok_or_else(|| Fault::internal("a snapshot was asked for and not answered"))
}
