//! The methods on roles.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, clock, name};
use tonic::{Request, Response, Status};

use super::{Role, convert, sql};
use crate::events::Fact;
use crate::list;
use crate::parse::{Problems, required};
use crate::user::require_rules_kept;
use crate::{Identity, events, tenant};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::role_service_server::RoleService for Rpc {
    async fn create_role(&self, request: Request<pb::CreateRoleRequest>) -> Result<Response<pb::Role>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = required(request.into_inner().role, "role")?;
        let mut problems = Problems::default();
        let now = ctx.now();
        let empty = Role {
            id: clock::new_id(),
            version: 1,
            display_name: String::new(),
            description: String::new(),
            shipped: false,
            permissions: Vec::new(),
            rules: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let whole = Mask::parse(None, |_| true, convert::KNOWN)?;
        let role = convert::change(empty, &asked, &whole, &mut problems);
        problems.done()?;
        let outcome = self.create(&ctx, role).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_role(&self, request: Request<pb::GetRoleRequest>) -> Result<Response<pb::Role>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new((&self.read(&ctx, &request.get_ref().name).await?).into()))
    }

    async fn list_roles(&self, request: Request<pb::ListRolesRequest>) -> Result<Response<pb::ListRolesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListRolesRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let roles = rows.into_iter().map(|row| pb::Role::from(&Role::from(row))).collect();
        Ok(Response::new(pb::ListRolesResponse { roles, next_page_token }))
    }

    async fn update_role(&self, request: Request<pb::UpdateRoleRequest>) -> Result<Response<pb::Role>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.role, "role")?;
        let mask = Mask::parse(request.update_mask, |field| populated(&asked, field), convert::KNOWN)?;
        let outcome = self.update(&ctx, &asked, &mask).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn delete_role(&self, request: Request<pb::DeleteRoleRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.0.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl Rpc {
    async fn read(&self, ctx: &Ctx, asked: &str) -> Result<Role, Fault> {
        let id = name::parse("roles", asked, "name")?;
        let mut conn = self.0.db.for_tenant(ctx).await?;
        sql::find(&mut conn, ctx, id).await?.ok_or_else(|| Fault::not_found(asked))
    }

    async fn create(&self, ctx: &Ctx, role: Role) -> Result<Done<pb::Role>, Fault> {
        require_rules_kept(ctx, &role)?;
        for permission in &role.permissions {
            require_held(ctx, permission, false)?;
        }
        let entries = events::role(ctx, &role, Fact::Created)?;
        sql::insert(&self.0.db, ctx, &role, &entries).await.map_err(|fault| taken(fault, &role))?;
        self.0.heed(&entries).await;
        Ok(Done::Written((&role).into()))
    }

    async fn update(&self, ctx: &Ctx, asked: &pb::Role, mask: &Mask) -> Result<Done<pb::Role>, Fault> {
        for _ in 0..ATTEMPTS {
            let current = self.read(ctx, &asked.name).await?;
            command::require_etag(&asked.etag, current.version, || current.name())?;
            require_own(&current)?;
            let mut problems = Problems::default();
            let mut changed = convert::change(current.clone(), asked, mask, &mut problems);
            problems.done()?;
            // Somebody may hold the role at the level of all records already.
            for permission in changed.permissions.iter().filter(|permission| !current.permissions.contains(permission)) {
                require_held(ctx, permission, true)?;
            }
            require_rules_kept(ctx, &changed)?;
            changed.version += 1;
            changed.updated_at = ctx.now();
            let entries = events::role(ctx, &changed, Fact::Updated)?;
            if sql::update(&self.0.db, ctx, &changed, &entries).await.map_err(|fault| taken(fault, &changed))? {
                self.0.heed(&entries).await;
                return Ok(Done::Written((&changed).into()));
            }
            if !asked.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&asked.etag, asked.name.clone()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteRoleRequest) -> Result<(), Fault> {
        let id = name::parse("roles", &request.name, "name")?;
        let mut tx = self.0.db.begin(ctx).await?;
        tenant::lock(&mut tx, ctx).await?;
        let mut role = sql::find(tx.conn(), ctx, id).await?.ok_or_else(|| Fault::not_found(&request.name))?;
        command::require_etag(&request.etag, role.version, || request.name.clone())?;
        require_own(&role)?;
        if sql::held(&mut tx, ctx, id).await? {
            return Err(Fault::precondition("ROLE_IN_USE", "Take the role from everybody who holds it first."));
        }
        role.version += 1;
        let entries = events::role(ctx, &role, Fact::Deleted)?;
        if !sql::delete(&mut tx, ctx, &role, &entries).await? {
            return Err(command::lost_race(&request.etag, request.name.clone()));
        }
        tx.commit().await?;
        self.0.heed(&entries).await;
        Ok(())
    }
}

fn populated(role: &pb::Role, field: &str) -> bool {
    match field {
        "display_name" => !role.display_name.is_empty(),
        "description" => !role.description.is_empty(),
        "permissions" => !role.permissions.is_empty(),
        _ => !role.field_rules.is_empty(),
    }
}

fn require_own(role: &Role) -> Result<(), Fault> {
    if role.shipped {
        return Err(Fault::precondition(
            "ROLE_SHIPPED",
            "Create a role of your own with what you need: this one came with the product and stays as it is.",
        ));
    }
    Ok(())
}

/// Nobody puts more into a role than they have.
fn require_held(ctx: &Ctx, permission: &str, everywhere: bool) -> Result<(), Fault> {
    let held = ctx.scope_of(permission);
    if held.is_everything() || !everywhere && held.permits_anything() {
        return Ok(());
    }
    Err(Fault::denied("GRANT_EXCEEDS_CALLER", format!("Leave out {permission}: you do not hold it yourself.")).with("permission", permission))
}

fn taken(fault: Fault, role: &Role) -> Fault {
    match fault.constraint() {
        Some("role_name") => {
            Fault::exists("DISPLAY_NAME_TAKEN", "Choose another display name: another role has this one.").with("display_name", &role.display_name)
        }
        _ => fault,
    }
}
