//! A valid request for each method of identity, with everything that it needs made before.

mod organisation;

use futures_util::future::BoxFuture;
use prost_types::{FieldMask, Timestamp};
use rapport_identity_api::v1 as pb;
use rapport_kit::clock;
use rapport_kit::testing::{Subject, password};
use rapport_proto::common::v1::{self as common, GrantLevel};
use secrecy::ExposeSecret;

use super::dead_letters;
use super::scene::{About, Scene, Valid};
use super::wire::Caller;
use crate::bureau::{ADMINISTRATOR, Bureau, PASSWORD, Stored, policy};

/// Address of the administrator's colleague.
pub(super) const COLLEAGUE: &str = "colleague@example.com";

/// A request of the method at `path` that succeeds for the scene's administrator; none if nobody has thought of one.
pub(super) fn valid<'a>(scene: &'a Scene, bureau: &'a Bureau, path: &str) -> Option<BoxFuture<'a, Valid>> {
    let made = Made { scene, bureau };
    let method = path.strip_prefix("/rapport.identity.v1.").or_else(|| path.strip_prefix("/rapport.common.v1."))?;
    Some(match method {
        "SessionService/SignIn" => Box::pin(async move { made.sign_in() }),
        "SessionService/RefreshSession" => Box::pin(made.refresh()),
        "SessionService/SignOut" => Box::pin(made.sign_out()),
        "SessionService/ListSessions" => Box::pin(made.list_sessions()),
        "SessionService/RevokeSession" => Box::pin(made.revoke_session()),
        "SigningKeyService/GetJwks" => Box::pin(async { Valid::read(&pb::GetJwksRequest {}) }),
        "SigningKeyService/RotateSigningKeys" => Box::pin(made.rotate()),
        "PolicyService/GetPolicyChanges" => Box::pin(async { Valid::read(&common::GetPolicyChangesRequest::default()) }),
        "PolicyService/GetSigningKeys" => Box::pin(async { Valid::read(&common::GetSigningKeysRequest {}) }),
        "DeadLetterService/ListDeadLetters" => Box::pin(dead_letters::list(scene)),
        "DeadLetterService/ReplayDeadLetters" => Box::pin(dead_letters::replay(scene)),
        "DeadLetterService/DiscardDeadLetters" => Box::pin(dead_letters::discard(scene)),
        "TenantService/CreateTenant" => Box::pin(async move { made.create_tenant() }),
        "TenantService/GetTenant" => Box::pin(async move { made.get_tenant() }),
        "SecurityPolicyService/GetSecurityPolicy" => {
            Box::pin(async { Valid::read(&pb::GetSecurityPolicyRequest { name: "securityPolicy".to_owned() }) })
        }
        "SecurityPolicyService/UpdateSecurityPolicy" => Box::pin(made.update_policy()),
        "TokenService/ExchangeToken" => Box::pin(async move { made.exchange_token() }),
        _ => return made.of_a_record(method),
    })
}

/// Somebody with a credential that is limited to one permission of everything.
pub(super) async fn limited_to(bureau: &Bureau, administrator: &Subject, everything: &str, permission: &str) -> Subject {
    let caller = Caller::of(administrator);
    let account = pb::ServiceAccount { display_name: "Limited".to_owned(), ..pb::ServiceAccount::default() };
    let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
    let account: Stored = bureau.ask(&caller, "ServiceAccountService/CreateServiceAccount", &request).await;
    let request = pb::GrantServiceAccountRoleRequest {
        name: account.name.clone(),
        role: everything.to_owned(),
        level: GrantLevel::All.into(),
        etag: String::new(),
    };
    let _: Stored = bureau.ask(&caller, "ServiceAccountService/GrantServiceAccountRole", &request).await;
    let api_key = pb::ApiKey { scopes: vec![permission.to_owned()], ..key() };
    let request = pb::CreateApiKeyRequest { parent: account.name.clone(), api_key: Some(api_key) };
    let made: pb::CreateApiKeyResponse = bureau.ask(&caller, "ServiceAccountService/CreateApiKey", &request).await;
    let request = pb::ExchangeApiKeyRequest { secret: made.secret };
    let answer: pb::ExchangeApiKeyResponse = bureau.ask(&Caller::anonymous(), "ServiceAccountService/ExchangeApiKey", &request).await;
    Subject { tenant: administrator.tenant, id: account.id(), token: answer.access_token }
}

