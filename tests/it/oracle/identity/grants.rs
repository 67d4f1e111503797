//! What reaches others: sessions, keys, grants, places, and whatever is made and deleted.

use prost::Message;
use rapport_identity_api::v1 as pb;
use uuid::Uuid;

use super::super::model::{Level, User, Verdict};
use super::super::world::told_level;
use super::compare::{Eye, mask, users};
use super::rules::rule;
use super::world::{World, id_of, key};
use crate::bureau::{Stored, legal_entity};

impl Eye<'_> {
    /// Sessions of everybody, and the end of some.
    pub(super) async fn sessions(&self, world: &mut World) {
        for (tenant, there) in [(&world.tenant, true), (&world.other, false)] {
            for id in users(tenant) {
                let request = pb::ListSessionsRequest { user: format!("users/{id}"), ..pb::ListSessionsRequest::default() };
                self.check(world, "SessionService/ListSessions", &request, there.then_some(id)).await;
            }
        }
        let foreign = world.other.sessions.values().next().expect("somebody is signed in").clone();
        self.check(world, "SessionService/RevokeSession", &pb::RevokeSessionRequest { name: foreign }, None).await;
        let some: Vec<(Uuid, String)> = world.tenant.sessions.iter().take(3).map(|(user, session)| (*user, session.clone())).collect();
        for (user, name) in some {
            if self.check(world, "SessionService/RevokeSession", &pb::RevokeSessionRequest { name }, Some(user)).await.is_some() {
                let World { bureau, tenant, .. } = world;
                tenant.sign_in_again(bureau, user).await;
            }
        }
    }

    /// Keys of service accounts. A key is worth what its account may do, so making one is giving all of that.
    pub(super) async fn keys(&self, world: &World) {
        for (tenant, there) in [(&world.tenant, true), (&world.other, false)] {
            for (account, revoked) in &tenant.keys {
                let (about, parent) = (there.then_some(*account), format!("serviceAccounts/{account}"));
                let request = pb::ListApiKeysRequest { parent: parent.clone(), ..pb::ListApiKeysRequest::default() };
                self.check(world, "ServiceAccountService/ListApiKeys", &request, about).await;
                let request = pb::RevokeApiKeyRequest { name: revoked.clone() };
                self.check(world, "ServiceAccountService/RevokeApiKey", &request, about).await;

                let path = "ServiceAccountService/CreateApiKey";
                let mut expected = world.tenant.model.answer(self.caller.id, rule(path).expect("a rule"), about);
                let person = tenant.model.users.get(account).expect("an account is known");
                let gives = |(id, level): &(Uuid, Level)| self.may_give(world, *id, *level, person.unit);
                if expected == Verdict::Allowed && !person.grants.iter().all(gives) {
                    expected = Verdict::Denied;
                }
                let request = pb::CreateApiKeyRequest { parent, api_key: Some(key()) };
                if let Some(answer) = self.expect(world, path, &request, expected).await {
                    let made = pb::CreateApiKeyResponse::decode(answer.as_slice()).expect("a key");
                    let request = pb::RevokeApiKeyRequest { name: made.api_key.expect("a key").name };
                    let _: pb::ApiKey = world.bureau.ask(&world.tenant.chief(), "ServiceAccountService/RevokeApiKey", &request).await;
                }
            }
        }
    }

    fn may_give(&self, world: &World, role: Uuid, level: Level, unit: Option<Uuid>) -> bool {
        let Some(role) = world.tenant.model.roles.get(&role) else { return false };
        let permissions: Vec<&str> = role.permissions.iter().map(String::as_str).collect();
        world.tenant.model.may_give(self.caller.id, &permissions, level, unit)
    }

    /// Roles at each level to users and service accounts, and users to other units.
    pub(super) async fn grants(&self, world: &World) {
        let foreign = world.other.names.values().next().expect("somebody is there").clone();
        let role = *world.tenant.model.roles.keys().next().expect("there is a role");
        let request =
            pb::GrantRoleRequest { name: foreign, role: format!("roles/{role}"), level: told_level(Level::Own).into(), etag: String::new() };
        self.check(world, "UserService/GrantRole", &request, None).await;
        let people: Vec<(Uuid, String, User)> = world
            .tenant
            .names
            .iter()
            .filter(|(id, _)| **id != world.tenant.administrator.id)
            .map(|(id, name)| (*id, name.clone(), world.tenant.model.users.get(id).expect("a known person").clone()))
            .collect();
        // Each caller tries another part of all combinations, so that together they try most.
        let turn = usize::from(self.caller.id.as_bytes()[15]);
        let roles: Vec<Uuid> = world.tenant.model.roles.keys().copied().collect();
        for (index, (id, name, person)) in people.iter().enumerate() {
            let role = roles[(turn + index) % roles.len()];
            for level in [Level::Own, Level::Team, Level::Subtree, Level::All] {
                self.grant(world, *id, name, person, role, level).await;
            }
            if name.starts_with("users/") {
                self.place(world, *id, name, person, turn + index).await;
            }
        }
    }

    async fn grant(&self, world: &World, id: Uuid, name: &str, person: &User, role: Uuid, level: Level) {
        let (name, role_name, etag) = (name.to_owned(), format!("roles/{role}"), String::new());
        let of_users = name.starts_with("users/");
        let (give, take) = if of_users {
            ("UserService/GrantRole", "UserService/RevokeRole")
        } else {
            ("ServiceAccountService/GrantServiceAccountRole", "ServiceAccountService/RevokeServiceAccountRole")
        };
        let mut expected = world.tenant.model.answer(self.caller.id, rule(give).expect("a rule"), Some(id));
        if expected == Verdict::Allowed && !self.may_give(world, role, level, person.unit) {
            expected = Verdict::Denied;
        }
        // Both resources take messages of one shape.
        let request = pb::GrantRoleRequest { name: name.clone(), role: role_name.clone(), level: told_level(level).into(), etag: etag.clone() };
        let before = person.grants.iter().find(|(held, _)| *held == role).map(|(_, level)| *level);
        let changed = self.expect(world, give, &request, expected).await.is_some() && before != Some(level);
        let revoke = pb::RevokeRoleRequest { name: name.clone(), role: role_name.clone(), etag: etag.clone() };
        if changed {
            let chief = world.tenant.chief();
            let restored = match before {
                Some(level) => {
                    let request = pb::GrantRoleRequest { name, role: role_name, level: told_level(level).into(), etag };
                    world.bureau.send(&chief, give, request.encode_to_vec()).await
                }
                None => world.bureau.send(&chief, take, revoke.encode_to_vec()).await,
            };
            restored.expect("the administrator puts it back");
        }
        // Taking back what is not held changes nothing, and asks for the same.
        if before.is_none() {
            self.check(world, take, &revoke, Some(id)).await;
        }
    }

    async fn place(&self, world: &World, id: Uuid, name: &str, person: &User, turn: usize) {
        let units: Vec<Uuid> = world.tenant.model.units.keys().copied().collect();
        let unit = Some(units[turn % units.len()]);
        let path = "UserService/UpdateUser";
        let mut expected = world.tenant.model.answer(self.caller.id, rule(path).expect("a rule"), Some(id));
        let elsewhere = unit != person.unit;
        if expected == Verdict::Allowed && elsewhere && !world.tenant.model.may_place(self.caller.id, "identity.user.update", unit) {
            expected = Verdict::Denied;
        }
        let moved = |unit: Option<Uuid>| {
            let business_unit = unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default();
            let user = pb::User { name: name.to_owned(), business_unit, ..pb::User::default() };
            pb::UpdateUserRequest { user: Some(user), update_mask: mask("business_unit") }
        };
        if self.expect(world, path, &moved(unit), expected).await.is_some() && elsewhere {
            let _: pb::User = world.bureau.ask(&world.tenant.chief(), path, &moved(person.unit)).await;
        }
    }

    /// What is made is deleted again where that can be done, and taken into the model where it cannot.
    pub(super) async fn makes(&self, world: &mut World) {
        self.roles(world).await;
        self.teams_and_units(world).await;
        self.new_people(world).await;
        self.disabling(world).await;
    }

    async fn roles(&self, world: &World) {
        let path = "RoleService/CreateRole";
        let chief = world.tenant.chief();
        for permissions in [vec!["identity.team.read"], vec!["identity.user.read", "identity.user.update"], vec!["identity.user.*"], vec!["*"]] {
            let mut expected = world.tenant.model.answer(self.caller.id, rule(path).expect("a rule"), Some(self.caller.id));
            let held = |permission: &&str| !world.tenant.model.held(self.caller.id, permission).is_empty();
            if expected == Verdict::Allowed && !permissions.iter().all(held) {
                expected = Verdict::Denied;
            }
            let told = permissions.iter().map(|permission| (*permission).to_owned()).collect();
            let role = pb::Role { display_name: "Tried".to_owned(), permissions: told, ..pb::Role::default() };
            if let Some(answer) = self.expect(world, path, &pb::CreateRoleRequest { role: Some(role) }, expected).await {
                let Stored { name, etag } = Stored::decode(answer.as_slice()).expect("a role");
                let (): () = world.bureau.ask(&chief, "RoleService/DeleteRole", &pb::DeleteRoleRequest { name, etag }).await;
            }
        }
        // What is added to a role reaches whoever holds it, so it must be held over all records.
        let made = world.bureau.role(&world.tenant.administrator, "Widened", &["identity.team.read"]).await;
        let path = "RoleService/UpdateRole";
        let mut expected = world.tenant.model.answer(self.caller.id, rule(path).expect("a rule"), Some(made.id()));
        if expected == Verdict::Allowed && !world.tenant.model.held(self.caller.id, "identity.role.read").contains(&Level::All) {
            expected = Verdict::Denied;
        }
        let permissions = vec!["identity.role.read".to_owned(), "identity.team.read".to_owned()];
        let role = pb::Role { name: made.name.clone(), permissions, ..pb::Role::default() };
        self.expect(world, path, &pb::UpdateRoleRequest { role: Some(role), update_mask: mask("permissions") }, expected).await;
        let request = pb::DeleteRoleRequest { name: made.name.clone(), etag: String::new() };
        self.delete(world, "RoleService/DeleteRole", &request, made.id()).await;
        let shared = world.other.model.roles.keys().next_back().expect("a role");
        let request = pb::DeleteRoleRequest { name: format!("roles/{shared}"), etag: String::new() };
        self.check(world, "RoleService/DeleteRole", &request, None).await;
    }

    async fn teams_and_units(&self, world: &World) {
        let chief = world.tenant.chief();
        let (own, etag) = (Some(self.caller.id), String::new());
        let team = pb::CreateTeamRequest { team: Some(pb::Team { display_name: "Tried".to_owned(), ..pb::Team::default() }) };
        let made = match self.check(world, "TeamService/CreateTeam", &team, own).await {
            Some(answer) => Stored::decode(answer.as_slice()).expect("a team"),
            None => world.bureau.ask(&chief, "TeamService/CreateTeam", &team).await,
        };
        let request = pb::DeleteTeamRequest { name: made.name.clone(), etag: etag.clone() };
        self.delete(world, "TeamService/DeleteTeam", &request, made.id()).await;

        let parent = world.tenant.model.units.keys().next().expect("there is a unit");
        let unit = pb::BusinessUnit { display_name: "Tried".to_owned(), parent: format!("businessUnits/{parent}"), ..pb::BusinessUnit::default() };
        let unit = pb::CreateBusinessUnitRequest { business_unit: Some(unit) };
        let made = match self.check(world, "BusinessUnitService/CreateBusinessUnit", &unit, own).await {
            Some(answer) => Stored::decode(answer.as_slice()).expect("a unit"),
            None => world.bureau.ask(&chief, "BusinessUnitService/CreateBusinessUnit", &unit).await,
        };
        let request = pb::DeleteBusinessUnitRequest { name: made.name.clone(), etag };
        self.delete(world, "BusinessUnitService/DeleteBusinessUnit", &request, made.id()).await;
    }

    /// Tries to delete what was made for it; what is still there is deleted by the administrator.
    async fn delete(&self, world: &World, path: &str, request: &impl Message, id: Uuid) {
        if self.check(world, path, request, Some(id)).await.is_none() {
            let (): () = world.bureau.ask(&world.tenant.chief(), path, request).await;
        }
    }

    /// Users and service accounts in a unit of the caller's choice, and legal entities.
    async fn new_people(&self, world: &mut World) {
        let number = world.tenant.names.len();
        let units: Vec<Uuid> = world.tenant.model.units.keys().copied().collect();
        let unit = Some(units[number % units.len()]);
        let business_unit = unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default();
        let placed = |world: &World, path: &str, permission: &str| {
            let verdict = world.tenant.model.answer(self.caller.id, rule(path).expect("a rule"), Some(self.caller.id));
            let may_place = world.tenant.model.may_place(self.caller.id, permission, unit);
            if verdict == Verdict::Allowed && !may_place { Verdict::Denied } else { verdict }
        };
        let path = "UserService/CreateUser";
        let email = format!("new-{}@example.com", rapport_kit::clock::new_id());
        let user = pb::User { display_name: "New".to_owned(), email, business_unit: business_unit.clone(), ..pb::User::default() };
        let request = pb::CreateUserRequest { user: Some(user), initial_password: String::new() };
        if let Some(answer) = self.expect(world, path, &request, placed(world, path, "identity.user.create")).await {
            let made = Stored::decode(answer.as_slice()).expect("a user");
            world.tenant.know(&made.name, "identity.user", User { unit, grants: Vec::new() });
        }
        let path = "ServiceAccountService/CreateServiceAccount";
        let account = pb::ServiceAccount { display_name: format!("New {number}"), business_unit, ..pb::ServiceAccount::default() };
        let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
        let person = User { unit, grants: Vec::new() };
        let made = match self.expect(world, path, &request, placed(world, path, "identity.service_account.create")).await {
            Some(answer) => Stored::decode(answer.as_slice()).expect("an account").name,
            None => world.tenant.account(&world.bureau, &format!("Given {number}"), &person).await,
        };
        let id = id_of(&made);
        world.tenant.know(&made, "identity.service_account", person);
        let request = pb::DeleteServiceAccountRequest { name: made, etag: String::new() };
        self.delete(world, "ServiceAccountService/DeleteServiceAccount", &request, id).await;
        world.tenant.forget(id);

        let request = pb::CreateLegalEntityRequest { legal_entity: Some(legal_entity("Tried")) };
        if let Some(answer) = self.check(world, "LegalEntityService/CreateLegalEntity", &request, Some(self.caller.id)).await {
            world.tenant.entities.insert(Stored::decode(answer.as_slice()).expect("an entity").name);
        }
    }

    /// Shuts some users out and lets them in again.
    async fn disabling(&self, world: &mut World) {
        let request = pb::DisableUserRequest { name: world.other.administrator.name(), etag: String::new() };
        self.check(world, "UserService/DisableUser", &request, None).await;
        for id in users(&world.tenant).into_iter().take(3) {
            let request = pb::DisableUserRequest { name: format!("users/{id}"), etag: String::new() };
            if self.check(world, "UserService/DisableUser", &request, Some(id)).await.is_some() {
                let request = pb::EnableUserRequest { name: format!("users/{id}"), etag: String::new() };
                let _: pb::User = world.bureau.ask(&world.tenant.chief(), "UserService/EnableUser", &request).await;
                let World { bureau, tenant, .. } = world;
                tenant.sign_in_again(bureau, id).await;
            }
        }
    }
}
