//! Numbers that people use, from the series of a legal entity or of the tenant.
//!
//! Guarantees: no number of a series is given twice. In a gapless series the numbers are taken inside the
//! transaction that uses them, so that none is lost; writers of that series wait for each other.

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Db, Fault, Tx};
use uuid::Uuid;

const ACCOUNTS: &str = "accounts";

/// Takes `count` numbers of the tenant's own series, which may have gaps.
///
/// # Errors
/// What the database answers.
pub async fn of_tenant(db: &Db, ctx: &Ctx, count: usize) -> Result<Vec<String>, Fault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut conn = db.for_tenant(ctx).await?;
    take_tenant(&mut conn, ctx, count).await
}

/// Takes `count` numbers of a legal entity's series; of the tenant's if it has none.
///
/// # Errors
/// FAILED_PRECONDITION (LEGAL_ENTITY_UNKNOWN) if the legal entity is not known here.
pub async fn of_legal_entity(tx: &mut Tx, ctx: &Ctx, legal_entity: Uuid, count: usize) -> Result<Vec<String>, Fault> {
    let known =
        sqlx::query_scalar!(r#"select exists (select from legal_entities where tenant_id = $1 and id = $2) as "known!""#, ctx.tenant(), legal_entity)
            .fetch_one(tx.conn())
            .await?;
    if !known {
        return Err(Fault::precondition(
            "LEGAL_ENTITY_UNKNOWN",
            "There is no such legal entity, or it was created a moment ago; check it or send again.",
        )
        .with("legal_entity", rapport_kit::name::format("legalEntities", legal_entity)));
    }
    let amount = i64::try_from(count).map_err(Fault::internal)?;
    let taken = sqlx::query!(
        r#"update number_series set next = next + $4::bigint where tenant_id = $1 and legal_entity_id = $2 and collection = $3
           returning prefix, next - $4::bigint as "first!""#,
        ctx.tenant(),
        legal_entity,
        ACCOUNTS,
        amount
    )
    .fetch_optional(tx.conn())
    .await?;
    match taken {
        Some(taken) => Ok(numbers(&taken.prefix, taken.first, amount)),
        None => take_tenant(tx.conn(), ctx, count).await,
    }
}

async fn take_tenant(conn: &mut Conn, ctx: &Ctx, count: usize) -> Result<Vec<String>, Fault> {
    let amount = i64::try_from(count).map_err(Fault::internal)?;
    let first = sqlx::query_scalar!(
        r#"insert into number_series as s (tenant_id, legal_entity_id, collection, prefix, next, gapless) values ($1, $2, $3, '', 1 + $4::bigint, false)
           on conflict (tenant_id, legal_entity_id, collection) do update set next = s.next + $4::bigint
           returning next - $4::bigint as "first!""#,
        ctx.tenant(),
        Uuid::nil(),
        ACCOUNTS,
        amount
    )
    .fetch_one(conn)
    .await?;
    Ok(numbers("", first, amount))
}

fn numbers(prefix: &str, first: i64, count: i64) -> Vec<String> {
    (first..first + count).map(|number| format!("{prefix}{number:06}")).collect()
}
