//! Keyset pages over one table: the same for every resource of the service.

use rapport_kit::access::{Scope, Table};
use rapport_kit::filter::{self, Field};
use rapport_kit::page::{self, Query};
use rapport_kit::{Ctx, Db, Fault};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, QueryBuilder, Row};

/// What is listed.
#[derive(Clone, Copy)]
pub(crate) struct Listing {
    /// `select …` without from.
    pub(crate) select: &'static str,
    /// ` from table t where t.tenant_id = `.
    pub(crate) from: &'static str,
    /// The id's column.
    pub(crate) id: &'static str,
    /// What can be filtered and sorted by.
    pub(crate) fields: &'static [Field],
    /// Order when none is asked for.
    pub(crate) order: &'static str,
    /// `<service>.<resource>`, for field rules.
    pub(crate) resource: &'static str,
    /// Where records stand that not everybody sees.
    pub(crate) scoped: Option<Table>,
}

/// What the caller asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) page_size: i32,
    pub(crate) page_token: &'a str,
    pub(crate) filter: &'a str,
    pub(crate) order_by: &'a str,
}

/// One page and the token of the next one.
pub(crate) async fn page<R>(db: &Db, ctx: &Ctx, listing: Listing, asked: Asked<'_>) -> Result<(Vec<R>, String), Fault>
where
    R: for<'r> FromRow<'r, PgRow>,
{
    let size = page::size(asked.page_size)?;
    let rules = ctx.fields(listing.resource);
    let order = filter::parse_order(listing.fields, asked.order_by, listing.order, rules)?;
    let query = Query::of(ctx).with("filter", asked.filter).with("order_by", &order);
    let cursor = ctx.call().sealer.open(asked.page_token, &query)?;
    let mut sql = QueryBuilder::new(listing.select);
    order.push_columns(&mut sql);
    sql.push(listing.from).push_bind(ctx.tenant());
    if let Some(table) = listing.scoped {
        let scope: Scope = ctx.scope();
        scope.push(&mut sql, table);
    }
    filter::push(&mut sql, listing.fields, None, asked.filter, rules)?;
    order.push_after(&mut sql, cursor.as_ref(), listing.id)?;
    order.push_order_by(&mut sql, listing.id);
    let place = |last: &PgRow| order.cursor(last, last.try_get("id")?);
    let (rows, next) = page::read(ctx, &query, &mut sql, &mut db.for_tenant(ctx).await?, size, place).await?;
    let records = rows.iter().map(R::from_row).collect::<Result<Vec<R>, sqlx::Error>>()?;
    Ok((records, next))
}
