//! Everything that identity publishes. It consumes nothing.
//!
//! The first entry of a change is the record's own event; what matters to access is followed by a policy
//! change, from which every service keeps its copy.

use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use rapport_identity_api::v1 as pb;
use rapport_kit::journal::{Entry, Record, entry};
use rapport_kit::{Ctx, Fault, clock, name};
use rapport_proto::Event;
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::policy_change::State;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::business_unit::BusinessUnit;
use crate::legal_entity::LegalEntity;
use crate::role::Role;
use crate::security_policy::SecurityPolicy;
use crate::service_account::ServiceAccount;
use crate::team::Team;
use crate::tenant::Tenant;
use crate::user::User;

/// What happened to a record that is created, changed and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Created,
    Updated,
    Deleted,
}

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserFact {
    Created,
    Updated,
    Disabled,
    Enabled,
    Locked,
    Unlocked,
    GrantsChanged,
    PasswordChanged,
}

/// What happened to a service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountFact {
    Created,
    GrantsChanged,
    Deleted,
}

/// A tenant was created; it is not ready before its security policy is stored.
pub(crate) fn tenant_created(ctx: &Ctx, tenant: &Tenant) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "tenants", id: tenant.id, version: tenant.version };
    let event = pb::TenantCreated { tenant: Some(tenant.into()) };
    Ok(vec![entry(ctx, record, &event, Vec::new())?, tenant_policy(ctx, record, 1, false)?])
}

/// A security policy was stored or changed. The tenant's own policy version runs one ahead of it, so that the
/// first one stored replaces what the tenant's creation said.
pub(crate) fn security_policy_updated(ctx: &Ctx, policy: &SecurityPolicy) -> Result<Vec<Entry>, Fault> {
    let id = clock::derived_id(ctx.tenant(), "securityPolicy");
    let record = Record { collection: "securityPolicies", id, version: policy.version };
    let event = pb::SecurityPolicyUpdated { security_policy: Some(policy.into()) };
    Ok(vec![entry(ctx, record, &event, Vec::new())?, tenant_policy(ctx, record, policy.version + 1, true)?])
}

fn tenant_policy(ctx: &Ctx, record: Record, version: i64, ready: bool) -> Result<Entry, Fault> {
    let state = State::TenantState(common::PolicyTenant { ready });
    let change = change(ctx, name::format("tenants", ctx.tenant()), version, Some(state));
    Ok(entry(ctx, record, &change, Vec::new())?.after(1))
}

/// Something happened to a legal entity. They are never deleted.
pub(crate) fn legal_entity(ctx: &Ctx, entity: &LegalEntity, fact: Fact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "legalEntities", id: entity.id, version: entity.version };
    let state = Some(pb::LegalEntity::from(entity));
    Ok(vec![match fact {
        Fact::Created => entry(ctx, record, &pb::LegalEntityCreated { legal_entity: state }, Vec::new())?,
        Fact::Updated | Fact::Deleted => entry(ctx, record, &pb::LegalEntityUpdated { legal_entity: state }, Vec::new())?,
    }])
}

/// Something happened to a business unit.
pub(crate) fn business_unit(ctx: &Ctx, unit: &BusinessUnit, fact: Fact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "businessUnits", id: unit.id, version: unit.version };
    let state = Some(pb::BusinessUnit::from(unit));
    let own = match fact {
        Fact::Created => entry(ctx, record, &pb::BusinessUnitCreated { business_unit: state }, Vec::new())?,
        Fact::Updated => entry(ctx, record, &pb::BusinessUnitUpdated { business_unit: state }, Vec::new())?,
        Fact::Deleted => entry(ctx, record, &pb::BusinessUnitDeleted { name: unit.name() }, Vec::new())?,
    };
    let parent = unit.parent.map(|id| name::format("businessUnits", id)).unwrap_or_default();
    with_policy(ctx, own, record, unit.name(), (fact != Fact::Deleted).then_some(State::Unit(common::PolicyUnit { parent })))
}

/// Something happened to a team.
pub(crate) fn team(ctx: &Ctx, team: &Team, fact: Fact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "teams", id: team.id, version: team.version };
    let state = pb::Team::from(team);
    let members = state.members.clone();
    let own = match fact {
        Fact::Created => entry(ctx, record, &pb::TeamCreated { team: Some(state) }, Vec::new())?,
        Fact::Updated => entry(ctx, record, &pb::TeamUpdated { team: Some(state) }, Vec::new())?,
        Fact::Deleted => entry(ctx, record, &pb::TeamDeleted { name: team.name() }, Vec::new())?,
    };
    with_policy(ctx, own, record, team.name(), (fact != Fact::Deleted).then_some(State::Team(common::PolicyTeam { members })))
}

/// Something happened to a role.
pub(crate) fn role(ctx: &Ctx, role: &Role, fact: Fact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "roles", id: role.id, version: role.version };
    let state = pb::Role::from(role);
    let policy = common::PolicyRole {
        display_name: state.display_name.clone(),
        permissions: state.permissions.clone(),
        field_rules: state.field_rules.clone(),
    };
    let own = match fact {
        Fact::Created => entry(ctx, record, &pb::RoleCreated { role: Some(state) }, Vec::new())?,
        Fact::Updated => entry(ctx, record, &pb::RoleUpdated { role: Some(state) }, Vec::new())?,
        Fact::Deleted => entry(ctx, record, &pb::RoleDeleted { name: role.name() }, Vec::new())?,
    };
    with_policy(ctx, own, record, role.name(), (fact != Fact::Deleted).then_some(State::Role(policy)))
}

