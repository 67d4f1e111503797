//! The methods on business units.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::command::{self, ATTEMPTS, Done};
use rapport_kit::db::Tx;
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, clock, name};
use tonic::{Request, Response, Status};

use super::model::require_place;
use super::{BusinessUnit, convert, sql};
use crate::events::Fact;
use crate::list;
use crate::parse::required;
use crate::user::require_everything;
use crate::{Identity, events, tenant};

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::business_unit_service_server::BusinessUnitService for Rpc {
    async fn create_business_unit(&self, request: Request<pb::CreateBusinessUnitRequest>) -> Result<Response<pb::BusinessUnit>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = required(request.into_inner().business_unit, "business_unit")?;
        let whole = Mask::parse(None, |_| true, convert::KNOWN)?;
        let unit = convert::change(BusinessUnit::top(clock::new_id(), "", ctx.now()), &asked, &whole)?;
        let outcome = self.create(&ctx, unit).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn get_business_unit(&self, request: Request<pb::GetBusinessUnitRequest>) -> Result<Response<pb::BusinessUnit>, Status> {
        let ctx = Ctx::of(&request)?;
        let asked = &request.get_ref().name;
        let id = name::parse("businessUnits", asked, "name")?;
        let mut conn = self.0.db.for_tenant(&ctx).await?;
        let unit = sql::find(&mut conn, &ctx, id).await?.ok_or_else(|| Fault::not_found(asked))?;
        Ok(Response::new((&unit).into()))
    }

    async fn list_business_units(&self, request: Request<pb::ListBusinessUnitsRequest>) -> Result<Response<pb::ListBusinessUnitsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let pb::ListBusinessUnitsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked { page_size: *page_size, page_token, filter, order_by, others: &[] };
        let (rows, next_page_token) = list::page::<sql::Row>(&self.0.db, &ctx, sql::LISTING, asked).await?;
        let business_units = rows.into_iter().map(|row| pb::BusinessUnit::from(&BusinessUnit::from(row))).collect();
        Ok(Response::new(pb::ListBusinessUnitsResponse { business_units, next_page_token }))
    }

    async fn update_business_unit(&self, request: Request<pb::UpdateBusinessUnitRequest>) -> Result<Response<pb::BusinessUnit>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let asked = required(request.business_unit, "business_unit")?;
        let mask = Mask::parse(request.update_mask, |field| convert::populated(&asked, field), convert::KNOWN)?;
        let outcome = self.update(&ctx, &asked, &mask).await;
        Ok(Response::new(command::answer(&self.0.db, &ctx, outcome).await?))
    }

    async fn delete_business_unit(&self, request: Request<pb::DeleteBusinessUnitRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.delete(&ctx, request.get_ref()).await;
        command::answer_empty(&self.0.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl Rpc {
    async fn create(&self, ctx: &Ctx, mut unit: BusinessUnit) -> Result<Done<pb::BusinessUnit>, Fault> {
        require_everything(ctx)?;
        let mut tx = self.0.db.begin(ctx).await?;
        tenant::lock(&mut tx, ctx).await?;
        place(&mut tx, ctx, &mut unit, 1).await?;
        let entries = events::business_unit(ctx, &unit, Fact::Created)?;
        sql::insert_in(&mut tx, ctx, &unit).await.map_err(refused)?;
        sql::record(&mut tx, &entries).await?;
        tx.commit().await?;
        self.0.heed(&entries).await;
        Ok(Done::Written((&unit).into()))
    }

    async fn update(&self, ctx: &Ctx, asked: &pb::BusinessUnit, mask: &Mask) -> Result<Done<pb::BusinessUnit>, Fault> {
        require_everything(ctx)?;
        let id = name::parse("businessUnits", &asked.name, "business_unit.name")?;
        let mut tx = self.0.db.begin(ctx).await?;
        tenant::lock(&mut tx, ctx).await?;
        let current = sql::find(tx.conn(), ctx, id).await?.ok_or_else(|| Fault::not_found(&asked.name))?;
        command::require_etag(&asked.etag, current.version, || asked.name.clone())?;
        let mut unit = convert::change(current.clone(), asked, mask)?;
        if unit.parent != current.parent || unit.legal_entity != current.legal_entity {
            let height = usize::try_from(sql::height(&mut tx, ctx, id).await?).map_err(Fault::internal)?;
            place(&mut tx, ctx, &mut unit, height).await?;
        }
        unit.version += 1;
        unit.updated_at = ctx.now();
        let entries = events::business_unit(ctx, &unit, Fact::Updated)?;
        if !sql::update(&mut tx, ctx, &unit, &entries).await.map_err(refused)? {
            return Err(command::lost_race(&asked.etag, asked.name.clone()));
        }
        tx.commit().await?;
        self.0.heed(&entries).await;
        Ok(Done::Written((&unit).into()))
    }

    async fn delete(&self, ctx: &Ctx, request: &pb::DeleteBusinessUnitRequest) -> Result<(), Fault> {
        require_everything(ctx)?;
        let id = name::parse("businessUnits", &request.name, "name")?;
        let mut conn = self.0.db.for_tenant(ctx).await?;
        for _ in 0..ATTEMPTS {
            let mut unit = sql::find(&mut conn, ctx, id).await?.ok_or_else(|| Fault::not_found(&request.name))?;
            command::require_etag(&request.etag, unit.version, || request.name.clone())?;
            unit.version += 1;
            let entries = events::business_unit(ctx, &unit, Fact::Deleted)?;
            if sql::delete(&mut conn, ctx, &unit, &entries).await.map_err(in_use)? {
                drop(conn);
                self.0.heed(&entries).await;
                return Ok(());
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }
}

/// Checks the place of `unit` in the tree and gives it its parent's company if it names none. At the top it needs one of
/// its own; only the unit that a tenant begins with has none until it is given one.
async fn place(tx: &mut Tx, ctx: &Ctx, unit: &mut BusinessUnit, height: usize) -> Result<(), Fault> {
    let Some(parent) = unit.parent else {
        let missing = || Fault::invalid("business_unit.legal_entity", "must be given for a unit at the top");
        return unit.legal_entity.map(|_| ()).ok_or_else(missing);
    };
    let above = sql::upwards(tx.conn(), ctx, parent).await?;
    let parent =
        sql::find(tx.conn(), ctx, parent).await?.ok_or_else(|| Fault::invalid("business_unit.parent", "must be a business unit of this tenant"))?;
    require_place(unit.id, &above, height)?;
    unit.legal_entity = unit.legal_entity.or(parent.legal_entity);
    Ok(())
}

fn refused(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("unit_name") => Fault::exists("DISPLAY_NAME_TAKEN", "Choose another display name: a unit below the same parent has this one."),
        Some("unit_parent") => Fault::invalid("business_unit.parent", "must be a business unit of this tenant"),
        Some("unit_legal_entity") => Fault::invalid("business_unit.legal_entity", "must be a legal entity of this tenant"),
        _ => fault,
    }
}

fn in_use(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("unit_parent" | "user_unit" | "service_account_unit") => {
            Fault::precondition("BUSINESS_UNIT_IN_USE", "Move the units, users and service accounts that stand in it first.")
        }
        _ => fault,
    }
}
