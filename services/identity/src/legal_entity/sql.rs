//! Every statement about legal entities.

use chrono::{DateTime, Utc};
use rapport_kit::filter::fold;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Db, Fault};
use sqlx::types::Json;
use uuid::Uuid;

use super::LegalEntity;
use super::convert::FIELDS;
use super::model::{Series, TaxId};
use crate::list::Listing;

pub(super) const LISTING: Listing = Listing {
    of: list::Listing {
        columns: "l.id, l.version, l.display_name, l.country, l.currency, l.fiscal_year_start_month, l.default_language, l.time_zone, \
             l.tax_ids, l.number_series, l.created_at, l.updated_at",
        from: " from legal_entity l where l.tenant_id = ",
        id: "l.id",
        fields: FIELDS,
        search: None,
        order: "display_name",
    },
    resource: "identity.legal_entity",
    scoped: None,
};

/// A row.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    version: i64,
    display_name: String,
    country: String,
    currency: String,
    fiscal_year_start_month: i32,
    default_language: String,
    time_zone: String,
    tax_ids: Json<Vec<TaxId>>,
    number_series: Json<Vec<Series>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for LegalEntity {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            version: row.version,
            display_name: row.display_name,
            country: row.country,
            currency: row.currency,
            fiscal_year_start_month: row.fiscal_year_start_month,
            default_language: row.default_language,
            time_zone: row.time_zone,
            tax_ids: row.tax_ids.0,
            series: row.number_series.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The legal entity.
pub(super) async fn find(db: &Db, ctx: &Ctx, id: Uuid) -> Result<Option<LegalEntity>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let row = sqlx::query_as!(
        Row,
        r#"select id, version, display_name, country, currency, fiscal_year_start_month, default_language, time_zone,
             tax_ids as "tax_ids: Json<Vec<TaxId>>", number_series as "number_series: Json<Vec<Series>>", created_at, updated_at
           from legal_entity where tenant_id = $1 and id = $2"#,
        ctx.tenant(),
        id
    );
    Ok(row.fetch_optional(&mut conn).await?.map(LegalEntity::from))
}

/// Stores a new legal entity.
pub(super) async fn insert(db: &Db, ctx: &Ctx, entity: &LegalEntity, entries: &[Entry]) -> Result<(), Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    sqlx::query_scalar!(
        "with w as (
           insert into legal_entity (tenant_id, id, version, display_name, name_folded, country, currency, fiscal_year_start_month,
             default_language, time_zone, tax_ids, number_series, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning 1)
         select kit.record_all($15) from w",
        ctx.tenant(),
        entity.id,
        entity.version,
        entity.display_name,
        fold(&entity.display_name),
        entity.country,
        entity.currency,
        entity.fiscal_year_start_month,
        entity.default_language,
        entity.time_zone,
        Json(&entity.tax_ids) as _,
        Json(&entity.series) as _,
        entity.created_at,
        entity.updated_at,
        entries as _
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(())
}

/// Stores the next version; false if another one came first.
pub(super) async fn update(db: &Db, ctx: &Ctx, entity: &LegalEntity, entries: &[Entry]) -> Result<bool, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let done = sqlx::query_scalar!(
        "with w as (
           update legal_entity set version = $3, display_name = $4, name_folded = $5, country = $6, fiscal_year_start_month = $7,
             default_language = $8, time_zone = $9, tax_ids = $10, number_series = $11, updated_at = $12
           where tenant_id = $1 and id = $2 and version = $3::bigint - 1 returning 1)
         select kit.record_all($13) from w",
        ctx.tenant(),
        entity.id,
        entity.version,
        entity.display_name,
        fold(&entity.display_name),
        entity.country,
        entity.fiscal_year_start_month,
        entity.default_language,
        entity.time_zone,
        Json(&entity.tax_ids) as _,
        Json(&entity.series) as _,
        entity.updated_at,
        entries as _
    );
    Ok(done.fetch_optional(&mut conn).await?.is_some())
}