/// Something happened to a user. Each change carries the policy too, so that its version moves on with the record's.
pub(crate) fn user(ctx: &Ctx, user: &User, fact: UserFact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "users", id: user.id, version: user.version };
    let state = Some(user.to_proto(ctx.now()));
    let about = vec![user.id];
    let own = match fact {
        UserFact::Created => entry(ctx, record, &pb::UserCreated { user: state }, about)?,
        UserFact::Updated => entry(ctx, record, &pb::UserUpdated { user: state }, about)?,
        UserFact::Disabled => entry(ctx, record, &pb::UserDisabled { user: state }, about)?,
        UserFact::Enabled => entry(ctx, record, &pb::UserEnabled { user: state }, about)?,
        UserFact::Locked => entry(ctx, record, &pb::UserLocked { user: state }, about)?,
        UserFact::Unlocked => entry(ctx, record, &pb::UserUnlocked { user: state }, about)?,
        UserFact::GrantsChanged => entry(ctx, record, &pb::UserGrantsChanged { user: state }, about)?,
        UserFact::PasswordChanged => entry(ctx, record, &pb::UserPasswordChanged { user: state }, about)?,
    };
    let policy = common::PolicySubject {
        business_unit: user.unit.map(|id| name::format("businessUnits", id)).unwrap_or_default(),
        active: !user.disabled,
        grants: user.grants.iter().map(common::PolicyGrant::from).collect(),
    };
    with_policy(ctx, own, record, user.name(), Some(State::Subject(policy)))
}

/// All of a user's sessions but one were ended with this change of the user.
pub(crate) fn sessions_ended(ctx: &Ctx, user: &User, ended: &[Uuid], kept: Option<Uuid>) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "users", id: user.id, version: user.version };
    let event = pb::SessionsRevoked {
        user: user.name(),
        revoke_time: Some(clock::timestamp(ctx.now())),
        kept_session: kept.map(|id| name::format("sessions", id)).unwrap_or_default(),
    };
    let mut entries = vec![entry(ctx, record, &event, vec![user.id])?.after(2)];
    for session in ended {
        entries.push(ended_credential(ctx, *session, ctx.now())?);
    }
    Ok(entries)
}

/// One session was ended. A session is journaled when it ends, so that is its only version.
pub(crate) fn session_ended(ctx: &Ctx, session: Uuid, user: Uuid) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "sessions", id: session, version: 1 };
    let event = pb::SessionRevoked { session: name::format("sessions", session), user: name::format("users", user) };
    Ok(vec![entry(ctx, record, &event, vec![user])?, ended_credential(ctx, session, ctx.now())?])
}

/// Tokens of this session, or given for this key, are refused from now on.
fn ended_credential(ctx: &Ctx, id: Uuid, now: DateTime<Utc>) -> Result<Entry, Fault> {
    let forget_time = Some(clock::timestamp(now + TimeDelta::hours(1)));
    let state = State::RevokedSession(common::PolicyRevokedSession { forget_time });
    let record = Record { collection: "sessions", id, version: 1 };
    Ok(entry(ctx, record, &change(ctx, name::format("sessions", id), 1, Some(state)), Vec::new())?.after(1))
}

/// Something happened to a service account.
pub(crate) fn service_account(ctx: &Ctx, account: &ServiceAccount, fact: AccountFact) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "serviceAccounts", id: account.id, version: account.version };
    let state = Some(pb::ServiceAccount::from(account));
    let own = match fact {
        AccountFact::Created => entry(ctx, record, &pb::ServiceAccountCreated { service_account: state }, Vec::new())?,
        AccountFact::GrantsChanged => entry(ctx, record, &pb::ServiceAccountGrantsChanged { service_account: state }, Vec::new())?,
        AccountFact::Deleted => entry(ctx, record, &pb::ServiceAccountDeleted { name: account.name() }, Vec::new())?,
    };
    let policy = common::PolicySubject {
        business_unit: account.unit.map(|id| name::format("businessUnits", id)).unwrap_or_default(),
        active: true,
        grants: account.grants.iter().map(common::PolicyGrant::from).collect(),
    };
    with_policy(ctx, own, record, account.name(), (fact != AccountFact::Deleted).then_some(State::Subject(policy)))
}

/// A key was created.
pub(crate) fn api_key_created(ctx: &Ctx, key: &ApiKey) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "apiKeys", id: key.id, version: key.version };
    Ok(vec![entry(ctx, record, &pb::ApiKeyCreated { api_key: Some(key.snapshot()) }, Vec::new())?])
}

/// A key was revoked; tokens name it where those of people name their session.
pub(crate) fn api_key_revoked(ctx: &Ctx, key: &ApiKey) -> Result<Vec<Entry>, Fault> {
    let record = Record { collection: "apiKeys", id: key.id, version: key.version };
    let own = entry(ctx, record, &pb::ApiKeyRevoked { api_key: Some(key.snapshot()) }, Vec::new())?;
    Ok(vec![own, ended_credential(ctx, key.id, ctx.now())?])
}

/// The policy changes among these entries.
pub(crate) fn policy_changes(entries: &[Entry]) -> Vec<common::PolicyChange> {
    let of_policy = entries.iter().filter(|entry| entry.fact == common::PolicyChange::KEY);
    of_policy.filter_map(|entry| common::PolicyChange::decode(entry.message.as_deref()?).ok()).collect()
}

fn with_policy(ctx: &Ctx, own: Entry, record: Record, name: String, state: Option<State>) -> Result<Vec<Entry>, Fault> {
    let change = change(ctx, name, record.version, state);
    Ok(vec![own, entry(ctx, record, &change, Vec::new())?.after(1)])
}

fn change(ctx: &Ctx, name: String, version: i64, state: Option<State>) -> common::PolicyChange {
    common::PolicyChange { tenant: name::format("tenants", ctx.tenant()), name, version, deleted: state.is_none(), state }
}
