//! The methods on teams.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::journal::Record;
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, clock, name};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Team, convert, sql};
use crate::events::Fact;
use crate::list;
use crate::parse::required;
use crate::user::require_everything;
use crate::{Identity, events};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

/// What a request does to a team.
enum Change<'a> {
    Fields(&'a pb::Team, &'a Mask),
    Add(Uuid),
    Remove(Uuid),
}

#[tonic::async_trait]
impl pb::team_service_server::TeamService for Rpc {
    async fn create_team(&self, request: Request<pb::CreateTeamRequest>) -> Result<Response<pb::Team>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = required(request.into_inner().team, "team")?;
        let now = ctx.now();
        let empty = Team {
            id: clock::new_id(),
            version: 1,
            display_name: String::new(),
            description: String::new(),
            members: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let whole = Mask::parse(None, |_| true, convert::KNOWN)?;
        let team = convert::change(empty, &asked, &whole)?;
        let outcome = self.create(&ctx, team).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_team(&self, request: Request<pb::GetTeamRequest>) -> Result<Response<pb::Team>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new((&self.read(&ctx, &request.get_ref().name).await?).into()))
    }

    async fn list_teams(&self, request: Request<pb::ListTeamsRequest>) -> Result<Response<pb::ListTeamsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListTeamsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let teams = rows.into_iter().map(|row| pb::Team::from(&Team::from(row))).collect();
        Ok(Response::new(pb::ListTeamsResponse { teams, next_page_token }))
    }

    async fn update_team(&self, request: Request<pb::UpdateTeamRequest>) -> Result<Response<pb::Team>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.team, "team")?;
        let mask = Mask::parse(request.update_mask, |field| convert::populated(&asked, field), convert::KNOWN)?;
        let outcome = self.change(&ctx, &asked.name, &asked.etag, &Change::Fields(&asked, &mask)).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn delete_team(&self, request: Request<pb::DeleteTeamRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.0.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }

    async fn add_team_member(&self, request: Request<pb::AddTeamMemberRequest>) -> Result<Response<pb::Team>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::AddTeamMemberRequest { name, user, etag } = request.get_ref();
        let user = name::parse("users", user, "user")?;
        let outcome = self.change(&ctx, name, etag, &Change::Add(user)).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn remove_team_member(&self, request: Request<pb::RemoveTeamMemberRequest>) -> Result<Response<pb::Team>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::RemoveTeamMemberRequest { name, user, etag } = request.get_ref();
        let user = name::parse("users", user, "user")?;
        let outcome = self.change(&ctx, name, etag, &Change::Remove(user)).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }
}

impl Rpc {
    async fn read(&self, ctx: &Ctx, asked: &str) -> Result<Team, Fault> {
        let id = name::parse("teams", asked, "name")?;
        sql::find(&self.0.db, ctx, id).await?.ok_or_else(|| Fault::not_found(asked))
    }

    async fn create(&self, ctx: &Ctx, team: Team) -> Result<Done<pb::Team>, Fault> {
        require_everything(ctx)?;
        self.require_users(ctx, &team.members, "team.members").await?;
        let entries = events::team(ctx, &team, Fact::Created)?;
        sql::insert(&self.0.db, ctx, &team, &entries).await.map_err(taken)?;
        self.0.heed(&entries).await;
        Ok(Done::Written((&team).into()))
    }

    async fn change(&self, ctx: &Ctx, name: &str, etag: &str, change: &Change<'_>) -> Result<Done<pb::Team>, Fault> {
        require_everything(ctx)?;
        for _ in 0..ATTEMPTS {
            let mut team = self.read(ctx, name).await?;
            command::require_etag(etag, team.version, || name.to_owned())?;
            let changed = match change {
                Change::Fields(asked, mask) => {
                    team = convert::change(team, asked, mask)?;
                    if mask.has("members") {
                        self.require_users(ctx, &team.members, "team.members").await?;
                    }
                    true
                }
                Change::Add(user) => {
                    self.require_users(ctx, &[*user], "user").await?;
                    team.add(*user)?
                }
                Change::Remove(user) => team.remove(*user),
            };
            if !changed {
                let record = Record { collection: "teams", id: team.id, version: team.version };
                return Ok(Done::Unchanged((&team).into(), record));
            }
            team.version += 1;
            team.updated_at = ctx.now();
            let entries = events::team(ctx, &team, Fact::Updated)?;
            if sql::update(&self.0.db, ctx, &team, &entries).await.map_err(taken)? {
                self.0.heed(&entries).await;
                return Ok(Done::Written((&team).into()));
            }
            if !etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(etag, name.to_owned()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteTeamRequest) -> Result<(), Fault> {
        require_everything(ctx)?;
        for _ in 0..ATTEMPTS {
            let mut team = self.read(ctx, &request.name).await?;
            command::require_etag(&request.etag, team.version, || request.name.clone())?;
            team.version += 1;
            let entries = events::team(ctx, &team, Fact::Deleted)?;
            if sql::delete(&self.0.db, ctx, &team, &entries).await? {
                self.0.heed(&entries).await;
                return Ok(());
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    async fn require_users(&self, ctx: &Ctx, ids: &[Uuid], field: &str) -> Result<(), Fault> {
        let mut conn = self.0.db.for_tenant(ctx).await?;
        let known = usize::try_from(sql::count_users(&mut conn, ctx, ids).await?).map_err(Fault::internal)?;
        if known == ids.len() { Ok(()) } else { Err(Fault::invalid(field, "must be users of this tenant")) }
    }
}

fn taken(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("team_name") => Fault::exists("DISPLAY_NAME_TAKEN", "Choose another display name: another team has this one."),
        _ => fault,
    }
}
