//! Pages of the service's resources, read into their rows.

use rapport_kit::access::Table;
use rapport_kit::list::{self, Asked};
use rapport_kit::{Ctx, Db, Fault};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Postgres, QueryBuilder};

/// What is listed, and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Listing {
    pub(crate) of: list::Listing,
    /// `<service>.<resource>`, for field rules.
    pub(crate) resource: &'static str,
    /// Where records stand that not everybody sees.
    pub(crate) scoped: Option<Table>,
}

/// One page and the token of the next one.
pub(crate) async fn page<R>(db: &Db, ctx: &Ctx, listing: Listing, asked: Asked<'_>) -> Result<(Vec<R>, String), Fault>
where
    R: for<'r> FromRow<'r, PgRow>,
{
    let narrow = |query: &mut QueryBuilder<Postgres>| {
        if let Some(table) = listing.scoped {
            ctx.scope().push(query, table);
        }
    };
    let (rows, next) = list::page(db, ctx, &listing.of, asked, ctx.fields(listing.resource), narrow).await?;
    let records = rows.iter().map(R::from_row).collect::<Result<Vec<R>, sqlx::Error>>()?;
    Ok((records, next))
}
