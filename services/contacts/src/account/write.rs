//! Writing accounts: one statement where the tree is not concerned, else a transaction that locks it first.
//!
//! Guarantees: locks are taken in the order tree, number series, records, so that writers never wait for each
//! other in a circle.

use rapport_kit::journal::{Earlier, Record};
use rapport_kit::{Ctx, Db, Fault, Tx};
use uuid::Uuid;

use super::{Account, Fact, sql, tree};
use crate::events;
use crate::number::{self, Numbers};

/// A change that was decided and not written yet.
#[derive(Debug)]
pub struct Decided {
    /// The account after it.
    pub account: Account,
    /// What happens.
    pub fact: Fact,
    /// Whether the account gets another place in the tree.
    pub moves: bool,
    /// The legal entity that a stored account gets by it. It can never be another one, so it has to be right.
    pub joins: Option<Uuid>,
}

impl Decided {
    /// A new account.
    #[must_use]
    pub fn created((account, fact): (Account, Fact)) -> Self {
        let moves = account.details().parent.is_some();
        Self { account, fact, moves, joins: None }
    }

    /// A change of `before`.
    #[must_use]
    pub fn changed(before: &Account, account: Account, fact: Fact) -> Self {
        let moves = match fact {
            Fact::Created | Fact::Undeleted => account.details().parent.is_some(),
            Fact::Updated => account.details().parent.is_some() && account.details().parent != before.details().parent,
            Fact::Deleted => true,
        };
        let joins = account.details().legal_entity.filter(|_| before.details().legal_entity.is_none());
        Self { account, fact, moves, joins }
    }
}

/// Writes `changes` in their order, all or none, and uses the caller's key up for those that are `kept` as they are;
/// false if somebody else changed one of the accounts, or used the key, since it was read.
///
/// # Errors
/// FAILED_PRECONDITION (PARENT_DELETED, HIERARCHY_CYCLE, HIERARCHY_TOO_DEEP, ACCOUNT_HAS_CHILDREN,
/// LEGAL_ENTITY_UNKNOWN); ALREADY_EXISTS (EXTERNAL_ID_TAKEN); what the database answers.
pub async fn write(db: &Db, ctx: &Ctx, changes: &mut [&mut Decided], kept: &[Record]) -> Result<bool, Fault> {
    number::require_known(db, ctx, changes.iter().filter_map(|change| change.joins).collect()).await?;
    if let ([Decided { account, fact: fact @ Fact::Updated, moves: false, .. }], []) = (&*changes, kept) {
        let entry = events::account(ctx, account, *fact)?;
        return sql::update(&mut db.for_tenant(ctx).await?, ctx, account, entry).await;
    }
    // Numbers of a series that may have gaps are taken before, so that nobody waits for this transaction.
    let created = changes.iter().filter(|change| change.fact == Fact::Created);
    let mut numbers = Numbers::take(db, ctx, created.map(|change| change.account.details().legal_entity)).await?;
    let mut tx = db.begin(ctx).await?;
    if changes.iter().any(|change| change.moves) {
        tree::lock(&mut tx, ctx).await?;
    }
    numbers.take_gapless(&mut tx, ctx).await?;
    for change in changes.iter_mut().filter(|change| change.fact == Fact::Created) {
        let number = numbers.next(change.account.details().legal_entity).ok_or_else(|| Fault::internal("a number is missing"))?;
        change.account = change.account.clone().numbered(number);
    }
    for change in changes {
        if !write_one(&mut tx, ctx, change).await? {
            return Ok(false);
        }
    }
    if !kept.is_empty() && !Earlier::keep(tx.conn(), ctx, kept).await? {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// Writes one change, which is not a creation, within a transaction that holds the tree's lock if the account moves; false
/// if somebody else changed it since it was read.
///
/// # Errors
/// As [`write()`].
pub async fn write_one(tx: &mut Tx, ctx: &Ctx, change: &Decided) -> Result<bool, Fault> {
    let id = change.account.id();
    match (change.fact, change.account.details().parent) {
        (Fact::Deleted, _) => tree::require_no_children(tx, ctx, id).await?,
        (_, Some(parent)) if change.moves => tree::require_place(tx, ctx, id, parent).await?,
        _ => {}
    }
    let entry = events::account(ctx, &change.account, change.fact)?;
    match change.fact {
        Fact::Created => sql::insert(tx.conn(), ctx, &change.account, entry).await.map(|()| true),
        Fact::Updated | Fact::Deleted | Fact::Undeleted => sql::update(tx.conn(), ctx, &change.account, entry).await,
    }
}
