//! What commands on records share: the version that the caller read, deciding again, and the answer of a request
//! that was carried out before under the same idempotency key.
//!
//! Guarantees: with a key present, nothing but what was written now is answered before the key is looked up, so
//! that a repetition gets the first answer and a key that came with another request is refused whatever the outcome.

use prost::Message;

use crate::ctx::Ctx;
use crate::db::Db;
use crate::fault::Fault;
use crate::journal::{self, Earlier, Record};

/// How often a command without etag decides again when others change the record meanwhile.
pub const ATTEMPTS: usize = 3;

/// What a command did.
#[derive(Debug)]
pub enum Done<A> {
    /// It wrote; the answer shows what.
    Written(A),
    /// Everything was so already: the answer, and the record that it shows.
    Unchanged(A, Record),
}

/// What is to be answered.
#[derive(Debug)]
pub enum Settled<A> {
    /// What was done now.
    Now(A),
    /// What the earlier request with the caller's key left.
    Earlier(Earlier),
}

/// Which answer a command gets: its own, or that of the earlier request with the same key.
///
/// # Errors
/// The refusal of `outcome` if there was no earlier request; INVALID_ARGUMENT (IDEMPOTENCY_KEY_REUSED).
pub async fn settle<A>(db: &Db, ctx: &Ctx, outcome: Result<Done<A>, Fault>) -> Result<Settled<A>, Fault> {
    let unsettled = match outcome {
        Ok(Done::Written(answer)) => return Ok(Settled::Now(answer)),
        Ok(Done::Unchanged(answer, record)) => {
            if ctx.key().is_none() || Earlier::keep(&mut db.for_tenant(ctx).await?, ctx, &[record]).await? {
                return Ok(Settled::Now(answer));
            }
            Fault::contended()
        }
        Err(refusal) => refusal,
    };
    Earlier::find(db, ctx).await?.map(Settled::Earlier).ok_or(unsettled)
}

/// The answer of a command on one record that everybody sees who may call the method.
///
/// # Errors
/// As [`settle`]; FAILED_PRECONDITION (ANSWER_EXPIRED) if the earlier answer was erased since.
pub async fn answer<S: Message + Default>(db: &Db, ctx: &Ctx, outcome: Result<Done<S>, Fault>) -> Result<S, Fault> {
    match settle(db, ctx, outcome).await? {
        Settled::Now(answer) => Ok(answer),
        Settled::Earlier(earlier) => {
            let (id, version) = earlier.record()?;
            journal::at_version(db, ctx, id, version).await
        }
    }
}

/// The same for a command that answers nothing, such as a deletion.
///
/// # Errors
/// As [`settle`].
pub async fn answer_empty(db: &Db, ctx: &Ctx, outcome: Result<(), Fault>) -> Result<(), Fault> {
    settle(db, ctx, outcome.map(Done::Written)).await.map(|_| ())
}

/// A command that changed no row: somebody else came first.
#[must_use]
pub fn lost_race(etag: &str, name: String) -> Fault {
    if etag.is_empty() { Fault::contended() } else { Fault::etag_mismatch(name) }
}

/// Etag of a version.
#[must_use]
pub fn etag(version: i64) -> String {
    version.to_string()
}

/// Refuses a record whose version is not the one that the caller read, if it says which.
///
/// # Errors
/// ABORTED (ETAG_MISMATCH) naming the record.
pub fn require_etag(sent: &str, version: i64, name: impl FnOnce() -> String) -> Result<(), Fault> {
    if sent.is_empty() || sent == etag(version) { Ok(()) } else { Err(Fault::etag_mismatch(name())) }
}

/// Refuses a batch that is too large.
///
/// # Errors
/// INVALID_ARGUMENT (BATCH_TOO_LARGE).
pub fn require_size(entries: usize, max: usize) -> Result<(), Fault> {
    if entries <= max {
        return Ok(());
    }
    Err(Fault::argument("BATCH_TOO_LARGE", format!("Send at most {max} entries at once."))
        .with("max", max.to_string())
        .with("entries", entries.to_string()))
}
