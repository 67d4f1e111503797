//! Numbers that people use, from the series of a legal entity or of the tenant.
//!
//! Guarantees: no number of a series is given twice. In a gapless series the numbers are taken inside the
//! transaction that uses them, so that none is lost; writers of that series wait for each other. A transaction takes
//! its gapless series in the order of legal entities and every other number before it begins, so that no two wait
//! for each other in a circle.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Db, Fault, Tx, name};
use uuid::Uuid;

const ACCOUNTS: &str = "accounts";

/// Numbers taken for new accounts, by the legal entity that asked for them.
#[derive(Debug, Default)]
pub struct Numbers {
    taken: HashMap<Option<Uuid>, VecDeque<String>>,
    /// Legal entities with a gapless series, and how many numbers are still to be taken.
    gapless: BTreeMap<Uuid, i64>,
}

impl Numbers {
    /// Takes a number for each of `entities` from the series that may have gaps; those of gapless ones are
    /// [`Numbers::take_gapless`]'s. Without a legal entity, or where it has no series, the number is of the tenant's own.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (LEGAL_ENTITY_UNKNOWN) if a legal entity is not known here; what the database answers.
    pub async fn take(db: &Db, ctx: &Ctx, entities: impl Iterator<Item = Option<Uuid>>) -> Result<Self, Fault> {
        let mut wanted: BTreeMap<Option<Uuid>, i64> = BTreeMap::new();
        for entity in entities {
            *wanted.entry(entity).or_default() += 1;
        }
        let mut numbers = Self::default();
        let own = own_series(db, ctx, wanted.keys().flatten().copied().collect()).await?;
        for (entity, count) in wanted {
            match entity.and_then(|id| own.get(&id).copied().flatten().map(|gapless| (id, gapless))) {
                Some((id, true)) => {
                    numbers.gapless.insert(id, count);
                }
                Some((id, false)) => match of_entity(&mut db.for_tenant(ctx).await?, ctx, id, count, false).await? {
                    Some(taken) => numbers.put(entity, taken),
                    // It has become gapless in this moment.
                    None => {
                        numbers.gapless.insert(id, count);
                    }
                },
                None => numbers.put(entity, of_tenant(db, ctx, count).await?),
            }
        }
        Ok(numbers)
    }

    /// Takes what is missing from gapless series; each is locked until the transaction ends.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn take_gapless(&mut self, tx: &mut Tx, ctx: &Ctx) -> Result<(), Fault> {
        for (entity, count) in std::mem::take(&mut self.gapless) {
            let taken = of_entity(tx.conn(), ctx, entity, count, true).await?;
            self.put(Some(entity), taken.ok_or_else(|| Fault::internal("a series of numbers vanished"))?);
        }
        Ok(())
    }

    /// The next number that was taken for an account of `entity`.
    pub fn next(&mut self, entity: Option<Uuid>) -> Option<String> {
        self.taken.get_mut(&entity)?.pop_front()
    }

    fn put(&mut self, entity: Option<Uuid>, taken: Vec<String>) {
        self.taken.insert(entity, taken.into());
    }
}

/// Refuses legal entities that are not known here.
///
/// # Errors
/// FAILED_PRECONDITION (LEGAL_ENTITY_UNKNOWN); what the database answers.
pub async fn require_known(db: &Db, ctx: &Ctx, entities: Vec<Uuid>) -> Result<(), Fault> {
    own_series(db, ctx, entities).await.map(|_| ())
}

/// Whether the own series of each legal entity is gapless; none if it has no series.
async fn own_series(db: &Db, ctx: &Ctx, entities: Vec<Uuid>) -> Result<HashMap<Uuid, Option<bool>>, Fault> {
    if entities.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select e.id, s.gapless as "gapless?" from legal_entities e
             left join number_series s on s.tenant_id = e.tenant_id and s.legal_entity_id = e.id and s.collection = $3
           where e.tenant_id = $1 and e.id = any($2)"#,
        ctx.tenant(),
        &entities,
        ACCOUNTS
    )
    .fetch_all(&mut db.for_tenant(ctx).await?)
    .await?;
    let known: HashMap<Uuid, Option<bool>> = rows.into_iter().map(|row| (row.id, row.gapless)).collect();
    if let Some(unknown) = entities.into_iter().find(|entity| !known.contains_key(entity)) {
        return Err(Fault::precondition(
            "LEGAL_ENTITY_UNKNOWN",
            "There is no such legal entity, or it was created a moment ago; check it or send again.",
        )
        .with("legal_entity", name::format("legalEntities", unknown)));
    }
    Ok(known)
}

/// Numbers of a legal entity's own series; none if it has no such series, or, unless `gapless` ones are welcome, if it
/// is one.
async fn of_entity(conn: &mut Conn, ctx: &Ctx, entity: Uuid, count: i64, gapless: bool) -> Result<Option<Vec<String>>, Fault> {
    let taken = sqlx::query!(
        r#"update number_series set next = next + $4::bigint
           where tenant_id = $1 and legal_entity_id = $2 and collection = $3 and (not gapless or $5)
           returning prefix, next - $4::bigint as "first!""#,
        ctx.tenant(),
        entity,
        ACCOUNTS,
        count,
        gapless
    )
    .fetch_optional(conn)
    .await?;
    Ok(taken.map(|taken| spelled(&taken.prefix, taken.first, count)))
}

async fn of_tenant(db: &Db, ctx: &Ctx, count: i64) -> Result<Vec<String>, Fault> {
    let first = sqlx::query_scalar!(
        r#"insert into number_series as s (tenant_id, legal_entity_id, collection, prefix, next, gapless) values ($1, $2, $3, '', 1 + $4::bigint, false)
           on conflict (tenant_id, legal_entity_id, collection) do update set next = s.next + $4::bigint
           returning next - $4::bigint as "first!""#,
        ctx.tenant(),
        Uuid::nil(),
        ACCOUNTS,
        count
    )
    .fetch_one(&mut db.for_tenant(ctx).await?)
    .await?;
    Ok(spelled("", first, count))
}

fn spelled(prefix: &str, first: i64, count: i64) -> Vec<String> {
    (first..first + count).map(|number| format!("{prefix}{number:06}")).collect()
}
