//! Merging contacts and taking it back: lock, decide, write all in one transaction.

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::Scope;
use rapport_kit::db::Conn;
use rapport_kit::journal::{self, Record};
use rapport_kit::{Ctx, Db, Fault, clock, command, name};
use uuid::Uuid;

use super::asked::{self, Asked};
use super::model::Pair;
use super::{Merge, Refusal, shares, sql};
use crate::contact::{self, COLLECTION, Contact, Details, Fact, RESOURCE, snapshot};
use crate::duplicate::check::Guard;
use crate::duplicate::{Profile, Rules, follow};
use crate::search::Kind;
use crate::{batch, events};

const READ: &str = "contacts.contact.read";
const UPDATE: &str = "contacts.contact.update";
const DELETE: &str = "contacts.contact.delete";

/// Merges, in one transaction.
///
/// # Errors
/// Those of `MergeContacts`; what the database answers.
pub async fn merge(db: &Db, rules: &Rules, ctx: &Ctx, asked: &Asked) -> Result<Merge, Fault> {
    let guard = Guard::of(rules, db, ctx, Kind::Contact).await?;
    let mut tx = db.begin(ctx).await?;
    let conn = tx.conn();
    let (mut survivor, mut loser) = locked(conn, ctx, asked.survivor, asked.loser).await?;
    let details = decide(conn, ctx, asked, &survivor, &loser).await?;
    loser.merge_into(survivor.id(), ctx.now())?;
    survivor.settle_merge(details, ctx.now())?;
    let pair = Pair { survivor: (survivor.id(), survivor.version()), loser: (loser.id(), loser.version()) };
    let (merge, fact) = Merge::create(clock::new_id(), COLLECTION, pair, &asked.from_loser, ctx.actor().subject(), ctx.now());
    // The loser first: it gives up external ids and its place with private customers, of which there is one.
    write(conn, ctx, &guard, &loser, events::contact(ctx, &loser, Fact::Deleted)?).await?;
    write(conn, ctx, &guard, &survivor, events::contact_merged(ctx, &survivor, &merge)?).await?;
    shares::give(conn, ctx, record(&survivor), loser.id()).await?;
    follow::to_survivor(conn, ctx, Kind::Contact, survivor.id(), loser.id()).await?;
    sql::insert(conn, ctx, &merge, events::merge(ctx, &merge, fact, Vec::new())?).await?;
    tx.commit().await?;
    Ok(merge)
}

/// What the survivor would be, and the paths of what both have and that differs. Whoever is shown a record has to be
/// allowed to read it, besides what a merge asks for.
///
/// # Errors
/// Those of `MergeContacts`; what the database answers.
pub async fn preview(db: &Db, ctx: &Ctx, asked: &Asked) -> Result<pb::PreviewMergeContactsResponse, Fault> {
    let conn = &mut db.for_tenant(ctx).await?;
    let found = contact::sql::get_many(conn, ctx, &ctx.scope_of(READ), &[asked.survivor, asked.loser]).await?;
    let (survivor, loser) = permitted_pair(conn, ctx, found, asked.survivor, asked.loser).await?;
    let details = decide(conn, ctx, asked, &survivor, &loser).await?;
    let rules = ctx.fields(RESOURCE);
    let mut conflicts = contact::merge::conflicts(survivor.details(), loser.details());
    conflicts.retain(|path| rules.require_readable(path).is_ok());
    let etag = command::etag(survivor.version());
    let mut settled = survivor;
    settled.settle_merge(details, ctx.now())?;
    let mut shown = pb::Contact { etag, ..contact::convert::to_proto(settled) };
    contact::convert::hide(&mut shown, rules);
    Ok(pb::PreviewMergeContactsResponse { survivor: Some(shown), conflicts: conflicts.into_iter().map(str::to_owned).collect() })
}

/// Takes a merge back, in one transaction.
///
/// # Errors
/// Those of `UnmergeContacts`; what the database answers.
pub async fn unmerge(db: &Db, rules: &Rules, ctx: &Ctx, mut merge: Merge, etag: &str) -> Result<Merge, Fault> {
    command::require_etag(etag, merge.version(), || merge.name())?;
    let fact = merge.undo(ctx.now())?;
    // What the journal says of the past stays, so it is read before anything is locked.
    let before = Before::read(db, ctx, &merge).await?;
    let guard = Guard::of(rules, db, ctx, Kind::Contact).await?;
    let shares = shares::given(db, ctx, merge.survivor(), merge.survivor_version()).await?;
    let mut tx = db.begin(ctx).await?;
    let conn = tx.conn();
    let (mut survivor, mut loser) = locked(conn, ctx, merge.survivor(), merge.loser()).await?;
    // Behind the locks: whoever took the merge back meanwhile has released them.
    if !sql::update(conn, ctx, &merge, events::merge(ctx, &merge, fact, Vec::new())?).await? {
        return Err(command::lost_race(etag, merge.name()));
    }
    require_live(conn, ctx, &survivor).await?;
    if sql::has_later(conn, ctx, &merge).await? {
        return Err(Refusal::NotLast.into());
    }
    let parted = contact::merge::unmerged(&before.survivor, &before.loser, &before.merged, survivor.details());
    let (of_survivor, of_loser) = parted.map_err(|problem| asked::too_many(ctx, RESOURCE, problem))?;
    survivor.settle_merge(of_survivor, ctx.now())?;
    let returned = loser.leave_merge(of_loser, ctx.now());
    // The survivor first: it gives up what the loser takes.
    write(conn, ctx, &guard, &survivor, events::contact_unmerged(ctx, &survivor, &merge)?).await?;
    write(conn, ctx, &guard, &loser, events::contact(ctx, &loser, returned)?).await?;
    shares::take_back(conn, ctx, record(&survivor), &shares).await?;
    tx.commit().await?;
    Ok(merge)
}

