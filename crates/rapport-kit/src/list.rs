//! Pages of a resource's records, filtered and in an order that the caller chose: the same steps for every such list.
//!
//! Guarantees: those of [`filter`] and [`mod@page`]; a page token is good for the same list under the same filter, order
//! and other arguments alone.

use std::fmt::Display;

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};

use crate::access::FieldRules;
use crate::ctx::Ctx;
use crate::db::Db;
use crate::fault::Fault;
use crate::filter::{self, Field, Search};
use crate::page::{self, Query};

/// What is listed.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// What a record is read from, such as `v.id, v.version`. The id's column is called `id`.
    pub columns: &'static str,
    /// ` from views v where v.tenant_id = `.
    pub from: &'static str,
    /// Such as `v.id`.
    pub id: &'static str,
    /// What can be filtered and sorted by.
    pub fields: &'static [Field],
    /// What bare words of a filter look for.
    pub search: Option<Search>,
    /// The order when none is asked for.
    pub order: &'static str,
}

/// What the caller asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Rows at most; 0 means the default.
    pub page_size: i32,
    /// Where the page begins; empty for the first one.
    pub page_token: &'a str,
    /// A filter, or nothing.
    pub filter: &'a str,
    /// An order, or nothing.
    pub order_by: &'a str,
    /// Other arguments that decide what is listed, each with its name.
    pub others: &'a [(&'a str, &'a (dyn Display + Sync))],
}

/// Rows of one page, and the token of the next one; empty at the end of the list. `narrow` appends conditions, such as
/// those of access, behind that of the tenant.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, FILTER_INVALID, ORDER_INVALID, PAGE_TOKEN_INVALID); PERMISSION_DENIED
/// (FIELD_HIDDEN) if the filter or the order uses a field that `rules` do not show; what the database answers.
pub async fn page(
    db: &Db,
    ctx: &Ctx,
    listing: &Listing,
    asked: Asked<'_>,
    rules: &FieldRules,
    narrow: impl FnOnce(&mut QueryBuilder<Postgres>),
) -> Result<(Vec<PgRow>, String), Fault> {
    let size = page::size(asked.page_size)?;
    let order = filter::parse_order(listing.fields, asked.order_by, listing.order, rules)?;
    let list = Query::of(ctx).with("filter", asked.filter).with("order_by", &order);
    let list = asked.others.iter().fold(list, |list, (name, value)| list.with(name, value));
    let after = ctx.call().sealer.open(asked.page_token, &list)?;

    let mut query = QueryBuilder::new(format!("select {}", listing.columns));
    order.push_columns(&mut query);
    query.push(listing.from).push_bind(ctx.tenant());
    narrow(&mut query);
    filter::push(&mut query, listing.fields, listing.search, asked.filter, rules)?;
    order.push_after(&mut query, after.as_ref(), listing.id)?;
    order.push_order_by(&mut query, listing.id);
    let place = |last: &PgRow| order.cursor(last, last.try_get("id")?);
    page::read(ctx, &list, &mut query, &mut db.for_tenant(ctx).await?, size, place).await
}
