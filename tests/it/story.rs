//! Stories over several services, told through their public APIs with the real identity.

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::business_unit_service_client::BusinessUnitServiceClient;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::security_policy_service_client::SecurityPolicyServiceClient;
use rapport_identity_api::v1::team_service_client::TeamServiceClient;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::dead_letter_service_client::DeadLetterServiceClient;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel, ListChangesRequest, ListDeadLettersRequest};
use tonic::Code;

use crate::office::{Office, PASSWORD, policy, reason, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_tenant_serves_nothing_but_its_set_up_until_a_policy_is_stored() {
    let office = Office::open().await;
    office.tenant("fresh", None).await;
    let token = office.sign_in("fresh", "admin@example.com").await;
    // On a busy machine the news of the administrator may come after the administrator.
    let refused = eventually("the administrator is known, and there is no policy yet", || async {
        office.create_contact(&token, "Early").await.err().filter(|status| status.code() != Code::Unauthenticated)
    })
    .await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SECURITY_POLICY_MISSING"));

    let request = identity::UpdateSecurityPolicyRequest { security_policy: Some(policy()), update_mask: None };
    SecurityPolicyServiceClient::new(office.identity.clone()).update_security_policy(with(&token, request)).await.expect("the policy is stored");
    eventually("the tenant serves", || async { office.create_contact(&token, "In time").await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_cut_ends_the_access_of_whoever_held_it() {
    let office = Office::open().await;
    office.tenant("cut", Some(policy())).await;
    let admin = office.sign_in("cut", "admin@example.com").await;
    let role = identity::Role { display_name: "Writers".to_owned(), permissions: vec!["contacts.contact.*".to_owned()], ..identity::Role::default() };
    let request = identity::CreateRoleRequest { role: Some(role) };
    let role = RoleServiceClient::new(office.identity.clone()).create_role(with(&admin, request)).await.expect("a role").into_inner();
    let mut users = UserServiceClient::new(office.identity.clone());
    let user = identity::User { display_name: "Writer".to_owned(), email: "writer@example.com".to_owned(), ..identity::User::default() };
    let request = identity::CreateUserRequest { user: Some(user), initial_password: PASSWORD.to_owned() };
    let user = users.create_user(with(&admin, request)).await.expect("a user").into_inner();
    let grant = identity::GrantRoleRequest { name: user.name.clone(), role: role.name.clone(), level: GrantLevel::Own.into(), etag: String::new() };
    users.grant_role(with(&admin, grant)).await.expect("a grant");

    let writer = office.sign_in("cut", "writer@example.com").await;
    eventually("the writer may write", || async { office.create_contact(&writer, "Mine").await.ok() }).await;
    let revoke = identity::RevokeRoleRequest { name: user.name.clone(), role: role.name, etag: String::new() };
    users.revoke_role(with(&admin, revoke)).await.expect("the role is cut");
    let refused = eventually("the writer is refused", || async { office.create_contact(&writer, "Late").await.err() }).await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "PERMISSION_MISSING"));

    users.disable_user(with(&admin, identity::DisableUserRequest { name: user.name, etag: String::new() })).await.expect("the user is disabled");
    eventually("the token of a disabled user is worth nothing", || async {
        office.create_contact(&writer, "Never").await.err().filter(|status| status.code() == Code::Unauthenticated)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_widens_their_own_reach() {
    let office = Office::open().await;
    office.tenant("reach", Some(policy())).await;
    let admin = office.sign_in("reach", "admin@example.com").await;
    let mut units = BusinessUnitServiceClient::new(office.identity.clone());
    let top = units.list_business_units(with(&admin, identity::ListBusinessUnitsRequest::default())).await.expect("units").into_inner();
    let parent = top.business_units.first().expect("a tenant has a unit at the top").name.clone();
    let unit = identity::BusinessUnit { display_name: "Elsewhere".to_owned(), parent, ..identity::BusinessUnit::default() };
    let request = identity::CreateBusinessUnitRequest { business_unit: Some(unit) };
    let elsewhere = units.create_business_unit(with(&admin, request)).await.expect("a unit").into_inner();

    // Bound by a rule on contacts, and allowed to keep their own user, to make roles and to give them.
    let permissions = ["contacts.contact.read", "identity.user.read", "identity.user.update", "identity.user.grant", "identity.role.create"];
    let hidden = FieldRule { resource: "contacts.contact".to_owned(), field: "person.birth_date".to_owned(), effect: FieldEffect::Hidden.into() };
    let role = identity::Role {
        display_name: "Bound".to_owned(),
        permissions: permissions.into_iter().chain(["identity.team.create"]).map(str::to_owned).collect(),
        field_rules: vec![hidden],
        ..identity::Role::default()
    };
    let mut roles = RoleServiceClient::new(office.identity.clone());
    let role = roles.create_role(with(&admin, identity::CreateRoleRequest { role: Some(role) })).await.expect("a role").into_inner();
    let mut users = UserServiceClient::new(office.identity.clone());
    let user = identity::User { display_name: "Climber".to_owned(), email: "climber@example.com".to_owned(), ..identity::User::default() };
    let request = identity::CreateUserRequest { user: Some(user), initial_password: PASSWORD.to_owned() };
    let user = users.create_user(with(&admin, request)).await.expect("a user").into_inner();
    let grant = identity::GrantRoleRequest { name: user.name.clone(), role: role.name, level: GrantLevel::Own.into(), etag: String::new() };
    users.grant_role(with(&admin, grant)).await.expect("a grant");

    let climber = office.sign_in("reach", "climber@example.com").await;
    let get = identity::GetUserRequest { name: user.name.clone() };
    eventually("the role has arrived", || async { UserServiceClient::new(office.identity.clone()).get_user(with(&climber, get.clone())).await.ok() })
        .await;

    let moved = identity::User { name: user.name.clone(), business_unit: elsewhere.name, ..identity::User::default() };
    let refused = users.update_user(with(&climber, identity::UpdateUserRequest { user: Some(moved), update_mask: None })).await;
    assert_eq!(reason(&refused.expect_err("a unit of one's own choice")), "GRANT_EXCEEDS_CALLER");
    let team = identity::Team { display_name: "Mine".to_owned(), members: vec![user.name], ..identity::Team::default() };
    let refused = TeamServiceClient::new(office.identity.clone()).create_team(with(&climber, identity::CreateTeamRequest { team: Some(team) })).await;
    assert_eq!(reason(&refused.expect_err("a team of one's own choice")), "GRANT_EXCEEDS_CALLER");
    let free = identity::Role { display_name: "Free".to_owned(), permissions: vec!["contacts.contact.read".to_owned()], ..identity::Role::default() };
    let refused = roles.create_role(with(&climber, identity::CreateRoleRequest { role: Some(free) })).await;
    assert_eq!(reason(&refused.expect_err("a role without the rule")), "GRANT_EXCEEDS_CALLER");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_the_trace_of_the_call_that_made_it() {
    let office = Office::open().await;
    office.tenant("traced", Some(policy())).await;
    let admin = office.sign_in("traced", "admin@example.com").await;
    eventually("the tenant serves", || async { office.create_contact(&admin, "Untraced").await.ok() }).await;
    let person = contacts::Person { family_name: "Traced".to_owned(), ..contacts::Person::default() };
    let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
    let mut request = with(&admin, contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false });
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("ASCII");
    request.metadata_mut().insert("traceparent", traceparent);
    let contact = ContactServiceClient::new(office.contacts.clone()).create_contact(request).await.expect("a contact").into_inner();
    let request = with(&admin, ListChangesRequest { name: contact.name, ..ListChangesRequest::default() });
    let changes = AuditServiceClient::new(office.contacts.clone()).list_changes(request).await.expect("its history").into_inner().changes;
    assert_eq!(changes.iter().map(|change| change.trace_id.as_str()).collect::<Vec<_>>(), ["4bf92f3577b34da6a3ce929d0e0e4736"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_of_a_new_tenant_sees_the_dead_letters_of_every_service() {
    let office = Office::open().await;
    office.tenant("letters", Some(policy())).await;
    let admin = office.sign_in("letters", "admin@example.com").await;
    for (service, channel) in [("identity", &office.identity), ("contacts", &office.contacts)] {
        let list = || ListDeadLettersRequest { parent: format!("services/{service}"), ..ListDeadLettersRequest::default() };
        let ask = || async { DeadLetterServiceClient::new(channel.clone()).list_dead_letters(with(&admin, list())).await.ok() };
        let answer = eventually(&format!("an answer of {service}"), ask).await.into_inner();
        assert!(answer.dead_letters.is_empty());
    }
}
