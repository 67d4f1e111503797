//! The methods on sessions.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::ctx::{self, Call};
use rapport_kit::page::{self, Cursor, Query};
use rapport_kit::{Ctx, Fault, clock, command, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{convert, sign_in, sql};
use crate::{Identity, user};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::session_service_server::SessionService for Rpc {
    async fn sign_in(&self, request: Request<pb::SignInRequest>) -> Result<Response<pb::SignInResponse>, Status> {
        let call = Call::of(&request)?;
        let client = convert::client(&request);
        let opened = sign_in::sign_in(&self.0, &call, request.into_inner(), client).await?;
        Ok(Response::new(pb::SignInResponse {
            session: Some(convert::to_proto(&opened.session, Some(opened.session.id))),
            access_token: opened.access.token,
            access_token_expire_time: Some(clock::timestamp(opened.access.expires_at)),
            refresh_token: opened.refresh_token,
        }))
    }

    async fn refresh_session(&self, request: Request<pb::RefreshSessionRequest>) -> Result<Response<pb::RefreshSessionResponse>, Status> {
        let call = Call::of(&request)?;
        let opened = sign_in::refresh(&self.0, &call, request.into_inner().refresh_token.into()).await?;
        Ok(Response::new(pb::RefreshSessionResponse {
            session: Some(convert::to_proto(&opened.session, Some(opened.session.id))),
            access_token: opened.access.token,
            access_token_expire_time: Some(clock::timestamp(opened.access.expires_at)),
            refresh_token: opened.refresh_token,
        }))
    }

    async fn sign_out(&self, request: Request<pb::SignOutRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        if let Some(session) = ctx::session(&request)? {
            let outcome = sign_in::end(&self.0, &ctx, session, ctx.subject()).await;
            command::answer_empty(&self.0.db, &ctx, outcome).await?;
        }
        Ok(Response::new(()))
    }

    async fn list_sessions(&self, request: Request<pb::ListSessionsRequest>) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let current = ctx::session(&request)?;
        let request = request.get_ref();
        let whose = name::parse_optional("users", &request.user, "user")?.unwrap_or(ctx.subject());
        if whose != ctx.subject() {
            self.require_reading(&ctx, whose, &request.user).await?;
        }
        let size = page::size(request.page_size)?;
        let query = Query::of(&ctx).with("user", whose);
        let before = ctx.call().sealer.open(&request.page_token, &query)?.map_or(Uuid::max(), |cursor| cursor.id);
        let mut sessions = sql::open(&self.0.db, &ctx, whose, before, size + 1).await?;
        let next_page_token = page::end(&ctx, &query, &mut sessions, size, |session| Ok(Cursor { keys: Vec::new(), id: session.id }))?;
        Ok(Response::new(pb::ListSessionsResponse {
            next_page_token,
            sessions: sessions.iter().map(|session| convert::to_proto(session, current)).collect(),
        }))
    }

    async fn revoke_session(&self, request: Request<pb::RevokeSessionRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = &request.get_ref().name;
        let id = name::parse("sessions", asked, "name")?;
        let outcome = self.revoke(&ctx, id, asked).await;
        command::answer_empty(&self.0.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl Rpc {
    async fn require_reading(&self, ctx: &Ctx, whose: Uuid, asked: &str) -> Result<(), Fault> {
        const PERMISSION: &str = "identity.session.read";
        if !holds(ctx, PERMISSION) {
            let text = format!("Ask an administrator for a role with {PERMISSION}.");
            return Err(Fault::denied("PERMISSION_MISSING", text).with("permission", PERMISSION));
        }
        if self.sees(ctx, PERMISSION, whose).await? { Ok(()) } else { Err(Fault::not_found(asked)) }
    }

    async fn revoke(&self, ctx: &Ctx, id: Uuid, asked: &str) -> Result<(), Fault> {
        const PERMISSION: &str = "identity.session.revoke";
        let session = sql::find(&self.0.db, ctx, id).await?.ok_or_else(|| Fault::not_found(asked))?;
        let allowed = session.user == ctx.subject() || holds(ctx, PERMISSION) && self.sees(ctx, PERMISSION, session.user).await?;
        if !allowed {
            return Err(Fault::not_found(asked));
        }
        sign_in::end(&self.0, ctx, id, session.user).await
    }

    async fn sees(&self, ctx: &Ctx, permission: &str, whose: Uuid) -> Result<bool, Fault> {
        let mut conn = self.0.db.for_tenant(ctx).await?;
        Ok(user::visible(&mut conn, ctx, &ctx.scope_of(permission), whose, false).await?.is_some())
    }
}

fn holds(ctx: &Ctx, permission: &str) -> bool {
    ctx.scope_of(permission).permits_anything()
}
