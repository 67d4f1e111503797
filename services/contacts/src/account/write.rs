//! Writing accounts: one statement where the tree is not concerned, else a transaction that locks it first.
//!
//! Guarantees: locks are taken in the order tree, number series, records, so that writers never wait for each
//! other in a circle.

use rapport_kit::{Ctx, Db, Fault, Tx};

use super::{Account, Fact, sql, tree};
use crate::{events, number};

/// A change that was decided and not written yet.
#[derive(Debug)]
pub struct Decided {
    /// The account after it.
    pub account: Account,
    /// What happens.
    pub fact: Fact,
    /// Whether the account gets another place in the tree.
    pub moves: bool,
}

impl Decided {
    /// A new account.
    #[must_use]
    pub fn created((account, fact): (Account, Fact)) -> Self {
        let moves = account.details().parent.is_some();
        Self { account, fact, moves }
    }

    /// A change of `before`.
    #[must_use]
    pub fn changed(before: &Account, account: Account, fact: Fact) -> Self {
        let moves = match fact {
            Fact::Created | Fact::Undeleted => account.details().parent.is_some(),
            Fact::Updated => account.details().parent.is_some() && account.details().parent != before.details().parent,
            Fact::Deleted => true,
        };
        Self { account, fact, moves }
    }

    fn takes_tenant_number(&self) -> bool {
        self.fact == Fact::Created && self.account.details().legal_entity.is_none()
    }
}

/// Writes `changes`, all or none; false if somebody else changed one of the accounts since it was read.
///
/// # Errors
/// FAILED_PRECONDITION (PARENT_DELETED, HIERARCHY_CYCLE, HIERARCHY_TOO_DEEP, ACCOUNT_HAS_CHILDREN,
/// LEGAL_ENTITY_UNKNOWN); ALREADY_EXISTS (EXTERNAL_ID_TAKEN); what the database answers.
pub async fn write(db: &Db, ctx: &Ctx, changes: &mut [&mut Decided]) -> Result<bool, Fault> {
    if let [Decided { account, fact: fact @ Fact::Updated, moves: false }] = changes {
        let entry = events::account(ctx, account, *fact)?;
        return sql::update(&mut db.for_tenant(ctx).await?, ctx, account, entry).await;
    }
    // Numbers of a series that may have gaps are taken before, so that nobody waits for this transaction.
    let mut numbers = number::of_tenant(db, ctx, changes.iter().filter(|change| change.takes_tenant_number()).count()).await?.into_iter();
    for change in changes.iter_mut().filter(|change| change.takes_tenant_number()) {
        change.account = change.account.clone().numbered(numbers.next().unwrap_or_default());
    }
    let mut tx = db.begin(ctx).await?;
    if changes.iter().any(|change| change.moves) {
        tree::lock(&mut tx, ctx).await?;
    }
    for change in changes {
        if !write_one(&mut tx, ctx, change).await? {
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

async fn write_one(tx: &mut Tx, ctx: &Ctx, change: &mut Decided) -> Result<bool, Fault> {
    let id = change.account.id();
    match (change.fact, change.account.details().parent) {
        (Fact::Deleted, _) => tree::require_no_children(tx, ctx, id).await?,
        (_, Some(parent)) if change.moves => tree::require_place(tx, ctx, id, parent).await?,
        _ => {}
    }
    if let (Fact::Created, Some(legal_entity)) = (change.fact, change.account.details().legal_entity) {
        let number = number::of_legal_entity(tx, ctx, legal_entity, 1).await?.pop();
        change.account = change.account.clone().numbered(number.unwrap_or_default());
    }
    let entry = events::account(ctx, &change.account, change.fact)?;
    match change.fact {
        Fact::Created => sql::insert(tx.conn(), ctx, &change.account, entry).await.map(|()| true),
        Fact::Updated | Fact::Deleted | Fact::Undeleted => sql::update(tx.conn(), ctx, &change.account, entry).await,
    }
}
