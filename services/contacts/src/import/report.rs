//! What an import has done so far.

use std::collections::BTreeMap;

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Scope, Table};
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Db, Fault, Tx, name};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

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
