//! Statements about keys and the records that are compared.

use std::collections::{BTreeMap, BTreeSet};

use rapport_kit::access::Scope;
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::Profile;
use crate::contact::Person;
use crate::external_id::ExternalId;
use crate::search::Kind;
use crate::{account, contact};

/// Records of a key that are compared with each other; a key with more says too little.
pub const MOST: i64 = 200;

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

/// Lets the transaction give way: it stops waiting for a lock before the database, after a second, breaks off one of two
/// transactions that wait for each other, which could be a caller's.
///
/// # Errors
/// What the database answers.
pub async fn give_way(tx: &mut Tx) -> Result<(), Fault> {
    sqlx::query!("set local lock_timeout = '500ms'").execute(tx.conn()).await?;
    Ok(())
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
    let mut query = select(kind, ctx.tenant());
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

/// Live and deleted records of a tenant, whoever may see them: each with its version, whether it lives, and what it is
/// compared by.
///
/// # Errors
/// What the database answers.
pub async fn profiles(conn: &mut Conn, tenant: Uuid, kind: Kind, ids: &[Uuid]) -> Result<Vec<Candidate>, Fault> {
    let mut query = select(kind, tenant);
    query.push(" and c.id = any(").push_bind(ids.to_vec()).push(")");
    read_all(conn, kind, query).await
}

/// `select … from … c where …` for records of the tenant, with what they are compared by and nothing else: hundreds may be
/// read to write one.
fn select(kind: Kind, tenant: Uuid) -> QueryBuilder<Postgres> {
    let columns = match kind {
        Kind::Account => "c.external_ids, c.profile, c.display_name",
        Kind::Contact => "c.external_ids, c.person",
    };
    let mut query =
        QueryBuilder::new(format!("select c.id, c.version, c.deleted_at is null, {columns} from {} c where c.tenant_id = ", kind.collection()));
    query.push_bind(tenant);
    query
}

async fn read_all(conn: &mut Conn, kind: Kind, mut query: QueryBuilder<Postgres>) -> Result<Vec<Candidate>, Fault> {
    let rows = query.build().fetch_all(conn).await?;
    // One that cannot be read must not keep all others from being compared, nor new ones from being written.
    let readable = |row: &PgRow| {
        let id = row.try_get::<Uuid, _>("id").ok();
        read(kind, row).inspect_err(|error| tracing::error!(%error, ?id, "a record cannot be read; it is not compared with others")).ok()
    };
    Ok(rows.iter().filter_map(readable).collect())
}

fn read(kind: Kind, row: &PgRow) -> Result<Candidate, Fault> {
    let ids = row.try_get::<Json<Vec<ExternalId>>, _>(3)?.0;
    let profile = match kind {
        Kind::Account => Profile::of_organisation(row.try_get(5)?, &row.try_get::<Json<account::model::Profile>, _>(4)?.0, &ids),
        Kind::Contact => Profile::of_person(&row.try_get::<Json<Person>, _>(4)?.0, &ids),
    };
    Ok(Candidate { id: row.try_get(0)?, version: row.try_get(1)?, lives: row.try_get(2)?, profile })
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
    pub profile: Profile,
}
