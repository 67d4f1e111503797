//! Lists of contacts: what they can be filtered and sorted by, and their pages.

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::FieldRules;
use rapport_kit::filter::{self, Column, Field, Kind, Search, SearchBy};
use rapport_kit::list::{self, Asked, Listing};
use rapport_kit::{Ctx, Db, Fault};
use sqlx::{Postgres, QueryBuilder};

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
const LISTING: Listing = Listing {
    columns: sql::COLUMNS,
    from: " from contacts c where c.tenant_id = ",
    id: "c.id",
    fields: FIELDS,
    search: Some(SEARCH),
    order: "person.family_name",
};

/// A page of the contacts that the caller may see.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); PERMISSION_DENIED
/// (FIELD_HIDDEN); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListContactsRequest) -> Result<pb::ListContactsResponse, Fault> {
    let pb::ListContactsRequest { page_size, page_token, filter, order_by, show_deleted } = request;
    let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[("show_deleted", show_deleted)] };
    let narrow = |query: &mut QueryBuilder<Postgres>| {
        if !*show_deleted {
            query.push(" and c.deleted_at is null");
        }
        ctx.scope().push(query, sql::TABLE);
    };
    let (rows, next_page_token) = list::page(db, ctx, &LISTING, asked, &rules(ctx), narrow).await?;

    let mut contacts = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut shown = convert::to_proto(sql::read(row)?);
        convert::hide(&mut shown, ctx.fields(RESOURCE));
        contacts.push(shown);
    }
    Ok(pb::ListContactsResponse { contacts, next_page_token })
}

/// Appends ` and (…)`, true for the contacts `c` that `filter` asks for; nothing if it is empty.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN).
pub fn narrow(query: &mut QueryBuilder<Postgres>, ctx: &Ctx, filter: &str) -> Result<(), Fault> {
    filter::push(query, FIELDS, Some(SEARCH), filter, &rules(ctx))
}

/// What the caller may filter and sort by.
fn rules(ctx: &Ctx) -> FieldRules {
    hide::with_normalized("person.contact_points", ctx.fields(RESOURCE))
}

/// Refuses a filter and an order that the list would not take from the caller.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID, ORDER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN).
pub fn check(ctx: &Ctx, filter: &str, order_by: &str) -> Result<(), Fault> {
    filter::parse_order(FIELDS, order_by, LISTING.order, &rules(ctx))?;
    narrow(&mut QueryBuilder::new(""), ctx, filter)
}
