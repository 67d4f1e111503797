//! Identity created or changed a legal entity: its country and its series of account numbers are copied.
//!
//! Guarantees: an older state never replaces a newer one; a number that was given here is never given again.

use rapport_identity_api::v1::{LegalEntity, LegalEntityCreated, LegalEntityUpdated};
use rapport_kit::inbox::Received;
use rapport_kit::{Fault, Tx, clock, name};
use uuid::Uuid;

/// A legal entity was created.
///
/// # Errors
/// INVALID_ARGUMENT if the event cannot be read; what the database answers.
pub async fn created(tx: &mut Tx, received: Received<LegalEntityCreated>) -> Result<(), Fault> {
    apply(tx, received.tenant, received.version, received.event.legal_entity).await
}

/// A legal entity was changed.
///
/// # Errors
/// As [`created`].
pub async fn updated(tx: &mut Tx, received: Received<LegalEntityUpdated>) -> Result<(), Fault> {
    apply(tx, received.tenant, received.version, received.event.legal_entity).await
}

async fn apply(tx: &mut Tx, tenant: Uuid, version: i64, entity: Option<LegalEntity>) -> Result<(), Fault> {
    let entity = entity.ok_or_else(|| Fault::argument("EVENT_UNREADABLE", "The event has no legal entity."))?;
    let id = name::parse("legalEntities", &entity.name, "legal_entity.name")?;
    let created_at = entity.create_time.and_then(clock::time).unwrap_or_else(clock::now);
    let applied = sqlx::query_scalar!(
        "insert into legal_entities as known (tenant_id, id, version, country, created_at) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, id) do update set version = excluded.version, country = excluded.country
         where known.version < excluded.version
         returning id",
        tenant,
        id,
        version,
        entity.country,
        created_at
    )
    .fetch_optional(tx.conn())
    .await?;
    if applied.is_none() {
        return Ok(());
    }
    let Some(series) = entity.number_series.into_iter().find(|series| series.collection == "accounts") else {
        return Ok(());
    };
    // `next` is kept here, where the numbers are given; identity's is where the series begins.
    sqlx::query!(
        "insert into number_series as known (tenant_id, legal_entity_id, collection, prefix, next, gapless) values ($1, $2, 'accounts', $3, $4, $5)
         on conflict (tenant_id, legal_entity_id, collection) do update set prefix = excluded.prefix, gapless = excluded.gapless",
        tenant,
        id,
        series.prefix,
        series.next.max(1),
        series.gapless
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
