//! Every statement about jobs.

use chrono::{DateTime, Utc};
use prost::Message;
use rapport_proto::common::v1 as pb;
use sqlx::{AssertSqlSafe, Postgres, QueryBuilder};
use uuid::Uuid;

use super::LIVE;
use super::job::{Job, Work, number};
use super::run::Step;
use crate::access::{Scope, Table};
use crate::ctx::Ctx;
use crate::db::{Conn, SystemDb, Tx};
use crate::fault::Fault;
use crate::journal::Entry;
use crate::lease::TERM;

/// What a [`Job`] is read from.
pub(crate) const COLUMNS: &str =
    "j.tenant_id, j.id, j.version, j.kind, j.permission, j.undoes, j.undoable, j.state, j.owner_id, j.actor, j.on_behalf_of,
    j.input_ids, j.output_ids, j.done, j.refused, j.total, j.message, j.error, j.created_at, j.started_at, j.updated_at, j.cancelled_at, j.ended_at";
/// What [`Work`] adds.
const OF_WORK: &str = "j.limits, j.request, j.checkpoint, j.fence, j.attempts, j.all_done";
/// Behind columns, before a tenant.
pub(crate) const FROM: &str = " from kit.job j where j.tenant_id = ";
/// Where access looks.
pub(crate) const TABLE: Table = Table { tenant: "j.tenant_id", id: "j.id", owner: "j.owner_id" };

/// `select … from kit.job j where …` for the job if it is in `scope`.
fn select(ctx: &Ctx, scope: &Scope, id: Uuid, columns: &str) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(format!("select {columns}{FROM}"));
    query.push_bind(ctx.tenant());
    scope.push(&mut query, TABLE);
    query.push(" and j.id = ").push_bind(id);
    query
}

/// The job, if it is in `scope`.
pub(crate) async fn get(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<Job>, Fault> {
    Ok(select(ctx, scope, id, COLUMNS).build_query_as().fetch_optional(conn).await?)
}

/// The job with what it keeps between steps, if it is in `scope`.
pub(super) async fn get_work(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<Work>, Fault> {
    Ok(select(ctx, scope, id, &format!("{COLUMNS}, {OF_WORK}")).build_query_as().fetch_optional(conn).await?)
}

/// Whether some process works on a job of any tenant at this moment.
pub(super) async fn is_any_running(conn: &mut Conn) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar("select exists (select from kit.job where state = 2 and holder <> '' and due_at > now())").fetch_one(conn).await?)
}

/// Stores a new job with its journal entry, unless the tenant has too many.
pub(super) async fn insert(conn: &mut Conn, ctx: &Ctx, job: &Job, request: &[u8], entry: Entry) -> Result<(), Fault> {
    let stored = sqlx::query(
        "with w as (
           insert into kit.job (tenant_id, id, kind, permission, undoes, undoable, owner_id, actor, on_behalf_of, limits, request, input_ids,
             created_at, updated_at)
           select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13
           where (select count(*) from (select from kit.job where tenant_id = $1 and state in (1, 2) limit $14) live) < $14
           returning 1
         ) select kit.record($15) from w",
    )
    .bind(job.tenant_id)
    .bind(job.id)
    .bind(&job.kind)
    .bind(&job.permission)
    .bind(job.undoes)
    .bind(job.undoable)
    .bind(job.owner_id)
    .bind(&job.actor)
    .bind(&job.on_behalf_of)
    .bind(ctx.limits())
    .bind(request)
    .bind(&job.input_ids)
    .bind(job.created_at)
    .bind(LIVE)
    .bind(entry)
    .fetch_optional(conn)
    .await?;
    if stored.is_some() {
        return Ok(());
    }
    Err(Fault::precondition("TOO_MANY_JOBS", format!("Wait until one of your organisation's jobs has ended: it has {LIVE}."))
        .with("most", LIVE.to_string()))
}

/// Writes down that the end of a job was asked for, if it stands as it did when that was decided; answers whether.
pub(crate) async fn cancel(conn: &mut Conn, before: &Job, after: &Job, entry: Entry) -> Result<bool, Fault> {
    // Nobody works on a job without a holder: it need not wait for its turn.
    let done = sqlx::query(
        "with w as (
           update kit.job set version = version + 1, cancelled_at = $5, updated_at = $5, state = $6, ended_at = $7,
             due_at = case when holder = '' then now() else due_at end
           where tenant_id = $1 and id = $2 and version = $3 and state = $4 returning 1
         ) select kit.record($8) from w",
    )
    .bind(before.tenant_id)
    .bind(before.id)
    .bind(before.version)
    .bind(number(before.state()))
    .bind(after.updated_at)
    .bind(number(after.state()))
    .bind(after.has_ended().then_some(after.updated_at))
    .bind(entry)
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// Takes the job that waits for its turn the longest, of the tenant that has the fewest at work. One of another kind is
/// taken for its end alone: if that was asked for, or if nobody has come for it in a day.
pub(super) async fn take(db: &SystemDb, kinds: &[&str], holder: &str) -> Result<Option<Work>, Fault> {
    let statement = format!(
        "with next as (
           select w.tenant_id, w.id from kit.job w where w.state in (1, 2) and w.due_at <= now()
             and (w.kind = any($1) or w.cancelled_at is not null or w.due_at <= now() - interval '1 day')
           order by (select count(*) from kit.job b where b.tenant_id = w.tenant_id and b.state in (1, 2) and b.holder <> '' and b.due_at > now()),
             w.due_at, w.id
           limit 1 for update of w skip locked
         )
         update kit.job j set state = 2, holder = $2, fence = fence + 1, attempts = attempts + 1, due_at = now() + make_interval(secs => $3),
           started_at = case when j.state = 1 then now() else j.started_at end, updated_at = case when j.state = 1 then now() else j.updated_at end
         from next where j.tenant_id = next.tenant_id and j.id = next.id returning {COLUMNS}, {OF_WORK}"
    );
    let taken = sqlx::query_as(AssertSqlSafe(statement)).bind(kinds).bind(holder).bind(TERM.as_secs_f64());
    Ok(taken.fetch_optional(&mut db.conn().await?).await?)
}

