//! A random organisation, made through identity's own API, with a small one of another tenant beside it.

use std::collections::{BTreeMap, BTreeSet};

use rapport_identity_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::GrantLevel;
use uuid::Uuid;

use super::super::model::{Level, Organisation, Record, Role, User};
use super::super::world::{Dice, told_level};
use super::rules::PERMISSIONS;
use crate::bureau::{Bureau, Stored, legal_entity, policy};
use crate::coverage::wire::Caller;

const UNITS: usize = 6;
const TEAMS: usize = 3;
const ROLES: usize = 5;
const USERS: usize = 10;
const ACCOUNTS: usize = 4;

/// One tenant: its model, and what tests need to call about it.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) administrator: Subject,
    /// Users and service accounts stand in the model as owners of themselves.
    pub(super) model: Organisation,
    /// Names by id of users and service accounts.
    pub(super) names: BTreeMap<Uuid, String>,
    /// Who calls, with a token of theirs.
    pub(super) callers: BTreeMap<Uuid, Subject>,
    /// An open session of each user that can sign in.
    pub(super) sessions: BTreeMap<Uuid, String>,
    /// A revoked key of each service account.
    pub(super) keys: BTreeMap<Uuid, String>,
    /// Roles that came with the product.
    pub(super) shipped: BTreeSet<Uuid>,
    pub(super) entities: BTreeSet<String>,
}

/// Both tenants on one identity.
#[derive(Debug)]
pub(super) struct World {
    pub(super) bureau: Bureau,
    pub(super) tenant: Tenant,
    pub(super) other: Tenant,
}

impl World {
    pub(super) async fn found(dice: &mut Dice) -> Self {
        let bureau = Bureau::open().await;
        let tenant = Tenant::found(&bureau, dice, "large", [UNITS, TEAMS, ROLES, USERS, ACCOUNTS]).await;
        let other = Tenant::found(&bureau, dice, "small", [2, 1, 1, 2, 1]).await;
        Self { bureau, tenant, other }
    }
}

impl Tenant {
    async fn found(bureau: &Bureau, dice: &mut Dice, slug: &str, [units, teams, roles, users, accounts]: [usize; 5]) -> Self {
        let administrator = bureau.tenant(slug, Some(policy())).await;
        let mut tenant = Self {
            model: Organisation::default(),
            names: BTreeMap::new(),
            callers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            keys: BTreeMap::new(),
            shipped: BTreeSet::new(),
            entities: BTreeSet::new(),
            administrator,
        };
        tenant.take_over_what_it_came_with(bureau).await;
        tenant.make_entity(bureau).await;
        for number in 0..units {
            tenant.make_unit(bureau, dice, number).await;
        }
        for number in 0..roles {
            let permissions = random_permissions(dice);
            let told: Vec<&str> = permissions.iter().map(String::as_str).collect();
            let role = bureau.role(&tenant.administrator, &format!("Role {number}"), &told).await;
            tenant.model.roles.insert(role.id(), Role { permissions, ..Role::default() });
        }
        for number in 0..users {
            tenant.make_user(bureau, dice, number).await;
        }
        for number in 0..accounts {
            tenant.make_account(bureau, dice, number).await;
        }
        for number in 0..teams {
            tenant.make_team(bureau, dice, number).await;
        }
        tenant
    }

    /// The caller who may do everything.
    pub(super) fn chief(&self) -> Caller {
        Caller::of(&self.administrator)
    }

    async fn take_over_what_it_came_with(&mut self, bureau: &Bureau) {
        let roles: pb::ListRolesResponse = bureau.ask(&self.chief(), "RoleService/ListRoles", &pb::ListRolesRequest::default()).await;
        for role in roles.roles {
            let id = id_of(&role.name);
            self.shipped.insert(id);
            self.model.roles.insert(id, Role { permissions: role.permissions.into_iter().collect(), ..Role::default() });
        }
        let units: pb::ListBusinessUnitsResponse =
            bureau.ask(&self.chief(), "BusinessUnitService/ListBusinessUnits", &pb::ListBusinessUnitsRequest::default()).await;
        self.model.units.extend(units.business_units.iter().map(|unit| (id_of(&unit.name), None)));
        let user: pb::User = bureau.ask(&self.chief(), "UserService/GetUser", &pb::GetUserRequest { name: self.administrator.name() }).await;
        let grants = user.grants.iter().map(|grant| (id_of(&grant.role), Level::All)).collect();
        self.know(&user.name, "identity.user", User { unit: None, grants });
    }

