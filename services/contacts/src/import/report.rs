//! What an import has done so far, and what its rows were about.

use std::collections::{BTreeMap, HashMap};

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Db, Fault, Tx, name};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

/// Rows that are removed with one statement.
const PIECE: i64 = 10_000;
/// The same of pieces of sheets, which are large.
const PIECES: i64 = 100;

/// Counts of rows; of refused ones by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// New records.
    pub created: i64,
    /// Changed records.
    pub updated: i64,
    /// Records that were as the row says.
    pub unchanged: i64,
    /// Accounts without the parent that their row names; they are counted above too.
    pub unlinked: i64,
    /// Rows that the source has deleted.
    pub deleted: i64,
    /// Rows whose owner in the source is nobody here; they are counted above too.
    pub unknown_owners: i64,
    /// Refused rows.
    pub refusals: BTreeMap<String, i64>,
}

impl Counts {
    /// Refused rows, whatever the reason.
    #[must_use]
    pub fn refused(&self) -> i64 {
        self.refusals.values().sum()
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.created + self.updated + self.unchanged + self.deleted + self.refused()
    }
}

/// The report of an import that has done nothing yet; one that is there stays.
///
/// # Errors
/// What the database answers.
pub async fn begin(conn: &mut Conn, ctx: &Ctx, job: Uuid, dry_run: bool) -> Result<(), Fault> {
    sqlx::query!(
        "insert into import_reports (tenant_id, job_id, owner_id, dry_run, created, updated, unchanged, refusals)
         values ($1, $2, $3, $4, 0, 0, 0, '{}') on conflict (tenant_id, job_id) do nothing",
        ctx.tenant(),
        job,
        ctx.subject(),
        dry_run
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds what a step did. One process at a time commits steps of a job.
///
/// # Errors
/// What the database answers.
pub async fn add(tx: &mut Tx, ctx: &Ctx, job: Uuid, step: &Counts, refused_file: Option<Uuid>) -> Result<(), Fault> {
    let before = sqlx::query_scalar!(
        r#"select refusals as "refusals: Json<BTreeMap<String, i64>>" from import_reports where tenant_id = $1 and job_id = $2"#,
        ctx.tenant(),
        job
    )
    .fetch_one(tx.conn())
    .await?;
    let mut refusals = before.0;
    for (reason, count) in &step.refusals {
        *refusals.entry(reason.clone()).or_default() += count;
    }
    sqlx::query!(
        "update import_reports set created = created + $3, updated = updated + $4, unchanged = unchanged + $5, refusals = $6, refused_file_id = $7,
           unlinked = unlinked + $8, deleted = deleted + $9, unknown_owners = unknown_owners + $10
         where tenant_id = $1 and job_id = $2",
        ctx.tenant(),
        job,
        step.created,
        step.updated,
        step.unchanged,
        Json(refusals) as _,
        refused_file,
        step.unlinked,
        step.deleted,
        step.unknown_owners
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The report, if its import is in `scope`.
///
/// # Errors
/// What the database answers.
pub async fn read(db: &Db, ctx: &Ctx, scope: &Scope, job: Uuid) -> Result<Option<pb::ImportReport>, Fault> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select r.dry_run, r.created, r.updated, r.unchanged, r.refusals, r.refused_file_id, r.unlinked, r.deleted, r.unknown_owners from import_reports r where r.tenant_id = ",
    );
    query.push_bind(ctx.tenant()).push(" and r.job_id = ").push_bind(job);
    scope.push(&mut query, Table { tenant: "r.tenant_id", id: "r.job_id", owner: "r.owner_id" });
    let Some(row) = query.build().fetch_optional(&mut db.for_tenant(ctx).await?).await? else { return Ok(None) };
    let refusals: Json<BTreeMap<String, i64>> = row.try_get(4)?;
    let counts = Counts {
        created: row.try_get(1)?,
        updated: row.try_get(2)?,
        unchanged: row.try_get(3)?,
        unlinked: row.try_get(6)?,
        deleted: row.try_get(7)?,
        unknown_owners: row.try_get(8)?,
        refusals: refusals.0,
    };
    let file: Option<Uuid> = row.try_get(5)?;
    Ok(Some(pb::ImportReport {
        job: name::format_own("contacts", "jobs", job),
        dry_run: row.try_get(0)?,
        row_count: counts.rows(),
        created_count: counts.created,
        updated_count: counts.updated,
        unchanged_count: counts.unchanged,
        refused_count: counts.refused(),
        unlinked_count: counts.unlinked,
        deleted_count: counts.deleted,
        unknown_owner_count: counts.unknown_owners,
        refusals: counts.refusals.into_iter().map(|(reason, count)| pb::ImportRefusal { reason, count }).collect(),
        refused_file: file.map(|id| name::format_own("contacts", "files", id)).unwrap_or_default(),
    }))
}

/// The lines of the first rows about what `keys` stand for.
///
/// # Errors
/// What the database answers.
pub async fn lines(conn: &mut Conn, ctx: &Ctx, job: Uuid, keys: &[String]) -> Result<HashMap<String, i64>, Fault> {
    // One by one: the table is empty but for running imports, so that the planner would read all keys of this one each time.
    let rows = sqlx::query!(
        r#"select sought.key as "key!", known.line from unnest($3::text[]) sought(key) cross join lateral (
             select line from import_keys k where k.tenant_id = $1 and k.job_id = $2 and k.key = sought.key limit 1) known"#,
        ctx.tenant(),
        job,
        keys
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.key, row.line)).collect())
}

