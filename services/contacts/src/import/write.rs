//! What was decided about rows, written.

use rapport_kit::{Ctx, Db, Fault, Tx};
use sqlx::Executor;

use super::{account, contact::Change};
use crate::account::sql as of_accounts;
use crate::account::write::Decided;
use crate::contact::{Fact, bulk, sql};
use crate::events;
use crate::in_bulk::wait_behind_people;
use crate::number::Numbers;

/// Contacts to be written.
#[derive(Debug)]
pub struct Contacts {
    created: Option<bulk::Created>,
    /// In the order of ids, so that two imports never wait for each other.
    changed: Vec<Change>,
}

impl Contacts {
    /// The contacts of these changes.
    ///
    /// # Errors
    /// INTERNAL.
    pub fn of(changes: impl Iterator<Item = Change>) -> Result<Self, Fault> {
        let (created, mut changed): (Vec<Change>, Vec<Change>) = changes.partition(|change| change.fact == Fact::Created);
        changed.sort_unstable_by_key(|change| change.contact.id());
        let created = bulk::Created::of(created.into_iter().map(|change| (change.contact, change.entry)).collect())?;
        Ok(Self { created, changed })
    }

    /// How many are new, and how many are changed.
    #[must_use]
    pub fn counts(&self) -> (i64, i64) {
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        (count(self.created.as_ref().map_or(0, bulk::Created::count)), count(self.changed.len()))
    }
}

/// Writes contacts, new ones by one statement.
///
/// # Errors
/// ABORTED (CONTENDED) if others changed one of them, or took an external id or a place with a private customer, since
/// that was decided: the step is to be taken again.
pub async fn contacts(tx: &mut Tx, ctx: &Ctx, contacts: Contacts) -> Result<(), Fault> {
    wait_behind_people(tx).await?;
    for change in contacts.changed {
        if !sql::update(tx.conn(), ctx, &change.contact, change.entry, None).await.map_err(stale)? {
            return Err(Fault::contended());
        }
    }
    match contacts.created {
        Some(created) => bulk::insert(tx.conn(), ctx, created).await.map_err(stale),
        None => Ok(()),
    }
}

/// Numbers for the new accounts among `changes`, from series that may have gaps; a dry run takes none. Before the
/// transaction, so that nobody waits for it.
///
/// # Errors
/// What the database answers.
pub async fn numbers(db: &Db, ctx: &Ctx, changes: &[(i64, account::Change)], dry_run: bool) -> Result<Numbers, Fault> {
    if dry_run {
        return Ok(Numbers::default());
    }
    Numbers::take(db, ctx, created(changes).map(|decided| decided.account.details().legal_entity)).await
}

fn created(changes: &[(i64, account::Change)]) -> impl Iterator<Item = &Decided> {
    let decided = changes.iter().filter_map(|(_, change)| change.decided.as_ref());
    decided.filter(|decided| decided.fact == crate::account::Fact::Created)
}

/// Writes accounts, none of which gets another place in the tree here. A dry run gives them no numbers.
///
/// # Errors
/// As [`contacts`].
pub async fn accounts(tx: &mut Tx, ctx: &Ctx, mut numbers: Numbers, changes: &[(i64, account::Change)], dry_run: bool) -> Result<(), Fault> {
    wait_behind_people(tx).await?;
    if !dry_run {
        numbers.take_gapless(tx, ctx).await?;
    }
    // In the order of ids, so that two imports never wait for each other.
    let mut decided: Vec<&Decided> = changes.iter().filter_map(|(_, change)| change.decided.as_ref()).collect();
    decided.sort_unstable_by_key(|decided| decided.account.id());
    for decided in decided {
        let is_new = decided.fact == crate::account::Fact::Created;
        let mut account = decided.account.clone();
        if is_new && !dry_run {
            let number = numbers.next(account.details().legal_entity).ok_or_else(|| Fault::internal("a number is missing"))?;
            account = account.numbered(number);
        }
        let entry = events::account(ctx, &account, decided.fact)?;
        let is_written = match is_new {
            true => of_accounts::insert(tx.conn(), ctx, &account, entry).await.map(|()| true),
            false => of_accounts::update(tx.conn(), ctx, &account, entry).await,
        };
        if !is_written.map_err(stale)? {
            return Err(Fault::contended());
        }
    }
    Ok(())
}

/// What rows are remembered by that others may name as their parent.
#[must_use]
pub fn called(key: &str) -> String {
    format!("a:{key}")
}

/// Begins what a dry run takes back.
///
/// # Errors
/// What the database answers.
pub async fn begin_dry(tx: &mut Tx) -> Result<(), Fault> {
    tx.conn().execute("savepoint dry_run").await?;
    Ok(())
}

/// Takes back what was written since [`begin_dry`].
///
/// # Errors
/// What the database answers.
pub async fn end_dry(tx: &mut Tx) -> Result<(), Fault> {
    tx.conn().execute("rollback to savepoint dry_run").await?;
    Ok(())
}

/// What was checked when it was decided fails only for what others did since.
fn stale(fault: Fault) -> Fault {
    if matches!(fault.reason(), "EXTERNAL_ID_TAKEN" | "PERSON_ACCOUNT_HAS_CONTACT") { Fault::contended() } else { fault }
}
