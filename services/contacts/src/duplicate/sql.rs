//! Statements about keys, the queue, and what is found by comparing.

use std::collections::{BTreeMap, BTreeSet};

use rapport_kit::access::Scope;
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::pair::identify;
use super::rule::{Match, Reason};
use crate::search::Kind;
use crate::{account, contact};

/// Records that are taken out of the queue at once.
const BATCH: i64 = 200;
/// Records of a key that are compared with each other; a key with more says too little.
pub const MOST: i64 = 200;

/// A record of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queued {
    /// Its tenant.
    pub tenant: Uuid,
    /// What it is, as it is stored.
    pub kind: i16,
    /// Its id.
    pub id: Uuid,
}

/// The keys of a record at one version.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Its tenant.
    pub tenant: Uuid,
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// In order; none of one in the bin.
    pub keys: Vec<i64>,
}

/// Two records that were compared in these versions.
#[derive(Debug, Clone)]
pub struct Compared {
    /// One record with its version.
    pub one: (Uuid, i64),
    /// The other one.
    pub other: (Uuid, i64),
    /// What the rules say; none if they do not take them for the same.
    pub found: Option<Match>,
}

/// Whether any record waits.
///
/// # Errors
/// What the database answers.
pub async fn is_any_waiting(conn: &mut Conn) -> Result<bool, Fault> {
    let first = sqlx::query_scalar!("select id from duplicate_queue order by id limit 1").fetch_optional(conn).await?;
    Ok(first.is_some())
}

