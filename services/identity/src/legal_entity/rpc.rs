//! The methods on legal entities.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, clock, name};
use tonic::{Request, Response, Status};

use super::{LegalEntity, convert, sql};
use crate::events::Fact;
use crate::list;
use crate::parse::required;
use crate::{Identity, events};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::legal_entity_service_server::LegalEntityService for Rpc {
    async fn create_legal_entity(&self, request: Request<pb::CreateLegalEntityRequest>) -> Result<Response<pb::LegalEntity>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = required(request.into_inner().legal_entity, "legal_entity")?;
        let now = ctx.now();
        let empty = LegalEntity {
            id: clock::new_id(),
            version: 1,
            display_name: String::new(),
            country: String::new(),
            currency: String::new(),
            fiscal_year_start_month: 1,
            default_language: String::new(),
            time_zone: String::new(),
            tax_ids: Vec::new(),
            series: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let whole = Mask::parse(None, |_| true, convert::KNOWN)?;
        let entity = convert::change(empty, &asked, &whole)?;
        let outcome = self.create(&ctx, &entity).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_legal_entity(&self, request: Request<pb::GetLegalEntityRequest>) -> Result<Response<pb::LegalEntity>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new((&self.read(&ctx, &request.get_ref().name).await?).into()))
    }

    async fn list_legal_entities(&self, request: Request<pb::ListLegalEntitiesRequest>) -> Result<Response<pb::ListLegalEntitiesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListLegalEntitiesRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let legal_entities = rows.into_iter().map(|row| pb::LegalEntity::from(&LegalEntity::from(row))).collect();
        Ok(Response::new(pb::ListLegalEntitiesResponse { legal_entities, next_page_token }))
    }

    async fn update_legal_entity(&self, request: Request<pb::UpdateLegalEntityRequest>) -> Result<Response<pb::LegalEntity>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.legal_entity, "legal_entity")?;
        let mask = Mask::parse(request.update_mask, |field| convert::populated(&asked, field), convert::KNOWN)?;
        let outcome = self.update(&ctx, &asked, &mask).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }
}

impl Rpc {
    async fn read(&self, ctx: &Ctx, asked: &str) -> Result<LegalEntity, Fault> {
        let id = name::parse("legalEntities", asked, "name")?;
        sql::find(&self.0.db, ctx, id).await?.ok_or_else(|| Fault::not_found(asked))
    }

    async fn create(&self, ctx: &Ctx, entity: &LegalEntity) -> Result<Done<pb::LegalEntity>, Fault> {
        let entries = events::legal_entity(ctx, entity, Fact::Created)?;
        sql::insert(&self.0.db, ctx, entity, &entries).await?;
        Ok(Done::Written(entity.into()))
    }

    async fn update(&self, ctx: &Ctx, asked: &pb::LegalEntity, mask: &Mask) -> Result<Done<pb::LegalEntity>, Fault> {
        for _ in 0..ATTEMPTS {
            let current = self.read(ctx, &asked.name).await?;
            command::require_etag(&asked.etag, current.version, || asked.name.clone())?;
            let mut entity = convert::change(current, asked, mask)?;
            entity.version += 1;
            entity.updated_at = ctx.now();
            let entries = events::legal_entity(ctx, &entity, Fact::Updated)?;
            if sql::update(&self.0.db, ctx, &entity, &entries).await? {
                return Ok(Done::Written((&entity).into()));
            }
            if !asked.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&asked.etag, asked.name.clone()))
    }
}
