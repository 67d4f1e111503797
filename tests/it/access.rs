//! Access ends when it is taken away, whatever else is away.

use std::time::Duration;

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::team_service_client::TeamServiceClient;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::GrantLevel;
use tonic::{Code, Status};

use crate::office::{Office, PASSWORD, policy, reason, with};

/// Longest time from taking access away to its end everywhere: what is promised.
const PROMISED: Duration = Duration::from_secs(10);
const NOBODY_LISTENS: &str = "amqp://127.0.0.1:1/%2f";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_cut_while_the_broker_is_away_ends_access_in_every_service_within_ten_seconds() {
    let office = Office::of_processes(NOBODY_LISTENS).await;
    let (admin, user, role) = staffed(&office).await;
    let token = office.sign_in("cut", "reader@example.com").await;
    both_serve(&office, &token).await;

    let revoke = identity::RevokeRoleRequest { name: user, role, etag: String::new() };
    UserServiceClient::new(office.identity.clone()).revoke_role(with(&admin, revoke)).await.expect("the role is cut");
    for status in both_refuse(&office, &token).await {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "PERMISSION_MISSING"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_one_that_is_ended_while_the_broker_is_away_is_over_in_every_service_within_ten_seconds() {
    let office = Office::of_processes(NOBODY_LISTENS).await;
    let (admin, user, _) = staffed(&office).await;
    let mut sessions = SessionServiceClient::new(office.identity.clone());
    let list = identity::ListSessionsRequest { user, ..identity::ListSessionsRequest::default() };
    let kept = office.sign_in("cut", "reader@example.com").await;
    let before = sessions.list_sessions(with(&admin, list.clone())).await.expect("sessions").into_inner().sessions;
    let stolen = office.sign_in("cut", "reader@example.com").await;
    let listed = sessions.list_sessions(with(&admin, list.clone())).await.expect("sessions").into_inner().sessions;
    assert_eq!((before.len(), listed.len()), (1, 2));
    both_serve(&office, &kept).await;
    both_serve(&office, &stolen).await;

    let ended = listed.iter().find(|session| before.iter().all(|other| other.name != session.name)).expect("the second session");
    let request = identity::RevokeSessionRequest { name: ended.name.clone() };
    sessions.revoke_session(with(&admin, request)).await.expect("the session is ended");
    for status in both_refuse(&office, &stolen).await {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "CREDENTIAL_INVALID"));
    }
    both_serve(&office, &kept).await;
    let left = sessions.list_sessions(with(&admin, list)).await.expect("sessions").into_inner().sessions;
    assert_eq!(left.iter().map(|session| &session.name).collect::<Vec<_>>(), before.iter().map(|session| &session.name).collect::<Vec<_>>());
}

/// A tenant with a reader of contacts and teams: the administrator's token, the user and the role.
async fn staffed(office: &Office) -> (String, String, String) {
    office.tenant("cut", Some(policy())).await;
    let admin = office.sign_in("cut", "admin@example.com").await;
    let permissions = ["contacts.contact.read", "identity.team.read"].map(str::to_owned).to_vec();
    let role = identity::Role { display_name: "Readers".to_owned(), permissions, ..identity::Role::default() };
    let request = identity::CreateRoleRequest { role: Some(role) };
    let role = RoleServiceClient::new(office.identity.clone()).create_role(with(&admin, request)).await.expect("a role").into_inner();
    let mut users = UserServiceClient::new(office.identity.clone());
    let user = identity::User { display_name: "Reader".to_owned(), email: "reader@example.com".to_owned(), ..identity::User::default() };
    let request = identity::CreateUserRequest { user: Some(user), initial_password: PASSWORD.to_owned() };
    let user = users.create_user(with(&admin, request)).await.expect("a user").into_inner();
    let grant = identity::GrantRoleRequest { name: user.name.clone(), role: role.name.clone(), level: GrantLevel::All.into(), etag: String::new() };
    users.grant_role(with(&admin, grant)).await.expect("a grant");
    (admin, user.name, role.name)
}

async fn both_serve(office: &Office, token: &str) {
    eventually("contacts serves the reader", || async { read_contacts(office, token).await.ok() }).await;
    eventually("identity serves the reader", || async { read_teams(office, token).await.ok() }).await;
}

/// The refusals of both services, which come within the promised time from now.
async fn both_refuse(office: &Office, token: &str) -> [Status; 2] {
    let by_contacts = eventually("contacts refuses", || async { read_contacts(office, token).await.err() });
    let by_identity = eventually("identity refuses", || async { read_teams(office, token).await.err() });
    let both = async { tokio::join!(by_contacts, by_identity) };
    let (contacts, identity) = tokio::time::timeout(PROMISED, both).await.expect("every service refuses within the promised time");
    [contacts, identity]
}

async fn read_contacts(office: &Office, token: &str) -> Result<(), Status> {
    let request = with(token, contacts::ListContactsRequest::default());
    ContactServiceClient::new(office.contacts.clone()).list_contacts(request).await.map(|_| ())
}

async fn read_teams(office: &Office, token: &str) -> Result<(), Status> {
    let request = with(token, identity::ListTeamsRequest::default());
    TeamServiceClient::new(office.identity.clone()).list_teams(request).await.map(|_| ())
}
