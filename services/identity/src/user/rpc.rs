//! The methods on users.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::db::Tx;
use rapport_kit::journal::Record;
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, clock, ctx, name};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use super::{User, convert, granting, password, put_grant, remove_grant, require_unit_within, require_within, sql};
use crate::events::UserFact;
use crate::list;
use crate::parse::required;
use crate::{Identity, events, role, security_policy, session, tenant, throttle};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

/// Which change of state or grants is asked for.
#[derive(Debug, Clone, Copy)]
enum Change {
    Disable,
    Enable,
    Unlock,
    Grant(super::Grant),
    Revoke(uuid::Uuid),
}

#[tonic::async_trait]
impl pb::user_service_server::UserService for Rpc {
    async fn create_user(&self, request: Request<pb::CreateUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.user, "user")?;
        let whole = Mask::parse(None, |_| true, convert::KNOWN)?;
        let user = convert::change(User::new(clock::new_id(), String::new(), String::new(), ctx.now()), &asked, &whole)?;
        let outcome = self.create(&ctx, user, request.initial_password.into()).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_user(&self, request: Request<pb::GetUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(self.read(&ctx, &request.get_ref().name).await?.to_proto(ctx.now())))
    }

    async fn list_users(&self, request: Request<pb::ListUsersRequest>) -> Result<Response<pb::ListUsersResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListUsersRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let users = rows.into_iter().map(|row| User::from(row).to_proto(ctx.now())).collect();
        Ok(Response::new(pb::ListUsersResponse { users, next_page_token }))
    }

    async fn update_user(&self, request: Request<pb::UpdateUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.user, "user")?;
        let mask = Mask::parse(request.update_mask, |field| convert::populated(&asked, field), convert::KNOWN)?;
        let outcome = self.update(&ctx, &asked, &mask).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn disable_user(&self, request: Request<pb::DisableUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::DisableUserRequest { name, etag } = request.get_ref();
        self.change(&ctx, name, etag, Change::Disable).await
    }

    async fn enable_user(&self, request: Request<pb::EnableUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::EnableUserRequest { name, etag } = request.get_ref();
        self.change(&ctx, name, etag, Change::Enable).await
    }

    async fn unlock_user(&self, request: Request<pb::UnlockUserRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::UnlockUserRequest { name, etag } = request.get_ref();
        self.change(&ctx, name, etag, Change::Unlock).await
    }

    async fn change_password(&self, request: Request<pb::ChangePasswordRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let kept = ctx::session(&request)?;
        password::change(&self.0, &ctx, request.into_inner(), kept).await?;
        Ok(Response::new(()))
    }

    async fn grant_role(&self, request: Request<pb::GrantRoleRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.get_ref();
        let grant = granting(&request.role, request.level())?;
        self.change(&ctx, &request.name, &request.etag, Change::Grant(grant)).await
    }

    async fn revoke_role(&self, request: Request<pb::RevokeRoleRequest>) -> Result<Response<pb::User>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::RevokeRoleRequest { name, role, etag } = request.get_ref();
        let role = name::parse("roles", role, "role")?;
        self.change(&ctx, name, etag, Change::Revoke(role)).await
    }
}

impl Rpc {
    async fn read(&self, ctx: &Ctx, asked: &str) -> Result<User, Fault> {
        let id = name::parse("users", asked, "name")?;
        let mut conn = self.0.db.for_tenant(ctx).await?;
        sql::visible(&mut conn, ctx, &ctx.scope(), id, false).await?.ok_or_else(|| Fault::not_found(asked))
    }

    async fn create(&self, ctx: &Ctx, user: User, initial: SecretString) -> Result<Done<pb::User>, Fault> {
        require_unit_within(ctx, user.unit)?;
        let mut hash = None;
        if !initial.expose_secret().is_empty() {
            let policy = security_policy::get(&self.0.db, ctx).await?;
            if let Some(weakness) = crate::password::weakness(&initial, policy.password_min_length, &[&user.email, &user.display_name]) {
                return Err(Fault::invalid("initial_password", weakness));
            }
            hash = Some(self.0.passwords.turn().await?.hash(initial).await?);
        }
        let entries = events::user(ctx, &user, UserFact::Created)?;
        sql::insert(&self.0.db, ctx, &user, hash.as_deref(), &entries).await.map_err(taken)?;
        self.0.heed(&entries).await;
        Ok(Done::Written(user.to_proto(ctx.now())))
    }

