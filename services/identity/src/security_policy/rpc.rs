//! The methods on the policy.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::{Ctx, Fault};
use tonic::{Request, Response, Status};

use super::{convert, sql};
use crate::parse::required;
use crate::{Identity, events};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::security_policy_service_server::SecurityPolicyService for Rpc {
    async fn get_security_policy(&self, request: Request<pb::GetSecurityPolicyRequest>) -> Result<Response<pb::SecurityPolicy>, Status> {
        let ctx = Ctx::of(&request)?;
        own_name(&request.get_ref().name)?;
        Ok(Response::new((&sql::get(&self.0.db, &ctx).await?).into()))
    }

    async fn update_security_policy(&self, request: Request<pb::UpdateSecurityPolicyRequest>) -> Result<Response<pb::SecurityPolicy>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        required(request.security_policy.as_ref(), "security_policy")?;
        let outcome = self.update(&ctx, request).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }
}

impl Rpc {
    async fn update(&self, ctx: &Ctx, request: pb::UpdateSecurityPolicyRequest) -> Result<Done<pb::SecurityPolicy>, Fault> {
        let asked = required(request.security_policy, "security_policy")?;
        if !asked.name.is_empty() {
            own_name(&asked.name)?;
        }
        for _ in 0..ATTEMPTS {
            let current = sql::get(&self.0.db, ctx).await?;
            command::require_etag(&asked.etag, current.version, || "securityPolicy".to_owned())?;
            let changed = convert::parse(&current, &asked, request.update_mask.clone(), "security_policy.")?.stored(ctx.now());
            let entries = events::security_policy_updated(ctx, &changed)?;
            if sql::put(&self.0.db, ctx, &changed, &entries).await? {
                self.0.heed(&entries).await;
                return Ok(Done::Written((&changed).into()));
            }
            if !asked.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&asked.etag, "securityPolicy".to_owned()))
    }
}

fn own_name(name: &str) -> Result<(), Fault> {
    if name == "securityPolicy" { Ok(()) } else { Err(Fault::invalid("name", "must be securityPolicy")) }
}
