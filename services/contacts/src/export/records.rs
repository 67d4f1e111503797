//! Pages of records as the caller may see them, in the order of ids.

use std::collections::{BTreeSet, HashMap};

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Action, Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::page::{self, Cursor, Query};
use rapport_kit::{Ctx, Db, Fault, name};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::plan::{Format, Plan};
use crate::layout::{self, CellOf, Resource};
use crate::{account, contact};

/// Records of a page at most; fewer where they are large.
const PAGE: i64 = 1000;

/// A record as reading it by name shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Contact(Box<pb::Contact>),
    Account(Box<pb::Account>),
}

/// Records in the order of ids.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// What the accounts of contacts are called that the caller may read; for formats that tell it.
    pub(super) account_names: HashMap<String, String>,
    /// Where the next page begins; none after the last one.
    pub(super) next: Option<Uuid>,
}

impl Record {
    /// The cells that have something in them.
    pub(super) fn cells(&self) -> Vec<CellOf<'_>> {
        match self {
            Self::Contact(contact) => layout::contact::cells(contact),
            Self::Account(account) => layout::account::cells(account),
        }
    }
}

/// The page of the export behind `after`.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN); what the database answers.
pub(super) async fn read(db: &Db, ctx: &Ctx, plan: &Plan, after: Option<Uuid>) -> Result<Page, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    match plan.resource {
        Resource::Contact => contacts(&mut conn, ctx, plan, after).await,
        Resource::Account => accounts(&mut conn, ctx, plan, after).await,
    }
}

async fn contacts(conn: &mut Conn, ctx: &Ctx, plan: &Plan, after: Option<Uuid>) -> Result<Page, Fault> {
    let mut query = contact::sql::select(ctx);
    contact::list::narrow(&mut query, ctx, &plan.filter)?;
    let (rows, next) = rows(conn, ctx, plan, contact::sql::TABLE, query, after).await?;
    let rules = ctx.fields(contact::RESOURCE);
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut shown = contact::convert::to_proto(contact::sql::read(row)?);
        contact::convert::hide(&mut shown, rules);
        records.push(Record::Contact(Box::new(shown)));
    }
    let tells_accounts = matches!(plan.format, Format::Vcard3 | Format::Vcard4);
    let account_names = if tells_accounts { account_names(conn, ctx, &records).await? } else { HashMap::new() };
    Ok(Page { records, account_names, next })
}

async fn accounts(conn: &mut Conn, ctx: &Ctx, plan: &Plan, after: Option<Uuid>) -> Result<Page, Fault> {
    let mut query = account::sql::select(ctx);
    account::list::narrow(&mut query, ctx, &plan.filter)?;
    let (rows, next) = rows(conn, ctx, plan, account::sql::TABLE, query, after).await?;
    let rules = ctx.fields(account::RESOURCE);
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut shown = account::convert::to_proto(account::sql::read(row)?);
        account::convert::hide(&mut shown, rules);
        records.push(Record::Account(Box::new(shown)));
    }
    Ok(Page { records, account_names: HashMap::new(), next })
}

/// The rows of the page that `query` begins with, and where the next one begins.
async fn rows(
    conn: &mut Conn,
    ctx: &Ctx,
    plan: &Plan,
    table: Table,
    mut query: QueryBuilder<Postgres>,
    after: Option<Uuid>,
) -> Result<(Vec<PgRow>, Option<Uuid>), Fault> {
    query.push(" and c.deleted_at is null");
    ctx.scope_of(plan.resource.read_permission()).push(&mut query, table);
    // What may be read may be exported where exporting is permitted: a share for reading will do.
    Scope { action: Action::Read, ..ctx.scope_of(super::PERMISSION) }.push(&mut query, table);
    if let Some(ids) = &plan.ids {
        query.push(" and c.id = any(").push_bind(ids.clone()).push(")");
    }
    if let Some(after) = after {
        query.push(" and c.id > ").push_bind(after);
    }
    query.push(" order by c.id");
    let place = |last: &PgRow| Ok(Cursor { keys: Vec::new(), id: last.try_get(0)? });
    let (rows, more) = page::read(ctx, &Query::of(ctx), &mut query, conn, PAGE, place).await?;
    let last = if more.is_empty() { None } else { rows.last().map(|row| row.try_get(0)).transpose()? };
    Ok((rows, last))
}

/// What the accounts of these contacts are called, as far as the caller may know.
async fn account_names(conn: &mut Conn, ctx: &Ctx, records: &[Record]) -> Result<HashMap<String, String>, Fault> {
    let roles = records.iter().filter_map(|record| if let Record::Contact(contact) = record { Some(&contact.accounts) } else { None });
    let ids: BTreeSet<Uuid> = roles.flatten().filter_map(|role| Some(name::split(&role.account)?.1)).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let found = account::sql::get_many(conn, ctx, &ctx.scope_of(Resource::Account.read_permission()), &ids).await?;
    let shown = found.into_iter().map(|account| {
        let mut shown = account::convert::to_proto(account);
        account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
        (shown.name, shown.display_name)
    });
    Ok(shown.filter(|(_, display_name)| !display_name.is_empty()).collect())
}
