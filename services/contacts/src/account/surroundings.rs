//! What an account's details are checked against: the parents that the caller sees, and default regions.

use std::collections::{HashMap, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, name};
use rlibphonenumber::Region;
use uuid::Uuid;

use super::convert;
use super::{COLLECTION, Details, RESOURCE, sql};
use crate::convert::Known;
use crate::owner::{Owner, Owners};
use crate::violations::Violations;
use crate::{region, update};

/// Read before parsing, for one account or a batch.
#[derive(Debug)]
pub struct Surroundings {
    /// By legal entity.
    regions: HashMap<Option<Uuid>, Region>,
    /// Live accounts that the caller sees.
    parents: HashSet<Uuid>,
    owners: Owners,
}

impl Surroundings {
    /// What `sent` needs; `stored` is what the one record holds that is changed.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read(db: &Db, policy: &Policy, ctx: &Ctx, sent: &[pb::Account], stored: Option<&Details>) -> Result<Self, Fault> {
        let stays = stored.map(|stored| stored.owner);
        let owners = Owners::read(policy, ctx, sent.iter().map(|account| account.owner.as_str()), stays).await?;
        let mut points: HashMap<Option<Uuid>, Vec<pb::ContactPoint>> = HashMap::new();
        for account in sent {
            points.entry(id("legalEntities", &account.legal_entity)).or_default().extend(account.contact_points.iter().cloned());
        }
        let mut regions = HashMap::new();
        for (legal_entity, points) in points {
            if let Some(region) = region::default(db, ctx, &points, legal_entity).await? {
                regions.insert(legal_entity, region);
            }
        }
        let ids: Vec<Uuid> = sent.iter().filter_map(|account| id(COLLECTION, &account.parent)).collect();
        if ids.is_empty() {
            return Ok(Self { regions, parents: HashSet::new(), owners });
        }
        let seen = sql::get_many(&mut db.for_tenant(ctx).await?, ctx, &ctx.scope_of("contacts.account.read"), &ids).await?;
        let parents = seen.iter().filter(|account| !account.is_deleted()).map(super::Account::id).collect();
        Ok(Self { regions, parents, owners })
    }

    /// The details of a new account.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID); PERMISSION_DENIED (FIELD_READ_ONLY).
    pub fn new_details(&self, ctx: &Ctx, sent: pb::Account) -> Result<Details, Fault> {
        update::require_writable(|path| convert::is_populated(&sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
        self.details(ctx, sent, None)
    }

    /// The details in `sent`, in place of those `stored`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID).
    pub fn details(&self, ctx: &Ctx, sent: pb::Account, stored: Option<&Details>) -> Result<Details, Fault> {
        let owner = stored.map_or_else(|| Owner::caller(ctx), |stored| stored.owner);
        let region = self.regions.get(&id("legalEntities", &sent.legal_entity)).copied();
        let details = convert::parse(sent, &Known { details: stored, owner, region, now: ctx.now() })?;
        let mut found = Violations::default();
        self.owners.require(&mut found, "account.owner", details.owner, owner);
        // A parent that the account has already stays, though the caller may not see it.
        let stays = stored.is_some_and(|stored| stored.parent == details.parent);
        if let Some(parent) = details.parent
            && !stays
            && !self.parents.contains(&parent)
        {
            found.add("account.parent", "is no account that you may see");
        }
        found.finish().map(|()| details)
    }
}

fn id(collection: &str, text: &str) -> Option<Uuid> {
    name::split(text).filter(|(found, _)| *found == collection).map(|(_, id)| id)
}
