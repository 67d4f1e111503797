//! The answer of a request that was carried out before under the same idempotency key.

use prost::Message;
use rapport_kit::journal::{self, Earlier};
use rapport_kit::{Ctx, Db, Fault};

/// What a command did.
pub(crate) enum Done<S> {
    /// It wrote a new version.
    Written(S),
    /// Everything was so already; nothing was written, and no key was used up.
    Unchanged(S),
}

/// The answer of a command on one record. With a key, a refusal (or having nothing to do) is given only after
/// looking whether an earlier request with that key was carried out; then its answer is given again.
pub(crate) async fn settle<S: Message + Default>(db: &Db, ctx: &Ctx, outcome: Result<Done<S>, Fault>) -> Result<S, Fault> {
    if let Ok(Done::Written(answer)) = outcome {
        return Ok(answer);
    }
    if let Some(earlier) = Earlier::find(db, ctx).await? {
        let mut answers = journal::snapshots(db, ctx, &[earlier.record()?]).await?;
        return answers.pop().ok_or_else(|| Fault::internal("a snapshot is missing"));
    }
    outcome.map(|done| match done {
        Done::Written(answer) | Done::Unchanged(answer) => answer,
    })
}

/// The same for a command that answers nothing, such as a deletion.
pub(crate) async fn settle_empty(db: &Db, ctx: &Ctx, outcome: Result<(), Fault>) -> Result<(), Fault> {
    match outcome {
        Ok(()) => Ok(()),
        Err(_) if Earlier::find(db, ctx).await?.is_some() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// A command that changed no row: somebody else came first.
pub(crate) fn lost_race(etag: &str, name: String) -> Fault {
    if etag.is_empty() { Fault::contended() } else { Fault::etag_mismatch(name) }
}

/// Refuses a record whose version is not the one that the caller read, if it says which.
pub(crate) fn require_etag(etag: &str, version: i64, name: impl FnOnce() -> String) -> Result<(), Fault> {
    if etag.is_empty() || etag == version.to_string() { Ok(()) } else { Err(Fault::etag_mismatch(name())) }
}

/// How often a command without etag decides again when others change the record meanwhile.
pub(crate) const ATTEMPTS: usize = 3;
