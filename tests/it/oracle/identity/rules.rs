//! Who may call what of identity, written down a second time: by method, without a look at the contracts.

use uuid::Uuid;

use super::super::model::{Level, Organisation, Verdict};

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing: everybody is answered alike.
    Anybody,
    /// The operator's credential, which nobody of a tenant has.
    Operator,
    /// To be signed in: it is about the caller alone.
    Oneself,
    /// To be of the tenant that is asked for.
    OwnTenant,
    /// The permission at any level: what it is about belongs to the whole tenant.
    Held(&'static str),
    /// The permission over all records: it decides how far others reach.
    Everywhere(&'static str),
    /// The permission at a level that reaches the user or service account.
    Reaching(&'static str),
    /// Oneself, or the permission at a level that reaches the user whose sessions they are.
    Sessions(&'static str),
}

/// The rule of a method; none if nobody has written it down.
pub(super) fn rule(path: &str) -> Option<Rule> {
    Some(match path.rsplit_once('/')?.1 {
        "SignIn" | "RefreshSession" | "GetJwks" | "GetSigningKeys" | "ExchangeToken" | "ExchangeApiKey" => Rule::Anybody,
        "CreateTenant" | "RotateSigningKeys" | "GetPolicyChanges" => Rule::Operator,
        "SignOut" | "ChangePassword" => Rule::Oneself,
        "GetTenant" => Rule::OwnTenant,
        "ListSessions" => Rule::Sessions("identity.session.read"),
        "RevokeSession" => Rule::Sessions("identity.session.revoke"),
        "GetSecurityPolicy" => Rule::Held("identity.security_policy.read"),
        "UpdateSecurityPolicy" => Rule::Held("identity.security_policy.update"),
        "CreateLegalEntity" => Rule::Held("identity.legal_entity.create"),
        "GetLegalEntity" | "ListLegalEntities" => Rule::Held("identity.legal_entity.read"),
        "UpdateLegalEntity" => Rule::Held("identity.legal_entity.update"),
        "CreateRole" => Rule::Held("identity.role.create"),
        "GetRole" | "ListRoles" => Rule::Held("identity.role.read"),
        "UpdateRole" => Rule::Held("identity.role.update"),
        "DeleteRole" => Rule::Held("identity.role.delete"),
        "GetTeam" | "ListTeams" => Rule::Held("identity.team.read"),
        "CreateTeam" => Rule::Everywhere("identity.team.create"),
        "UpdateTeam" | "AddTeamMember" | "RemoveTeamMember" => Rule::Everywhere("identity.team.update"),
        "DeleteTeam" => Rule::Everywhere("identity.team.delete"),
        "GetBusinessUnit" | "ListBusinessUnits" => Rule::Held("identity.business_unit.read"),
        "CreateBusinessUnit" => Rule::Everywhere("identity.business_unit.create"),
        "UpdateBusinessUnit" => Rule::Everywhere("identity.business_unit.update"),
        "DeleteBusinessUnit" => Rule::Everywhere("identity.business_unit.delete"),
        "CreateUser" => Rule::Held("identity.user.create"),
        "GetUser" | "ListUsers" => Rule::Reaching("identity.user.read"),
        "UpdateUser" => Rule::Reaching("identity.user.update"),
        "DisableUser" | "EnableUser" => Rule::Reaching("identity.user.disable"),
        "UnlockUser" => Rule::Reaching("identity.user.unlock"),
        "GrantRole" | "RevokeRole" => Rule::Reaching("identity.user.grant"),
        "CreateServiceAccount" => Rule::Held("identity.service_account.create"),
        "GetServiceAccount" | "ListServiceAccounts" => Rule::Reaching("identity.service_account.read"),
        "DeleteServiceAccount" => Rule::Reaching("identity.service_account.delete"),
        "GrantServiceAccountRole" | "RevokeServiceAccountRole" => Rule::Reaching("identity.service_account.grant"),
        "CreateApiKey" => Rule::Reaching("identity.api_key.create"),
        "ListApiKeys" => Rule::Reaching("identity.api_key.read"),
        "RevokeApiKey" => Rule::Reaching("identity.api_key.revoke"),
        _ => return None,
    })
}

/// All permissions of identity, for roles made at random.
pub(super) const PERMISSIONS: &[&str] = &[
    "identity.api_key.create",
    "identity.api_key.read",
    "identity.api_key.revoke",
    "identity.business_unit.create",
    "identity.business_unit.delete",
    "identity.business_unit.read",
    "identity.business_unit.update",
    "identity.legal_entity.create",
    "identity.legal_entity.read",
    "identity.legal_entity.update",
    "identity.role.create",
    "identity.role.delete",
    "identity.role.read",
    "identity.role.update",
    "identity.security_policy.read",
    "identity.security_policy.update",
    "identity.service_account.create",
    "identity.service_account.delete",
    "identity.service_account.grant",
    "identity.service_account.read",
    "identity.session.read",
    "identity.session.revoke",
    "identity.team.create",
    "identity.team.delete",
    "identity.team.read",
    "identity.team.update",
    "identity.user.create",
    "identity.user.disable",
    "identity.user.grant",
    "identity.user.read",
    "identity.user.unlock",
    "identity.user.update",
];

impl Organisation {
    /// What becomes of a call by `caller` under `rule` on the record `about`: a user or service account, or any
    /// other record of the tenant; none for one of another tenant.
    pub(super) fn answer(&self, caller: Uuid, rule: Rule, about: Option<Uuid>) -> Verdict {
        let there = |allowed| if about.is_some() { allowed } else { Verdict::Absent };
        match rule {
            Rule::Anybody | Rule::Oneself | Rule::OwnTenant => there(Verdict::Allowed),
            Rule::Operator => Verdict::Denied,
            Rule::Held(permission) => self.unless_denied(caller, permission, |_| there(Verdict::Allowed)),
            Rule::Everywhere(permission) => {
                self.unless_denied(caller, permission, |levels| if levels.contains(&Level::All) { there(Verdict::Allowed) } else { Verdict::Denied })
            }
            Rule::Reaching(permission) => self.unless_denied(caller, permission, |_| self.person(caller, permission, about)),
            Rule::Sessions(_) if about == Some(caller) => Verdict::Allowed,
            Rule::Sessions("identity.session.read") => {
                self.unless_denied(caller, "identity.session.read", |_| self.person(caller, "identity.session.read", about))
            }
            // That there is such a session is not told to who may not end it.
            Rule::Sessions(permission) => self.person(caller, permission, about),
        }
    }

    fn unless_denied(&self, caller: Uuid, permission: &str, otherwise: impl FnOnce(&[Level]) -> Verdict) -> Verdict {
        let levels = self.held(caller, permission);
        if levels.is_empty() { Verdict::Denied } else { otherwise(&levels) }
    }

    /// Somebody is absent for everybody whose permission does not reach them.
    fn person(&self, caller: Uuid, permission: &str, about: Option<Uuid>) -> Verdict {
        let record = about.and_then(|about| self.records.values().find(|record| record.owner == about));
        let reached = record.is_some_and(|record| self.held(caller, permission).iter().any(|level| self.reaches(caller, *level, record)));
        if reached { Verdict::Allowed } else { Verdict::Absent }
    }

    /// Whether the caller may give all of these permissions at `level` to somebody who stands in `unit`.
    pub(super) fn may_give(&self, caller: Uuid, permissions: &[&str], level: Level, unit: Option<Uuid>) -> bool {
        let inside = self.unit_of(caller).zip(unit).is_some_and(|(own, unit)| self.lies_within(unit, own));
        permissions.iter().all(|permission| {
            self.held(caller, permission).iter().any(|held| match (held, level) {
                (Level::All, _) | (Level::Team, Level::Team | Level::Own) | (Level::Own, Level::Own) => true,
                (Level::Subtree, Level::Subtree | Level::Own) => inside,
                _ => false,
            })
        })
    }

    /// Whether the caller may place somebody in `unit`: anywhere with the permission over all records, else in the
    /// own unit or in none.
    pub(super) fn may_place(&self, caller: Uuid, permission: &str, unit: Option<Uuid>) -> bool {
        unit.is_none() || unit == self.unit_of(caller) || self.held(caller, permission).contains(&Level::All)
    }
}
