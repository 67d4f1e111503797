//! What names the loser of a merge of accounts: accounts below it, and contacts that act for it. They name the survivor from
//! then on, and the loser again once the merge is taken back.
//!
//! Guarantees: every live record that names the loser is moved with the merge, or nothing is; each has a version and a fact of
//! its own. The event of the merge names them, with the versions that it made. Of contacts only the roles at both accounts are
//! touched. At most 1,000 records.

use std::collections::{HashMap, HashSet};

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::journal;
use rapport_kit::{Ctx, Db, Fault, command, name};
use rapport_proto::Event;
use uuid::Uuid;

use super::{Merge, asked};
use crate::account::{self, Account};
use crate::contact::{self, AccountRole, Contact, roles, snapshot};
use crate::{events, limits};

/// Records that one merge moves at most.
const MOST: usize = 1000;
/// Contacts whose past is read at a time.
const AT_A_TIME: usize = 100;

/// Ids of records that name an account.
#[derive(Debug)]
pub struct Named {
    accounts: Vec<Uuid>,
    contacts: Vec<Uuid>,
}

/// The same records, locked.
#[derive(Debug)]
pub struct Held {
    accounts: Vec<Account>,
    contacts: Vec<Contact>,
}

/// What a merge moved.
#[derive(Debug)]
pub struct Past {
    accounts: Vec<Uuid>,
    /// Of those that are live.
    contacts: HashMap<Uuid, Roles>,
}

/// Roles before a merge and right after it.
pub(super) type Roles = (Vec<AccountRole>, Vec<AccountRole>);

