//! Pages of records as the caller may see them, in the order of ids.

use std::borrow::Cow;
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
use crate::account::Account;
use crate::contact::Contact;
use crate::contact::part::Part;
use crate::layout::{self, Column, Resource};
use crate::{account, contact};

/// Records of a page at most; fewer where they are large.
const PAGE: i64 = 1000;

/// A record as reading it by name shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Contact(Box<pb::Contact>),
    Account(Box<pb::Account>),
}

/// Rows of a page as they came: while records are made of them, the next ones come.
pub(super) struct Fetched {
    rows: Vec<PgRow>,
    /// Where the next page begins; none after the last one.
    pub(super) next: Option<Uuid>,
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
    /// What stands in a column; empty where there is nothing.
    pub(super) fn cell(&self, column: &Column) -> Cow<'_, str> {
        match self {
            Self::Contact(contact) => layout::contact::cell(contact, column),
            Self::Account(account) => layout::account::cell(account, column),
        }
    }

    /// Adds the columns in which the record has something.
    pub(super) fn survey(&self, columns: &mut BTreeSet<Column>) {
        let is_filled = |column: &Column| !self.cell(column).is_empty();
        match self {
            Self::Contact(contact) => columns.extend(layout::contact::columns(contact).filter(is_filled)),
            Self::Account(account) => columns.extend(layout::account::columns(account).filter(is_filled)),
        }
    }
}

/// Fetches the rows of the page of the export behind `after`.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN); what the database answers.
pub(super) async fn fetch(db: &Db, ctx: &Ctx, plan: &Plan, after: Option<Uuid>) -> Result<Fetched, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let (query, table) = match plan.resource {
        Resource::Contact => {
            let mut query = part(plan).map_or_else(|| contact::sql::select(ctx), |part| part.select(ctx));
            contact::list::narrow(&mut query, ctx, &plan.filter)?;
            (query, contact::sql::TABLE)
        }
        Resource::Account => {
            let mut query = account::sql::select(ctx);
            account::list::narrow(&mut query, ctx, &plan.filter)?;
            (query, account::sql::TABLE)
        }
    };
    let (rows, next) = rows(&mut conn, ctx, plan, table, query, after).await?;
    Ok(Fetched { rows, next })
}

/// The records of the rows as the caller may see them.
///
/// # Errors
/// INTERNAL for a row that this build cannot read; what the database answers.
pub(super) async fn shown(db: &Db, ctx: &Ctx, plan: &Plan, fetched: Fetched) -> Result<Page, Fault> {
    let records = match plan.resource {
        Resource::Contact => {
            let part = part(plan);
            let read = |row: &PgRow| part.as_ref().map_or_else(|| contact::sql::read(row), |part| part.read(row));
            fetched.rows.iter().map(|row| Ok(contact_shown(ctx, read(row)?))).collect::<Result<Vec<Record>, Fault>>()?
        }
        Resource::Account => {
            fetched.rows.iter().map(|row| Ok(account_shown(ctx, account::sql::read(row)?))).collect::<Result<Vec<Record>, Fault>>()?
        }
    };
    let tells_accounts = matches!(plan.format, Format::Vcard3 | Format::Vcard4);
    let account_names = if tells_accounts { account_names(db, ctx, &records).await? } else { HashMap::new() };
    Ok(Page { records, account_names, next: fetched.next })
}

/// What is read of contacts; none where it is all of them.
fn part(plan: &Plan) -> Option<Part> {
    plan.paths().map(Part::of)
}

fn contact_shown(ctx: &Ctx, contact: Contact) -> Record {
    let mut shown = contact::convert::to_proto(contact);
    contact::convert::hide(&mut shown, ctx.fields(contact::RESOURCE));
    Record::Contact(Box::new(shown))
}

fn account_shown(ctx: &Ctx, account: Account) -> Record {
    let mut shown = account::convert::to_proto(account);
    account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
    Record::Account(Box::new(shown))
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
    let read = ctx.scope_of(plan.resource.read_permission());
    read.push(&mut query, table);
    // What may be read may be exported where exporting is permitted: a share for reading will do.
    let export = Scope { action: Action::Read, ..ctx.scope_of(super::PERMISSION) };
    if export != read {
        export.push(&mut query, table);
    }
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
async fn account_names(db: &Db, ctx: &Ctx, records: &[Record]) -> Result<HashMap<String, String>, Fault> {
    let roles = records.iter().filter_map(|record| if let Record::Contact(contact) = record { Some(&contact.accounts) } else { None });
    let ids: BTreeSet<Uuid> = roles.flatten().filter_map(|role| Some(name::split(&role.account)?.1)).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let found = account::sql::get_many(&mut db.for_tenant(ctx).await?, ctx, &ctx.scope_of(Resource::Account.read_permission()), &ids).await?;
    let shown = found.into_iter().map(|account| {
        let mut shown = account::convert::to_proto(account);
        account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
        (shown.name, shown.display_name)
    });
    Ok(shown.filter(|(_, display_name)| !display_name.is_empty()).collect())
}
