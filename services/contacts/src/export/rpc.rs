//! The export service: parse, refuse what cannot be, note who takes what, and write as the caller reads.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::export_service_server::ExportService;
use rapport_kit::command;
use rapport_kit::jobs::{Asked, Jobs};
use rapport_kit::{Ctx, Db, Fault};
use rapport_proto::common::v1::Job;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::plan::{self, Plan};
use super::progress::Progress;
use super::records::{self, Fetched};
use super::{KIND, job};
use crate::layout::Resource;

/// Bytes of a piece of an answer.
const PIECE: usize = 1 << 20;

/// What is exported in one call.
#[derive(Debug)]
struct Export {
    db: Db,
    ctx: Ctx,
    plan: Plan,
}

impl Export {
    /// Fetches a page in a task of its own, which ends with the call.
    fn fetch(self: Arc<Self>, after: Option<Uuid>) -> JoinSet<Result<Fetched, Fault>> {
        let mut fetching = JoinSet::new();
        fetching.spawn(async move { records::fetch(&self.db, &self.ctx, &self.plan, after).await });
        fetching
    }
}

/// Serves exports.
#[derive(Debug, Clone)]
pub struct Exports {
    db: Db,
    jobs: Jobs,
}

#[tonic::async_trait]
impl ExportService for Exports {
    type ExportContactsStream = BoxStream<'static, Result<pb::ExportContactsResponse, Status>>;

    async fn export_contacts(&self, request: Request<pb::ExportContactsRequest>) -> Result<Response<Self::ExportContactsStream>, Status> {
        let ctx = Ctx::of(&request)?;
        let plan = plan::parse(Resource::Contact, request.into_inner().options)?;
        let pieces = self.stream(ctx, plan).await?;
        Ok(Response::new(pieces.map_ok(|data| pb::ExportContactsResponse { data }).boxed()))
    }

    type ExportAccountsStream = BoxStream<'static, Result<pb::ExportAccountsResponse, Status>>;

    async fn export_accounts(&self, request: Request<pb::ExportAccountsRequest>) -> Result<Response<Self::ExportAccountsStream>, Status> {
        let ctx = Ctx::of(&request)?;
        let plan = plan::parse(Resource::Account, request.into_inner().options)?;
        let pieces = self.stream(ctx, plan).await?;
        Ok(Response::new(pieces.map_ok(|data| pb::ExportAccountsResponse { data }).boxed()))
    }

    async fn start_export(&self, request: Request<pb::StartExportRequest>) -> Result<Response<Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = request.encode_to_vec();
        if let Err(refused) = plan::check(&ctx, &job::parse(request)?) {
            // Whoever asked before, and may no more, is told of the job that was started then.
            return Ok(Response::new(command::answer(&self.db, &ctx, Err(refused)).await?));
        }
        let job = self.jobs.start(&ctx, Asked { kind: KIND.name, request: asked, input_files: Vec::new() }).await?;
        Ok(Response::new(job))
    }
}

impl Exports {
    /// Exports from `db`; long ones are `jobs`.
    #[must_use]
    pub fn new(db: Db, jobs: Jobs) -> Self {
        Self { db, jobs }
    }

    /// Page by page as the caller takes them. While one is written the next is fetched; no connection is held between them.
    async fn stream(&self, ctx: Ctx, plan: Plan) -> Result<BoxStream<'static, Result<Vec<u8>, Status>>, Fault> {
        plan::check(&ctx, &plan)?;
        ctx.log_export(&mut self.db.for_tenant(&ctx).await?, &job::logged(&plan)).await?;
        let export = Arc::new(Export { db: self.db.clone(), ctx, plan });
        let begin = (Progress::default(), Some(Arc::clone(&export).fetch(None)));
        let pages = stream::try_unfold(begin, move |(mut progress, fetching)| {
            let export = Arc::clone(&export);
            async move {
                let Some(mut fetching) = fetching else { return Ok(None) };
                if Instant::now() >= export.ctx.call().deadline {
                    return Err(Status::from(Fault::deadline()));
                }
                let fetched =
                    fetching.join_next().await.ok_or_else(|| Fault::internal("a page is fetched by nobody"))?.map_err(Fault::internal)??;
                let next = progress.behind(&export.plan, &fetched).map(|after| Arc::clone(&export).fetch(after));
                // What was spawned waits for this thread, and would be asked of the database only when this page is written.
                tokio::task::yield_now().await;
                let page = records::shown(&export.db, &export.ctx, &export.plan, fetched).await?;
                let piece = progress.take(&export.plan, &page)?;
                Ok(Some((piece.bytes, (progress, next))))
            }
        });
        let pieces = |bytes: Vec<u8>| stream::iter(bytes.chunks(PIECE).map(|piece| Ok(piece.to_vec())).collect::<Vec<_>>());
        Ok(pages.map_ok(pieces).try_flatten().boxed())
    }
}