/// Records that wait for their keys, the longest waiting behind row `after` first; they wait to be compared from then on.
/// With them the last row.
///
/// # Errors
/// What the database answers.
pub async fn take_unkeyed(tx: &mut Tx, after: i64) -> Result<(BTreeSet<Queued>, Option<i64>), Fault> {
    // Those that another process takes at this moment are left to it.
    let rows = sqlx::query!(
        "update duplicate_queue set keyed = true
         where id = any(array(select id from duplicate_queue where not keyed and id > $2 order by id limit $1 for update skip locked))
         returning id, tenant_id, kind, record_id",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    let last = rows.iter().map(|row| row.id).max();
    Ok((rows.into_iter().map(|row| Queued { tenant: row.tenant_id, kind: row.kind, id: row.record_id }).collect(), last))
}

/// Takes records that wait to be compared out of the queue, the longest waiting behind row `after` first. With them the
/// last row.
///
/// # Errors
/// What the database answers.
pub async fn take_keyed(tx: &mut Tx, after: i64) -> Result<(BTreeSet<Queued>, Option<i64>), Fault> {
    let rows = sqlx::query!(
        "delete from duplicate_queue
         where id = any(array(select id from duplicate_queue where keyed and id > $2 order by id limit $1 for update skip locked))
         returning id, tenant_id, kind, record_id",
        BATCH,
        after
    )
    .fetch_all(tx.conn())
    .await?;
    let last = rows.iter().map(|row| row.id).max();
    Ok((rows.into_iter().map(|row| Queued { tenant: row.tenant_id, kind: row.kind, id: row.record_id }).collect(), last))
}

/// Makes the keys of records what they are; those of earlier versions than were made before change nothing.
///
/// # Errors
/// What the database answers.
pub async fn put_keys(tx: &mut Tx, mut records: Vec<Keyed>) -> Result<(), Fault> {
    // In one order, so that two processes never wait for each other.
    records.sort_unstable_by_key(|record| (record.tenant, record.id));
    let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = records.iter().map(|record| (record.tenant, record.id)).unzip();
    let versions: Vec<i64> = records.iter().map(|record| record.version).collect();
    let later = sqlx::query!(
        "insert into duplicate_keyed as known (tenant_id, record_id, version)
         select tenant_id, record_id, version from unnest($1::uuid[], $2::uuid[], $3::bigint[]) k(tenant_id, record_id, version)
         on conflict (tenant_id, record_id) do update set version = excluded.version where known.version <= excluded.version
         returning tenant_id, record_id",
        &tenants,
        &ids,
        &versions
    )
    .fetch_all(tx.conn())
    .await?;
    let later: BTreeSet<(Uuid, Uuid)> = later.into_iter().map(|row| (row.tenant_id, row.record_id)).collect();
    records.retain(|record| later.contains(&(record.tenant, record.id)));
    let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = records.iter().map(|record| (record.tenant, record.id)).unzip();
    let rows = || records.iter().flat_map(|record| record.keys.iter().map(|key| (record.tenant, record.id, *key)));
    let of_tenants: Vec<Uuid> = rows().map(|(tenant, _, _)| tenant).collect();
    let of_ids: Vec<Uuid> = rows().map(|(_, id, _)| id).collect();
    let keys: Vec<i64> = rows().map(|(_, _, key)| key).collect();
    sqlx::query!(
        "delete from duplicate_keys k using unnest($1::uuid[], $2::uuid[]) r(tenant_id, record_id)
         where k.tenant_id = r.tenant_id and k.record_id = r.record_id and not exists (
           select from unnest($3::uuid[], $4::uuid[], $5::bigint[]) n(tenant_id, record_id, key)
           where n.tenant_id = k.tenant_id and n.record_id = k.record_id and n.key = k.key)",
        &tenants,
        &ids,
        &of_tenants,
        &of_ids,
        &keys
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "insert into duplicate_keys (tenant_id, key, record_id)
         select tenant_id, key, record_id from unnest($1::uuid[], $2::uuid[], $3::bigint[]) n(tenant_id, record_id, key)
         order by tenant_id, record_id, key on conflict do nothing",
        &of_tenants,
        &of_ids,
        &keys
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// For each of the sets of keys, by position, the records that share a key; and how many keys were left out because more
/// than [`MOST`] records share them.
///
/// # Errors
/// What the database answers.
pub async fn candidates(conn: &mut Conn, tenant: Uuid, sets: &[Vec<i64>]) -> Result<(BTreeSet<(usize, Uuid)>, usize), Fault> {
    let all: BTreeSet<i64> = sets.iter().flatten().copied().collect();
    if all.is_empty() {
        return Ok((BTreeSet::new(), 0));
    }
    let all: Vec<i64> = all.into_iter().collect();
    let rows = sqlx::query!(
        r#"select sought.key as "key!", held.ids as "ids!" from unnest($2::bigint[]) sought(key)
         cross join lateral (select array_agg(few.record_id) as ids from (
           select k.record_id from duplicate_keys k where k.tenant_id = $1 and k.key = sought.key limit $3) few) held
         where held.ids is not null"#,
        tenant,
        &all,
        MOST + 1
    )
    .fetch_all(conn)
    .await?;
    let usable = |ids: &[Uuid]| i64::try_from(ids.len()).is_ok_and(|count| count <= MOST);
    let left_out = rows.iter().filter(|row| !usable(&row.ids)).count();
    let by_key: BTreeMap<i64, &[Uuid]> = rows.iter().filter(|row| usable(&row.ids)).map(|row| (row.key, row.ids.as_slice())).collect();
    let of_set = |(position, keys): (usize, &Vec<i64>)| -> Vec<(usize, Uuid)> {
        keys.iter().filter_map(|key| by_key.get(key)).flat_map(|ids| ids.iter().map(move |id| (position, *id))).collect()
    };
    Ok((sets.iter().enumerate().flat_map(of_set).collect(), left_out))
}

/// Live records in `scope` that have one of `keys`, but for keys that more than [`MOST`] records share.
///
/// # Errors
/// What the database answers.
pub async fn sharing(conn: &mut Conn, ctx: &Ctx, kind: Kind, scope: &Scope, keys: Vec<i64>) -> Result<Vec<Candidate>, Fault> {
    let mut query = match kind {
        Kind::Account => account::sql::select(ctx),
        Kind::Contact => contact::sql::select(ctx),
    };
    query.push(" and c.deleted_at is null and c.id = any(array(select unnest(held.ids) from unnest(").push_bind(keys);
    query.push("::bigint[]) sought(key) cross join lateral (select array_agg(few.record_id) as ids from (");
    query.push("select k.record_id from duplicate_keys k where k.tenant_id = ").push_bind(ctx.tenant());
    query.push(" and k.key = sought.key limit ").push_bind(MOST + 1);
    query.push(") few) held where cardinality(held.ids) <= ").push_bind(MOST).push("))");
    let table = match kind {
        Kind::Account => account::sql::TABLE,
        Kind::Contact => contact::sql::TABLE,
    };
    scope.push(&mut query, table);
    read_all(conn, kind, query).await
}

/// Other records of the pairs of `records`, each with its record.
///
/// # Errors
/// What the database answers.
pub async fn paired(conn: &mut Conn, tenant: Uuid, records: &[Uuid]) -> Result<BTreeSet<(Uuid, Uuid)>, Fault> {
    let rows = sqlx::query!(
        r#"select first_id as "one!", second_id as "other!" from duplicate_pairs where tenant_id = $1 and first_id = any($2)
         union select second_id, first_id from duplicate_pairs where tenant_id = $1 and second_id = any($2)"#,
        tenant,
        records
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.one, row.other)).collect())
}

/// Other records of which people said that they are no duplicates of `records`, each with its record.
///
/// # Errors
/// What the database answers.
pub async fn told_apart(conn: &mut Conn, tenant: Uuid, records: &[Uuid]) -> Result<BTreeSet<(Uuid, Uuid)>, Fault> {
    let rows = sqlx::query!(
        r#"select first_id as "one!", second_id as "other!" from duplicate_pairs where tenant_id = $1 and first_id = any($2) and state = 2
         union select second_id, first_id from duplicate_pairs where tenant_id = $1 and second_id = any($2) and state = 2"#,
        tenant,
        records
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.one, row.other)).collect())
}

