//! Every statement about saved mappings.

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

use super::{Details, Format, ImportMapping, Visibility, convert};
use crate::owner::{self, Owner};

/// What lists can be filtered by.
const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("m.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "rules.collection", column: Column::Plain("m.collection"), kind: Kind::Text, sort: false },
    Field { path: "visibility", column: Column::Plain("m.visibility"), kind: Kind::Enum(VISIBILITIES), sort: false },
    Field { path: "owner", column: Column::Plain("m.owner_id"), kind: Kind::AnyUuid { collections: owner::COLLECTIONS }, sort: false },
    Field { path: "create_time", column: Column::Plain("m.created_at"), kind: Kind::Time, sort: true },
    Field { path: "update_time", column: Column::Plain("m.updated_at"), kind: Kind::Time, sort: true },
];
const VISIBILITIES: &[(&str, i16)] = &[("VISIBILITY_PRIVATE", 1), ("VISIBILITY_ALL", 2)];
const COLUMNS: &str = "m.id, m.version, m.owner_kind, m.owner_id, m.display_name, m.collection, m.format, m.header, m.rules, m.visibility, \
    m.created_at, m.updated_at";
const LISTING: Listing = Listing {
    columns: COLUMNS,
    from: " from import_mappings m where m.tenant_id = ",
    id: "m.id",
    fields: FIELDS,
    search: None,
    order: "display_name",
};
const TABLE: Table = Table { tenant: "m.tenant_id", id: "m.id", owner: "m.owner_id" };
/// Mappings among which those for a file are looked for.
const RECENT: i64 = 200;

fn read(row: &PgRow) -> Result<ImportMapping, Fault> {
    let unknown = || Fault::internal("a stored mapping has an owner, a format or a visibility of no known kind");
    let details = Details {
        display_name: row.try_get(4)?,
        collection: row.try_get(5)?,
        format: Format::from_number(row.try_get(6)?).ok_or_else(unknown)?,
        header: row.try_get(7)?,
        rules: row.try_get(8)?,
        visibility: Visibility::from_number(row.try_get(9)?).ok_or_else(unknown)?,
    };
    Ok(ImportMapping {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        owner: Owner { kind: owner::Kind::from_number(row.try_get(2)?).ok_or_else(unknown)?, id: row.try_get(3)? },
        details,
        created_at: row.try_get(10)?,
        updated_at: row.try_get(11)?,
    })
}

/// Appends ` and (…)`, true for the mappings that the caller sees.
fn push_seen(query: &mut QueryBuilder<Postgres>, ctx: &Ctx) {
    query.push(" and (m.owner_id = ").push_bind(ctx.subject()).push(" or m.visibility = 2)");
}

/// The mapping, if the caller sees it and it is in `scope` where one is asked for.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, scope: Option<&Scope>, id: Uuid) -> Result<Option<ImportMapping>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from import_mappings m where m.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and m.id = ").push_bind(id);
    push_seen(&mut query, ctx);
    if let Some(scope) = scope {
        scope.push(&mut query, TABLE);
    }
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// The mappings for `collection` that the caller sees, those that were changed last, at most 200.
///
/// # Errors
/// What the database answers.
pub async fn recent(conn: &mut Conn, ctx: &Ctx, collection: &str) -> Result<Vec<ImportMapping>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from import_mappings m where m.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and m.collection = ").push_bind(collection);
    push_seen(&mut query, ctx);
    query.push(" order by m.updated_at desc, m.id limit ").push_bind(RECENT);
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// A page of the mappings that the caller sees.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListImportMappingsRequest) -> Result<pb::ListImportMappingsResponse, Fault> {
    let pb::ListImportMappingsRequest { page_size, page_token, filter, order_by } = request;
    let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
    // Mappings are shown whole: there are no rules on their fields.
    let rules = FieldRules::none();
    let (rows, next_page_token) = list::page(db, ctx, &LISTING, asked, &rules, |query| push_seen(query, ctx)).await?;

    let mappings: Result<Vec<ImportMapping>, Fault> = rows.iter().map(read).collect();
    Ok(pb::ListImportMappingsResponse { import_mappings: mappings?.iter().map(convert::to_proto).collect(), next_page_token })
}

/// Writes a new mapping with its journal entry.
///
/// # Errors
/// ALREADY_EXISTS (IDEMPOTENCY_KEY_USED) that [`rapport_kit::command::settle`] turns into the earlier answer; what the
/// database answers.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, mapping: &ImportMapping, entry: Entry) -> Result<(), Fault> {
    let details = mapping.details();
    sqlx::query_scalar!(
        "with w as (
           insert into import_mappings (tenant_id, id, version, owner_kind, owner_id, display_name, name_folded, collection, format, header, rules,
             visibility, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning 1)
         select kit.record($15) from w",
        ctx.tenant(),
        mapping.id,
        mapping.version,
        mapping.owner.kind.number(),
        mapping.owner.id,
        details.display_name,
        fold(&details.display_name),
        details.collection,
        details.format.number(),
        &details.header,
        details.rules,
        details.visibility.number(),
        mapping.created_at,
        mapping.updated_at,
        entry as _
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Writes a changed mapping with its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, mapping: &ImportMapping, entry: Entry) -> Result<bool, Fault> {
    let details = mapping.details();
    let written = sqlx::query_scalar!(
        "with w as (
           update import_mappings set version = $3::bigint, display_name = $4, name_folded = $5, collection = $6, format = $7, header = $8,
             rules = $9, visibility = $10, updated_at = $11
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($12) from w",
        ctx.tenant(),
        mapping.id,
        mapping.version,
        details.display_name,
        fold(&details.display_name),
        details.collection,
        details.format.number(),
        &details.header,
        details.rules,
        details.visibility.number(),
        mapping.updated_at,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(written.is_some())
}

/// Deletes a mapping and writes its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn delete(conn: &mut Conn, ctx: &Ctx, mapping: &ImportMapping, entry: Entry) -> Result<bool, Fault> {
    let deleted = sqlx::query_scalar!(
        "with w as (delete from import_mappings where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1) select kit.record($4) from w",
        ctx.tenant(),
        mapping.id,
        mapping.version,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(deleted.is_some())
}
