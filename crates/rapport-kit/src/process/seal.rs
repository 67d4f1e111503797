//! Compares the whole journal with its seal, as an operator asks for after a restore.

use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::config::Secrets;
use crate::db::{PoolConfig, SystemDb};
use crate::fault::Fault;
use crate::journal::seal::{Range, verify};
use crate::page::Sealer;

/// Rows of one piece of the comparison.
const PIECE: i64 = 10_000;

/// Ready when every checkpoint holds, and `anchor`, a checkpoint's digest in hexadecimal that was kept elsewhere, is
/// among them; answers the newest one's, to be kept. Empty where nothing is sealed yet.
///
/// # Errors
/// FAILED_PRECONDITION (SEAL_BROKEN) naming the first checkpoint that does not hold, (SEAL_ANCHOR_MISSING) if the
/// journal is not the one that the anchor is of; INVALID_ARGUMENT if the anchor cannot be read; what the database answers.
pub async fn seal_holds(secrets: &Secrets, anchor: Option<&str>) -> Result<String, Fault> {
    let anchor = anchor.map(hex::decode).transpose().map_err(|_| Fault::invalid("anchor", "must be a digest in hexadecimal"))?;
    let db = SystemDb::new(secrets.database_system.expose_secret(), PoolConfig { max_connections: 1, ..PoolConfig::default() })?;
    let sealer = Sealer::new(secrets.sealing.expose_secret().as_bytes());
    let mut after = None;
    loop {
        let verdict = verify(&db, &sealer, Range { tenant: Uuid::nil(), after, rows: PIECE, anchor: anchor.as_deref() }).await?;
        if let Some(checkpoint) = verdict.broken_seal {
            let text =
                format!("The journal is not what checkpoint {checkpoint} sealed, or the sealing secret is not the one that it was sealed with.");
            return Err(Fault::precondition("SEAL_BROKEN", text).with("checkpoint", checkpoint.to_string()));
        }
        if verdict.anchor_missing {
            let text = "No checkpoint has this digest: the journal ends before it, or is another one.";
            return Err(Fault::precondition("SEAL_ANCHOR_MISSING", text));
        }
        after = verdict.next;
        if after.is_none() {
            return Ok(verdict.newest.map(hex::encode).unwrap_or_default());
        }
    }
}