    async fn make_entity(&mut self, bureau: &Bureau) {
        let request = pb::CreateLegalEntityRequest { legal_entity: Some(legal_entity("Entity")) };
        let made: Stored = bureau.ask(&self.chief(), "LegalEntityService/CreateLegalEntity", &request).await;
        self.entities.insert(made.name);
    }

    async fn make_unit(&mut self, bureau: &Bureau, dice: &mut Dice, number: usize) {
        let above: Vec<Uuid> = self.model.units.keys().copied().collect();
        let parent = dice.pick(&above);
        let unit =
            pb::BusinessUnit { display_name: format!("Unit {number}"), parent: format!("businessUnits/{parent}"), ..pb::BusinessUnit::default() };
        let request = pb::CreateBusinessUnitRequest { business_unit: Some(unit) };
        let made: Stored = bureau.ask(&self.chief(), "BusinessUnitService/CreateBusinessUnit", &request).await;
        self.model.units.insert(made.id(), Some(parent));
    }

    fn random_person(&self, dice: &mut Dice) -> User {
        let units: Vec<Uuid> = self.model.units.keys().copied().collect();
        let roles: Vec<Uuid> = self.model.roles.keys().copied().filter(|role| !self.shipped.contains(role)).collect();
        let mut grants = BTreeMap::new();
        for _ in 0..1 + dice.below(2) {
            grants.insert(dice.pick(&roles), dice.pick(&[Level::Own, Level::Team, Level::Subtree, Level::Subtree, Level::All]));
        }
        User { unit: dice.chance(80).then(|| dice.pick(&units)), grants: grants.into_iter().collect() }
    }

    async fn make_user(&mut self, bureau: &Bureau, dice: &mut Dice, number: usize) {
        let person = self.random_person(dice);
        let email = format!("user{number}@example.com");
        let stored = bureau.user(&self.administrator, &email, person.unit, true).await;
        for (role, level) in &person.grants {
            bureau.grant(&self.administrator, &stored.name, &format!("roles/{role}"), told_level(*level)).await;
        }
        let (_, opened) = bureau.sign_in(self.administrator.tenant, &email).await;
        self.sessions.insert(stored.id(), opened.session.expect("a sign-in opens a session").name);
        self.callers.insert(stored.id(), bureau.act_for(self.administrator.tenant, &stored.name).await);
        self.know(&stored.name, "identity.user", person);
    }

    async fn make_account(&mut self, bureau: &Bureau, dice: &mut Dice, number: usize) {
        let person = self.random_person(dice);
        let name = self.account(bureau, &format!("Account {number}"), &person).await;
        let key = self.revoked_key(bureau, &name).await;
        let id = id_of(&name);
        self.keys.insert(id, key);
        self.callers.insert(id, bureau.act_for(self.administrator.tenant, &name).await);
        self.know(&name, "identity.service_account", person);
    }

    /// A new service account with its grants.
    pub(super) async fn account(&self, bureau: &Bureau, display_name: &str, person: &User) -> String {
        let account = pb::ServiceAccount {
            display_name: display_name.to_owned(),
            business_unit: person.unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default(),
            ..pb::ServiceAccount::default()
        };
        let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
        let stored: Stored = bureau.ask(&self.chief(), "ServiceAccountService/CreateServiceAccount", &request).await;
        for (role, level) in &person.grants {
            self.grant_account(bureau, &stored.name, *role, told_level(*level)).await;
        }
        stored.name
    }

