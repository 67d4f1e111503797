//! Jobs as callers see them: followed, cancelled, undone. What they do is done in `jobs`.

use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::job_service_server::JobService;
use sqlx::{FromRow, Postgres, QueryBuilder};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::command::{self, ATTEMPTS, Done};
use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::filter::{Column, Field, Kind};
use crate::jobs::{self, COLLECTION, Job, Jobs, RESOURCE};
use crate::journal::Record;
use crate::list::{self, Asked, Listing};
use crate::name;

/// What the list can be filtered by.
const FIELDS: &[Field] = &[
    Field { path: "kind", column: Column::Plain("j.kind"), kind: Kind::Text, sort: false },
    Field { path: "state", column: Column::Plain("j.state"), kind: Kind::Enum(STATES), sort: false },
    Field { path: "owner", column: Column::Plain("j.owner_id"), kind: Kind::AnyUuid { collections: &["users", "serviceAccounts"] }, sort: false },
    Field { path: "create_time", column: Column::Plain("j.created_at"), kind: Kind::Time, sort: true },
];
const STATES: &[(&str, i16)] = &[
    ("PENDING", 1),
    ("RUNNING", 2),
    ("SUCCEEDED", 3),
    ("FAILED", 4),
    ("CANCELLED", 5),
    ("UNDONE", 6),
    ("JOB_STATE_PENDING", 1),
    ("JOB_STATE_RUNNING", 2),
    ("JOB_STATE_SUCCEEDED", 3),
    ("JOB_STATE_FAILED", 4),
    ("JOB_STATE_CANCELLED", 5),
    ("JOB_STATE_UNDONE", 6),
];
const LISTING: Listing = Listing { columns: jobs::COLUMNS, from: jobs::FROM, id: "j.id", fields: FIELDS, search: None, order: "create_time desc" };

/// The jobs of one service.
#[derive(Debug, Clone)]
pub(crate) struct JobDesk {
    pub(crate) jobs: Jobs,
}

#[tonic::async_trait]
impl JobService for JobDesk {
    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = self.id(&request.get_ref().name)?;
        let job = self.find(&ctx, id).await?;
        Ok(Response::new(self.jobs.shown(&job)))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Result<Response<pb::ListJobsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(self.list(&ctx, request.get_ref()).await?))
    }

    async fn cancel_job(&self, request: Request<pb::CancelJobRequest>) -> Result<Response<pb::Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = self.id(&request.get_ref().name)?;
        let outcome = self.cancel(&ctx, id).await;
        Ok(Response::new(command::answer(&self.jobs.db, &ctx, outcome).await?))
    }

    async fn undo_job(&self, request: Request<pb::UndoJobRequest>) -> Result<Response<pb::Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = self.id(&request.get_ref().name)?;
        let outcome = match self.find(&ctx, id).await {
            Ok(job) => self.jobs.undo(&ctx, &job).await,
            Err(refusal) => Err(refusal),
        };
        Ok(Response::new(command::answer(&self.jobs.db, &ctx, outcome).await?))
    }
}

impl JobDesk {
    fn id(&self, name: &str) -> Result<Uuid, Fault> {
        name::parse_own(self.jobs.service, COLLECTION, name, "name")
    }

    /// The job, if the method's permission reaches it.
    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Job, Fault> {
        let job = jobs::get(&mut self.jobs.db.for_tenant(ctx).await?, ctx, &ctx.scope(), id).await?;
        job.ok_or_else(|| Fault::not_found(name::format_own(self.jobs.service, COLLECTION, id)))
    }

    async fn list(&self, ctx: &Ctx, request: &pb::ListJobsRequest) -> Result<pb::ListJobsResponse, Fault> {
        let pb::ListJobsRequest { parent, page_size, page_token, filter } = request;
        name::require_parent(self.jobs.service, parent)?;
        let asked = Asked { page_size: *page_size, page_token, filter, order_by: "", others: &[("parent", parent)] };
        let narrow = |query: &mut QueryBuilder<Postgres>| ctx.scope().push(query, jobs::TABLE);
        let (rows, next_page_token) = list::page(&self.jobs.db, ctx, &LISTING, asked, ctx.fields(RESOURCE), narrow).await?;
        let jobs = rows.iter().map(Job::from_row).collect::<Result<Vec<Job>, sqlx::Error>>()?;
        Ok(pb::ListJobsResponse { jobs: jobs.iter().map(|job| self.jobs.shown(job)).collect(), next_page_token })
    }

    /// Read, decide, write; again if the job began or ended meanwhile.
    async fn cancel(&self, ctx: &Ctx, id: Uuid) -> Result<Done<pb::Job>, Fault> {
        for _ in 0..ATTEMPTS {
            let job = self.find(ctx, id).await?;
            if job.has_ended() {
                return Err(Fault::precondition("JOB_ENDED", "Undo the job if what it did is to be taken back: it has ended.")
                    .with("name", job.name(self.jobs.service)));
            }
            if job.cancelled_at.is_some() {
                let found = Record { collection: COLLECTION, id, version: job.version };
                return Ok(Done::Unchanged(job.told(self.jobs.service), found));
            }
            let after = job.clone().cancelled(ctx.now());
            let told = after.told(self.jobs.service);
            let entry = match after.has_ended() {
                true => after.entry(ctx, &pb::JobEnded { job: Some(told.clone()) })?,
                false => after.entry(ctx, &pb::JobCancelled { job: Some(told.clone()) })?,
            };
            if jobs::cancel(&mut self.jobs.db.for_tenant(ctx).await?, &job, &after, entry).await? {
                return Ok(Done::Written(told));
            }
        }
        Err(Fault::contended())
    }
}
