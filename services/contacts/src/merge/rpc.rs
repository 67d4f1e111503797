//! The merge service: parse, do it in one transaction, answer.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::merge_service_server::MergeService;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::{Ctx, Db, Fault, journal, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::asked::Asked;
use super::{COLLECTION, Merge, accounts, contacts, convert, sql};
use crate::duplicate::Rules;
use crate::{account, contact};

/// Serves merges.
#[derive(Debug, Clone)]
pub struct Merges {
    db: Db,
    rules: Rules,
}

#[tonic::async_trait]
impl MergeService for Merges {
    async fn merge_contacts(&self, request: Request<pb::MergeContactsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = Asked::of_contacts(&ctx, request.into_inner())?;
        let outcome = contacts::merge(&self.db, &self.rules, &ctx, &asked).await;
        self.answer(&ctx, outcome).await
    }

    async fn preview_merge_contacts(
        &self,
        request: Request<pb::PreviewMergeContactsRequest>,
    ) -> Result<Response<pb::PreviewMergeContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let merge = request.into_inner().merge.ok_or_else(|| Fault::invalid("merge", "is required"))?;
        let asked = Asked::of_contacts(&ctx, merge)?;
        Ok(Response::new(contacts::preview(&self.db, &ctx, &asked).await?))
    }

    async fn unmerge_contacts(&self, request: Request<pb::UnmergeContactsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let outcome = match self.to_undo(&ctx, id, contact::COLLECTION).await {
            Ok(merge) => contacts::unmerge(&self.db, &self.rules, &ctx, merge, &request.etag).await,
            Err(fault) => Err(fault),
        };
        self.answer(&ctx, outcome).await
    }

    async fn merge_accounts(&self, request: Request<pb::MergeAccountsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = Asked::of_accounts(&ctx, request.into_inner())?;
        let outcome = accounts::merge(&self.db, &ctx, &asked).await;
        self.answer(&ctx, outcome).await
    }

    async fn preview_merge_accounts(
        &self,
        request: Request<pb::PreviewMergeAccountsRequest>,
    ) -> Result<Response<pb::PreviewMergeAccountsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let merge = request.into_inner().merge.ok_or_else(|| Fault::invalid("merge", "is required"))?;
        let asked = Asked::of_accounts(&ctx, merge)?;
        Ok(Response::new(accounts::preview(&self.db, &ctx, &asked).await?))
    }

    async fn unmerge_accounts(&self, request: Request<pb::UnmergeAccountsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let outcome = match self.to_undo(&ctx, id, account::COLLECTION).await {
            Ok(merge) => accounts::unmerge(&self.db, &ctx, merge, &request.etag).await,
            Err(fault) => Err(fault),
        };
        self.answer(&ctx, outcome).await
    }

    async fn get_merge(&self, request: Request<pb::GetMergeRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = name::parse(COLLECTION, &request.get_ref().name, "name")?;
        Ok(Response::new(convert::to_proto(&self.visible(&ctx, id).await?)))
    }

    async fn list_merges(&self, request: Request<pb::ListMergesRequest>) -> Result<Response<pb::ListMergesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(sql::list(&self.db, &ctx, request.get_ref()).await?))
    }
}

impl Merges {
    /// Merges of records in `db`; `rules` say which are duplicates.
    #[must_use]
    pub fn new(db: Db, rules: Rules) -> Self {
        Self { db, rules }
    }

    /// The merge that is to be taken back, if it is one of records of `collection`.
    async fn to_undo(&self, ctx: &Ctx, id: Uuid, collection: &str) -> Result<Merge, Fault> {
        let merge = self.visible(ctx, id).await?;
        if merge.collection() == collection {
            return Ok(merge);
        }
        Err(Fault::invalid("name", format!("is a merge of {}, which is taken back by the method for these", merge.collection())))
    }

    async fn visible(&self, ctx: &Ctx, id: Uuid) -> Result<Merge, Fault> {
        let found = sql::get(&mut self.db.for_tenant(ctx).await?, ctx, id).await?;
        found.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))
    }

    /// What was done, or the answer of the earlier request with the same key, if the caller still may see the survivor.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Merge, Fault>) -> Result<Response<pb::Merge>, Status> {
        let outcome = outcome.map(|merge| Done::Written(convert::to_proto(&merge)));
        let earlier = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(merge) => return Ok(Response::new(merge)),
            Settled::Earlier(earlier) => earlier,
        };
        let written = earlier.written.iter().find(|(collection, _, _)| collection == COLLECTION);
        let (_, id, version) = written.ok_or_else(|| Fault::internal("an idempotency row names no merge"))?;
        self.visible(ctx, *id).await?;
        Ok(Response::new(journal::at_version(&self.db, ctx, *id, *version).await?))
    }
}
