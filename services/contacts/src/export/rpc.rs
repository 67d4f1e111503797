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
use tonic::{Request, Response, Status};

use super::plan::{self, Plan};
use super::progress::{self, Progress};
use super::{KIND, job};
use crate::layout::Resource;

/// Bytes of a piece of an answer.
const PIECE: usize = 1 << 20;

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

    /// Page by page as the caller takes them; between them nothing is held.
    async fn stream(&self, ctx: Ctx, plan: Plan) -> Result<BoxStream<'static, Result<Vec<u8>, Status>>, Fault> {
        plan::check(&ctx, &plan)?;
        ctx.log_export(&mut self.db.for_tenant(&ctx).await?, &job::logged(&plan)).await?;
        let with = Arc::new((self.db.clone(), ctx, plan));
        let pages = stream::try_unfold(Progress::default(), move |mut progress| {
            let with = Arc::clone(&with);
            async move {
                let (db, ctx, plan) = with.as_ref();
                if progress.is_done {
                    return Ok(None);
                }
                if Instant::now() >= ctx.call().deadline {
                    return Err(Status::from(Fault::deadline()));
                }
                let piece = progress::advance(db, ctx, plan, &mut progress).await?;
                Ok(Some((piece.bytes, progress)))
            }
        });
        let pieces = |bytes: Vec<u8>| stream::iter(bytes.chunks(PIECE).map(|piece| Ok(piece.to_vec())).collect::<Vec<_>>());
        Ok(pages.map_ok(pieces).try_flatten().boxed())
    }
}