/// Live records that name `account`; of each kind at most one more than a merge moves.
///
/// # Errors
/// What the database answers.
pub async fn named(conn: &mut Conn, ctx: &Ctx, account: Uuid) -> Result<Named, Fault> {
    let limit = i64::try_from(MOST + 1).map_err(Fault::internal)?;
    let accounts = account::tree::children(conn, ctx, account, limit).await?;
    let contacts = sqlx::query_scalar!(
        "select c.id from contact_accounts k join contacts c on c.tenant_id = k.tenant_id and c.id = k.contact_id
         where k.tenant_id = $1 and k.account_id = $2 and c.deleted_at is null order by c.id limit $3",
        ctx.tenant(),
        account,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(Named { accounts, contacts })
}

/// Locks those records and `pair`, which is answered apart: contacts first, because who changes one holds it before the
/// accounts that it names.
///
/// # Errors
/// What the database answers.
pub async fn lock(conn: &mut Conn, ctx: &Ctx, pair: &[Uuid], named: &Named) -> Result<(Vec<Account>, Held), Fault> {
    let contacts = if named.contacts.is_empty() { Vec::new() } else { contact::sql::lock(conn, ctx, &named.contacts).await? };
    // The survivor may lie below the loser, and be one of those that name it.
    let ids: Vec<Uuid> = pair.iter().chain(&named.accounts).copied().collect();
    let found = account::sql::lock(conn, ctx, &ids).await?;
    let (pair, accounts) = found.into_iter().partition(|account| pair.contains(&account.id()));
    Ok((pair, Held { accounts, contacts }))
}

/// Refuses to make one of two private customers with a contact each.
///
/// # Errors
/// FAILED_PRECONDITION (PERSON_ACCOUNT_HAS_CONTACT).
pub async fn require_one_person(conn: &mut Conn, ctx: &Ctx, survivor: Uuid, loser: Uuid) -> Result<(), Fault> {
    let people = sqlx::query_scalar!(
        r#"select count(distinct contact_id) as "people!" from contact_accounts where tenant_id = $1 and account_id = any(array[$2, $3]::uuid[]) and sole"#,
        ctx.tenant(),
        survivor,
        loser
    )
    .fetch_one(conn)
    .await?;
    if people <= 1 {
        return Ok(());
    }
    Err(Fault::precondition(
        "PERSON_ACCOUNT_HAS_CONTACT",
        "Each of the private customers has a contact, and may have one; merge these two contacts first.",
    ))
}

impl Named {
    /// Whether none was added to `earlier`.
    #[must_use]
    pub fn are_among(&self, earlier: &Self) -> bool {
        let known: HashSet<&Uuid> = earlier.accounts.iter().chain(&earlier.contacts).collect();
        self.accounts.iter().chain(&self.contacts).all(|id| known.contains(id))
    }

    /// Refuses more than one merge moves.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (MERGE_TOO_LARGE).
    pub fn require_few(&self) -> Result<(), Fault> {
        if self.accounts.len() + self.contacts.len() <= MOST {
            return Ok(());
        }
        let text = format!("More than {MOST} accounts and contacts name the loser; make it the survivor, or move some of them first.");
        Err(Fault::precondition("MERGE_TOO_LARGE", text).with("max", MOST.to_string()))
    }
}

impl Held {
    /// Has each name the survivor in the place of the loser; answers what the event of the merge tells.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn go_to_survivor(&mut self, conn: &mut Conn, ctx: &Ctx, loser: Uuid, survivor: Uuid) -> Result<Vec<pb::MovedRecord>, Fault> {
        let mut moved = Vec::with_capacity(self.accounts.len() + self.contacts.len());
        for account in self.accounts.iter_mut().filter(|account| account.details().parent == Some(loser)) {
            if place(conn, ctx, account, survivor).await? {
                moved.push(pb::MovedRecord { name: account.name(), etag: command::etag(account.version()) });
            }
        }
        for contact in &mut self.contacts {
            let roles = roles::moved(&contact.details().accounts, loser, survivor);
            if act(conn, ctx, contact, roles).await? {
                moved.push(pb::MovedRecord { name: contact.name(), etag: command::etag(contact.version()) });
            }
        }
        Ok(moved)
    }

    /// Has those name the loser again that still name the survivor as the merge left them; see [`roles::parted`].
    ///
    /// # Errors
    /// FAILED_PRECONDITION (MERGE_TOO_LARGE); what the database answers.
    pub async fn go_back(&mut self, conn: &mut Conn, ctx: &Ctx, past: &Past, loser: Uuid, survivor: Uuid) -> Result<(), Fault> {
        for account in self.accounts.iter_mut().filter(|account| account.details().parent == Some(survivor)) {
            place(conn, ctx, account, loser).await?;
        }
        for contact in &mut self.contacts {
            let Some((before, merged)) = past.contacts.get(&contact.id()) else { continue };
            let parted = roles::parted(before, merged, &contact.details().accounts, loser, survivor);
            let roles = parted.map_err(|problem| {
                let text = format!("A contact would act for more than {} accounts; end some of its roles first.", problem.max);
                Fault::precondition("MERGE_TOO_LARGE", text).with("max", limits::ACCOUNT_ROLES.to_string())
            })?;
            act(conn, ctx, contact, roles).await?;
        }
        Ok(())
    }
}

impl Past {
    /// What the event of `merge` names, and the roles of its contacts, from the journal.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (MERGE_TOO_OLD) if it is forgotten, (MERGE_NOT_LAST) if one that it moved was merged since; what
    /// the database answers.
    pub async fn read(db: &Db, ctx: &Ctx, merge: &Merge) -> Result<Self, Fault> {
        let moved = told(db, ctx, merge.id()).await?.ok_or_else(|| Fault::from(super::Refusal::TooOld))?;
        let mut past = Self { accounts: Vec::new(), contacts: HashMap::new() };
        let mut contacts = Vec::new();
        for record in moved {
            match (name::split(&record.name), record.etag.parse::<i64>()) {
                (Some((account::COLLECTION, id)), _) => past.accounts.push(id),
                (Some((contact::COLLECTION, id)), Ok(version)) => contacts.push((id, version)),
                _ => return Err(Fault::internal("a moved record cannot be read")),
            }
        }
        let ids: Vec<Uuid> = contacts.iter().map(|(id, _)| *id).collect();
        // Of one that went on in another since, that merge holds what it was: it would come back with the survivor's.
        if is_any_merged(&mut db.for_tenant(ctx).await?, ctx, &ids, &past.accounts).await? {
            let text = "A contact or account that this merge moved was merged into another since; take that merge back first.";
            return Err(Fault::precondition("MERGE_NOT_LAST", text));
        }
        let live = live(&mut db.for_tenant(ctx).await?, ctx, &ids).await?;
        contacts.retain(|(id, _)| live.contains(id));
        for some in contacts.chunks(AT_A_TIME) {
            past.contacts.extend(roles_of(db, ctx, some, merge.survivor(), merge.loser()).await?);
        }
        Ok(past)
    }

