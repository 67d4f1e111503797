//! The methods on tenants.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::journal::{Earlier, at_version};
use rapport_kit::{Ctx, Fault, clock, ctx::Call, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{convert, create, sql};
use crate::Identity;

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::tenant_service_server::TenantService for Rpc {
    async fn create_tenant(&self, request: Request<pb::CreateTenantRequest>) -> Result<Response<pb::CreateTenantResponse>, Status> {
        // Keys are kept by tenant, so one and the same key has to lead to one and the same tenant.
        let id = match &Call::of(&request)?.key {
            Some(key) => clock::derived_id(Uuid::nil(), &format!("tenant:{key}")),
            None => clock::new_id(),
        };
        let ctx = Ctx::acting(&request, id, "operators/installation")?;
        let asked = convert::create(request.into_inner())?;
        let (tenant, administrator) = match create::create(&self.0, &ctx, asked).await {
            Ok((tenant, administrator)) => ((&tenant).into(), administrator),
            Err(fault) => self.earlier(&ctx, fault).await?,
        };
        let administrator = name::format("users", administrator);
        Ok(Response::new(pb::CreateTenantResponse { tenant: Some(tenant), administrator }))
    }

    async fn get_tenant(&self, request: Request<pb::GetTenantRequest>) -> Result<Response<pb::Tenant>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = &request.get_ref().name;
        if name::parse("tenants", asked, "name")? != ctx.tenant() {
            return Err(Fault::not_found(asked).into());
        }
        let tenant = sql::get(&self.0.db, &ctx).await?.ok_or_else(|| Fault::not_found(asked))?;
        Ok(Response::new((&tenant).into()))
    }
}

impl Rpc {
    /// The answer of an earlier request with the same key, or else the refusal.
    async fn earlier(&self, ctx: &Ctx, fault: Fault) -> Result<(pb::Tenant, Uuid), Fault> {
        let Some(earlier) = Earlier::find(&self.0.db, ctx).await? else { return Err(fault) };
        let (id, version) = earlier.record()?;
        let tenant = at_version(&self.0.db, ctx, id, version).await?;
        let administrator = sql::administrator(&self.0.db, ctx).await?.ok_or_else(|| Fault::internal("a tenant has no user"))?;
        Ok((tenant, administrator))
    }
}
