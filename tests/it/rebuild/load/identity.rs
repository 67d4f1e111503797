//! What happens in identity.

use rapport_identity_api::v1 as pb;
use rapport_identity_api::v1::business_unit_service_client::BusinessUnitServiceClient;
use rapport_identity_api::v1::legal_entity_service_client::LegalEntityServiceClient;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::security_policy_service_client::SecurityPolicyServiceClient;
use rapport_identity_api::v1::service_account_service_client::ServiceAccountServiceClient;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::team_service_client::TeamServiceClient;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use rapport_kit::clock;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use super::Organisation;
use crate::bureau::legal_entity;
use crate::office::{Office, PASSWORD, policy, with};

pub(super) async fn run(office: &Office) -> Organisation {
    let admin = office.sign_in("first", "admin@example.com").await;
    security_policy(office, &admin).await;
    let (numbered, plain) = legal_entities(office, &admin).await;
    let unit = business_units(office, &admin, &numbered).await;
    let role = roles(office, &admin).await;
    let (ada, ben) = users(office, &admin, &unit, &role).await;
    let team = teams(office, &admin, &ada, &ben).await;
    sessions(office, &admin, &ada).await;
    service_accounts(office, &admin, &unit, &role).await;
    Organisation { admin, ada, ben, team, numbered, plain }
}

async fn security_policy(office: &Office, admin: &str) {
    let mut policies = SecurityPolicyServiceClient::new(office.identity.clone());
    for security_policy in [policy(), pb::SecurityPolicy { lockout_attempts: 3, data_owner: "Board".to_owned(), ..policy() }] {
        let request = pb::UpdateSecurityPolicyRequest { security_policy: Some(security_policy), update_mask: None };
        policies.update_security_policy(with(admin, request)).await.expect("a policy");
    }
}

async fn legal_entities(office: &Office, admin: &str) -> (String, String) {
    let mut entities = LegalEntityServiceClient::new(office.identity.clone());
    let mut names = Vec::new();
    for (display_name, series) in [
        ("Büro Ankara", vec![series("K-", true), pb::NumberSeries { collection: "quotes".to_owned(), ..series("Q-", false) }]),
        ("Plain", Vec::new()),
    ] {
        let entity = pb::LegalEntity {
            tax_ids: vec![pb::TaxId { kind: "vat".to_owned(), value: "TR 12".to_owned() }],
            number_series: series,
            ..legal_entity(display_name)
        };
        let request = pb::CreateLegalEntityRequest { legal_entity: Some(entity) };
        names.push(entities.create_legal_entity(with(admin, request)).await.expect("a legal entity").into_inner().name);
    }
    let changed = pb::LegalEntity { name: names[0].clone(), fiscal_year_start_month: 4, country: "DE".to_owned(), ..pb::LegalEntity::default() };
    let request = pb::UpdateLegalEntityRequest { legal_entity: Some(changed), update_mask: None };
    entities.update_legal_entity(with(admin, request)).await.expect("a changed legal entity");
    (names[0].clone(), names[1].clone())
}

fn series(prefix: &str, gapless: bool) -> pb::NumberSeries {
    pb::NumberSeries { collection: "accounts".to_owned(), prefix: prefix.to_owned(), gapless, next: 0 }
}

async fn business_units(office: &Office, admin: &str, legal_entity: &str) -> String {
    let mut units = BusinessUnitServiceClient::new(office.identity.clone());
    let top = units.list_business_units(with(admin, pb::ListBusinessUnitsRequest::default())).await.expect("units").into_inner();
    let top = top.business_units.first().expect("a unit at the top").name.clone();
    let mut names = Vec::new();
    for display_name in ["North", "South", "Closed"] {
        let unit = pb::BusinessUnit { display_name: display_name.to_owned(), parent: top.clone(), ..pb::BusinessUnit::default() };
        let request = pb::CreateBusinessUnitRequest { business_unit: Some(unit) };
        names.push(units.create_business_unit(with(admin, request)).await.expect("a unit").into_inner().name);
    }
    // South moves below North.
    let moved =
        pb::BusinessUnit { name: names[1].clone(), parent: names[0].clone(), legal_entity: legal_entity.to_owned(), ..pb::BusinessUnit::default() };
    let request = pb::UpdateBusinessUnitRequest { business_unit: Some(moved), update_mask: None };
    units.update_business_unit(with(admin, request)).await.expect("a moved unit");
    let request = pb::DeleteBusinessUnitRequest { name: names[2].clone(), etag: String::new() };
    units.delete_business_unit(with(admin, request)).await.expect("a unit is closed");
    names[1].clone()
}

