//! One service calls another in the name of whoever calls it, with the real identity between them.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::service_account_service_client::ServiceAccountServiceClient;
use rapport_kit::config::Config;
use rapport_kit::db::Migrations;
use rapport_kit::process::{self, Running};
use rapport_kit::testing::{self, Infra, channel, eventually};
use rapport_kit::{App, Ctx, Fault, Service, rpc};
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::audit_service_server::{AuditService, AuditServiceServer};
use tonic::{Code, Request, Response, Status};

use crate::office::{Office, policy, reason, with};

static NONE: Migrations = Migrations::DEFAULT;

/// A service that does its work at another: whoever may verify seals here gets a contact written there.
static CLERK: Service = Service { name: "clerk", migrations: &NONE, methods: &[rapport_proto::METHODS], descriptors: &[], start };

fn start(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        let contacts = app.client("contacts", rapport_contacts_api::METHODS)?;
        app.serve(AuditServiceServer::new(Clerk { contacts }));
        Ok(())
    })
}

struct Clerk {
    contacts: rpc::Client,
}

#[tonic::async_trait]
impl AuditService for Clerk {
    async fn list_changes(&self, _: Request<common::ListChangesRequest>) -> Result<Response<common::ListChangesResponse>, Status> {
        Ok(Response::new(common::ListChangesResponse::default()))
    }

    async fn verify_seal(&self, request: Request<common::VerifySealRequest>) -> Result<Response<common::VerifySealResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let person = contacts::Person { family_name: request.into_inner().name, ..contacts::Person::default() };
        let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
        let mut contacts = ContactServiceClient::new(self.contacts.within(&ctx));
        contacts.create_contact(contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }).await?;
        Ok(Response::new(common::VerifySealResponse::default()))
    }
}

/// The clerk beside an office.
async fn open(office: &Office) -> Running {
    let infra = Infra::from_environment();
    let logins = infra.database(&CLERK).await;
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        identity: office.addresses[0].clone(),
        services: BTreeMap::from([("contacts".to_owned(), office.addresses[1].clone())]),
        leave_seconds: 0,
        ..Config::default()
    };
    process::start(&CLERK, config, testing::secrets(&logins, None)).await.expect("the clerk starts")
}

fn write(token: &str, family_name: &str) -> Request<common::VerifySealRequest> {
    let mut request = with(token, common::VerifySealRequest { name: family_name.to_owned(), ..common::VerifySealRequest::default() });
    request.metadata_mut().insert("x-request-id", format!("for-{family_name}").parse().expect("ASCII"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_does_elsewhere_is_its_own_doing_in_the_name_of_its_caller() {
    let office = Office::open().await;
    office.tenant("clerk", Some(policy())).await;
    let admin = office.sign_in("clerk", "admin@example.com").await;
    let clerk = open(&office).await;
    let mut desk = AuditServiceClient::new(channel(&clerk));
    eventually("a contact", || async { desk.clone().verify_seal(write(&admin, "Written")).await.ok() }).await;
    let mut people = ContactServiceClient::new(office.contacts.clone());
    let request = contacts::ListContactsRequest { filter: "person.family_name = \"Written\"".to_owned(), ..contacts::ListContactsRequest::default() };
    let contact = people.list_contacts(with(&admin, request)).await.expect("a list").into_inner().contacts.remove(0);
    let request = common::ListChangesRequest { name: contact.name, ..common::ListChangesRequest::default() };
    let changes = AuditServiceClient::new(office.contacts.clone()).list_changes(with(&admin, request)).await.expect("its history").into_inner();
    let change = changes.changes.first().expect("one change");
    assert_eq!(change.actor, "services/clerk");
    assert!(change.on_behalf_of.starts_with("users/"), "{change:?}");
    assert_eq!(change.request_id, "for-Written");

    // A credential that is limited at the first service is not worth more at the second.
    let permissions = ["contacts.*", "audit.seal.verify"].map(str::to_owned).to_vec();
    let role = identity::Role { display_name: "Clerks".to_owned(), permissions, ..identity::Role::default() };
    let request = with(&admin, identity::CreateRoleRequest { role: Some(role) });
    let role = RoleServiceClient::new(office.identity.clone()).create_role(request).await.expect("a role").into_inner();
    let mut accounts = ServiceAccountServiceClient::new(office.identity.clone());
    let account = identity::ServiceAccount { display_name: "Robot".to_owned(), ..identity::ServiceAccount::default() };
    let request = with(&admin, identity::CreateServiceAccountRequest { service_account: Some(account) });
    let account = accounts.create_service_account(request).await.expect("an account").into_inner().name;
    let level = common::GrantLevel::All.into();
    let grant = identity::GrantServiceAccountRoleRequest { name: account.clone(), role: role.name, level, etag: String::new() };
    accounts.grant_service_account_role(with(&admin, grant)).await.expect("a grant");
    let mut limited = async |scopes: &[&str]| {
        let expire_time = Some(prost_types::Timestamp { seconds: rapport_kit::clock::now().timestamp() + 3600, nanos: 0 });
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let key = identity::ApiKey { display_name: "A key".to_owned(), scopes, expire_time, ..identity::ApiKey::default() };
        let request = identity::CreateApiKeyRequest { parent: account.clone(), api_key: Some(key) };
        let secret = accounts.create_api_key(with(&admin, request)).await.expect("a key").into_inner().secret;
        accounts.exchange_api_key(identity::ExchangeApiKeyRequest { secret }).await.expect("a token").into_inner().access_token
    };
    let both = limited(&["audit.seal.verify", "contacts.contact.create"]).await;
    eventually("a contact", || async { desk.clone().verify_seal(write(&both, "Allowed")).await.ok() }).await;
    let one = limited(&["audit.seal.verify"]).await;
    let refused = desk.verify_seal(write(&one, "Refused")).await.expect_err("the key is not for contacts");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "PERMISSION_MISSING"));
}

#[test]
fn the_kit_and_identity_agree_about_the_exchange_of_tokens() {
    let spelt = rpc::EXCHANGE.first().expect("a rule");
    let own = rapport_identity_api::METHODS.iter().find(|rule| rule.path == spelt.path).expect("identity has this method");
    assert_eq!(format!("{spelt:?}"), format!("{own:?}"));
}
