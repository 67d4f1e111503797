//! Every statement about contacts.

use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Fault};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{AccountRole, COLLECTION, Contact, Details, Person};
use crate::contact_point;
use crate::external_id::{self, ExternalId};
use crate::merge;
use crate::owner::{self, Owner};

/// What [`read`] reads, of `contacts c`.
pub const COLUMNS: &str = "c.id, c.version, c.owner_kind, c.owner_id, c.person, c.account_roles, c.external_ids, c.tags, \
    c.created_at, c.updated_at, c.deleted_at, case when c.merged_into is not null then merged_contact(c.tenant_id, c.merged_into) end";
/// Where access looks.
pub const TABLE: Table = Table { tenant: "c.tenant_id", id: "c.id", owner: "c.owner_id" };

/// The contact in a row that begins with [`COLUMNS`]. Read by position, because looking columns up by name costs
/// a page of contacts a tenth of its time.
///
/// # Errors
/// INTERNAL if the row is not what this build writes.
pub fn read(row: &PgRow) -> Result<Contact, Fault> {
    let kind = owner::Kind::from_number(row.try_get(2)?).ok_or_else(|| Fault::internal("a stored owner is of no known kind"))?;
    let details = Details {
        owner: Owner { kind, id: row.try_get(3)? },
        person: row.try_get::<Json<Person>, _>(4)?.0,
        accounts: row.try_get::<Json<Vec<AccountRole>>, _>(5)?.0,
        external_ids: row.try_get::<Json<Vec<ExternalId>>, _>(6)?.0,
        tags: row.try_get(7)?,
    };
    Ok(Contact {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        details,
        created_at: row.try_get(8)?,
        updated_at: row.try_get(9)?,
        deleted_at: row.try_get(10)?,
        merged_into: row.try_get(11)?,
    })
}

/// `select … from contacts c where …` for the caller's tenant.
#[must_use]
pub fn select(ctx: &Ctx) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from contacts c where c.tenant_id = "));
    query.push_bind(ctx.tenant());
    query
}

/// The contact, if it is in `scope`; deleted ones too.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<Contact>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = ").push_bind(id);
    scope.push(&mut query, TABLE);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// Those of `ids` that are in `scope`, in no order.
///
/// # Errors
/// What the database answers.
pub async fn get_many(conn: &mut Conn, ctx: &Ctx, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Contact>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = any(").push_bind(ids.to_vec()).push(")");
    scope.push(&mut query, TABLE);
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// The same, each with its id.
///
/// # Errors
/// What the database answers.
pub async fn get_each(conn: &mut Conn, ctx: &Ctx, scope: &Scope, ids: &[Uuid]) -> Result<Vec<(Uuid, Contact)>, Fault> {
    let found = get_many(conn, ctx, scope, ids).await?;
    Ok(found.into_iter().map(|contact| (contact.id(), contact)).collect())
}

/// The contacts of these `ids`, locked in the order of their ids until the transaction ends; in no scope yet.
///
/// # Errors
/// What the database answers.
pub async fn lock(conn: &mut Conn, ctx: &Ctx, ids: &[Uuid]) -> Result<Vec<Contact>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = any(").push_bind(ids.to_vec()).push(") order by c.id for update");
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// The live contact that another system calls so, if it is in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn lookup(conn: &mut Conn, ctx: &Ctx, scope: &Scope, pair: &ExternalId) -> Result<Option<Contact>, Fault> {
    let mut query = select(ctx);
    query
        .push(" and c.id = (select e.record_id from external_ids e where e.live and e.tenant_id = ")
        .push_bind(ctx.tenant())
        .push(" and e.collection = ")
        .push_bind(COLLECTION)
        .push(" and e.system = ")
        .push_bind(pair.system.clone())
        .push(" and e.external_id = ")
        .push_bind(pair.id.clone())
        .push(")");
    scope.push(&mut query, TABLE);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// The live contact into which the one was merged that another system calls so, if it is in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn lookup_merged(conn: &mut Conn, ctx: &Ctx, scope: &Scope, pair: &ExternalId) -> Result<Option<Contact>, Fault> {
    let (systems, ids) = (std::slice::from_ref(&pair.system), std::slice::from_ref(&pair.id));
    let followed = merge::sql::followed(conn, ctx, crate::search::Kind::Contact, systems, ids).await?;
    let Some((_, _, id)) = followed.last() else { return Ok(None) };
    get(conn, ctx, scope, *id).await
}

/// Private customers among `accounts` that are live.
///
/// # Errors
/// What the database answers.
pub async fn live_accounts(conn: &mut Conn, ctx: &Ctx, accounts: &[Uuid]) -> Result<Vec<Uuid>, Fault> {
    let live = sqlx::query_scalar!("select id from accounts where tenant_id = $1 and id = any($2) and deleted_at is null", ctx.tenant(), accounts)
        .fetch_all(conn)
        .await?;
    Ok(live)
}

