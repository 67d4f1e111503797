//! The merge service: parse, do it in one transaction, answer.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::merge_service_server::MergeService;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::{Ctx, Db, Fault, journal, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{COLLECTION, Merge, contacts, convert, sql};

/// Serves merges.
#[derive(Debug, Clone)]
pub struct Merges {
    db: Db,
}

#[tonic::async_trait]
impl MergeService for Merges {
    async fn merge_contacts(&self, request: Request<pb::MergeContactsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = contacts::parse(&ctx, request.into_inner())?;
        let outcome = contacts::merge(&self.db, &ctx, &asked).await;
        self.answer(&ctx, outcome).await
    }

    async fn preview_merge_contacts(
        &self,
        request: Request<pb::PreviewMergeContactsRequest>,
    ) -> Result<Response<pb::PreviewMergeContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let merge = request.into_inner().merge.ok_or_else(|| Fault::invalid("merge", "is required"))?;
        let asked = contacts::parse(&ctx, merge)?;
        Ok(Response::new(contacts::preview(&self.db, &ctx, &asked).await?))
    }

    async fn unmerge_contacts(&self, request: Request<pb::UnmergeContactsRequest>) -> Result<Response<pb::Merge>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let outcome = match self.visible(&ctx, id).await {
            Ok(merge) => contacts::unmerge(&self.db, &ctx, merge, &request.etag).await,
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
    /// Merges of records in `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
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
