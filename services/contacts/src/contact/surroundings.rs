//! What a contact's details are checked against: the accounts that the caller sees, and the default region.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, name};
use rlibphonenumber::Region;
use uuid::Uuid;

use super::parse;
use super::{Details, RESOURCE, convert};
use crate::convert::Known;
use crate::owner::{Owner, Owners};
use crate::violations::Violations;
use crate::{account, region, update};

/// Read before parsing, for one contact or a batch.
#[derive(Debug)]
pub struct Surroundings {
    region: Option<Region>,
    /// Live accounts that the caller sees, and whether each is a private customer.
    accounts: HashMap<Uuid, bool>,
    owners: Owners,
}

impl Surroundings {
    /// What `sent` needs; `stored` is what the one record holds that is changed.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read(db: &Db, policy: &Policy, ctx: &Ctx, sent: &[pb::Contact], stored: Option<&Details>) -> Result<Self, Fault> {
        let stays = stored.map(|stored| stored.owner);
        let owners = Owners::read(policy, ctx, sent.iter().map(|contact| contact.owner.as_str()), stays).await?;
        let points: Vec<pb::ContactPoint> =
            sent.iter().filter_map(|contact| contact.person.as_ref()).flat_map(|person| person.contact_points.clone()).collect();
        let region = region::default(db, ctx, &points, None).await?;
        let mut ids: Vec<Uuid> = sent.iter().flat_map(|contact| &contact.accounts).filter_map(|role| account_id(&role.account)).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Self { region, accounts: HashMap::new(), owners });
        }
        let mut conn = db.for_tenant(ctx).await?;
        let seen = account::sql::get_many(&mut conn, ctx, &ctx.scope_of("contacts.account.read"), &ids).await?;
        let accounts = seen.iter().filter(|account| !account.is_deleted()).map(|account| (account.id(), account.kind() == account::Kind::Person));
        Ok(Self { region, accounts: accounts.collect(), owners })
    }

    /// The details of a new contact.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID); PERMISSION_DENIED (FIELD_READ_ONLY).
    pub fn new_details(&self, ctx: &Ctx, sent: pb::Contact) -> Result<Details, Fault> {
        update::require_writable(|path| convert::is_populated(&sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
        self.details(ctx, sent, None)
    }

    /// The details in `sent`, in place of those `stored`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID).
    pub fn details(&self, ctx: &Ctx, sent: pb::Contact, stored: Option<&Details>) -> Result<Details, Fault> {
        let owner = stored.map_or_else(|| Owner::caller(ctx), |stored| stored.owner);
        let mut details = parse::parse(sent, &Known { details: stored, owner, region: self.region, now: ctx.now() })?;
        let mut found = Violations::default();
        self.owners.require(&mut found, "contact.owner", details.owner, owner);
        for (index, role) in details.accounts.iter_mut().enumerate() {
            // An account that the contact has already stays, though the caller may not see it or it is deleted.
            let before = stored.and_then(|stored| stored.accounts.iter().find(|other| other.account == role.account)).map(|other| other.sole);
            match before.or_else(|| self.accounts.get(&role.account).copied()) {
                Some(sole) => role.sole = sole,
                None => found.add(format!("contact.accounts[{index}].account"), "is no account that you may see"),
            }
        }
        found.finish().map(|()| details)
    }
}

fn account_id(text: &str) -> Option<Uuid> {
    name::split(text).filter(|(collection, _)| *collection == account::COLLECTION).map(|(_, id)| id)
}
