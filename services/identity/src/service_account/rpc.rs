//! The methods on service accounts; those on their keys are one step away.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::journal::Record;
use rapport_kit::{Ctx, Fault, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{ServiceAccount, convert, sql};
use crate::events::AccountFact;
use crate::list;
use crate::parse::required;
use crate::user::{Grant, granting, put_grant, remove_grant, require_unit_within, require_within};
use crate::{Identity, api_key, events, tenant};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

/// Which change of grants is asked for.
#[derive(Debug, Clone, Copy)]
enum Change {
    Grant(Grant),
    Revoke(Uuid),
}

#[tonic::async_trait]
impl pb::service_account_service_server::ServiceAccountService for Rpc {
    async fn create_service_account(&self, request: Request<pb::CreateServiceAccountRequest>) -> Result<Response<pb::ServiceAccount>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = required(request.into_inner().service_account, "service_account")?;
        let account = convert::create(&asked, ctx.now())?;
        let outcome = self.create(&ctx, &account).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_service_account(&self, request: Request<pb::GetServiceAccountRequest>) -> Result<Response<pb::ServiceAccount>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new((&self.read(&ctx, &request.get_ref().name, "name").await?).into()))
    }

    async fn list_service_accounts(
        &self,
        request: Request<pb::ListServiceAccountsRequest>,
    ) -> Result<Response<pb::ListServiceAccountsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListServiceAccountsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let service_accounts = rows.into_iter().map(|row| pb::ServiceAccount::from(&ServiceAccount::from(row))).collect();
        Ok(Response::new(pb::ListServiceAccountsResponse { service_accounts, next_page_token }))
    }

    async fn delete_service_account(&self, request: Request<pb::DeleteServiceAccountRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.0.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }

    async fn grant_service_account_role(&self, request: Request<pb::GrantServiceAccountRoleRequest>) -> Result<Response<pb::ServiceAccount>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.get_ref();
        let grant = granting(&request.role, request.level())?;
        let outcome = self.change(&ctx, &request.name, &request.etag, Change::Grant(grant)).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn revoke_service_account_role(
        &self,
        request: Request<pb::RevokeServiceAccountRoleRequest>,
    ) -> Result<Response<pb::ServiceAccount>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.get_ref();
        let role = name::parse("roles", &request.role, "role")?;
        let outcome = self.change(&ctx, &request.name, &request.etag, Change::Revoke(role)).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn create_api_key(&self, request: Request<pb::CreateApiKeyRequest>) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let account = self.read(&ctx, &request.get_ref().parent, "parent").await?;
        Ok(Response::new(api_key::create(&self.0, &ctx, &account, request.into_inner().api_key).await?))
    }

    async fn list_api_keys(&self, request: Request<pb::ListApiKeysRequest>) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let parent = &request.get_ref().parent;
        // What is wrong with the request itself is told first, as in every list.
        let page = api_key::Page::asked(&self.0, &ctx, name::parse("serviceAccounts", parent, "parent")?, request.get_ref())?;
        self.read(&ctx, parent, "parent").await?;
        Ok(Response::new(api_key::list(&self.0, &ctx, page).await?))
    }

    async fn revoke_api_key(&self, request: Request<pb::RevokeApiKeyRequest>) -> Result<Response<pb::ApiKey>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = &request.get_ref().name;
        let id = name::parse("apiKeys", asked, "name")?;
        let outcome = self.revoke(&ctx, id, asked).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn exchange_api_key(&self, request: Request<pb::ExchangeApiKeyRequest>) -> Result<Response<pb::ExchangeApiKeyResponse>, Status> {
        let call = rapport_kit::ctx::Call::of(&request)?;
        Ok(Response::new(api_key::exchange(&self.0, &call, request.into_inner().secret.into()).await?))
    }
}

impl Rpc {
    async fn read(&self, ctx: &Ctx, asked: &str, field: &str) -> Result<ServiceAccount, Fault> {
        let id = name::parse("serviceAccounts", asked, field)?;
        let mut conn = self.0.db.for_tenant(ctx).await?;
        sql::visible(&mut conn, ctx, &ctx.scope(), id, false).await?.ok_or_else(|| Fault::not_found(asked))
    }

    async fn create(&self, ctx: &Ctx, account: &ServiceAccount) -> Result<Done<pb::ServiceAccount>, Fault> {
        require_unit_within(ctx, account.unit)?;
        let entries = events::service_account(ctx, account, AccountFact::Created)?;
        sql::insert(&self.0.db, ctx, account, &entries).await.map_err(refused)?;
        self.0.heed(&entries).await;
        Ok(Done::Written(account.into()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteServiceAccountRequest) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            let mut account = self.read(ctx, &request.name, "name").await?;
            command::require_etag(&request.etag, account.version, || request.name.clone())?;
            account.touch(ctx.now());
            let entries = events::service_account(ctx, &account, AccountFact::Deleted)?;
            if sql::delete(&self.0.db, ctx, &account, &entries).await? {
                self.0.heed(&entries).await;
                return Ok(());
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    /// Grants change while the tenant stands still, so that no role is deleted meanwhile.
    async fn change(&self, ctx: &Ctx, name: &str, etag: &str, change: Change) -> Result<Done<pb::ServiceAccount>, Fault> {
        let id = name::parse("serviceAccounts", name, "name")?;
        let mut tx = self.0.db.begin(ctx).await?;
        tenant::lock(&mut tx, ctx).await?;
        let mut account = sql::visible(tx.conn(), ctx, &ctx.scope(), id, true).await?.ok_or_else(|| Fault::not_found(name))?;
        command::require_etag(etag, account.version, || name.to_owned())?;
        let changed = match change {
            Change::Grant(grant) => {
                require_within(tx.conn(), ctx, grant, account.unit).await?;
                put_grant(&mut account.grants, grant)
            }
            Change::Revoke(role) => remove_grant(&mut account.grants, role),
        };
        if !changed {
            let record = Record { collection: "serviceAccounts", id: account.id, version: account.version };
            return Ok(Done::Unchanged((&account).into(), record));
        }
        if account.grants.len() > 100 {
            return Err(Fault::precondition("TOO_MANY_GRANTS", "Take another role back first: a service account holds at most 100."));
        }
        account.touch(ctx.now());
        let entries = events::service_account(ctx, &account, AccountFact::GrantsChanged)?;
        if !sql::update_grants(&mut tx, ctx, &account, &entries).await? {
            return Err(command::lost_race(etag, name.to_owned()));
        }
        tx.commit().await?;
        self.0.heed(&entries).await;
        Ok(Done::Written((&account).into()))
    }

    async fn revoke(&self, ctx: &Ctx, id: Uuid, asked: &str) -> Result<Done<pb::ApiKey>, Fault> {
        let key = api_key::find(&self.0.db, ctx, id).await?.ok_or_else(|| Fault::not_found(asked))?;
        let mut conn = self.0.db.for_tenant(ctx).await?;
        let account = sql::visible(&mut conn, ctx, &ctx.scope(), key.account, false).await?;
        drop(conn);
        account.ok_or_else(|| Fault::not_found(asked))?;
        api_key::revoke(&self.0, ctx, key).await
    }
}

fn refused(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("service_account_name") => Fault::exists("DISPLAY_NAME_TAKEN", "Choose another display name: another service account has this one."),
        Some("service_account_unit") => Fault::invalid("service_account.business_unit", "must be a business unit of this tenant"),
        _ => fault,
    }
}
