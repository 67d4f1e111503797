//! Every method by every caller: what identity does, beside what the model says. What a call changes is put back.

use std::collections::BTreeSet;
use std::sync::Mutex;

use prost::Message;
use prost_types::FieldMask;
use rapport_identity_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{GetPolicyChangesRequest, GetSigningKeysRequest};
use tonic::{Code, Status};
use uuid::Uuid;

use super::super::model::Verdict;
use super::rules::{Rule, rule};
use super::world::{Tenant, World, id_of};
use crate::bureau::PASSWORD;
use crate::coverage::errors;
use crate::coverage::wire::{Caller, bytes, ids};

/// One comparison of everything with everything.
#[derive(Debug)]
pub(super) struct Comparison {
    /// When in the story this is, for messages.
    pub(super) when: &'static str,
    pub(super) called: Mutex<BTreeSet<String>>,
    pub(super) mismatches: Mutex<Vec<String>>,
}

/// The answer of any list of records.
#[derive(Clone, PartialEq, Message)]
struct Page {
    #[prost(message, repeated, tag = "1")]
    records: Vec<crate::bureau::Stored>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

impl Comparison {
    pub(super) async fn of(&self, world: &mut World) {
        let foreign = world.other.ids();
        let callers: Vec<Subject> = world.tenant.callers.values().cloned().collect();
        for caller in callers {
            let eye = Eye { comparison: self, caller: caller.clone(), foreign: &foreign };
            eye.installation(world).await;
            eye.oneself(world).await;
            eye.lists(world).await;
            eye.structure(world).await;
            eye.people(world).await;
            eye.sessions(world).await;
            eye.keys(world).await;
            eye.grants(world).await;
            eye.makes(world).await;
        }
    }
}

/// One caller.
pub(super) struct Eye<'a> {
    comparison: &'a Comparison,
    pub(super) caller: Subject,
    foreign: &'a BTreeSet<Uuid>,
}

