//! Every statement about accounts.

use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Fault};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::model::Profile;
use super::{Account, COLLECTION, Details, Kind, Relationship};
use crate::contact_point;
use crate::external_id::{self, ExternalId};
use crate::merge;
use crate::owner::{self, Owner};

/// What [`read`] reads, of `accounts c`.
pub const COLUMNS: &str = "c.id, c.version, c.owner_kind, c.owner_id, c.kind, c.display_name, c.number, c.relationships, c.legal_entity_id, \
    c.parent_id, c.sector, c.profile, c.external_ids, c.tags, c.created_at, c.updated_at, c.deleted_at, \
    case when c.merged_into is not null then merged_account(c.tenant_id, c.merged_into) end";
/// Where access looks.
pub const TABLE: Table = Table { tenant: "c.tenant_id", id: "c.id", owner: "c.owner_id" };

/// The account in a row that begins with [`COLUMNS`].
///
/// # Errors
/// INTERNAL if the row is not what this build writes.
pub fn read(row: &PgRow) -> Result<Account, Fault> {
    let owner = owner::Kind::from_number(row.try_get(2)?).ok_or_else(|| Fault::internal("a stored owner is of no known kind"))?;
    let kind = Kind::from_number(row.try_get(4)?).ok_or_else(|| Fault::internal("a stored account is of no known kind"))?;
    let relationships: Vec<i16> = row.try_get(7)?;
    let details = Details {
        owner: Owner { kind: owner, id: row.try_get(3)? },
        display_name: row.try_get(5)?,
        relationships: relationships.into_iter().filter_map(Relationship::from_number).collect(),
        legal_entity: row.try_get(8)?,
        parent: row.try_get(9)?,
        sector: row.try_get(10)?,
        profile: row.try_get::<Json<Profile>, _>(11)?.0,
        external_ids: row.try_get::<Json<Vec<ExternalId>>, _>(12)?.0,
        tags: row.try_get(13)?,
    };
    Ok(Account {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        kind,
        number: row.try_get(6)?,
        details,
        created_at: row.try_get(14)?,
        updated_at: row.try_get(15)?,
        deleted_at: row.try_get(16)?,
        merged_into: row.try_get(17)?,
    })
}

/// `select … from accounts c where …` for the caller's tenant.
#[must_use]
pub fn select(ctx: &Ctx) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from accounts c where c.tenant_id = "));
    query.push_bind(ctx.tenant());
    query
}

/// The account, if it is in `scope`; deleted ones too.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<Account>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = ").push_bind(id);
    scope.push(&mut query, TABLE);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// Those of `ids` that are in `scope`, in no order.
///
/// # Errors
/// What the database answers.
pub async fn get_many(conn: &mut Conn, ctx: &Ctx, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Account>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = any(").push_bind(ids.to_vec()).push(")");
    scope.push(&mut query, TABLE);
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// The same, each with its id.
///
/// # Errors
/// What the database answers.
pub async fn get_each(conn: &mut Conn, ctx: &Ctx, scope: &Scope, ids: &[Uuid]) -> Result<Vec<(Uuid, Account)>, Fault> {
    let found = get_many(conn, ctx, scope, ids).await?;
    Ok(found.into_iter().map(|account| (account.id(), account)).collect())
}

/// The accounts of these `ids`, locked in the order of their ids until the transaction ends; in no scope yet.
///
/// # Errors
/// What the database answers.
pub async fn lock(conn: &mut Conn, ctx: &Ctx, ids: &[Uuid]) -> Result<Vec<Account>, Fault> {
    let mut query = select(ctx);
    query.push(" and c.id = any(").push_bind(ids.to_vec()).push(") order by c.id for update");
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// Those of `ids` that were merged, each with the account that goes on in its place; in no scope.
///
/// # Errors
/// What the database answers.
pub async fn merged(conn: &mut Conn, ctx: &Ctx, ids: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select id, merged_account(tenant_id, merged_into) as "into!" from accounts
           where tenant_id = $1 and id = any($2) and merged_into is not null"#,
        ctx.tenant(),
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.into)).collect())
}

/// Private customers among `accounts`, deleted ones too.
///
/// # Errors
/// What the database answers.
pub async fn private(conn: &mut Conn, ctx: &Ctx, accounts: &[Uuid]) -> Result<Vec<Uuid>, Fault> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let private = sqlx::query_scalar!("select id from accounts where tenant_id = $1 and id = any($2) and kind = 2", ctx.tenant(), accounts);
    Ok(private.fetch_all(conn).await?)
}