/// Remembers what rows were about.
///
/// # Errors
/// What the database answers.
pub async fn remember(tx: &mut Tx, ctx: &Ctx, job: Uuid, keys: &[String], lines: &[i64]) -> Result<(), Fault> {
    sqlx::query!(
        "insert into import_keys (tenant_id, job_id, key, line) select $1, $2, k.key, k.line from unnest($3::text[], $4::bigint[]) k(key, line)
         on conflict do nothing",
        ctx.tenant(),
        job,
        keys,
        lines
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets what rows were about, those of imports that ended without doing so too, and the reports of jobs that are
/// gone by their age; true when nothing is left of the rows.
///
/// # Errors
/// What the database answers.
pub async fn forget(tx: &mut Tx, ctx: &Ctx, job: Uuid) -> Result<bool, Fault> {
    let keys = sqlx::query!(
        "delete from import_keys where tenant_id = $1 and ctid = any(array(
           select k.ctid from import_keys k where k.tenant_id = $1 and (k.job_id = $2 or not exists (
             select from kit.job j where j.tenant_id = $1 and j.id = k.job_id and j.state in (1, 2)))
           limit $3))",
        ctx.tenant(),
        job,
        PIECE
    )
    .execute(tx.conn())
    .await?;
    let links = sqlx::query!(
        "delete from import_links where tenant_id = $1 and ctid = any(array(
           select l.ctid from import_links l where l.tenant_id = $1 and (l.job_id = $2 or not exists (
             select from kit.job j where j.tenant_id = $1 and j.id = l.job_id and j.state in (1, 2)))
           limit $3))",
        ctx.tenant(),
        job,
        PIECE
    )
    .execute(tx.conn())
    .await?;
    let pieces = sqlx::query!(
        "delete from import_pieces where tenant_id = $1 and ctid = any(array(
           select p.ctid from import_pieces p where p.tenant_id = $1 and (p.job_id = $2 or not exists (
             select from kit.job j where j.tenant_id = $1 and j.id = p.job_id and j.state in (1, 2)))
           limit $3))",
        ctx.tenant(),
        job,
        PIECES
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "delete from import_reports where tenant_id = $1 and ctid = any(array(
           select r.ctid from import_reports r where r.tenant_id = $1 and not exists (
             select from kit.job j where j.tenant_id = $1 and j.id = r.job_id)
           limit $2))",
        ctx.tenant(),
        PIECE
    )
    .execute(tx.conn())
    .await?;
    let is_less = keys.rows_affected().max(links.rows_affected()) < PIECE.unsigned_abs();
    Ok(is_less && pieces.rows_affected() < PIECES.unsigned_abs())
}