    /// What is to be locked.
    #[must_use]
    pub fn named(&self) -> Named {
        let mut contacts: Vec<Uuid> = self.contacts.keys().copied().collect();
        contacts.sort_unstable();
        Named { accounts: self.accounts.clone(), contacts }
    }
}

async fn is_any_merged(conn: &mut Conn, ctx: &Ctx, contacts: &[Uuid], accounts: &[Uuid]) -> Result<bool, Fault> {
    let is_any = sqlx::query_scalar!(
        r#"select exists (select from contacts where tenant_id = $1 and id = any($2) and merged_into is not null)
           or exists (select from accounts where tenant_id = $1 and id = any($3) and merged_into is not null) as "is_any!""#,
        ctx.tenant(),
        contacts,
        accounts
    )
    .fetch_one(conn)
    .await?;
    Ok(is_any)
}

async fn live(conn: &mut Conn, ctx: &Ctx, contacts: &[Uuid]) -> Result<HashSet<Uuid>, Fault> {
    let live = sqlx::query_scalar!("select id from contacts where tenant_id = $1 and id = any($2) and deleted_at is null", ctx.tenant(), contacts)
        .fetch_all(conn)
        .await?;
    Ok(live.into_iter().collect())
}

/// What the event of a merge says that it moved; none if the journal has forgotten it.
pub(super) async fn told(db: &Db, ctx: &Ctx, merge: Uuid) -> Result<Option<Vec<pb::MovedRecord>>, Fault> {
    let facts = journal::changes(db, ctx, merge, None, 2).await?;
    let created = facts.into_iter().find(|fact| fact.fact == pb::MergeCreated::KEY).and_then(|fact| fact.message);
    let event = created.map(|message| pb::MergeCreated::decode(message.as_slice())).transpose().map_err(Fault::internal)?;
    Ok(event.map(|event| event.moved))
}

/// The roles of contacts before the versions that a merge made and right after.
pub(super) async fn roles_of(db: &Db, ctx: &Ctx, contacts: &[(Uuid, i64)], survivor: Uuid, loser: Uuid) -> Result<Vec<(Uuid, Roles)>, Fault> {
    let versions: Vec<(Uuid, i64)> = contacts.iter().flat_map(|(id, version)| [(*id, version - 1), (*id, *version)]).collect();
    let states: Vec<pb::Contact> = journal::snapshots(db, ctx, &versions).await.map_err(asked::forgotten)?;
    let past = snapshot::followed(&mut db.for_tenant(ctx).await?, ctx, states, &[survivor, loser]).await?;
    let mut roles = past.into_iter().map(|details| details.accounts);
    Ok(contacts.iter().filter_map(|(id, _)| Some((*id, (roles.next()?, roles.next()?)))).collect())
}

/// Puts an account below `parent`; false if it lies in the bin or is there already.
async fn place(conn: &mut Conn, ctx: &Ctx, account: &mut Account, parent: Uuid) -> Result<bool, Fault> {
    let details = account::Details { parent: Some(parent), ..account.details().clone() };
    if account.is_deleted() {
        return Ok(false);
    }
    let Some(fact) = account.change(details, ctx.now())? else { return Ok(false) };
    let entry = events::unkeyed(events::account(ctx, account, fact)?);
    if account::sql::update(conn, ctx, account, entry).await? { Ok(true) } else { Err(Fault::contended()) }
}

/// Gives a contact other roles; false if it lies in the bin or has these already.
async fn act(conn: &mut Conn, ctx: &Ctx, contact: &mut Contact, roles: Vec<AccountRole>) -> Result<bool, Fault> {
    let details = contact::Details { accounts: roles, ..contact.details().clone() };
    if contact.is_deleted() {
        return Ok(false);
    }
    let Some(fact) = contact.change(details, ctx.now())? else { return Ok(false) };
    let entry = events::unkeyed(events::contact(ctx, contact, fact)?);
    if contact::sql::update(conn, ctx, contact, entry, None).await? { Ok(true) } else { Err(Fault::contended()) }
}
