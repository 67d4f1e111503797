//! Merging accounts and taking it back: lock, decide, write all in one transaction.

use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::journal::{self, Record};
use rapport_kit::{Ctx, Db, Fault, Tx, clock, command, name};
use uuid::Uuid;

use super::asked::{self, Asked};
use super::model::Pair;
use super::moved;
use super::{Merge, Refusal, shares, sql};
use crate::account::{self, Account, COLLECTION, Details, Fact, RESOURCE, snapshot, tree};
use crate::duplicate::follow;
use crate::search::Kind;
use crate::{batch, events};

const READ: &str = "contacts.account.read";
const UPDATE: &str = "contacts.account.update";
const DELETE: &str = "contacts.account.delete";

/// Merges, in one transaction.
///
/// # Errors
/// Those of `MergeAccounts`; ABORTED (CONTENDED) if somebody linked a contact to the loser in this moment; what the database
/// answers.
pub async fn merge(db: &Db, ctx: &Ctx, asked: &Asked) -> Result<Merge, Fault> {
    let mut tx = db.begin(ctx).await?;
    require_permitted(tx.conn(), ctx, asked.survivor, asked.loser).await?;
    tree::lock(&mut tx, ctx).await?;
    let conn = tx.conn();
    let named = moved::named(conn, ctx, asked.loser).await?;
    let (accounts, mut held) = moved::lock(conn, ctx, &[asked.survivor, asked.loser], &named).await?;
    // Behind the locks no contact is linked to the loser any more; one that was linked just before was not locked.
    if !moved::named(conn, ctx, asked.loser).await?.are_among(&named) {
        return Err(Fault::contended());
    }
    let (mut survivor, mut loser) = pair(accounts, asked.survivor, asked.loser)?;
    require_permitted(conn, ctx, survivor.id(), loser.id()).await?;
    let details = decide(conn, ctx, asked, &survivor, &loser).await?;
    named.require_few()?;
    loser.merge_into(survivor.id(), ctx.now())?;
    survivor.settle_merge(details, ctx.now())?;
    let versions = Pair { survivor: (survivor.id(), survivor.version()), loser: (loser.id(), loser.version()) };
    let (merge, fact) = Merge::create(clock::new_id(), COLLECTION, versions, &asked.from_loser, ctx.actor().subject(), ctx.now());
    // The loser first: it gives up external ids.
    write(conn, ctx, &loser, events::account(ctx, &loser, Fact::Deleted)?).await?;
    write(conn, ctx, &survivor, events::account_merged(ctx, &survivor, &merge)?).await?;
    let moved = held.go_to_survivor(conn, ctx, loser.id(), survivor.id()).await?;
    shares::give(conn, ctx, record(&survivor), loser.id()).await?;
    follow::to_survivor(conn, ctx, Kind::Account, survivor.id(), loser.id()).await?;
    sql::insert(conn, ctx, &merge, events::merge(ctx, &merge, fact, moved)?).await?;
    tx.commit().await?;
    Ok(merge)
}

/// What the survivor would be, and the paths of what both have and that differs. Whoever is shown a record has to be
/// allowed to read it, besides what a merge asks for.
///
/// # Errors
/// Those of `MergeAccounts`; what the database answers.
pub async fn preview(db: &Db, ctx: &Ctx, asked: &Asked) -> Result<pb::PreviewMergeAccountsResponse, Fault> {
    let conn = &mut db.for_tenant(ctx).await?;
    let found = account::sql::get_many(conn, ctx, &ctx.scope_of(READ), &[asked.survivor, asked.loser]).await?;
    let (survivor, loser) = pair(found, asked.survivor, asked.loser)?;
    require_permitted(conn, ctx, survivor.id(), loser.id()).await?;
    let details = decide(conn, ctx, asked, &survivor, &loser).await?;
    moved::named(conn, ctx, loser.id()).await?.require_few()?;
    let rules = ctx.fields(RESOURCE);
    let mut conflicts = account::merge::conflicts(survivor.details(), loser.details());
    conflicts.retain(|path| rules.require_readable(path).is_ok());
    let etag = command::etag(survivor.version());
    let mut settled = survivor;
    settled.settle_merge(details, ctx.now())?;
    let mut shown = pb::Account { etag, ..account::convert::to_proto(settled) };
    account::convert::hide(&mut shown, rules);
    Ok(pb::PreviewMergeAccountsResponse { survivor: Some(shown), conflicts: conflicts.into_iter().map(str::to_owned).collect() })
}