/// Writes a new contact with its look-up rows and its journal entry; with the keys under which it meets duplicates, unless
/// they are left to the task.
///
/// # Errors
/// Those of `refusal`; what the database answers.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, contact: &Contact, entry: Entry, duplicate_keys: Option<&[i64]>) -> Result<(), Fault> {
    let details = contact.details();
    let keys = Keys::of(contact);
    sqlx::query!(
        "with w as (
           insert into contacts (tenant_id, id, version, owner_kind, owner_id, person, family_folded, given_folded, language,
             account_roles, external_ids, tags, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
           returning tenant_id, id
         )
         select kit.record($15), keep_keys(w.tenant_id, 'contacts', w.id, true, $16, $17, $18, $19, $12),
           keep_contact_accounts(w.tenant_id, w.id, $20, $21), keep_duplicate_keys(w.tenant_id, w.id, $22) from w",
        ctx.tenant(),
        contact.id,
        contact.version,
        details.owner.kind.number(),
        details.owner.id,
        Json(&details.person) as _,
        details.person.family_folded(),
        details.person.given_folded(),
        details.person.language,
        Json(&details.accounts) as _,
        Json(&details.external_ids) as _,
        &details.tags,
        contact.created_at,
        contact.updated_at,
        entry as _,
        &keys.point_kinds,
        &keys.points,
        &keys.systems,
        &keys.ids,
        &keys.accounts,
        &keys.soles,
        duplicate_keys,
    )
    .fetch_one(conn)
    .await
    .map_err(refusal)?;
    Ok(())
}

/// Writes a changed contact with its look-up rows and its journal entry; false if somebody else changed it
/// since it was read. Keys as in [`insert`].
///
/// # Errors
/// Those of `refusal`; what the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, contact: &Contact, entry: Entry, duplicate_keys: Option<&[i64]>) -> Result<bool, Fault> {
    let details = contact.details();
    let keys = Keys::of(contact);
    let written = sqlx::query!(
        "with w as (
           update contacts set version = $3::bigint, owner_kind = $4, owner_id = $5, person = $6, family_folded = $7, given_folded = $8,
             language = $9, account_roles = $10, external_ids = $11, tags = $12, updated_at = $13, deleted_at = $14,
             merged_into = case when $14::timestamptz is null then null else coalesce(contacts.merged_into, $22) end
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1
           returning tenant_id, id, deleted_at is null as live
         )
         select kit.record($15), keep_keys(w.tenant_id, 'contacts', w.id, w.live, $16, $17, $18, $19, $12),
           keep_contact_accounts(w.tenant_id, w.id, $20, $21), keep_duplicate_keys(w.tenant_id, w.id, $23) from w",
        ctx.tenant(),
        contact.id,
        contact.version,
        details.owner.kind.number(),
        details.owner.id,
        Json(&details.person) as _,
        details.person.family_folded(),
        details.person.given_folded(),
        details.person.language,
        Json(&details.accounts) as _,
        Json(&details.external_ids) as _,
        &details.tags,
        contact.updated_at,
        contact.deleted_at,
        entry as _,
        &keys.point_kinds,
        &keys.points,
        &keys.systems,
        &keys.ids,
        &keys.accounts,
        &keys.soles,
        contact.merged_into,
        duplicate_keys,
    )
    .fetch_optional(conn)
    .await
    .map_err(refusal)?;
    Ok(written.is_some())
}

/// The contract's word for a constraint that a write violated.
pub(super) fn refusal(error: sqlx::Error) -> Fault {
    let fault = Fault::from(error);
    match fault.constraint() {
        // One of its accounts was merged in this moment; decided anew, the contact gets the one that goes on.
        Some("contact_account_merged") => Fault::contended(),
        Some("external_id_taken") => external_id::taken("contact.external_ids"),
        Some("person_account_contact") => has_contact(),
        _ => fault,
    }
}

/// The refusal of a second contact of a private customer.
#[must_use]
pub fn has_contact() -> Fault {
    Fault::precondition(
        "PERSON_ACCOUNT_HAS_CONTACT",
        "A private customer has one contact and this one has it already; leave the account out of contact.accounts.",
    )
    .with("field", "contact.accounts")
}

/// What the look-up tables hold of a contact.
pub(super) struct Keys {
    pub(super) point_kinds: Vec<i16>,
    pub(super) points: Vec<String>,
    pub(super) systems: Vec<String>,
    pub(super) ids: Vec<String>,
    pub(super) accounts: Vec<Uuid>,
    pub(super) soles: Vec<bool>,
}

impl Keys {
    pub(super) fn of(contact: &Contact) -> Self {
        let details = contact.details();
        let (point_kinds, points) = contact_point::keys(&details.person.contact_points);
        let (systems, ids) = details.external_ids.iter().map(|id| (id.system.clone(), id.id.clone())).unzip();
        let mut links: Vec<(Uuid, bool)> = details.accounts.iter().map(|role| (role.account, role.sole && !contact.is_deleted())).collect();
        links.sort_unstable();
        links.dedup();
        let (accounts, soles) = links.into_iter().unzip();
        Self { point_kinds, points, systems, ids, accounts, soles }
    }
}
