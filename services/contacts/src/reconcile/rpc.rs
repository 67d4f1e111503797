//! The service of reconciliations: their start, and what they found.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::reconciliation_service_server::ReconciliationService;
use rapport_kit::command::{self, Done};
use rapport_kit::files::Files;
use rapport_kit::jobs::{Asked, Jobs};
use rapport_kit::{Ctx, Db, Fault, name};
use rapport_proto::common::v1::Job;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::KIND;
use super::step::{Checkpoint, Orders};
use crate::import::order::Order;
use crate::import::rpc::ordered;

/// Files of one reconciliation.
const FILES: usize = 10;

/// Serves reconciliations.
#[derive(Debug, Clone)]
pub struct Reconciliations {
    db: Db,
    files: Files,
    jobs: Jobs,
}

#[tonic::async_trait]
impl ReconciliationService for Reconciliations {
    async fn start_reconciliation(&self, request: Request<pb::StartReconciliationRequest>) -> Result<Response<Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let job = match self.start(&ctx, request.into_inner()).await {
            Ok(job) => job,
            // A repetition gets the first answer, whatever has become of the files.
            Err(refusal) => command::answer(&self.db, &ctx, Err::<Done<Job>, Fault>(refusal)).await?,
        };
        Ok(Response::new(job))
    }

    async fn get_reconciliation(&self, request: Request<pb::GetReconciliationRequest>) -> Result<Response<pb::Reconciliation>, Status> {
        let ctx = Ctx::of(&request)?;
        let name = &request.get_ref().job;
        name::parse_own("contacts", "jobs", name, "job")?;
        let (job, _, at): (Job, Orders, Checkpoint) = self.jobs.told(&ctx, &ctx.scope(), name).await?;
        if job.kind != KIND.name {
            return Err(Fault::not_found(name).into());
        }
        Ok(Response::new(pb::Reconciliation { job: job.name, files: at.files }))
    }
}

impl Reconciliations {
    /// Compares `files` with what is in `db`.
    #[must_use]
    pub fn new(db: Db, files: Files, jobs: Jobs) -> Self {
        Self { db, files, jobs }
    }

    async fn start(&self, ctx: &Ctx, request: pb::StartReconciliationRequest) -> Result<Job, Fault> {
        if !(1..=FILES).contains(&request.files.len()) {
            return Err(Fault::invalid("files", format!("must have 1 to {FILES} entries")));
        }
        let (mut input_files, mut orders) = (Vec::new(), Orders::default());
        for (index, sent) in request.files.into_iter().enumerate() {
            let (file, order) = self.ordered(ctx, sent).await.map_err(|fault| fault.within(&format!("files[{index}]")))?;
            input_files.push(file);
            orders.orders.push(order);
        }
        self.jobs.start(ctx, Asked { kind: KIND.name, request: orders.encode_to_vec(), input_files }).await
    }

    async fn ordered(&self, ctx: &Ctx, sent: pb::ReconciliationSource) -> Result<(Uuid, Order), Fault> {
        let rules = sent.rules.ok_or_else(|| Fault::invalid("rules", "is required"))?;
        if rules.r#match.as_ref().is_none_or(|by| by.by() == pb::import_match::By::Unspecified) {
            return Err(Fault::invalid("rules.match", "is required"));
        }
        let (file, order) = ordered(&self.files, ctx, &sent.file, sent.source, rules, true).await?;
        if order.format() != pb::ImportFormat::Csv {
            return Err(Fault::invalid("file", "must be a CSV file: cards and workbooks are not compared"));
        }
        Ok((file, order))
    }
}
