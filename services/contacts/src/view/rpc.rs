//! The view service: parse, read, decide, write once, answer.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::view_service_server::ViewService;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::journal::{self, Record};
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Db, Fault, clock, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{COLLECTION, View, convert, sql};
use crate::batch;
use crate::events;
use crate::owner::Owner;

/// Serves views.
#[derive(Debug, Clone)]
pub struct Views {
    db: Db,
}

#[tonic::async_trait]
impl ViewService for Views {
    async fn get_view(&self, request: Request<pb::GetViewRequest>) -> Result<Response<pb::View>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = name::parse(COLLECTION, &request.get_ref().name, "name")?;
        let view = sql::get(&mut self.db.for_tenant(&ctx).await?, &ctx, None, id).await?;
        let view = view.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))?;
        Ok(Response::new(convert::to_proto(&view)))
    }

    async fn list_views(&self, request: Request<pb::ListViewsRequest>) -> Result<Response<pb::ListViewsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(sql::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn create_view(&self, request: Request<pb::CreateViewRequest>) -> Result<Response<pb::View>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.create(&ctx, request.into_inner()).await;
        self.answer(&ctx, done).await
    }

    async fn update_view(&self, request: Request<pb::UpdateViewRequest>) -> Result<Response<pb::View>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let sent = request.view.ok_or_else(|| Fault::invalid("view", "is required"))?;
        let mask = Mask::parse(request.update_mask, |path| convert::is_populated(&sent, path), convert::PATHS)?;
        let done = self.update(&ctx, &sent, mask.paths()).await;
        self.answer(&ctx, done).await
    }

    async fn delete_view(&self, request: Request<pb::DeleteViewRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl Views {
    /// Views in `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateViewRequest) -> Result<Done<pb::View>, Fault> {
        let sent = request.view.ok_or_else(|| Fault::invalid("view", "is required"))?;
        let details = convert::parse(ctx, sent, None)?;
        let (view, fact) = View::create(clock::new_id(), Owner::caller(ctx), details, ctx.now());
        let entry = events::view(ctx, &view, fact)?;
        sql::insert(&mut self.db.for_tenant(ctx).await?, ctx, &view, entry).await?;
        Ok(Done::Written(convert::to_proto(&view)))
    }

    async fn update(&self, ctx: &Ctx, sent: &pb::View, paths: &[&str]) -> Result<Done<pb::View>, Fault> {
        let id = name::parse(COLLECTION, &sent.name, "view.name")?;
        for _ in 0..command::ATTEMPTS {
            let mut view = self.changeable(ctx, id).await?;
            command::require_etag(&sent.etag, view.version(), || view.name())?;
            let details = convert::parse(ctx, convert::merge(&view, sent, paths), Some(view.details()))?;
            let Some(fact) = view.change(details, ctx.now()) else {
                let record = Record { collection: COLLECTION, id, version: view.version() };
                return Ok(Done::Unchanged(convert::to_proto(&view), record));
            };
            let entry = events::view(ctx, &view, fact)?;
            if sql::update(&mut self.db.for_tenant(ctx).await?, ctx, &view, entry).await? {
                return Ok(Done::Written(convert::to_proto(&view)));
            }
            if !sent.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&sent.etag, sent.name.clone()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteViewRequest) -> Result<(), Fault> {
        let id = name::parse(COLLECTION, &request.name, "name")?;
        for _ in 0..command::ATTEMPTS {
            let mut view = self.changeable(ctx, id).await?;
            command::require_etag(&request.etag, view.version(), || view.name())?;
            let fact = view.delete();
            let entry = events::view(ctx, &view, fact)?;
            if sql::delete(&mut self.db.for_tenant(ctx).await?, ctx, &view, entry).await? {
                return Ok(());
            }
            if !request.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    /// The view, if the caller may do to it what the method does.
    async fn changeable(&self, ctx: &Ctx, id: Uuid) -> Result<View, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        if let Some(view) = sql::get(&mut conn, ctx, Some(&ctx.scope()), id).await? {
            return Ok(view);
        }
        let name = name::format(COLLECTION, id);
        match sql::get(&mut conn, ctx, None, id).await? {
            Some(_) => Err(batch::read_only(&name)),
            None => Err(Fault::not_found(name)),
        }
    }

    /// What was done, or the answer of the earlier request with the same key, if the caller still sees the view.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Done<pb::View>, Fault>) -> Result<Response<pb::View>, Status> {
        let earlier = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(view) => return Ok(Response::new(view)),
            Settled::Earlier(earlier) => earlier,
        };
        let (id, version) = earlier.record()?;
        if sql::get(&mut self.db.for_tenant(ctx).await?, ctx, None, id).await?.is_none() {
            return Err(Fault::not_found(name::format(COLLECTION, id)).into());
        }
        let view: pb::View = journal::at_version(&self.db, ctx, id, version).await?;
        Ok(Response::new(pb::View { etag: command::etag(version), ..view }))
    }
}
