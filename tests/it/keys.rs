//! Keys of programs: a key that is limited to some permissions opens nothing else, whatever its account may do.

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::service_account_service_client::ServiceAccountServiceClient;
use rapport_kit::clock;
use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::GrantLevel;
use rapport_proto::{Door, MethodRule};
use tonic::Code;
use uuid::Uuid;

use crate::coverage::errors::{reason, told};
use crate::coverage::wire::{Caller, Wire};
use crate::office::{Office, policy, with};

const SCOPE: &str = "contacts.contact.read";

/// A token for a key that is limited to [`SCOPE`], of an account that holds every permission over every record.
async fn limited(office: &Office, admin: &str) -> Subject {
    let mut roles = RoleServiceClient::new(office.identity.clone());
    let role = identity::Role { display_name: "Everything".to_owned(), permissions: vec!["*".to_owned()], ..identity::Role::default() };
    let role = roles.create_role(with(admin, identity::CreateRoleRequest { role: Some(role) })).await.expect("a role").into_inner();
    let mut accounts = ServiceAccountServiceClient::new(office.identity.clone());
    let account = identity::ServiceAccount { display_name: "Warehouse".to_owned(), ..identity::ServiceAccount::default() };
    let request = identity::CreateServiceAccountRequest { service_account: Some(account) };
    let account = accounts.create_service_account(with(admin, request)).await.expect("a service account").into_inner();
    let grant =
        identity::GrantServiceAccountRoleRequest { name: account.name.clone(), role: role.name, level: GrantLevel::All.into(), etag: String::new() };
    accounts.grant_service_account_role(with(admin, grant)).await.expect("a grant");
    let tomorrow = clock::now() + chrono::TimeDelta::days(1);
    let key = identity::ApiKey {
        display_name: "Reads contacts".to_owned(),
        scopes: vec![SCOPE.to_owned()],
        expire_time: Some(prost_types::Timestamp { seconds: tomorrow.timestamp(), nanos: 0 }),
        ..identity::ApiKey::default()
    };
    let request = identity::CreateApiKeyRequest { parent: account.name, api_key: Some(key) };
    let secret = accounts.create_api_key(with(admin, request)).await.expect("a key").into_inner().secret;
    let token = accounts.exchange_api_key(identity::ExchangeApiKeyRequest { secret }).await.expect("a token").into_inner().access_token;
    Subject { tenant: Uuid::nil(), id: clock::new_id(), token }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_limited_to_reading_contacts_is_refused_by_every_other_method() {
    let office = Office::open().await;
    office.tenant("limits", Some(policy())).await;
    let admin = office.sign_in("limits", "admin@example.com").await;
    let program = limited(&office, &admin).await;
    eventually("the key reads contacts", || async {
        let mut client = ContactServiceClient::new(office.contacts.clone());
        client.list_contacts(program.request(contacts::ListContactsRequest::default())).await.ok()
    })
    .await;

    let served: [(Wire, &[&[MethodRule]]); 2] = [
        (Wire::new(office.contacts.clone()), rapport_contacts::SERVICE.methods),
        (Wire::new(office.identity.clone()), rapport_identity::SERVICE.methods),
    ];
    let (mut problems, mut refused) = (Vec::new(), 0);
    for (wire, tables) in served {
        for rule in tables.iter().flat_map(|table| table.iter()).filter(|rule| rule.permission != SCOPE && rule.door != Door::Public) {
            let status = match wire.send(rule.path, &Caller::of(&program), Vec::new()).await {
                // What stands in a shared table is served by one service only.
                Err(status) if status.code() == Code::Unimplemented => continue,
                Err(status) => status,
                Ok(_) => {
                    problems.push(format!("{}: let the key in", rule.path));
                    continue;
                }
            };
            let expected = match rule.door {
                Door::Operator => (Code::Unauthenticated, reason(&status)),
                _ => (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()),
            };
            if (status.code(), reason(&status)) == expected {
                refused += 1;
            } else {
                problems.push(format!("{}: {}", rule.path, told(&status)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(refused > 60, "only {refused} methods were asked");
}
