//! The country in which telephone numbers without a country code are read.

use rapport_contacts_api::v1 as pb;
use rapport_kit::{Ctx, Db, Fault};
use rlibphonenumber::Region;
use uuid::Uuid;

/// The region for `points` that name none: that of the legal entity, then of the tenant's first one. Asks the
/// database only if a point needs it.
///
/// # Errors
/// What the database answers.
pub async fn default(db: &Db, ctx: &Ctx, points: &[pb::ContactPoint], legal_entity: Option<Uuid>) -> Result<Option<Region>, Fault> {
    let needs = |point: &pb::ContactPoint| {
        point.kind() == pb::contact_point::Kind::Phone && point.region.is_empty() && !point.value.trim_start().starts_with('+')
    };
    if !points.iter().any(needs) {
        return Ok(None);
    }
    Ok(country(db, ctx, legal_entity).await?.and_then(|country| country.parse().ok()))
}

/// The country of the legal entity, else of the tenant's first one.
///
/// # Errors
/// What the database answers.
pub async fn country(db: &Db, ctx: &Ctx, legal_entity: Option<Uuid>) -> Result<Option<String>, Fault> {
    let mut conn = db.for_tenant(ctx).await?;
    let country = sqlx::query_scalar!(
        "select country from legal_entities where tenant_id = $1
         order by id is distinct from $2::uuid, created_at, id limit 1",
        ctx.tenant(),
        legal_entity
    )
    .fetch_optional(&mut conn)
    .await?;
    Ok(country)
}