impl Eye<'_> {
    /// Calls and compares with the method's own rule; `about` as in the model.
    pub(super) async fn check(&self, world: &World, path: &str, request: &impl Message, about: Option<Uuid>) -> Option<Vec<u8>> {
        let rule = rule(path).unwrap_or_else(|| panic!("no rule for {path}"));
        let expected = world.tenant.model.answer(self.caller.id, rule, about);
        self.expect(world, path, request, expected).await
    }

    /// Calls and compares; gives the answer if there is one.
    pub(super) async fn expect(&self, world: &World, path: &str, request: &impl Message, expected: Verdict) -> Option<Vec<u8>> {
        let request = request.encode_to_vec();
        let answer = self.send(world, path, &Caller::of(&self.caller), request.clone()).await;
        let sent = ids(&request);
        for id in ids(&bytes(&answer)).into_iter().filter(|id| self.foreign.contains(id) && !sent.contains(id)) {
            self.mismatch(world, path, "no id of another tenant", &id.to_string());
        }
        let got = match &answer {
            Ok(_) => Some(Verdict::Allowed),
            Err(status) if status.code() == Code::NotFound => Some(Verdict::Absent),
            Err(status) if status.code() == Code::PermissionDenied => Some(Verdict::Denied),
            Err(_) => None,
        };
        let told = answer.as_ref().err().map_or_else(|| "Allowed".to_owned(), errors::told);
        if got != Some(expected) {
            self.mismatch(world, path, &format!("{expected:?}"), &told);
        }
        for problem in answer.as_ref().err().map(errors::problems).unwrap_or_default() {
            self.mismatch(world, path, "an error that keeps the contract", &format!("{problem} in {told}"));
        }
        answer.ok()
    }

    async fn send(&self, world: &World, path: &str, caller: &Caller, request: Vec<u8>) -> Result<Vec<u8>, Status> {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/rapport.identity.v1.{path}") };
        self.comparison.called.lock().expect("nobody holds the lock").insert(path.clone());
        world.bureau.wire.send(&path, caller, request).await
    }

    pub(super) fn mismatch(&self, world: &World, path: &str, expected: &str, got: &str) {
        let model = &world.tenant.model;
        let user = model.users.get(&self.caller.id);
        let roles = user.into_iter().flat_map(|user| &user.grants).map(|(role, level)| format!("{level:?} {:?}", model.roles.get(role)));
        let text = format!(
            "{}: {} calls {path}: expected {expected}, got {got}\n    unit {:?}, roles {}",
            self.comparison.when,
            self.caller.id,
            user.and_then(|user| user.unit),
            roles.collect::<Vec<_>>().join("; ")
        );
        self.comparison.mismatches.lock().expect("nobody holds the lock").push(text);
    }

    /// What nobody of a tenant may do, and what everybody may without being anybody.
    async fn installation(&self, world: &World) {
        let operators: [(&str, Vec<u8>); 3] = [
            ("TenantService/CreateTenant", pb::CreateTenantRequest::default().encode_to_vec()),
            ("SigningKeyService/RotateSigningKeys", pb::RotateSigningKeysRequest { force: true }.encode_to_vec()),
            ("/rapport.common.v1.PolicyService/GetPolicyChanges", GetPolicyChangesRequest::default().encode_to_vec()),
        ];
        for (path, request) in operators {
            assert_eq!(rule(path), Some(Rule::Operator));
            let answer = self.send(world, path, &Caller::of(&self.caller), request).await;
            if !answer.as_ref().is_err_and(|status| status.code() == Code::Unauthenticated) {
                self.mismatch(world, path, "a closed door", &format!("{answer:?}"));
            }
        }
        let anybodys: [(&str, Vec<u8>); 6] = [
            (
                "SessionService/SignIn",
                pb::SignInRequest { tenant: "nobodys".to_owned(), email: "a@b".to_owned(), password: "x".to_owned() }.encode_to_vec(),
            ),
            ("SessionService/RefreshSession", pb::RefreshSessionRequest { refresh_token: "made up".to_owned() }.encode_to_vec()),
            ("SigningKeyService/GetJwks", pb::GetJwksRequest {}.encode_to_vec()),
            ("/rapport.common.v1.PolicyService/GetSigningKeys", GetSigningKeysRequest {}.encode_to_vec()),
            ("ServiceAccountService/ExchangeApiKey", pb::ExchangeApiKeyRequest { secret: "made up".to_owned() }.encode_to_vec()),
            ("TokenService/ExchangeToken", self.stolen(world).encode_to_vec()),
        ];
        for (path, request) in anybodys {
            assert_eq!(rule(path), Some(Rule::Anybody));
            let answer = self.send(world, path, &Caller::of(&self.caller), request.clone()).await;
            let nobodys = self.send(world, path, &Caller::anonymous(), request).await;
            let shown = |answer: &Result<Vec<u8>, Status>| answer.clone().map_err(|status| (status.code(), status.message().to_owned()));
            if shown(&answer) != shown(&nobodys) {
                self.mismatch(world, path, &format!("{nobodys:?}"), &format!("{answer:?}"));
            }
        }
    }

    /// Somebody else's token, asked for without the service's secret.
    fn stolen(&self, world: &World) -> pb::ExchangeTokenRequest {
        pb::ExchangeTokenRequest {
            service: "services/contacts".to_owned(),
            secret: "made up".to_owned(),
            tenant: format!("tenants/{}", world.tenant.administrator.tenant),
            actor: world.tenant.administrator.name(),
            scopes: Vec::new(),
        }
    }

    /// The own tenant, password and session.
    async fn oneself(&self, world: &mut World) {
        for (tenant, there) in [(&world.tenant, true), (&world.other, false)] {
            let id = tenant.administrator.tenant;
            let request = pb::GetTenantRequest { name: format!("tenants/{id}") };
            self.check(world, "TenantService/GetTenant", &request, there.then_some(id)).await;
        }
        self.check(world, "SessionService/SignOut", &pb::SignOutRequest {}, Some(self.caller.id)).await;
        if world.tenant.sessions.contains_key(&self.caller.id) {
            let request = pb::ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: PASSWORD.to_owned() };
            self.check(world, "UserService/ChangePassword", &request, Some(self.caller.id)).await;
            // Which ended the session.
            let World { bureau, tenant, .. } = world;
            tenant.sign_in_again(bureau, self.caller.id).await;
        }
    }

    /// Every list finds what the model says and nothing else.
    async fn lists(&self, world: &World) {
        let tenant = &world.tenant;
        let named = |collection: &str, ids: BTreeSet<Uuid>| -> BTreeSet<String> { ids.into_iter().map(|id| format!("{collection}/{id}")).collect() };
        let model = &tenant.model;
        let units = named("businessUnits", model.units.keys().copied().collect());
        let teams = named("teams", model.teams.keys().copied().collect());
        let roles = named("roles", model.roles.keys().copied().collect());
        self.list(world, "BusinessUnitService/ListBusinessUnits", &units).await;
        self.list(world, "TeamService/ListTeams", &teams).await;
        self.list(world, "RoleService/ListRoles", &roles).await;
        self.list(world, "LegalEntityService/ListLegalEntities", &tenant.entities).await;
        for (path, collection) in [("UserService/ListUsers", "users"), ("ServiceAccountService/ListServiceAccounts", "serviceAccounts")] {
            let rule = rule(path).expect("a list has a rule");
            let visible = |id: &&Uuid| model.answer(self.caller.id, rule, Some(**id)) == Verdict::Allowed;
            let of_kind = tenant.names.iter().filter(|(_, name)| name.starts_with(collection)).map(|(id, _)| id);
            let found = named(collection, of_kind.filter(visible).copied().collect());
            self.list(world, path, &found).await;
        }
    }

    async fn list(&self, world: &World, path: &str, expected: &BTreeSet<String>) {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        let held = match rule(path) {
            Some(Rule::Held(permission) | Rule::Reaching(permission)) => !world.tenant.model.held(self.caller.id, permission).is_empty(),
            other => panic!("{path} is a list of {other:?}"),
        };
        let verdict = if held { Verdict::Allowed } else { Verdict::Denied };
        loop {
            // Lists of all resources take messages of one shape.
            let request = pb::ListUsersRequest { page_size: 4, page_token, ..pb::ListUsersRequest::default() };
            let Some(answer) = self.expect(world, path, &request, verdict).await else { return };
            let page = Page::decode(answer.as_slice()).expect("the answer of a list");
            found.extend(page.records.into_iter().map(|record| record.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let distinct: BTreeSet<String> = found.iter().cloned().collect();
        if &distinct != expected || distinct.len() != found.len() {
            self.mismatch(world, path, &format!("{expected:?}"), &format!("{found:?}"));
        }
    }

    /// Units, teams, roles, legal entities and the security policy: read, and changed into what they are.
    async fn structure(&self, world: &World) {
        for (tenant, there) in [(&world.tenant, true), (&world.other, false)] {
            let about = |id: Uuid| there.then_some(id);
            for unit in tenant.model.units.keys().take(2) {
                let name = format!("businessUnits/{unit}");
                self.check(world, "BusinessUnitService/GetBusinessUnit", &pb::GetBusinessUnitRequest { name: name.clone() }, about(*unit)).await;
                let parent = tenant.model.units.get(unit).copied().flatten().map(|parent| format!("businessUnits/{parent}")).unwrap_or_default();
                let unit_now = pb::BusinessUnit { name, parent, ..pb::BusinessUnit::default() };
                let request = pb::UpdateBusinessUnitRequest { business_unit: Some(unit_now), update_mask: mask("parent") };
                self.check(world, "BusinessUnitService/UpdateBusinessUnit", &request, about(*unit)).await;
            }
            for (team, members) in tenant.model.teams.iter().take(2) {
                let name = format!("teams/{team}");
                self.check(world, "TeamService/GetTeam", &pb::GetTeamRequest { name: name.clone() }, about(*team)).await;
                let team_now = pb::Team { name: name.clone(), description: "As it was".to_owned(), ..pb::Team::default() };
                let request = pb::UpdateTeamRequest { team: Some(team_now), update_mask: mask("description") };
                self.check(world, "TeamService/UpdateTeam", &request, about(*team)).await;
                let user = format!("users/{}", members.first().expect("a team has members"));
                let request = pb::AddTeamMemberRequest { name: name.clone(), user, etag: String::new() };
                self.check(world, "TeamService/AddTeamMember", &request, about(*team)).await;
                let user = world.tenant.administrator.name();
                let request = pb::RemoveTeamMemberRequest { name, user, etag: String::new() };
                self.check(world, "TeamService/RemoveTeamMember", &request, about(*team)).await;
            }
            for role in tenant.model.roles.keys().filter(|role| !tenant.shipped.contains(role)).take(2) {
                let name = format!("roles/{role}");
                self.check(world, "RoleService/GetRole", &pb::GetRoleRequest { name: name.clone() }, about(*role)).await;
                let role_now = pb::Role { name, description: "As it was".to_owned(), ..pb::Role::default() };
                let request = pb::UpdateRoleRequest { role: Some(role_now), update_mask: mask("description") };
                self.check(world, "RoleService/UpdateRole", &request, about(*role)).await;
            }
            for name in &tenant.entities {
                let id = id_of(name);
                self.check(world, "LegalEntityService/GetLegalEntity", &pb::GetLegalEntityRequest { name: name.clone() }, about(id)).await;
                let entity = pb::LegalEntity { name: name.clone(), country: "FR".to_owned(), ..pb::LegalEntity::default() };
                let request = pb::UpdateLegalEntityRequest { legal_entity: Some(entity), update_mask: mask("country") };
                self.check(world, "LegalEntityService/UpdateLegalEntity", &request, about(id)).await;
            }
        }
        let (name, own) = ("securityPolicy".to_owned(), Some(world.tenant.administrator.tenant));
        let request = pb::GetSecurityPolicyRequest { name: name.clone() };
        self.check(world, "SecurityPolicyService/GetSecurityPolicy", &request, own).await;
        let policy = pb::SecurityPolicy { name, data_owner: "Example Ltd".to_owned(), ..pb::SecurityPolicy::default() };
        let request = pb::UpdateSecurityPolicyRequest { security_policy: Some(policy), update_mask: mask("data_owner") };
        self.check(world, "SecurityPolicyService/UpdateSecurityPolicy", &request, own).await;
    }

    /// Users and service accounts, of this tenant and of the other.
    async fn people(&self, world: &World) {
        for (tenant, there) in [(&world.tenant, true), (&world.other, false)] {
            for (id, name) in &tenant.names {
                let (about, name) = (there.then_some(*id), name.clone());
                if !name.starts_with("users/") {
                    self.check(world, "ServiceAccountService/GetServiceAccount", &pb::GetServiceAccountRequest { name }, about).await;
                    continue;
                }
                self.check(world, "UserService/GetUser", &pb::GetUserRequest { name: name.clone() }, about).await;
                let user = pb::User { name: name.clone(), locale: "tr".to_owned(), ..pb::User::default() };
                let request = pb::UpdateUserRequest { user: Some(user), update_mask: mask("locale") };
                self.check(world, "UserService/UpdateUser", &request, about).await;
                let (name, etag) = (name, String::new());
                self.check(world, "UserService/EnableUser", &pb::EnableUserRequest { name: name.clone(), etag: etag.clone() }, about).await;
                self.check(world, "UserService/UnlockUser", &pb::UnlockUserRequest { name, etag }, about).await;
            }
        }
    }
}

pub(super) fn mask(path: &str) -> Option<FieldMask> {
    Some(FieldMask { paths: vec![path.to_owned()] })
}

/// Users of a tenant who can sign in.
pub(super) fn users(tenant: &Tenant) -> Vec<Uuid> {
    tenant.sessions.keys().copied().collect()
}