/// Takes a merge back, in one transaction.
///
/// # Errors
/// Those of `UnmergeAccounts`; what the database answers.
pub async fn unmerge(db: &Db, ctx: &Ctx, mut merge: Merge, etag: &str) -> Result<Merge, Fault> {
    command::require_etag(etag, merge.version(), || merge.name())?;
    let fact = merge.undo(ctx.now())?;
    // What the journal says of the past stays, so it is read before anything is locked.
    let before = Before::read(db, ctx, &merge).await?;
    let shares = shares::given(db, ctx, merge.survivor(), merge.survivor_version()).await?;
    let past = moved::Past::read(db, ctx, &merge).await?;
    let mut tx = db.begin(ctx).await?;
    require_permitted(tx.conn(), ctx, merge.survivor(), merge.loser()).await?;
    tree::lock(&mut tx, ctx).await?;
    let conn = tx.conn();
    let (accounts, mut held) = moved::lock(conn, ctx, &[merge.survivor(), merge.loser()], &past.named()).await?;
    let (mut survivor, mut loser) = pair(accounts, merge.survivor(), merge.loser())?;
    require_permitted(conn, ctx, survivor.id(), loser.id()).await?;
    // Behind the locks: whoever took the merge back meanwhile has released them.
    if !sql::update(conn, ctx, &merge, events::merge(ctx, &merge, fact, Vec::new())?).await? {
        return Err(command::lost_race(etag, merge.name()));
    }
    require_live(conn, ctx, &survivor).await?;
    if sql::has_later(conn, ctx, &merge).await? {
        return Err(Refusal::NotLast.into());
    }
    let parted = account::merge::unmerged(&before.survivor, &before.loser, &before.merged, survivor.details());
    let (of_survivor, of_loser) = parted.map_err(|problem| asked::too_many(ctx, RESOURCE, problem))?;
    survivor.settle_merge(of_survivor, ctx.now())?;
    let returned = loser.leave_merge(of_loser, ctx.now());
    // The survivor first: it gives up what the loser takes.
    write(conn, ctx, &survivor, events::account_unmerged(ctx, &survivor, &merge)?).await?;
    write(conn, ctx, &loser, events::account(ctx, &loser, returned)?).await?;
    held.go_back(conn, ctx, &past, loser.id(), survivor.id()).await?;
    shares::take_back(conn, ctx, record(&survivor), &shares).await?;
    // Once all stand where they belong: each may have been moved since, with the other one or below it.
    require_place(&mut tx, ctx, &survivor).await?;
    require_place(&mut tx, ctx, &loser).await?;
    tx.commit().await?;
    Ok(merge)
}

/// The survivor's details after the merge.
async fn decide(conn: &mut Conn, ctx: &Ctx, asked: &Asked, survivor: &Account, loser: &Account) -> Result<Details, Fault> {
    asked.require_etags(COLLECTION, survivor.version(), loser.version())?;
    require_live(conn, ctx, survivor).await?;
    require_live(conn, ctx, loser).await?;
    if survivor.kind() != loser.kind() {
        return Err(Refusal::KindsDiffer.into());
    }
    let takes_entity = asked.from_loser.contains(&"legal_entity");
    if takes_entity && account::merge::differ(survivor.details().legal_entity, loser.details().legal_entity) {
        return Err(account::Refusal::LegalEntityFixed.into());
    }
    if survivor.kind() == account::Kind::Person {
        moved::require_one_person(conn, ctx, survivor.id(), loser.id()).await?;
    }
    let nesting = tree::nesting(conn, ctx, survivor.id(), loser.id()).await?;
    let details = account::merge::merged(survivor.details(), loser.details(), &asked.from_loser, nesting);
    let details = details.map_err(|problem| asked::too_many(ctx, RESOURCE, problem))?;
    tree::require_levels(conn, ctx, survivor.id(), loser.id(), details.parent).await?;
    Ok(details)
}