    pub(super) async fn grant_account(&self, bureau: &Bureau, name: &str, role: Uuid, level: GrantLevel) {
        let request =
            pb::GrantServiceAccountRoleRequest { name: name.to_owned(), role: format!("roles/{role}"), level: level.into(), etag: String::new() };
        let _: Stored = bureau.ask(&self.chief(), "ServiceAccountService/GrantServiceAccountRole", &request).await;
    }

    async fn revoked_key(&self, bureau: &Bureau, account: &str) -> String {
        let request = pb::CreateApiKeyRequest { parent: account.to_owned(), api_key: Some(key()) };
        let made: pb::CreateApiKeyResponse = bureau.ask(&self.chief(), "ServiceAccountService/CreateApiKey", &request).await;
        let name = made.api_key.expect("a key is answered").name;
        let _: pb::ApiKey = bureau.ask(&self.chief(), "ServiceAccountService/RevokeApiKey", &pb::RevokeApiKeyRequest { name: name.clone() }).await;
        name
    }

    async fn make_team(&mut self, bureau: &Bureau, dice: &mut Dice, number: usize) {
        let users: Vec<Uuid> = self.sessions.keys().copied().collect();
        let members: BTreeSet<Uuid> = (0..2 + dice.below(3)).map(|_| dice.pick(&users)).collect();
        let team = pb::Team {
            display_name: format!("Team {number}"),
            members: members.iter().map(|member| format!("users/{member}")).collect(),
            ..pb::Team::default()
        };
        let made: Stored = bureau.ask(&self.chief(), "TeamService/CreateTeam", &pb::CreateTeamRequest { team: Some(team) }).await;
        self.model.teams.insert(made.id(), members);
    }

    /// Takes a user or service account into the model, where everybody owns themselves.
    pub(super) fn know(&mut self, name: &str, resource: &'static str, person: User) {
        let id = id_of(name);
        let record = Record { resource, owner: id, external_id: String::new(), shares: BTreeMap::new() };
        self.model.records.insert(name.to_owned(), record);
        self.model.users.insert(id, person);
        self.names.insert(id, name.to_owned());
    }

    /// Takes one out of it again.
    pub(super) fn forget(&mut self, id: Uuid) {
        if let Some(name) = self.names.remove(&id) {
            self.model.records.remove(&name);
        }
        self.model.users.remove(&id);
        self.callers.remove(&id);
        self.keys.remove(&id);
    }

    /// Ids that nobody of another tenant may learn of.
    pub(super) fn ids(&self) -> BTreeSet<Uuid> {
        let model = &self.model;
        let records = model.users.keys().chain(model.teams.keys()).chain(model.units.keys()).chain(model.roles.keys());
        let named = self.entities.iter().chain(self.sessions.values()).chain(self.keys.values()).map(|name| id_of(name));
        records.copied().chain(named).chain([self.administrator.tenant]).collect()
    }

    /// Opens a new session for a user whose last one was ended.
    pub(super) async fn sign_in_again(&mut self, bureau: &Bureau, id: Uuid) {
        let user: pb::User = bureau.ask(&self.chief(), "UserService/GetUser", &pb::GetUserRequest { name: format!("users/{id}") }).await;
        let (_, opened) = bureau.sign_in(self.administrator.tenant, &user.email).await;
        self.sessions.insert(id, opened.session.expect("a sign-in opens a session").name);
    }
}

/// A key that is good for an hour.
pub(super) fn key() -> pb::ApiKey {
    let expire_time = Some(prost_types::Timestamp { seconds: rapport_kit::clock::now().timestamp() + 3600, nanos: 0 });
    pb::ApiKey { display_name: "Key".to_owned(), expire_time, ..pb::ApiKey::default() }
}

pub(super) fn id_of(name: &str) -> Uuid {
    rapport_kit::name::split(name).expect("a record has a name").1
}

fn random_permissions(dice: &mut Dice) -> BTreeSet<String> {
    let mut permissions: BTreeSet<String> = PERMISSIONS.iter().filter(|_| dice.chance(45)).map(|permission| (*permission).to_owned()).collect();
    for resource in ["user", "service_account", "team", "role"] {
        if dice.chance(20) {
            permissions.insert(format!("identity.{resource}.*"));
        }
    }
    permissions
}
