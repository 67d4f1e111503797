//! Every statement about users.

use chrono::{DateTime, Utc};
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::{Conn, Tx};
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use secrecy::SecretString;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::convert::FIELDS;
use super::{Grant, User, email_key};
use crate::list::Listing;

pub(super) const TABLE: Table = Table { tenant: "u.tenant_id", id: "u.id", owner: "u.id" };

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "u.id, u.version, u.display_name, u.email, u.unit_id, u.disabled, u.locked_until, u.grants, u.locale, u.time_zone, \
             u.created_at, u.updated_at",
        from: " from users u where u.tenant_id = ",
        id: "u.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.user",
    scoped: Some(TABLE),
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    email: String,
    unit_id: Option<Uuid>,
    disabled: bool,
    locked_until: Option<DateTime<Utc>>,
    grants: Json<Vec<Grant>>,
    locale: String,
    time_zone: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            email: row.email,
            unit: row.unit_id,
            disabled: row.disabled,
            locked_until: row.locked_until,
            grants: row.grants.0,
            locale: row.locale,
            time_zone: row.time_zone,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A user with what signing in needs.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) user: User,
    pub(crate) password_hash: Option<SecretString>,
}

/// The user if it lies in `scope`; with `lock` it stands still until the transaction ends.
pub(crate) async fn visible(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid, lock: bool) -> Result<Option<User>, Fault> {
    let mut sql = QueryBuilder::new(format!("select {}{}", LISTING.of.columns, LISTING.of.from));
    sql.push_bind(ctx.tenant()).push(" and u.id = ").push_bind(id);
    scope.push(&mut sql, TABLE);
    if lock {
        sql.push(" for no key update of u");
    }
    let row: Option<Row> = sql.build_query_as().fetch_optional(conn).await?;
    Ok(row.map(User::from))
}

/// The user, whoever asks: for the caller's own and for what the service does by itself.
pub(crate) async fn find(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<User>, Fault> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, version, display_name, email, unit_id, disabled, locked_until, grants as "grants: Json<Vec<Grant>>", locale, time_zone,
             created_at, updated_at
           from users where tenant_id = $1 and id = $2"#,
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(conn).await?.map(User::from))
}

/// The user with this address, and the password's hash.
pub(crate) async fn credentials(conn: &mut Conn, ctx: &Ctx, email: &str) -> Result<Option<Credentials>, Fault> {
    let row = sqlx::query!("select id, password_hash from users where tenant_id = $1 and email_key = $2", ctx.tenant(), email_key(email))
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let user = find(conn, ctx, row.id).await?;
    Ok(user.map(|user| Credentials { user, password_hash: row.password_hash.map(SecretString::from) }))
}

/// Whether the user may still work under the password that was verified: it is neither disabled nor given another
/// one since. The user stands still until the transaction ends.
pub(crate) async fn holds_password(tx: &mut Tx, ctx: &Ctx, id: Uuid, verified_hash: &str) -> Result<bool, Fault> {
    let row = sqlx::query_scalar!(
        r#"select not disabled and password_hash is not distinct from $3 as "holds!" from users where tenant_id = $1 and id = $2 for no key update"#,
        ctx.tenant(),
        id,
        verified_hash
    );
    Ok(row.fetch_optional(tx.conn()).await?.unwrap_or(false))
}

/// Lets nobody else change the user with this address, if there is one, until the transaction ends.
pub(crate) async fn stand_still(tx: &mut Tx, ctx: &Ctx, email: &str) -> Result<(), Fault> {
    sqlx::query!("select from users where tenant_id = $1 and email_key = $2 for no key update", ctx.tenant(), email_key(email))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Stores a new user.
pub(super) async fn insert(db: &Db, ctx: &Ctx, user: &User, password_hash: Option<&str>, entries: &[Entry]) -> Result<(), Fault> {
    let mut tx = db.begin(ctx).await?;
    insert_in(&mut tx, ctx, user, password_hash).await?;
    sqlx::query_scalar!("select kit.record_all($1)", entries as _).fetch_one(tx.conn()).await?;
    tx.commit().await
}

/// Stores a new user, whose entries are recorded apart in the same transaction.
pub(crate) async fn insert_in(tx: &mut Tx, ctx: &Ctx, user: &User, password_hash: Option<&str>) -> Result<(), Fault> {
    sqlx::query!(
        "insert into users (tenant_id, id, version, display_name, name_folded, email, email_key, email_folded, unit_id, disabled, locked_until,
           grants, locale, time_zone, password_hash, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        ctx.tenant(),
        user.id,
        user.version,
        user.display_name,
        fold(&user.display_name),
        user.email,
        email_key(&user.email),
        fold(&user.email),
        user.unit,
        user.disabled,
        user.locked_until,
        Json(&user.grants) as _,
        user.locale,
        user.time_zone,
        password_hash,
        user.created_at,
        user.updated_at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores the next version; false if another one came first.
pub(crate) async fn update_in(conn: &mut Conn, ctx: &Ctx, user: &User, entries: &[Entry]) -> Result<bool, Fault> {
    let done = sqlx::query_scalar!(
        "with w as (
           update users set version = $3, display_name = $4, name_folded = $5, email = $6, email_key = $7, email_folded = $8, unit_id = $9,
             disabled = $10, locked_until = $11, grants = $12, locale = $13, time_zone = $14, updated_at = $15
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($16) from w",
        ctx.tenant(),
        user.id,
        user.version,
        user.display_name,
        fold(&user.display_name),
        user.email,
        email_key(&user.email),
        fold(&user.email),
        user.unit,
        user.disabled,
        user.locked_until,
        Json(&user.grants) as _,
        user.locale,
        user.time_zone,
        user.updated_at,
        entries as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// Replaces the password's hash.
pub(super) async fn store_hash(tx: &mut Tx, ctx: &Ctx, id: Uuid, password_hash: &str) -> Result<(), Fault> {
    sqlx::query!("update users set password_hash = $3 where tenant_id = $1 and id = $2", ctx.tenant(), id, password_hash).execute(tx.conn()).await?;
    Ok(())
}

/// Whether anybody but `id` administers the tenant. Stands in a transaction that locked the tenant.
pub(super) async fn other_administrator(tx: &mut Tx, ctx: &Ctx, id: Uuid, role: Uuid) -> Result<bool, Fault> {
    let other = sqlx::query_scalar!(
        r#"select exists (select from users where tenant_id = $1 and id <> $2 and not disabled
             and grants @> jsonb_build_array(jsonb_build_object('role', $3::text, 'level', 'all'))) as "other!""#,
        ctx.tenant(),
        id,
        role.to_string()
    );
    Ok(other.fetch_one(tx.conn()).await?)
}