/// The live account that another system calls so, if it is in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn lookup(conn: &mut Conn, ctx: &Ctx, scope: &Scope, pair: &ExternalId) -> Result<Option<Account>, Fault> {
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

/// The live account into which the one was merged that another system calls so, if it is in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn lookup_merged(conn: &mut Conn, ctx: &Ctx, scope: &Scope, pair: &ExternalId) -> Result<Option<Account>, Fault> {
    let (systems, ids) = (std::slice::from_ref(&pair.system), std::slice::from_ref(&pair.id));
    let followed = merge::sql::followed(conn, ctx, crate::search::Kind::Account, systems, ids).await?;
    let Some((_, _, id)) = followed.last() else { return Ok(None) };
    get(conn, ctx, scope, *id).await
}

/// Writes a new account with its look-up rows and its journal entry.
///
/// # Errors
/// Those of `refusal`; what the database answers.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, account: &Account, entry: Entry) -> Result<(), Fault> {
    let details = account.details();
    let keys = Keys::of(account);
    sqlx::query!(
        "with w as (
           insert into accounts (tenant_id, id, version, owner_kind, owner_id, display_name, name_folded, relationships,
             legal_entity_id, parent_id, sector, profile, external_ids, tags, kind, number, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
           returning tenant_id, id
         )
         select kit.record($19), keep_keys(w.tenant_id, 'accounts', w.id, true, $20, $21, $22, $23, $14) from w",
        ctx.tenant(),
        account.id,
        account.version,
        details.owner.kind.number(),
        details.owner.id,
        details.display_name,
        details.name_folded(),
        &relationships(details),
        details.legal_entity,
        details.parent,
        details.sector,
        Json(&details.profile) as _,
        Json(&details.external_ids) as _,
        &details.tags,
        account.kind.number(),
        account.number,
        account.created_at,
        account.updated_at,
        entry as _,
        &keys.point_kinds,
        &keys.points,
        &keys.systems,
        &keys.ids,
    )
    .fetch_one(conn)
    .await
    .map_err(refusal)?;
    Ok(())
}

/// Writes a changed account with its look-up rows and its journal entry; false if somebody else changed it
/// since it was read.
///
/// # Errors
/// Those of `refusal`; what the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, account: &Account, entry: Entry) -> Result<bool, Fault> {
    let details = account.details();
    let keys = Keys::of(account);
    let written = sqlx::query!(
        "with w as (
           update accounts set version = $3::bigint, owner_kind = $4, owner_id = $5, display_name = $6, name_folded = $7, relationships = $8,
             legal_entity_id = $9, parent_id = $10, sector = $11, profile = $12, external_ids = $13, tags = $14,
             updated_at = $15, deleted_at = $16,
             merged_into = case when $16::timestamptz is null then null else coalesce(accounts.merged_into, $22) end
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1
           returning tenant_id, id, deleted_at is null as live
         )
         select kit.record($17), keep_keys(w.tenant_id, 'accounts', w.id, w.live, $18, $19, $20, $21, $14) from w",
        ctx.tenant(),
        account.id,
        account.version,
        details.owner.kind.number(),
        details.owner.id,
        details.display_name,
        details.name_folded(),
        &relationships(details),
        details.legal_entity,
        details.parent,
        details.sector,
        Json(&details.profile) as _,
        Json(&details.external_ids) as _,
        &details.tags,
        account.updated_at,
        account.deleted_at,
        entry as _,
        &keys.point_kinds,
        &keys.points,
        &keys.systems,
        &keys.ids,
        account.merged_into,
    )
    .fetch_optional(conn)
    .await
    .map_err(refusal)?;
    Ok(written.is_some())
}

/// The contract's word for a constraint that a write violated.
fn refusal(error: sqlx::Error) -> Fault {
    let fault = Fault::from(error);
    match fault.constraint() {
        Some("external_id_taken") => external_id::taken("account.external_ids"),
        _ => fault,
    }
}

/// What the look-up tables hold of an account.
struct Keys {
    point_kinds: Vec<i16>,
    points: Vec<String>,
    systems: Vec<String>,
    ids: Vec<String>,
}

impl Keys {
    fn of(account: &Account) -> Self {
        let details = account.details();
        let (point_kinds, points) = contact_point::keys(&details.profile.contact_points);
        let (systems, ids) = details.external_ids.iter().map(|id| (id.system.clone(), id.id.clone())).unzip();
        Self { point_kinds, points, systems, ids }
    }
}

fn relationships(details: &Details) -> Vec<i16> {
    details.relationships.iter().map(|relationship| relationship.number()).collect()
}