    async fn update(&self, ctx: &Ctx, asked: &pb::User, mask: &Mask) -> Result<Done<pb::User>, Fault> {
        for _ in 0..ATTEMPTS {
            let current = self.read(ctx, &asked.name).await?;
            command::require_etag(&asked.etag, current.version, || current.name())?;
            let unit = current.unit;
            let mut changed = convert::change(current, asked, mask)?;
            if changed.unit != unit {
                require_unit_within(ctx, changed.unit)?;
            }
            changed.touch(ctx.now());
            let entries = events::user(ctx, &changed, UserFact::Updated)?;
            let mut conn = self.0.db.for_tenant(ctx).await?;
            if sql::update_in(&mut conn, ctx, &changed, &entries).await.map_err(taken)? {
                drop(conn);
                self.0.heed(&entries).await;
                return Ok(Done::Written(changed.to_proto(ctx.now())));
            }
            if !asked.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&asked.etag, asked.name.clone()))
    }

    async fn change(&self, ctx: &Ctx, name: &str, etag: &str, change: Change) -> Result<Response<pb::User>, Status> {
        name::parse("users", name, "name")?;
        let outcome = self.decide(ctx, name, etag, change).await;
        Ok(Response::new(command::answer(&self.0.db, ctx, outcome).await?))
    }

    /// State and grants change while the tenant stands still, because the last administrator is among them.
    async fn decide(&self, ctx: &Ctx, name: &str, etag: &str, change: Change) -> Result<Done<pb::User>, Fault> {
        let id = name::parse("users", name, "name")?;
        let mut tx = self.0.db.begin(ctx).await?;
        tenant::lock(&mut tx, ctx).await?;
        let before = sql::visible(tx.conn(), ctx, &ctx.scope(), id, true).await?.ok_or_else(|| Fault::not_found(name))?;
        command::require_etag(etag, before.version, || name.to_owned())?;
        let mut user = before.clone();
        let Some(fact) = self.apply(&mut tx, ctx, &mut user, change).await? else {
            tx.commit().await?;
            let record = Record { collection: "users", id, version: before.version };
            return Ok(Done::Unchanged(before.to_proto(ctx.now()), record));
        };
        let administrator = role::administrator(ctx.tenant());
        if before.administers(administrator) && !user.administers(administrator) && !sql::other_administrator(&mut tx, ctx, id, administrator).await?
        {
            let text = "Make somebody else an administrator over all records first: this is the last one.";
            return Err(Fault::precondition("LAST_ADMINISTRATOR", text).with("name", name));
        }
        user.touch(ctx.now());
        let mut entries = events::user(ctx, &user, fact)?;
        if fact == UserFact::Disabled {
            let ended = session::end_all(&mut tx, ctx, id, None).await?;
            entries.extend(events::sessions_ended(ctx, &user, &ended, None)?);
        }
        if !sql::update_in(tx.conn(), ctx, &user, &entries).await? {
            return Err(Fault::contended());
        }
        tx.commit().await?;
        self.0.heed(&entries).await;
        Ok(Done::Written(user.to_proto(ctx.now())))
    }

    /// Changes `user`; none if everything about it is so already.
    async fn apply(&self, tx: &mut Tx, ctx: &Ctx, user: &mut User, change: Change) -> Result<Option<UserFact>, Fault> {
        let fact = match change {
            Change::Disable if !user.disabled => {
                user.disabled = true;
                UserFact::Disabled
            }
            Change::Enable if user.disabled => {
                user.disabled = false;
                UserFact::Enabled
            }
            Change::Unlock => {
                // The address may have to wait though the user is not marked: it can be older than the user.
                throttle::forget(tx, &self.0, ctx, &user.email).await?;
                if !user.is_locked(ctx.now()) {
                    return Ok(None);
                }
                user.locked_until = None;
                UserFact::Unlocked
            }
            Change::Grant(grant) => {
                require_within(tx.conn(), ctx, grant, user.unit).await?;
                if !put_grant(&mut user.grants, grant) {
                    return Ok(None);
                }
                if user.grants.len() > 100 {
                    return Err(Fault::precondition("TOO_MANY_GRANTS", "Take another role back first: a user holds at most 100."));
                }
                UserFact::GrantsChanged
            }
            Change::Revoke(role) if remove_grant(&mut user.grants, role) => UserFact::GrantsChanged,
            Change::Disable | Change::Enable | Change::Revoke(_) => return Ok(None),
        };
        Ok(Some(fact))
    }
}

fn taken(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("user_email") => Fault::exists("EMAIL_TAKEN", "Use another e-mail address: a user of this tenant has this one."),
        Some("user_unit") => Fault::invalid("user.business_unit", "must be a business unit of this tenant"),
        _ => fault,
    }
}
