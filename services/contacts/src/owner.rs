//! Who is responsible for a record.

use std::collections::HashMap;

use rapport_kit::policy::{Policy, Standing};
use rapport_kit::{Ctx, Fault, name};
use uuid::Uuid;

use crate::violations::Violations;

/// A user, a team that the record waits in, or a service account that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// What the owner is.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
}

/// What an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person.
    User,
    /// People across units.
    Team,
    /// Another system.
    ServiceAccount,
}

/// Collections that an owner can be of.
pub const COLLECTIONS: &[&str] = &["users", "teams", "serviceAccounts"];
const KINDS: [(Kind, i16, &str); 3] = [(Kind::User, 1, "users"), (Kind::Team, 2, "teams"), (Kind::ServiceAccount, 3, "serviceAccounts")];

impl Kind {
    /// As it is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::User => 1,
            Self::Team => 2,
            Self::ServiceAccount => 3,
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        KINDS.iter().find(|(_, stored, _)| *stored == number).map(|(kind, _, _)| *kind)
    }
}

impl Owner {
    /// The caller, who owns what is created without an owner; where a service acts for somebody, that one.
    #[must_use]
    pub fn caller(ctx: &Ctx) -> Self {
        let is_service_account = name::split(ctx.actor().subject()).is_some_and(|(collection, _)| collection == "serviceAccounts");
        Self { kind: if is_service_account { Kind::ServiceAccount } else { Kind::User }, id: ctx.subject() }
    }

    /// The owner that `text` names; `otherwise` if it is empty.
    pub fn parse(found: &mut Violations, field: &str, text: &str, otherwise: Self) -> Self {
        if text.is_empty() {
            return otherwise;
        }
        Self::named(text).unwrap_or_else(|| {
            found.add(field, "must look like users/{uuid} or teams/{uuid}");
            otherwise
        })
    }

    /// The owner of this name; none if it is no name of one.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let (collection, id) = name::split(text)?;
        let (kind, _, _) = KINDS.iter().find(|(_, _, known)| *known == collection)?;
        Some(Self { kind: *kind, id })
    }

    /// Such as `users/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        name::format(self.collection(), self.id)
    }

    fn collection(&self) -> &'static str {
        match self.kind {
            Kind::User => "users",
            Kind::Team => "teams",
            Kind::ServiceAccount => "serviceAccounts",
        }
    }
}

/// Owners that requests name, with what identity says of each.
#[derive(Debug, Default)]
pub struct Owners {
    told: HashMap<Owner, Option<Standing>>,
}

impl Owners {
    /// Asks about the owners in `texts`, once about each. The caller and the owner that a record has already need
    /// not be asked about.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read<'a>(policy: &Policy, ctx: &Ctx, texts: impl Iterator<Item = &'a str>, stays: Option<Owner>) -> Result<Self, Fault> {
        let caller = Owner::caller(ctx);
        let mut owners: Vec<Owner> = texts.filter_map(Owner::named).filter(|owner| *owner != caller && Some(*owner) != stays).collect();
        owners.sort_unstable_by_key(|owner| (owner.kind.number(), owner.id));
        owners.dedup();
        let mut told = HashMap::from([(caller, Some(Standing::Active))]);
        if owners.is_empty() {
            return Ok(Self { told });
        }
        let names: Vec<(&str, Uuid)> = owners.iter().map(|owner| (owner.collection(), owner.id)).collect();
        let standing = policy.standing(ctx.tenant(), &names).await?;
        told.extend(owners.into_iter().zip(standing));
        Ok(Self { told })
    }

    /// Refuses an owner who cannot look after a record: only users and teams of the tenant that are enabled can.
    /// `otherwise` is who owns it if nobody is named, and may be anybody.
    pub fn require(&self, found: &mut Violations, field: &str, owner: Owner, otherwise: Owner) {
        if owner == otherwise {
            return;
        }
        match (owner.kind, self.told.get(&owner).copied().flatten()) {
            (Kind::ServiceAccount, _) => found.add(field, "must be a user or a team"),
            (_, Some(Standing::Active)) => {}
            (_, Some(Standing::Disabled)) => {
                found.add(field, format!("is disabled: {}; name a user or team that can look after the record", owner.name()))
            }
            (_, Some(Standing::Deleted) | None) => found.add(field, format!("must be a user or team of this tenant; there is no {}", owner.name())),
        }
    }
}