async fn roles(office: &Office, admin: &str) -> String {
    let mut roles = RoleServiceClient::new(office.identity.clone());
    let effects = [("person.notes", FieldEffect::Hidden), ("person.birth_date", FieldEffect::Masked), ("tags", FieldEffect::ReadOnly)];
    let rule =
        |(field, effect): (&str, FieldEffect)| FieldRule { resource: "contacts.contact".to_owned(), field: field.to_owned(), effect: effect.into() };
    let mut names = Vec::new();
    for display_name in ["Clerks", "Short-lived"] {
        let role = pb::Role {
            display_name: display_name.to_owned(),
            permissions: vec!["contacts.contact.*".to_owned(), "contacts.account.read".to_owned()],
            field_rules: effects.map(rule).to_vec(),
            ..pb::Role::default()
        };
        names.push(roles.create_role(with(admin, pb::CreateRoleRequest { role: Some(role) })).await.expect("a role").into_inner().name);
    }
    let changed = pb::Role { name: names[0].clone(), description: "They keep the files".to_owned(), ..pb::Role::default() };
    roles.update_role(with(admin, pb::UpdateRoleRequest { role: Some(changed), update_mask: None })).await.expect("a changed role");
    roles.delete_role(with(admin, pb::DeleteRoleRequest { name: names[1].clone(), etag: String::new() })).await.expect("a role goes");
    names[0].clone()
}

async fn users(office: &Office, admin: &str, unit: &str, role: &str) -> (String, String) {
    let mut users = UserServiceClient::new(office.identity.clone());
    let mut names = Vec::new();
    for (display_name, email) in [("Ada", "ada@example.com"), ("Ben", "ben@example.com"), ("Cem", "cem@example.com"), ("Dua", "dua@example.com")] {
        let user = pb::User { display_name: display_name.to_owned(), email: email.to_owned(), locale: "tr".to_owned(), ..pb::User::default() };
        let request = pb::CreateUserRequest { user: Some(user), initial_password: PASSWORD.to_owned() };
        names.push(users.create_user(with(admin, request)).await.expect("a user").into_inner().name);
    }
    let moved = pb::User {
        name: names[0].clone(),
        email: "Ada.L@Example.com".to_owned(),
        business_unit: unit.to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        ..pb::User::default()
    };
    users.update_user(with(admin, pb::UpdateUserRequest { user: Some(moved), update_mask: None })).await.expect("a moved user");
    for (name, level) in
        [(&names[0], GrantLevel::BusinessUnitSubtree), (&names[0], GrantLevel::Own), (&names[1], GrantLevel::Team), (&names[2], GrantLevel::All)]
    {
        let request = pb::GrantRoleRequest { name: name.clone(), role: role.to_owned(), level: level.into(), etag: String::new() };
        users.grant_role(with(admin, request)).await.expect("a grant");
    }
    let request = pb::RevokeRoleRequest { name: names[2].clone(), role: role.to_owned(), etag: String::new() };
    users.revoke_role(with(admin, request)).await.expect("a grant is taken back");
    // Ben was locked and is not any more; Cem is; Dua is, and disabled too.
    for email in ["ben@example.com", "cem@example.com", "dua@example.com"] {
        lock(office, email).await;
    }
    users.unlock_user(with(admin, pb::UnlockUserRequest { name: names[1].clone(), etag: String::new() })).await.expect("unlocked");
    for name in [&names[1], &names[3]] {
        users.disable_user(with(admin, pb::DisableUserRequest { name: name.clone(), etag: String::new() })).await.expect("disabled");
    }
    users.enable_user(with(admin, pb::EnableUserRequest { name: names[1].clone(), etag: String::new() })).await.expect("enabled");
    (names[0].clone(), names[1].clone())
}

/// Fails to sign in until the address is locked.
async fn lock(office: &Office, email: &str) {
    let mut sessions = SessionServiceClient::new(office.identity.clone());
    for _ in 0..10 {
        let request = pb::SignInRequest { tenant: "first".to_owned(), email: email.to_owned(), password: "a wrong password".to_owned() };
        let refused = sessions.sign_in(request).await.expect_err("the password is wrong");
        if refused.code() == Code::ResourceExhausted {
            return;
        }
    }
    panic!("{email} is not locked");
}

