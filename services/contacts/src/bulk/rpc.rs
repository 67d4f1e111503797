//! The service of bulk changes: what a change would do, and the start of the job that does it.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::bulk_sample::{After, Before};
use rapport_contacts_api::v1::bulk_service_server::BulkService;
use rapport_kit::command::{self, Done};
use rapport_kit::jobs::{Asked, Jobs};
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, name, page};
use rapport_proto::common::v1::Job;
use tonic::{Request, Response, Status};

use super::change::{self, Change};
use super::decide::{self, Decision};
use super::{KIND, set};
use crate::account::{self, Account};
use crate::contact::{self, Contact};

/// Records that a preview shows at most.
const SAMPLES: usize = 10;

/// Serves bulk changes.
#[derive(Debug, Clone)]
pub struct BulkChanges {
    db: Db,
    policy: Policy,
    jobs: Jobs,
}

#[tonic::async_trait]
impl BulkService for BulkChanges {
    async fn preview_bulk_change(&self, request: Request<pb::PreviewBulkChangeRequest>) -> Result<Response<pb::PreviewBulkChangeResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let sent = request.into_inner().change.ok_or_else(|| Fault::invalid("change", "is required"))?;
        let change = change::parse(Some(sent.clone()))?;
        change.check(&ctx)?;
        let ids = set::choose(&mut self.db.for_tenant(&ctx).await?, &ctx, &change).await?;
        let capped = ids.len() > set::MOST;
        let count = i64::try_from(ids.len().min(set::MOST)).map_err(Fault::internal)?;
        let preview_token = if capped { String::new() } else { set::token(&ctx, &sent, &ids) };
        let samples = self.samples(&ctx, &change, ids.get(..SAMPLES).unwrap_or(&ids)).await?;
        let answer = pb::PreviewBulkChangeResponse { count, capped, samples, preview_token };
        page::require_fit(&answer)?;
        Ok(Response::new(answer))
    }

    async fn start_bulk_change(&self, request: Request<pb::StartBulkChangeRequest>) -> Result<Response<Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.start(&ctx, request.into_inner()).await;
        Ok(Response::new(command::answer(&self.db, &ctx, outcome).await?))
    }
}

impl BulkChanges {
    /// Changes of records in `db`, made by `jobs`, for owners that `policy` knows.
    #[must_use]
    pub fn new(db: Db, policy: Policy, jobs: Jobs) -> Self {
        Self { db, policy, jobs }
    }

    async fn start(&self, ctx: &Ctx, request: pb::StartBulkChangeRequest) -> Result<Done<Job>, Fault> {
        let asked = request.encode_to_vec();
        let sent = request.change.ok_or_else(|| Fault::invalid("change", "is required"))?;
        if request.preview_token.is_empty() {
            return Err(Fault::invalid("preview_token", "is required; a preview gives it"));
        }
        let change = change::parse(Some(sent.clone()))?;
        change.check(ctx)?;
        let mut tx = self.db.begin(ctx).await?;
        let ids = set::choose(tx.conn(), ctx, &change).await?;
        if ids.len() > set::MOST {
            let text = format!("Narrow the filter down: a change may concern at most {} records.", set::MOST);
            return Err(Fault::precondition("BULK_TOO_LARGE", text).with("most", set::MOST.to_string()));
        }
        if set::token(ctx, &sent, &ids) != request.preview_token {
            return Err(Fault::precondition("PREVIEW_OUTDATED", "Look at the preview again: the change or its records are others than it showed."));
        }
        let (id, job) = self.jobs.start_in(&mut tx, ctx, Asked { kind: KIND.name, request: asked, input_files: Vec::new() }).await?;
        set::store(&mut tx, ctx, id, &ids).await?;
        tx.commit().await?;
        Ok(Done::Written(job))
    }

    async fn samples(&self, ctx: &Ctx, change: &Change, ids: &[uuid::Uuid]) -> Result<Vec<pb::BulkSample>, Fault> {
        let decisions = decide::decide(&self.db, &self.policy, ctx, change, ids).await?;
        let is_deletion = change.work == change::Work::Delete;
        Ok(decisions.into_iter().map(|(id, decision)| sample(ctx, name::format(change.resource.collection(), id), decision, is_deletion)).collect())
    }
}

/// A record as the caller may see it before and after.
fn sample(ctx: &Ctx, name: String, decision: Decision, is_deletion: bool) -> pb::BulkSample {
    let contact = |contact: Contact| {
        let mut shown = contact::convert::to_proto(contact);
        contact::convert::hide(&mut shown, ctx.fields(contact::RESOURCE));
        shown
    };
    let account = |account: Account| {
        let mut shown = account::convert::to_proto(account);
        account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
        shown
    };
    let of_contact = |before: Contact, after: Contact| (Some(Before::ContactBefore(contact(before))), Some(After::ContactAfter(contact(after))));
    let of_account = |before: Account, after: Account| (Some(Before::AccountBefore(account(before))), Some(After::AccountAfter(account(after))));
    let (before, after) = match decision {
        Decision::Contact { before, after, .. } => of_contact(*before, *after),
        Decision::Account { before, decided } => of_account(*before, decided.account),
        Decision::KeepContact(same) => of_contact((*same).clone(), *same),
        Decision::KeepAccount(same) => of_account((*same).clone(), *same),
        Decision::Refuse(fault) => return pb::BulkSample { name, before: None, after: None, error: Some(fault.into()) },
    };
    pb::BulkSample { name, before, after: after.filter(|_| !is_deletion), error: None }
}
