//! Lists of contacts: what they can be filtered and sorted by, and their pages.

use rapport_contacts_api::v1 as pb;
use rapport_kit::filter::{self, Column, Field, Kind, Search, SearchBy};
use rapport_kit::{Ctx, Db, Fault, page};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};

use super::{RESOURCE, convert, sql};
use crate::{hide, owner};

/// What lists can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { path: "person.family_name", column: FAMILY, kind: Kind::Folded, sort: true },
    Field { path: "person.given_name", column: Column::Plain("c.given_folded"), kind: Kind::Folded, sort: true },
    Field { path: "person.language", column: Column::Plain("c.language"), kind: Kind::Text, sort: false },
    Field { path: "person.contact_points.normalized", column: POINTS, kind: Kind::Folded, sort: false },
    Field { path: "accounts.account", column: ACCOUNTS, kind: Kind::Uuid { collection: "accounts" }, sort: false },
    Field { path: "owner", column: Column::Plain("c.owner_id"), kind: Kind::AnyUuid { collections: owner::COLLECTIONS }, sort: false },
    Field { path: "tags", column: TAGS, kind: Kind::Text, sort: false },
    Field { path: "external_ids.system", column: SYSTEMS, kind: Kind::Text, sort: false },
    Field { path: "create_time", column: Column::Plain("c.created_at"), kind: Kind::Time, sort: true },
    Field { path: "update_time", column: Column::Plain("c.updated_at"), kind: Kind::Time, sort: true },
];
const FAMILY: Column = Column::Plain("c.family_folded");
const POINTS: Column = Column::Within {
    before: "exists (select from contact_point_keys k where k.tenant_id = c.tenant_id and k.record_id = c.id and ",
    column: "k.normalized",
    after: ")",
};
const ACCOUNTS: Column = Column::Within {
    before: "exists (select from contact_accounts a where a.tenant_id = c.tenant_id and a.contact_id = c.id and ",
    column: "a.account_id",
    after: ")",
};
const TAGS: Column = Column::Within {
    before: "exists (select from record_tags t where t.tenant_id = c.tenant_id and t.record_id = c.id and ",
    column: "t.tag",
    after: ")",
};
const SYSTEMS: Column = Column::Within {
    before: "exists (select from external_ids e where e.tenant_id = c.tenant_id and e.record_id = c.id and ",
    column: "e.system",
    after: ")",
};
const SEARCH: Search = Search { paths: &["person.family_name"], by: SearchBy::Prefix(FAMILY) };

/// A page of the contacts that the caller may see.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); PERMISSION_DENIED
/// (FIELD_HIDDEN); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListContactsRequest) -> Result<pb::ListContactsResponse, Fault> {
    let rules = ctx.fields(RESOURCE);
    let size = page::size(request.page_size)?;
    let order = filter::parse_order(FIELDS, &request.order_by, "person.family_name", rules)?;
    let asked = page::Query::of(ctx).with("filter", &request.filter).with("order_by", &order).with("show_deleted", request.show_deleted);
    let after = ctx.call().sealer.open(&request.page_token, &asked)?;

    let mut query = QueryBuilder::new(format!("select {}", sql::COLUMNS));
    order.push_columns(&mut query);
    query.push(" from contacts c where c.tenant_id = ").push_bind(ctx.tenant());
    if !request.show_deleted {
        query.push(" and c.deleted_at is null");
    }
    ctx.scope().push(&mut query, sql::TABLE);
    narrow(&mut query, ctx, &request.filter)?;
    order.push_after(&mut query, after.as_ref(), "c.id")?;
    order.push_order_by(&mut query, "c.id");
    let place = |last: &PgRow| order.cursor(last, last.try_get("id")?);
    let (rows, next_page_token) = page::read(ctx, &asked, &mut query, &mut db.for_tenant(ctx).await?, size, place).await?;

    let mut contacts = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut shown = convert::to_proto(sql::read(row)?);
        convert::hide(&mut shown, rules);
        contacts.push(shown);
    }
    Ok(pb::ListContactsResponse { contacts, next_page_token })
}

/// Appends ` and (…)`, true for the contacts `c` that `filter` asks for; nothing if it is empty.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN).
pub fn narrow(query: &mut QueryBuilder<Postgres>, ctx: &Ctx, filter: &str) -> Result<(), Fault> {
    filter::push(query, FIELDS, Some(SEARCH), filter, &hide::with_normalized("person.contact_points", ctx.fields(RESOURCE)))
}

/// Refuses a filter and an order that the list would not take from the caller.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID, ORDER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN).
pub fn check(ctx: &Ctx, filter: &str, order_by: &str) -> Result<(), Fault> {
    let rules = ctx.fields(RESOURCE);
    filter::parse_order(FIELDS, order_by, "person.family_name", rules)?;
    narrow(&mut QueryBuilder::new(""), ctx, filter)
}