/// Makes requests and the records that they are about.
#[derive(Clone, Copy)]
struct Made<'a> {
    scene: &'a Scene,
    bureau: &'a Bureau,
}

impl<'a> Made<'a> {
    fn of_a_record(self, method: &str) -> Option<BoxFuture<'a, Valid>> {
        Some(match method {
            "UserService/CreateUser" => Box::pin(self.create_user()),
            "UserService/GetUser" => Box::pin(async move { Valid::read(&pb::GetUserRequest { name: self.user().await.name }).about_a_record() }),
            "UserService/ListUsers" => Box::pin(async { Valid::read(&pb::ListUsersRequest::default()) }),
            "UserService/UpdateUser" => Box::pin(self.update_user()),
            "UserService/DisableUser" => Box::pin(self.disable_user()),
            "UserService/EnableUser" => Box::pin(self.enable_user()),
            "UserService/UnlockUser" => Box::pin(self.unlock_user()),
            "UserService/ChangePassword" => Box::pin(self.change_password()),
            "UserService/GrantRole" => Box::pin(self.grant()),
            "UserService/RevokeRole" => Box::pin(self.revoke()),
            "RoleService/CreateRole" => Box::pin(async move { self.create_role() }),
            "RoleService/GetRole" => Box::pin(async move { Valid::read(&pb::GetRoleRequest { name: self.role().await.name }).about_a_record() }),
            "RoleService/ListRoles" => Box::pin(async { Valid::read(&pb::ListRolesRequest::default()) }),
            "RoleService/UpdateRole" => Box::pin(self.update_role()),
            "RoleService/DeleteRole" => Box::pin(self.delete_role()),
            "TeamService/CreateTeam" => Box::pin(self.create_team()),
            "TeamService/GetTeam" => Box::pin(async move { Valid::read(&pb::GetTeamRequest { name: self.team().await.name }).about_a_record() }),
            "TeamService/ListTeams" => Box::pin(self.list_teams()),
            "TeamService/UpdateTeam" => Box::pin(self.update_team()),
            "TeamService/DeleteTeam" => Box::pin(self.delete_team()),
            "TeamService/AddTeamMember" => Box::pin(self.add_member()),
            "TeamService/RemoveTeamMember" => Box::pin(self.remove_member()),
            "BusinessUnitService/CreateBusinessUnit" => Box::pin(self.create_unit()),
            "BusinessUnitService/GetBusinessUnit" => {
                Box::pin(async move { Valid::read(&pb::GetBusinessUnitRequest { name: self.unit().await.name }).about_a_record() })
            }
            "BusinessUnitService/ListBusinessUnits" => Box::pin(self.list_units()),
            "BusinessUnitService/UpdateBusinessUnit" => Box::pin(self.update_unit()),
            "BusinessUnitService/DeleteBusinessUnit" => Box::pin(self.delete_unit()),
            "LegalEntityService/CreateLegalEntity" => Box::pin(async move { self.create_entity() }),
            "LegalEntityService/GetLegalEntity" => {
                Box::pin(async move { Valid::read(&pb::GetLegalEntityRequest { name: self.entity().await.name }).about_a_record() })
            }
            "LegalEntityService/ListLegalEntities" => Box::pin(self.list_entities()),
            "LegalEntityService/UpdateLegalEntity" => Box::pin(self.update_entity()),
            _ => return self.of_an_account(method),
        })
    }

    fn of_an_account(self, method: &str) -> Option<BoxFuture<'a, Valid>> {
        Some(match method {
            "ServiceAccountService/CreateServiceAccount" => Box::pin(self.create_account()),
            "ServiceAccountService/GetServiceAccount" => {
                Box::pin(async move { Valid::read(&pb::GetServiceAccountRequest { name: self.account().await.name }).about_a_record() })
            }
            "ServiceAccountService/ListServiceAccounts" => Box::pin(self.list_accounts()),
            "ServiceAccountService/DeleteServiceAccount" => Box::pin(self.delete_account()),
            "ServiceAccountService/GrantServiceAccountRole" => Box::pin(self.grant_account()),
            "ServiceAccountService/RevokeServiceAccountRole" => Box::pin(self.revoke_account()),
            "ServiceAccountService/CreateApiKey" => Box::pin(self.create_key()),
            "ServiceAccountService/ListApiKeys" => Box::pin(self.list_keys()),
            "ServiceAccountService/RevokeApiKey" => Box::pin(self.revoke_key()),
            "ServiceAccountService/ExchangeApiKey" => Box::pin(self.exchange_key()),
            _ => return None,
        })
    }

    fn fresh(self, what: &str) -> String {
        format!("{what} {}", self.scene.number())
    }

    async fn ask<A: prost::Message + Default>(self, path: &str, request: &impl prost::Message) -> A {
        self.bureau.ask(&Caller::of(&self.scene.administrator), path, request).await
    }

    fn tenant(self) -> String {
        format!("tenants/{}", self.scene.administrator.tenant)
    }

    // Sessions, tokens, keys that sign, tenants.

    fn sign_in(self) -> Valid {
        Valid::read(&pb::SignInRequest { tenant: self.tenant(), email: ADMINISTRATOR.to_owned(), password: PASSWORD.to_owned() })
    }

    async fn refresh(self) -> Valid {
        let (_, answer) = self.bureau.sign_in(self.scene.administrator.tenant, ADMINISTRATOR).await;
        Valid::read(&pb::RefreshSessionRequest { refresh_token: answer.refresh_token })
    }

    async fn sign_out(self) -> Valid {
        let person = self.person().await;
        Valid { by: Some(person), ends_caller: true, ..Valid::change(&pb::SignOutRequest {}, 2) }
    }

    async fn list_sessions(self) -> Valid {
        for _ in 0..2 {
            self.bureau.sign_in(self.scene.administrator.tenant, ADMINISTRATOR).await;
        }
        Valid::read(&pb::ListSessionsRequest::default())
    }

    async fn revoke_session(self) -> Valid {
        let (_, answer) = self.bureau.sign_in(self.scene.administrator.tenant, COLLEAGUE).await;
        let name = answer.session.expect("a sign-in opens a session").name;
        Valid::change(&pb::RevokeSessionRequest { name }, 2).about_a_record()
    }

    /// The next key is made old enough to sign.
    async fn rotate(self) -> Valid {
        let age = "update signing_key set state_at = state_at - interval '1 hour' where state = 1";
        sqlx::query(age).execute(&mut self.scene.database().await).await.expect("the next key grows older");
        Valid::change(&pb::RotateSigningKeysRequest { force: false }, 0)
    }

    fn create_tenant(self) -> Valid {
        let slug = format!("tenant-{}", self.scene.number());
        let administrator =
            pb::Administrator { email: ADMINISTRATOR.to_owned(), display_name: "Administrator".to_owned(), password: PASSWORD.to_owned() };
        let request = pb::CreateTenantRequest {
            tenant: Some(pb::Tenant { display_name: slug.clone(), slug, ..pb::Tenant::default() }),
            administrator: Some(administrator),
            security_policy: Some(policy()),
        };
        // Two for the tenant, its policy, its unit, its administrator and each of six roles.
        Valid::change(&request, 20)
    }

    fn get_tenant(self) -> Valid {
        Valid { about: About::Tenant, ..Valid::read(&pb::GetTenantRequest { name: self.tenant() }) }
    }

    async fn update_policy(self) -> Valid {
        let request = pb::GetSecurityPolicyRequest { name: "securityPolicy".to_owned() };
        let Stored { name, etag } = self.ask("SecurityPolicyService/GetSecurityPolicy", &request).await;
        let security_policy = pb::SecurityPolicy { name, etag, data_owner: self.fresh("Owner"), ..pb::SecurityPolicy::default() };
        let request = pb::UpdateSecurityPolicyRequest { security_policy: Some(security_policy), update_mask: mask("data_owner") };
        Valid::change(&request, 2)
    }

    fn exchange_token(self) -> Valid {
        Valid::read(&pb::ExchangeTokenRequest {
            service: "services/contacts".to_owned(),
            secret: password().expose_secret().to_owned(),
            tenant: self.tenant(),
            actor: self.scene.colleague.name(),
            scopes: Vec::new(),
        })
    }

    // Users.

    async fn user(self) -> Stored {
        let email = format!("user{}@example.com", self.scene.number());
        self.bureau.user(&self.scene.administrator, &email, None, false).await
    }

    /// Somebody new who is signed in.
    async fn person(self) -> Subject {
        let email = format!("person{}@example.com", self.scene.number());
        self.bureau.user(&self.scene.administrator, &email, None, true).await;
        self.bureau.sign_in(self.scene.administrator.tenant, &email).await.0
    }

    async fn create_user(self) -> Valid {
        let user = pb::User {
            display_name: "Somebody".to_owned(),
            email: format!("new{}@example.com", self.scene.number()),
            business_unit: self.unit().await.name,
            locale: "tr-TR".to_owned(),
            time_zone: "Europe/Istanbul".to_owned(),
            ..pb::User::default()
        };
        Valid::change(&pb::CreateUserRequest { user: Some(user), initial_password: PASSWORD.to_owned() }, 2)
    }

    async fn update_user(self) -> Valid {
        let Stored { name, etag } = self.user().await;
        let user = pb::User { name, etag, display_name: "Changed".to_owned(), ..pb::User::default() };
        Valid::change(&pb::UpdateUserRequest { user: Some(user), update_mask: mask("display_name") }, 2).about_a_record()
    }

    async fn disable_user(self) -> Valid {
        let Stored { name, etag } = self.user().await;
        Valid::change(&pb::DisableUserRequest { name, etag }, 3).about_a_record()
    }

    async fn enable_user(self) -> Valid {
        let Stored { name, etag } = self.user().await;
        let Stored { name, etag } = self.ask("UserService/DisableUser", &pb::DisableUserRequest { name, etag }).await;
        Valid::change(&pb::EnableUserRequest { name, etag }, 2).about_a_record()
    }

    async fn unlock_user(self) -> Valid {
        let email = format!("locked{}@example.com", self.scene.number());
        let user = self.bureau.user(&self.scene.administrator, &email, None, false).await;
        for _ in 0..policy().lockout_attempts {
            let refused = self.bureau.try_sign_in(self.scene.administrator.tenant, &email, "another password").await;
            refused.expect_err("nobody signs in with a wrong password");
        }
        let Stored { name, etag } = self.ask("UserService/GetUser", &pb::GetUserRequest { name: user.name }).await;
        Valid::change(&pb::UnlockUserRequest { name, etag }, 2).about_a_record()
    }

    async fn change_password(self) -> Valid {
        let person = self.person().await;
        let new_password = format!("{} long enough passwords", self.scene.number());
        let request = pb::ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password };
        Valid { by: Some(person), ..Valid::change(&request, 3) }
    }

    async fn grant(self) -> Valid {
        let Stored { name, etag } = self.user().await;
        let role = self.role().await.name;
        Valid::change(&pb::GrantRoleRequest { name, role, level: GrantLevel::Team.into(), etag }, 2).about_a_record()
    }

    async fn revoke(self) -> Valid {
        let user = self.user().await;
        let role = self.role().await.name;
        let Stored { name, etag } = self.bureau.grant(&self.scene.administrator, &user.name, &role, GrantLevel::Own).await;
        Valid::change(&pb::RevokeRoleRequest { name, role, etag }, 2).about_a_record()
    }
}

/// About a record that is gone afterwards.
fn removing(valid: Valid) -> Valid {
    Valid { removes: true, ..valid.about_a_record() }
}

fn key() -> pb::ApiKey {
    let expire_time = Some(Timestamp { seconds: clock::now().timestamp() + 3600, nanos: 0 });
    pb::ApiKey { display_name: "Key".to_owned(), expire_time, ..pb::ApiKey::default() }
}

fn mask(path: &str) -> Option<FieldMask> {
    Some(FieldMask { paths: vec![path.to_owned()] })
}
