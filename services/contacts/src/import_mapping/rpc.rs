//! The service of saved mappings: parse, read, decide, write once, answer.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_mapping_service_server::ImportMappingService;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::journal::{self, Record};
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Db, Fault, clock, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{COLLECTION, ImportMapping, convert, sql};
use crate::batch;
use crate::events;
use crate::owner::Owner;

/// Serves saved mappings.
#[derive(Debug, Clone)]
pub struct ImportMappings {
    db: Db,
}

#[tonic::async_trait]
impl ImportMappingService for ImportMappings {
    async fn get_import_mapping(&self, request: Request<pb::GetImportMappingRequest>) -> Result<Response<pb::ImportMapping>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = name::parse(COLLECTION, &request.get_ref().name, "name")?;
        let mapping = sql::get(&mut self.db.for_tenant(&ctx).await?, &ctx, None, id).await?;
        let mapping = mapping.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))?;
        Ok(Response::new(convert::to_proto(&mapping)))
    }

    async fn list_import_mappings(
        &self,
        request: Request<pb::ListImportMappingsRequest>,
    ) -> Result<Response<pb::ListImportMappingsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(sql::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn create_import_mapping(&self, request: Request<pb::CreateImportMappingRequest>) -> Result<Response<pb::ImportMapping>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.create(&ctx, request.into_inner()).await;
        self.answer(&ctx, done).await
    }

    async fn update_import_mapping(&self, request: Request<pb::UpdateImportMappingRequest>) -> Result<Response<pb::ImportMapping>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let sent = request.import_mapping.ok_or_else(|| Fault::invalid("import_mapping", "is required"))?;
        let mask = Mask::parse(request.update_mask, |path| convert::is_populated(&sent, path), convert::PATHS)?;
        let done = self.update(&ctx, &sent, mask.paths()).await;
        self.answer(&ctx, done).await
    }

    async fn delete_import_mapping(&self, request: Request<pb::DeleteImportMappingRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl ImportMappings {
    /// Mappings in `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateImportMappingRequest) -> Result<Done<pb::ImportMapping>, Fault> {
        let sent = request.import_mapping.ok_or_else(|| Fault::invalid("import_mapping", "is required"))?;
        let details = convert::parse(ctx, sent, None).map_err(|fault| fault.within("import_mapping"))?;
        let (mapping, fact) = ImportMapping::create(clock::new_id(), Owner::caller(ctx), details, ctx.now());
        let entry = events::import_mapping(ctx, &mapping, fact)?;
        sql::insert(&mut self.db.for_tenant(ctx).await?, ctx, &mapping, entry).await?;
        Ok(Done::Written(convert::to_proto(&mapping)))
    }

    async fn update(&self, ctx: &Ctx, sent: &pb::ImportMapping, paths: &[&str]) -> Result<Done<pb::ImportMapping>, Fault> {
        let id = name::parse(COLLECTION, &sent.name, "import_mapping.name")?;
        for _ in 0..command::ATTEMPTS {
            let mut mapping = self.changeable(ctx, id).await?;
            command::require_etag(&sent.etag, mapping.version(), || mapping.name())?;
            let merged = convert::merge(&mapping, sent, paths);
            let details = convert::parse(ctx, merged, Some(mapping.details())).map_err(|fault| fault.within("import_mapping"))?;
            let Some(fact) = mapping.change(details, ctx.now()) else {
                let record = Record { collection: COLLECTION, id, version: mapping.version() };
                return Ok(Done::Unchanged(convert::to_proto(&mapping), record));
            };
            let entry = events::import_mapping(ctx, &mapping, fact)?;
            if sql::update(&mut self.db.for_tenant(ctx).await?, ctx, &mapping, entry).await? {
                return Ok(Done::Written(convert::to_proto(&mapping)));
            }
            if !sent.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&sent.etag, sent.name.clone()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteImportMappingRequest) -> Result<(), Fault> {
        let id = name::parse(COLLECTION, &request.name, "name")?;
        for _ in 0..command::ATTEMPTS {
            let mut mapping = self.changeable(ctx, id).await?;
            command::require_etag(&request.etag, mapping.version(), || mapping.name())?;
            let fact = mapping.delete();
            let entry = events::import_mapping(ctx, &mapping, fact)?;
            if sql::delete(&mut self.db.for_tenant(ctx).await?, ctx, &mapping, entry).await? {
                return Ok(());
            }
            if !request.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    /// The mapping, if the caller may do to it what the method does.
    async fn changeable(&self, ctx: &Ctx, id: Uuid) -> Result<ImportMapping, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        if let Some(mapping) = sql::get(&mut conn, ctx, Some(&ctx.scope()), id).await? {
            return Ok(mapping);
        }
        let name = name::format(COLLECTION, id);
        match sql::get(&mut conn, ctx, None, id).await? {
            Some(_) => Err(batch::read_only(&name)),
            None => Err(Fault::not_found(name)),
        }
    }

    /// What was done, or the answer of the earlier request with the same key, if the caller still sees the mapping.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Done<pb::ImportMapping>, Fault>) -> Result<Response<pb::ImportMapping>, Status> {
        let earlier = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(mapping) => return Ok(Response::new(mapping)),
            Settled::Earlier(earlier) => earlier,
        };
        let (id, version) = earlier.record()?;
        if sql::get(&mut self.db.for_tenant(ctx).await?, ctx, None, id).await?.is_none() {
            return Err(Fault::not_found(name::format(COLLECTION, id)).into());
        }
        let mapping: pb::ImportMapping = journal::at_version(&self.db, ctx, id, version).await?;
        Ok(Response::new(pb::ImportMapping { etag: command::etag(version), ..mapping }))
    }
}
