//! What comes back from the bin after a merge of accounts that had moved it was taken back: the end of a merge leaves the
//! bin alone, as merging does.
//!
//! Guarantees: a record that named the loser, was moved with the merge and deleted after it names the loser again as it
//! would have without the bin, see [`super::moved`]. Where the journal has forgotten what it was, it stays with the survivor.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

use super::{Merge, moved, sql};
use crate::account::Account;
use crate::contact::{Contact, roles};

/// Puts an account that is to come back below the one that it lay below before a merge that was taken back meanwhile.
///
/// # Errors
/// What the database answers.
pub async fn account(db: &Db, ctx: &Ctx, account: &mut Account) -> Result<(), Fault> {
    let Some(deleted) = account.deleted_at() else { return Ok(()) };
    let mut seen = HashSet::new();
    while let Some((merge, _)) = next(db, ctx, account.details().parent.as_slice(), &account.name(), deleted, &mut seen).await? {
        account.follow_parent(&[(merge.survivor(), merge.loser())]);
    }
    Ok(())
}

/// Gives a contact that is to come back the roles that merges took from it which were taken back meanwhile.
///
/// # Errors
/// What the database answers.
pub async fn contact(db: &Db, ctx: &Ctx, contact: &mut Contact) -> Result<(), Fault> {
    let Some(deleted) = contact.deleted_at() else { return Ok(()) };
    let mut seen = HashSet::new();
    loop {
        let accounts: Vec<Uuid> = contact.details().accounts.iter().map(|role| role.account).collect();
        let Some((merge, version)) = next(db, ctx, &accounts, &contact.name(), deleted, &mut seen).await? else { return Ok(()) };
        // It has them back already, from before it was deleted by a clock that was late.
        if accounts.contains(&merge.loser()) {
            continue;
        }
        let past = match moved::roles_of(db, ctx, &[(contact.id(), version)], merge.survivor(), merge.loser()).await {
            Err(fault) if fault.reason() == "MERGE_TOO_OLD" => continue,
            past => past?,
        };
        for (_, (before, merged)) in past {
            // With more roles than a contact may have it stays with the survivor, so that it can come back.
            if let Ok(roles) = roles::parted(&before, &merged, &contact.details().accounts, merge.loser(), merge.survivor()) {
                contact.return_to(roles);
            }
        }
    }
}

/// The next merge that moved the record `name` to one of `survivors` and was taken back after `deleted`, with the version
/// that it made; in the order in which they were taken back, each once.
async fn next(
    db: &Db,
    ctx: &Ctx,
    survivors: &[Uuid],
    name: &str,
    deleted: DateTime<Utc>,
    seen: &mut HashSet<Uuid>,
) -> Result<Option<(Merge, i64)>, Fault> {
    if survivors.is_empty() {
        return Ok(None);
    }
    for merge in sql::undone_since(&mut db.for_tenant(ctx).await?, ctx, survivors, deleted).await? {
        if !seen.insert(merge.id()) {
            continue;
        }
        let moved = moved::told(db, ctx, merge.id()).await?.unwrap_or_default();
        if let Some(record) = moved.into_iter().find(|record| record.name == name) {
            return Ok(Some((merge, record.etag.parse().map_err(Fault::internal)?)));
        }
    }
    Ok(None)
}
