//! Every statement about rules.

use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::page::{self, Cursor, KeyValue};
use rapport_kit::{Ctx, Db, Fault, Tx};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::rule::{Comparison, Details};
use super::{Rule, rule_convert, rules};
use crate::search::Kind;

/// Rules of a tenant at most.
pub const MOST: i64 = 20;
const COLUMNS: &str = "r.id, r.version, r.display_name, r.kind, r.comparisons, r.threshold, r.blocks, r.disabled, r.created_at, r.updated_at";

fn read(row: &PgRow) -> Result<Rule, Fault> {
    let details = Details {
        display_name: row.try_get(2)?,
        kind: Kind::from_number(row.try_get(3)?).ok_or_else(|| Fault::internal("a stored rule is for no known kind"))?,
        comparisons: row.try_get::<Json<Vec<Comparison>>, _>(4)?.0,
        threshold: row.try_get(5)?,
        blocks: row.try_get(6)?,
        disabled: row.try_get(7)?,
    };
    Ok(Rule { id: row.try_get(0)?, version: row.try_get(1)?, details, created_at: row.try_get(8)?, updated_at: row.try_get(9)? })
}

/// The rule, if there is one.
///
/// # Errors
/// What the database answers.
pub async fn get(conn: &mut Conn, ctx: &Ctx, id: Uuid) -> Result<Option<Rule>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from duplicate_rules r where r.tenant_id = "));
    query.push_bind(ctx.tenant()).push(" and r.id = ").push_bind(id);
    query.build().fetch_optional(conn).await?.as_ref().map(read).transpose()
}

/// Every rule of a tenant.
///
/// # Errors
/// What the database answers.
pub async fn all(conn: &mut Conn, tenant: Uuid) -> Result<Vec<Rule>, Fault> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from duplicate_rules r where r.tenant_id = "));
    query.push_bind(tenant).push(" order by r.id limit ").push_bind(MOST);
    query.build().fetch_all(conn).await?.iter().map(read).collect()
}

/// A page of the rules by name.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, PAGE_TOKEN_INVALID); what the database answers.
pub async fn list(db: &Db, ctx: &Ctx, request: &pb::ListDuplicateRulesRequest) -> Result<pb::ListDuplicateRulesResponse, Fault> {
    let size = page::size(request.page_size)?;
    let asked = page::Query::of(ctx);
    let after = ctx.call().sealer.open(&request.page_token, &asked)?;
    let mut conn = db.for_tenant(ctx).await?;
    let own: Vec<Details> = all(&mut conn, ctx.tenant()).await?.into_iter().map(|rule| rule.details).collect();
    let mut query = QueryBuilder::new(format!("select {COLUMNS}, r.name_folded from duplicate_rules r where r.tenant_id = "));
    query.push_bind(ctx.tenant());
    if let Some(Cursor { keys, id }) = after
        && let [KeyValue::Text(name)] = keys.as_slice()
    {
        query.push(" and (r.name_folded, r.id) > (").push_bind(name.clone()).push(", ").push_bind(id).push(")");
    }
    query.push(" order by r.name_folded, r.id");
    let place = |last: &PgRow| Ok(Cursor { keys: vec![KeyValue::Text(last.try_get("name_folded")?)], id: last.try_get("id")? });
    let (rows, next_page_token) = page::read(ctx, &asked, &mut query, &mut conn, size, place).await?;
    let listed: Result<Vec<Rule>, Fault> = rows.iter().map(read).collect();
    let shipped_rules = rules::missing(&own).iter().map(rule_convert::shipped_to_proto).collect();
    Ok(pb::ListDuplicateRulesResponse { duplicate_rules: listed?.iter().map(rule_convert::to_proto).collect(), next_page_token, shipped_rules })
}

/// Writes a new rule with its journal entry.
///
/// # Errors
/// FAILED_PRECONDITION (TOO_MANY_RULES); what the database answers.
pub async fn insert(tx: &mut Tx, ctx: &Ctx, rule: &Rule, entry: Entry) -> Result<(), Fault> {
    // Two creates could both see the nineteenth rule.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1::uuid::text || 'duplicateRules', 0))", ctx.tenant()).execute(tx.conn()).await?;
    let details = rule.details();
    let written = sqlx::query_scalar!(
        "with w as (
           insert into duplicate_rules (tenant_id, id, version, display_name, name_folded, kind, comparisons, threshold, blocks, disabled,
             created_at, updated_at)
           select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
           where (select count(*) from duplicate_rules where tenant_id = $1) < $13 returning 1)
         select kit.record($14) from w",
        ctx.tenant(),
        rule.id,
        rule.version,
        details.display_name,
        fold(&details.display_name),
        details.kind.number(),
        Json(&details.comparisons) as _,
        details.threshold,
        details.blocks,
        details.disabled,
        rule.created_at,
        rule.updated_at,
        MOST,
        entry as _
    )
    .fetch_optional(tx.conn())
    .await?;
    if written.is_some() {
        return Ok(());
    }
    Err(Fault::precondition("TOO_MANY_RULES", format!("There are {MOST} rules; delete one before you create another.")).with("max", MOST.to_string()))
}

/// Writes a changed rule with its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn update(conn: &mut Conn, ctx: &Ctx, rule: &Rule, entry: Entry) -> Result<bool, Fault> {
    let details = rule.details();
    let written = sqlx::query_scalar!(
        "with w as (
           update duplicate_rules set version = $3::bigint, display_name = $4, name_folded = $5, comparisons = $6, threshold = $7, blocks = $8,
             disabled = $9, updated_at = $10
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($11) from w",
        ctx.tenant(),
        rule.id,
        rule.version,
        details.display_name,
        fold(&details.display_name),
        Json(&details.comparisons) as _,
        details.threshold,
        details.blocks,
        details.disabled,
        rule.updated_at,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(written.is_some())
}

/// Deletes a rule and writes its journal entry; false if somebody else changed it since it was read.
///
/// # Errors
/// What the database answers.
pub async fn delete(conn: &mut Conn, ctx: &Ctx, rule: &Rule, entry: Entry) -> Result<bool, Fault> {
    let deleted = sqlx::query_scalar!(
        "with w as (delete from duplicate_rules where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record($4) from w",
        ctx.tenant(),
        rule.id,
        rule.version,
        entry as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(deleted.is_some())
}