/// Both accounts out of those that were found.
fn pair(mut found: Vec<Account>, survivor: Uuid, loser: Uuid) -> Result<(Account, Account), Fault> {
    let mut take = |id: Uuid| {
        let at = found.iter().position(|account| account.id() == id);
        at.map(|at| found.swap_remove(at)).ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))
    };
    Ok((take(survivor)?, take(loser)?))
}

/// Refuses a caller who may not do to each of both what a merge does to it. What names them is not asked about: that it
/// names the survivor follows from the merge, and nobody is told of it.
async fn require_permitted(conn: &mut Conn, ctx: &Ctx, survivor: Uuid, loser: Uuid) -> Result<(), Fault> {
    for (id, permission) in [(survivor, UPDATE), (loser, DELETE)] {
        for scope in [ctx.scope_of(permission), ctx.scope()] {
            if account::sql::get(conn, ctx, &scope, id).await?.is_some() {
                continue;
            }
            let is_readable = account::sql::get(conn, ctx, &ctx.scope_of(READ), id).await?.is_some();
            let name = name::format(COLLECTION, id);
            return Err(if is_readable { batch::read_only(&name) } else { Fault::not_found(name) });
        }
    }
    Ok(())
}

/// Refuses an account that lies in the bin or was merged itself.
async fn require_live(conn: &mut Conn, ctx: &Ctx, account: &Account) -> Result<(), Fault> {
    account::rpc::require_unmerged(conn, ctx, account).await?;
    if account.is_deleted() { Err(account::Refusal::Deleted.into()) } else { Ok(()) }
}

/// Refuses a place in the hierarchy that is gone.
async fn require_place(tx: &mut Tx, ctx: &Ctx, account: &Account) -> Result<(), Fault> {
    match account.details().parent {
        Some(parent) => tree::require_place(tx, ctx, account.id(), parent).await,
        None => Ok(()),
    }
}

/// Writes an account that is locked, so that nobody else has changed it.
async fn write(conn: &mut Conn, ctx: &Ctx, account: &Account, entry: journal::Entry) -> Result<(), Fault> {
    if account::sql::update(conn, ctx, account, entry).await? { Ok(()) } else { Err(Fault::contended()) }
}

fn record(account: &Account) -> Record {
    Record { collection: COLLECTION, id: account.id(), version: account.version() }
}

/// What both accounts were before a merge, and the survivor right after it.
struct Before {
    survivor: Details,
    loser: Details,
    merged: Details,
}

impl Before {
    async fn read(db: &Db, ctx: &Ctx, merge: &Merge) -> Result<Self, Fault> {
        let (survivor, loser) = (merge.survivor(), merge.loser());
        let versions = [(survivor, merge.survivor_version() - 1), (loser, merge.loser_version() - 1), (survivor, merge.survivor_version())];
        let states: Vec<pb::Account> = journal::snapshots(db, ctx, &versions).await.map_err(asked::forgotten)?;
        let details = snapshot::followed(&mut db.for_tenant(ctx).await?, ctx, states, &[loser]).await?;
        let [survivor, loser, merged] = <[Details; 3]>::try_from(details).map_err(|_| Fault::internal("three snapshots were asked for"))?;
        Ok(Self { survivor, loser, merged })
    }
}