/// Makes the lease begin anew; false if the job was taken by another process or has ended.
pub(super) async fn renew(db: &SystemDb, work: &Work) -> Result<bool, Fault> {
    let done =
        sqlx::query("update kit.job set due_at = now() + make_interval(secs => $4) where tenant_id = $1 and id = $2 and fence = $3 and state = 2")
            .bind(work.job.tenant_id)
            .bind(work.job.id)
            .bind(work.fence)
            .bind(TERM.as_secs_f64())
            .execute(&mut db.conn().await?)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Lets go of a job, which anybody may take after `wait` seconds; `attempts` are those that count.
pub(super) async fn put_back(db: &SystemDb, work: &Work, wait: f64, attempts: i32) -> Result<(), Fault> {
    sqlx::query(
        "update kit.job set holder = '', attempts = $5, due_at = now() + make_interval(secs => $4)
         where tenant_id = $1 and id = $2 and fence = $3 and state = 2",
    )
    .bind(work.job.tenant_id)
    .bind(work.job.id)
    .bind(work.fence)
    .bind(wait)
    .bind(attempts)
    .execute(&mut db.conn().await?)
    .await?;
    Ok(())
}

/// Stores how far the job is, in the step's own transaction; none if another process has taken it since.
pub(super) async fn advance(tx: &mut Tx, work: &Work, step: &Step, now: DateTime<Utc>) -> Result<Option<Work>, Fault> {
    let job = &work.job;
    let outputs: Vec<Uuid> = job.output_ids.iter().chain(&step.output_files).copied().collect();
    let statement = format!(
        "update kit.job j set checkpoint = $4, done = $5, refused = $6, total = $7, message = $8, output_ids = $9, updated_at = $10, attempts = 0,
           all_done = $12, due_at = now() + make_interval(secs => $11)
         where j.tenant_id = $1 and j.id = $2 and j.fence = $3 and j.state = 2 returning {COLUMNS}, {OF_WORK}"
    );
    let advanced = sqlx::query_as(AssertSqlSafe(statement))
        .bind(job.tenant_id)
        .bind(job.id)
        .bind(work.fence)
        .bind(&step.checkpoint)
        .bind(job.done + step.done)
        .bind(job.refused + step.refused)
        .bind(step.total.or(job.total))
        .bind(step.message.as_ref().unwrap_or(&job.message))
        .bind(outputs)
        .bind(now)
        .bind(TERM.as_secs_f64())
        .bind(step.ended)
        .fetch_optional(tx.conn())
        .await?;
    Ok(advanced)
}

/// Ends a job with its journal row; answers it, or none if another process has taken it since. With the success of a
/// job that takes another's work back, that one is undone.
pub(super) async fn end(
    tx: &mut Tx,
    ctx: &Ctx,
    service: &str,
    work: &Work,
    state: pb::JobState,
    error: Option<pb::JobError>,
) -> Result<Option<Job>, Fault> {
    let statement = format!(
        "update kit.job j set state = $4, error = $5, ended_at = $6, updated_at = $6, version = j.version + 1, holder = ''
         where j.tenant_id = $1 and j.id = $2 and j.fence = $3 and j.state = 2 returning {COLUMNS}"
    );
    let ended: Option<Job> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(work.job.tenant_id)
        .bind(work.job.id)
        .bind(work.fence)
        .bind(number(state))
        .bind(error.map(|error| error.encode_to_vec()))
        .bind(ctx.now())
        .fetch_optional(tx.conn())
        .await?;
    let Some(job) = ended else { return Ok(None) };
    let mut entries = vec![job.entry(ctx, &pb::JobEnded { job: Some(job.told(service)) })?];
    if let (Some(id), pb::JobState::Succeeded) = (job.undoes, state)
        && let Some(undone) = undo(tx, ctx, id).await?
    {
        entries.push(undone.entry(ctx, &pb::JobUndone { job: Some(undone.told(service)) })?);
    }
    sqlx::query("select kit.record_all($1)").bind(entries).execute(tx.conn()).await?;
    Ok(Some(job))
}

/// None if the job is gone by its age.
async fn undo(tx: &mut Tx, ctx: &Ctx, id: Uuid) -> Result<Option<Job>, Fault> {
    let statement =
        format!("update kit.job j set state = $3, updated_at = $4, version = j.version + 1 where j.tenant_id = $1 and j.id = $2 returning {COLUMNS}");
    let undone = sqlx::query_as(AssertSqlSafe(statement)).bind(ctx.tenant()).bind(id).bind(number(pb::JobState::Undone)).bind(ctx.now());
    Ok(undone.fetch_optional(tx.conn()).await?)
}