/// Says of the pairs of a tenant's records whether one of each is in the bin.
///
/// # Errors
/// What the database answers.
pub async fn settle_gone(tx: &mut Tx, tenant: Uuid, kind: Kind, records: &[Uuid]) -> Result<(), Fault> {
    let mut query = QueryBuilder::<Postgres>::new(format!(
        "update duplicate_pairs p set gone = s.gone from (
           select q.id, not (f.deleted_at is null and s.deleted_at is null) as gone from duplicate_pairs q
             join {table} f on f.tenant_id = q.tenant_id and f.id = q.first_id join {table} s on s.tenant_id = q.tenant_id and s.id = q.second_id
           where q.tenant_id = ",
        table = kind.collection()
    ));
    query.push_bind(tenant).push(" and (q.first_id = any(").push_bind(records.to_vec());
    query.push(") or q.second_id = any(").push_bind(records.to_vec()).push("))) s where p.tenant_id = ").push_bind(tenant);
    query.push(" and p.id = s.id and p.gone <> s.gone");
    query.build().execute(tx.conn()).await?;
    Ok(())
}

/// Writes what was found: pairs that the rules take for the same, and no longer those that they do not, but for reviewed
/// ones. What was compared in another version than it has is left to whoever compares that one. Answers how many pairs
/// the rules took for the same.
///
/// # Errors
/// What the database answers.
pub async fn put_pairs(tx: &mut Tx, tenant: Uuid, kind: Kind, mut compared: Vec<Compared>) -> Result<usize, Fault> {
    if compared.is_empty() {
        return Ok(0);
    }
    let versions = lock(tx, tenant, kind, &compared).await?;
    let stands = |(id, version): (Uuid, i64)| versions.get(&id) == Some(&version);
    compared.retain(|pair| stands(pair.one) && stands(pair.other));
    let (found, other): (Vec<Compared>, Vec<Compared>) = compared.into_iter().partition(|pair| pair.found.is_some());
    let ids: Vec<Uuid> = other.iter().map(|pair| identify(pair.one.0, pair.other.0).0).collect();
    sqlx::query!("delete from duplicate_pairs where tenant_id = $1 and id = any($2) and version = 0", tenant, &ids).execute(tx.conn()).await?;
    let mut rows: BTreeMap<Uuid, (Uuid, Uuid, Match)> = BTreeMap::new();
    for pair in found {
        let (id, first, second) = identify(pair.one.0, pair.other.0);
        rows.extend(pair.found.map(|found| (id, (first, second, found))));
    }
    let ids: Vec<Uuid> = rows.keys().copied().collect();
    let (firsts, seconds): (Vec<Uuid>, Vec<Uuid>) = rows.values().map(|(first, second, _)| (*first, *second)).unzip();
    let scores: Vec<i32> = rows.values().map(|(_, _, found)| found.score).collect();
    let reasons: Vec<Json<&[Reason]>> = rows.values().map(|(_, _, found)| Json(found.reasons.as_slice())).collect();
    sqlx::query!(
        "insert into duplicate_pairs as known (tenant_id, id, version, kind, first_id, second_id, score, reasons, state, gone, created_at)
         select $1, id, 0, $2, first_id, second_id, score, reasons, 1, false, now()
         from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::integer[], $7::jsonb[]) f(id, first_id, second_id, score, reasons)
         on conflict (tenant_id, id) do update set score = excluded.score, reasons = excluded.reasons, gone = false
         where (known.score, known.reasons, known.gone) is distinct from (excluded.score, excluded.reasons, false)",
        tenant,
        kind.number(),
        &ids,
        &firsts,
        &seconds,
        &scores,
        &reasons as _
    )
    .execute(tx.conn())
    .await?;
    Ok(ids.len())
}

