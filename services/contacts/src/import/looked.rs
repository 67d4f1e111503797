//! What rows are decided by, read for all rows of a step at once.

use std::collections::HashMap;

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault};
use rapport_proto::common::v1::ExternalId;
use uuid::Uuid;

use crate::merge;
use crate::search::Kind;

/// Whose the external ids are, seen or not. One that no live record has may be of a merged one: it is of the record in
/// which that goes on.
///
/// # Errors
/// What the database answers.
pub async fn holders<'a>(
    conn: &mut Conn,
    ctx: &Ctx,
    kind: Kind,
    pairs: impl Iterator<Item = &'a ExternalId>,
) -> Result<HashMap<(String, String), Uuid>, Fault> {
    let sound = pairs.filter(|pair| !pair.system.contains('\0') && !pair.id.contains('\0'));
    let (systems, ids): (Vec<String>, Vec<String>) = sound.map(|pair| (pair.system.clone(), pair.id.clone())).unzip();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        "select e.system, e.external_id, e.record_id from unnest($3::text[], $4::text[]) sent(system, id) join external_ids e
           on e.system = sent.system and e.external_id = sent.id
         where e.tenant_id = $1 and e.collection = $2 and e.live",
        ctx.tenant(),
        kind.collection(),
        &systems,
        &ids
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut holders: HashMap<(String, String), Uuid> = rows.into_iter().map(|row| ((row.system, row.external_id), row.record_id)).collect();
    let free = systems.into_iter().zip(ids).filter(|pair| !holders.contains_key(pair));
    let (systems, ids): (Vec<String>, Vec<String>) = free.unzip();
    if ids.is_empty() {
        return Ok(holders);
    }
    let followed = merge::sql::followed(conn, ctx, kind, &systems, &ids).await?;
    holders.extend(followed.into_iter().map(|(system, id, into)| ((system, id), into)));
    Ok(holders)
}

/// Private customers among `accounts` that have their contact, with it.
///
/// # Errors
/// What the database answers.
pub async fn customers(conn: &mut Conn, ctx: &Ctx, accounts: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Fault> {
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        "select account_id, contact_id from contact_accounts where tenant_id = $1 and account_id = any($2) and sole",
        ctx.tenant(),
        accounts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.contact_id)).collect())
}

/// Those of `ids` that are legal entities which are known here, each with its country.
///
/// # Errors
/// What the database answers.
pub async fn entities(conn: &mut Conn, ctx: &Ctx, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let known = sqlx::query!("select id, country from legal_entities where tenant_id = $1 and id = any($2)", ctx.tenant(), ids);
    Ok(known.fetch_all(conn).await?.into_iter().map(|row| (row.id, row.country)).collect())
}
