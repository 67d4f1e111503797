//! The exchange.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::ctx::Call;
use rapport_kit::{Ctx, Fault, clock, name};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use crate::parse::Problems;
use crate::signing_key::Subject;
use crate::{Identity, role, service_account, user};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::token_service_server::TokenService for Rpc {
    async fn exchange_token(&self, request: Request<pb::ExchangeTokenRequest>) -> Result<Response<pb::ExchangeTokenResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let secret = SecretString::from(request.secret);
        let service = request.service.strip_prefix("services/").filter(|service| is_service(service));
        let service = service.ok_or_else(|| Fault::invalid("service", "must look like services/sales"))?;
        let tenant = name::parse("tenants", &request.tenant, "tenant")?;
        let actor = name::split(&request.actor).filter(|(collection, _)| matches!(*collection, "users" | "serviceAccounts"));
        let (collection, id) = actor.ok_or_else(|| Fault::invalid("actor", "must look like users/{uuid} or serviceAccounts/{uuid}"))?;
        if secret.expose_secret().is_empty() {
            return Err(Fault::invalid("secret", "must be given").into());
        }
        let mut problems = Problems::default();
        let scopes = role::permissions("scopes", &request.scopes, 200, &mut problems);
        problems.done()?;
        if !self.0.trusted.knows(service, &secret) {
            return Err(Fault::unauthenticated().into());
        }
        let ctx = Ctx::system(tenant, &request.service, call.as_ref().clone());
        if !self.is_active(&ctx, collection, id).await? {
            let text = format!("Act for somebody else: {} is absent, disabled or deleted.", request.actor);
            return Err(Fault::precondition("ACTOR_NOT_ACTIVE", text).with("actor", &request.actor).into());
        }
        let subject = Subject {
            tenant,
            name: request.actor,
            session: None,
            service: Some(request.service),
            scope: (!scopes.is_empty()).then_some(scopes),
            until: None,
        };
        let issued = self.0.signer.issue(subject, ctx.now())?;
        let expires = clock::timestamp(issued.expires_at);
        Ok(Response::new(pb::ExchangeTokenResponse { access_token: issued.token, access_token_expire_time: Some(expires) }))
    }
}

impl Rpc {
    async fn is_active(&self, ctx: &Ctx, collection: &str, id: uuid::Uuid) -> Result<bool, Fault> {
        let mut conn = self.0.db.for_tenant(ctx).await?;
        Ok(match collection {
            "users" => user::find(&mut conn, ctx, id).await?.is_some_and(|user| !user.disabled),
            _ => service_account::find(&mut conn, ctx, id).await?.is_some(),
        })
    }
}

fn is_service(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}