/// The versions of live records, which stay so until the transaction ends: whoever changes one of them then comes to find
/// what is written now.
async fn lock(tx: &mut Tx, tenant: Uuid, kind: Kind, compared: &[Compared]) -> Result<BTreeMap<Uuid, i64>, Fault> {
    let ids: BTreeSet<Uuid> = compared.iter().flat_map(|pair| [pair.one.0, pair.other.0]).collect();
    let mut query = QueryBuilder::<Postgres>::new(format!("select id, version from {} where tenant_id = ", kind.collection()));
    query.push_bind(tenant).push(" and id = any(").push_bind(ids.into_iter().collect::<Vec<Uuid>>());
    query.push(") and deleted_at is null order by id for share");
    query.build().fetch_all(tx.conn()).await?.iter().map(|row| Ok((row.try_get("id")?, row.try_get("version")?))).collect()
}

/// Live and deleted records of a tenant, whoever may see them: each with its version, whether it lives, and what it is
/// compared by.
///
/// # Errors
/// What the database answers.
pub async fn profiles(conn: &mut Conn, tenant: Uuid, kind: Kind, ids: &[Uuid]) -> Result<Vec<Candidate>, Fault> {
    let columns = match kind {
        Kind::Account => account::sql::COLUMNS,
        Kind::Contact => contact::sql::COLUMNS,
    };
    let mut query = QueryBuilder::<Postgres>::new(format!("select {columns} from {} c where c.tenant_id = ", kind.collection()));
    query.push_bind(tenant).push(" and c.id = any(").push_bind(ids.to_vec()).push(")");
    read_all(conn, kind, query).await
}

async fn read_all(conn: &mut Conn, kind: Kind, mut query: QueryBuilder<Postgres>) -> Result<Vec<Candidate>, Fault> {
    let rows = query.build().fetch_all(conn).await?;
    let read = |row: &PgRow| match kind {
        Kind::Account => account::sql::read(row).map(|account| Candidate::from(&account)),
        Kind::Contact => contact::sql::read(row).map(|contact| Candidate::from(&contact)),
    };
    // One that cannot be read must not keep all others from being compared, nor new ones from being written.
    let readable = |row: &PgRow| {
        let id = row.try_get::<Uuid, _>("id").ok();
        read(row).inspect_err(|error| tracing::error!(%error, ?id, "a record cannot be read; it is not compared with others")).ok()
    };
    Ok(rows.iter().filter_map(readable).collect())
}

/// A record that is compared.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// Whether it is not in the bin.
    pub lives: bool,
    /// What it is compared by.
    pub profile: super::Profile,
}

impl From<&account::Account> for Candidate {
    fn from(account: &account::Account) -> Self {
        Self { id: account.id(), version: account.version(), lives: !account.is_deleted(), profile: account.into() }
    }
}

impl From<&contact::Contact> for Candidate {
    fn from(contact: &contact::Contact) -> Self {
        Self { id: contact.id(), version: contact.version(), lives: !contact.is_deleted(), profile: contact.into() }
    }
}