async fn teams(office: &Office, admin: &str, ada: &str, ben: &str) -> String {
    let mut teams = TeamServiceClient::new(office.identity.clone());
    let mut names = Vec::new();
    for display_name in ["Field", "Dissolved"] {
        let team = pb::Team { display_name: display_name.to_owned(), members: vec![ben.to_owned()], ..pb::Team::default() };
        names.push(teams.create_team(with(admin, pb::CreateTeamRequest { team: Some(team) })).await.expect("a team").into_inner().name);
    }
    let request = pb::AddTeamMemberRequest { name: names[0].clone(), user: ada.to_owned(), etag: String::new() };
    teams.add_team_member(with(admin, request)).await.expect("a member");
    let request = pb::RemoveTeamMemberRequest { name: names[0].clone(), user: ben.to_owned(), etag: String::new() };
    teams.remove_team_member(with(admin, request)).await.expect("a member less");
    let changed = pb::Team { name: names[0].clone(), description: "On the road".to_owned(), ..pb::Team::default() };
    teams.update_team(with(admin, pb::UpdateTeamRequest { team: Some(changed), update_mask: None })).await.expect("a changed team");
    teams.delete_team(with(admin, pb::DeleteTeamRequest { name: names[1].clone(), etag: String::new() })).await.expect("a team goes");
    names[0].clone()
}

async fn sessions(office: &Office, admin: &str, ada: &str) {
    let mut sessions = SessionServiceClient::new(office.identity.clone());
    let sign_in = pb::SignInRequest { tenant: "first".to_owned(), email: "ada.l@example.com".to_owned(), password: PASSWORD.to_owned() };
    let first = sessions.sign_in(sign_in.clone()).await.expect("a session").into_inner();
    sessions.refresh_session(pb::RefreshSessionRequest { refresh_token: first.refresh_token }).await.expect("it goes on");
    let second = sessions.sign_in(sign_in.clone()).await.expect("a session").into_inner();
    sessions.sign_out(with(&second.access_token, pb::SignOutRequest {})).await.expect("it ends");
    let third = sessions.sign_in(sign_in).await.expect("a session").into_inner();
    let request = pb::ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: "another long password".to_owned() };
    UserServiceClient::new(office.identity.clone()).change_password(with(&third.access_token, request)).await.expect("a new password");
    let list = pb::ListSessionsRequest { user: ada.to_owned(), ..pb::ListSessionsRequest::default() };
    let left = sessions.list_sessions(with(admin, list)).await.expect("sessions").into_inner().sessions;
    let request = pb::RevokeSessionRequest { name: left.first().expect("the last session").name.clone() };
    sessions.revoke_session(with(admin, request)).await.expect("it is ended");
}

async fn service_accounts(office: &Office, admin: &str, unit: &str, role: &str) {
    let mut accounts = ServiceAccountServiceClient::new(office.identity.clone());
    let expire_time = clock::now() + chrono::TimeDelta::days(30);
    for display_name in ["Shop", "Closed shop"] {
        let account = pb::ServiceAccount {
            display_name: display_name.to_owned(),
            description: "Sells on the web".to_owned(),
            business_unit: unit.to_owned(),
            ..pb::ServiceAccount::default()
        };
        let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
        let name = accounts.create_service_account(with(admin, request)).await.expect("a service account").into_inner().name;
        for level in [GrantLevel::Own, GrantLevel::All] {
            let request = pb::GrantServiceAccountRoleRequest { name: name.clone(), role: role.to_owned(), level: level.into(), etag: String::new() };
            accounts.grant_service_account_role(with(admin, request)).await.expect("a grant");
        }
        for revoked in [false, true] {
            let key = pb::ApiKey {
                display_name: "Key".to_owned(),
                scopes: vec!["contacts.contact.read".to_owned()],
                expire_time: Some(prost_types::Timestamp { seconds: expire_time.timestamp(), nanos: 0 }),
                ..pb::ApiKey::default()
            };
            let request = pb::CreateApiKeyRequest { parent: name.clone(), api_key: Some(key) };
            let made = accounts.create_api_key(with(admin, request)).await.expect("a key").into_inner();
            accounts.exchange_api_key(pb::ExchangeApiKeyRequest { secret: made.secret }).await.expect("the key is used");
            if revoked {
                let request = pb::RevokeApiKeyRequest { name: made.api_key.expect("the key").name };
                accounts.revoke_api_key(with(admin, request)).await.expect("the key is revoked");
            }
        }
        if display_name == "Closed shop" {
            let request = pb::RevokeServiceAccountRoleRequest { name: name.clone(), role: role.to_owned(), etag: String::new() };
            accounts.revoke_service_account_role(with(admin, request)).await.expect("a grant is taken back");
            let request = pb::DeleteServiceAccountRequest { name, etag: String::new() };
            accounts.delete_service_account(with(admin, request)).await.expect("a service account goes");
        }
    }
}