/// The survivor's details after the merge.
async fn decide(conn: &mut Conn, ctx: &Ctx, asked: &Asked, survivor: &Contact, loser: &Contact) -> Result<Details, Fault> {
    asked.require_etags(COLLECTION, survivor.version(), loser.version())?;
    require_live(conn, ctx, survivor).await?;
    require_live(conn, ctx, loser).await?;
    let details = contact::merge::merged(survivor.details(), loser.details(), &asked.from_loser);
    let details = details.map_err(|problem| asked::too_many(ctx, RESOURCE, problem))?;
    contact::rpc::require_no_live(conn, ctx, &survivor.details().leaves(&details.accounts)).await?;
    Ok(details)
}

/// Both contacts, locked until the transaction ends, if the caller may do to each what a merge does to it.
async fn locked(conn: &mut Conn, ctx: &Ctx, survivor: Uuid, loser: Uuid) -> Result<(Contact, Contact), Fault> {
    let found = contact::sql::lock(conn, ctx, &[survivor, loser]).await?;
    permitted_pair(conn, ctx, found, survivor, loser).await
}

async fn permitted_pair(conn: &mut Conn, ctx: &Ctx, mut found: Vec<Contact>, survivor: Uuid, loser: Uuid) -> Result<(Contact, Contact), Fault> {
    let mut take = |id: Uuid| found.iter().position(|contact| contact.id() == id).map(|at| found.swap_remove(at));
    let (one, other) = (take(survivor), take(loser));
    let one = permitted(conn, ctx, survivor, one, &ctx.scope_of(UPDATE)).await?;
    let other = permitted(conn, ctx, loser, other, &ctx.scope_of(DELETE)).await?;
    Ok((one, other))
}

async fn permitted(conn: &mut Conn, ctx: &Ctx, id: Uuid, found: Option<Contact>, scope: &Scope) -> Result<Contact, Fault> {
    let name = name::format(COLLECTION, id);
    let Some(contact) = found else { return Err(Fault::not_found(name)) };
    for scope in [scope, &ctx.scope()] {
        if scope.is_everything() || contact::sql::get(conn, ctx, scope, id).await?.is_some() {
            continue;
        }
        let is_readable = contact::sql::get(conn, ctx, &ctx.scope_of(READ), id).await?.is_some();
        return Err(if is_readable { batch::read_only(&name) } else { Fault::not_found(name) });
    }
    Ok(contact)
}

/// Refuses a contact that lies in the bin or was merged itself.
async fn require_live(conn: &mut Conn, ctx: &Ctx, contact: &Contact) -> Result<(), Fault> {
    contact::rpc::require_unmerged(conn, ctx, contact).await?;
    if contact.is_deleted() { Err(contact::Refusal::Deleted.into()) } else { Ok(()) }
}

/// Writes a contact that is locked, so that nobody else has changed it.
async fn write(conn: &mut Conn, ctx: &Ctx, guard: &Guard, contact: &Contact, entry: journal::Entry) -> Result<(), Fault> {
    let keys = guard.keys(|| if contact.is_deleted() { Profile::default() } else { Profile::from(contact) });
    if contact::sql::update(conn, ctx, contact, entry, keys.as_deref()).await? { Ok(()) } else { Err(Fault::contended()) }
}

fn record(contact: &Contact) -> Record {
    Record { collection: COLLECTION, id: contact.id(), version: contact.version() }
}

/// What both contacts were before a merge, and the survivor right after it.
struct Before {
    survivor: Details,
    loser: Details,
    merged: Details,
}

impl Before {
    async fn read(db: &Db, ctx: &Ctx, merge: &Merge) -> Result<Self, Fault> {
        let (survivor, loser) = (merge.survivor(), merge.loser());
        let versions = [(survivor, merge.survivor_version() - 1), (loser, merge.loser_version() - 1), (survivor, merge.survivor_version())];
        let states: Vec<pb::Contact> = journal::snapshots(db, ctx, &versions).await.map_err(asked::forgotten)?;
        let details = snapshot::followed(&mut db.for_tenant(ctx).await?, ctx, states, &[]).await?;
        let [survivor, loser, merged] = <[Details; 3]>::try_from(details).map_err(|_| Fault::internal("three snapshots were asked for"))?;
        Ok(Self { survivor, loser, merged })
    }
}
