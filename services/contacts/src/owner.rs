//! Who is responsible for a record.

use rapport_kit::{Ctx, name};
use uuid::Uuid;

use crate::violations::Violations;

/// A user, a team that the record waits in, or a service account that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// What the owner is.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
}

/// What an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    User,
    /// People across units.
    Team,
    /// Another system.
    ServiceAccount,
}

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
    /// The caller, who owns what is created without an owner.
    #[must_use]
    pub fn caller(ctx: &Ctx) -> Self {
        let is_service_account = name::split(&ctx.actor().name) == Some(("serviceAccounts", ctx.subject()));
        Self { kind: if is_service_account { Kind::ServiceAccount } else { Kind::User }, id: ctx.subject() }
    }

    /// The owner that `text` names; `otherwise` if it is empty.
    pub fn parse(found: &mut Violations, field: &str, text: &str, otherwise: Self) -> Self {
        if text.is_empty() {
            return otherwise;
        }
        let owner = name::split(text).and_then(|(collection, id)| {
            let (kind, _, _) = KINDS.iter().find(|(_, _, known)| *known == collection)?;
            Some(Self { kind: *kind, id })
        });
        owner.unwrap_or_else(|| {
            found.add(field, "must look like users/{uuid} or teams/{uuid}");
            otherwise
        })
    }

    /// Such as `users/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        let collection = match self.kind {
            Kind::User => "users",
            Kind::Team => "teams",
            Kind::ServiceAccount => "serviceAccounts",
        };
        name::format(collection, self.id)
    }
}
