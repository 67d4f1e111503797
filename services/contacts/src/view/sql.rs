//! Every statement about views.

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{FieldRules, Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::filter::{Column, Field, Kind, fold};
use rapport_kit::journal::Entry;
use rapport_kit::list::{self, Asked, Listing};
use rapport_kit::{Ctx, Db, Fault};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{Details, View, Visibility, convert};
use crate::owner::{self, Owner};

/// What lists can be filtered by.
const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("v.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "collection", column: Column::Plain("v.collection"), kind: Kind::Text, sort: false },
    Field { path: "visibility", column: Column::Plain("v.visibility"), kind: Kind::Enum(VISIBILITIES), sort: false },
    Field { path: "owner", column: Column::Plain("v.owner_id"), kind: Kind::AnyUuid { collections: owner::COLLECTIONS }, sort: false },
    Field { path: "create_time", column: Column::Plain("v.created_at"), kind: Kind::Time, sort: true },
    Field { path: "update_time", column: Column::Plain("v.updated_at"), kind: Kind::Time, sort: true },
];
const VISIBILITIES: &[(&str, i16)] = &[("VISIBILITY_PRIVATE", 1), ("VISIBILITY_TEAM", 2), ("VISIBILITY_ALL", 3)];
const COLUMNS: &str = "v.id, v.version, v.owner_kind, v.owner_id, v.display_name, v.collection, v.filter, v.order_by, v.columns, v.visibility, \
    v.team_id, v.created_at, v.updated_at";
const LISTING: Listing =
    Listing { columns: COLUMNS, from: " from views v where v.tenant_id = ", id: "v.id", fields: FIELDS, search: None, order: "display_name" };
const TABLE: Table = Table { tenant: "v.tenant_id", id: "v.id", owner: "v.owner_id" };

fn read(row: &PgRow) -> Result<View, Fault> {
    let kind = owner::Kind::from_number(row.try_get(2)?).ok_or_else(|| Fault::internal("a stored owner is of no known kind"))?;
    let visibility =
        Visibility::from_stored(row.try_get(9)?, row.try_get(10)?).ok_or_else(|| Fault::internal("a stored view is seen by nobody known"))?;
    let details = Details {
        display_name: row.try_get(4)?,
        collection: row.try_get(5)?,
        filter: row.try_get(6)?,
        order_by: row.try_get(7)?,
        columns: row.try_get(8)?,
        visibility,
    };
    Ok(View {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        owner: Owner { kind, id: row.try_get(3)? },
        details,
        created_at: row.try_get(11)?,
        updated_at: row.try_get(12)?,
    })
}

/// Appends ` and (…)`, true for the views that the caller sees.
fn push_seen(query: &mut QueryBuilder<Postgres>, ctx: &Ctx) {
    query.push(" and (v.owner_id = ").push_bind(ctx.subject()).push(" or v.visibility = 3 or v.visibility = 2 and v.team_id = any(");
    query.push_bind(ctx.access().groups.clone()).push("))");
}

/// The view, if the caller sees it and it is in `scope` where one is asked for.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, scope: Option<&Scope>, id: Uuid) -> Result<Option<View>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from views v where v.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and v.id = ").push_bind(id);
    push_seen(&mut query, ctx);
    if let Some(scope) = scope {
        scope.push(&mut query, TABLE);
    }
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// A page of the views that the caller sees.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListViewsRequest) -> Result<pb::ListViewsResponse, Fault> {
    let pb::ListViewsRequest { page_size, page_token, filter, order_by } = request;
    let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
    // Views are shown whole: there are no rules on their fields.
    let rules = FieldRules::none();
    let (rows, next_page_token) = list::page(db, ctx, &LISTING, asked, &rules, |query| push_seen(query, ctx)).await?;

    let views: Result<Vec<View>, Fault> = rows.iter().map(read).collect();
    Ok(pb::ListViewsResponse { views: views?.iter().map(convert::to_proto).collect(), next_page_token })
}

/// Writes a new view with its journal entry.
///
/// # Errors
/// What the database answers.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, view: &View, entry: Entry) -> Result<(), Fault> {
    let details = view.details();
    sqlx::query_scalar!(
        "with w as (
           insert into views (tenant_id, id, version, owner_kind, owner_id, display_name, name_folded, collection, filter, order_by, columns,
             visibility, team_id, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) returning 1)
         select kit.record($16) from w",
        ctx.tenant(),
        view.id,
        view.version,
        view.owner.kind.number(),
        view.owner.id,
        details.display_name,
        fold(&details.display_name),
        details.collection,
        details.filter,
        details.order_by,
        &details.columns,
        details.visibility.number(),
        details.visibility.team(),
        view.created_at,
        view.updated_at,
        entry as _
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Writes a changed view with its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, view: &View, entry: Entry) -> Result<bool, Fault> {
    let details = view.details();
    let written = sqlx::query_scalar!(
        "with w as (
           update views set version = $3::bigint, display_name = $4, name_folded = $5, filter = $6, order_by = $7, columns = $8,
             visibility = $9, team_id = $10, updated_at = $11
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($12) from w",
        ctx.tenant(),
        view.id,
        view.version,
        details.display_name,
        fold(&details.display_name),
        details.filter,
        details.order_by,
        &details.columns,
        details.visibility.number(),
        details.visibility.team(),
        view.updated_at,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(written.is_some())
}

/// Deletes a view and writes its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn delete(conn: &mut Conn, ctx: &Ctx, view: &View, entry: Entry) -> Result<bool, Fault> {
    let deleted = sqlx::query_scalar!(
        "with w as (delete from views where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1) select kit.record($4) from w",
        ctx.tenant(),
        view.id,
        view.version,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(deleted.is_some())
}
