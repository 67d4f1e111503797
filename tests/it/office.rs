//! Identity and contacts, each on its own database, and somebody who calls them.

use std::path::Path;
use std::process::Stdio;

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use rapport_kit::clock;
use rapport_kit::db::Logins;
use rapport_kit::process::Running;
use rapport_kit::testing::{self, Infra, Prefix, channel, eventually, password};
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::process::{Child, Command};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "a long enough password";

/// Identity and contacts, each on its own database.
pub(crate) struct Office {
    pub(crate) identity: Channel,
    pub(crate) contacts: Channel,
    /// Where identity and contacts listen.
    pub(crate) addresses: [String; 2],
    /// Databases of identity and of contacts; none of an office of processes.
    pub(crate) databases: Vec<Logins>,
    credential: String,
    running: Vec<Running>,
    _processes: Vec<Child>,
    _names: Option<Prefix>,
}

impl Drop for Office {
    fn drop(&mut self) {
        // Told to end before their names on the broker go, or they would make them anew.
        self.running.iter().for_each(Running::abandon);
    }
}

impl Office {
    /// Both services in this process.
    pub(crate) async fn open() -> Self {
        let infra = Infra::from_environment();
        let names = Prefix::new(&infra, &["identity", "contacts"]);
        let prefix = names.text();
        let databases = vec![infra.database(&rapport_identity::SERVICE).await, infra.database(&rapport_contacts::SERVICE).await];
        let identity = testing::run(&rapport_identity::SERVICE, &infra, &databases[0], "http://127.0.0.1:9", prefix).await;
        let address = format!("http://{}", identity.address);
        let contacts = testing::run(&rapport_contacts::SERVICE, &infra, &databases[1], &address, prefix).await;
        Self {
            identity: channel(&identity),
            contacts: channel(&contacts),
            addresses: [address, format!("http://{}", contacts.address)],
            databases,
            credential: password().expose_secret().to_owned(),
            running: vec![identity, contacts],
            _processes: Vec::new(),
            _names: Some(names),
        }
    }

    /// Each service in a process of its own, with the broker at `broker`.
    pub(crate) async fn of_processes(broker: &str) -> Self {
        let instance = clock::new_id().simple().to_string();
        let (first, identity) = process(&instance, &["--only", "identity"], broker).await;
        let (second, contacts) = process(&instance, &["--only", "contacts", "--identity", &identity.grpc], broker).await;
        let connect = |address: &str| Endpoint::from_shared(address.to_owned()).expect("an address").connect_lazy();
        Self {
            identity: connect(&identity.grpc),
            contacts: connect(&contacts.grpc),
            addresses: [identity.grpc, contacts.grpc],
            databases: Vec::new(),
            credential: identity.credential,
            running: Vec::new(),
            _processes: vec![first, second],
            _names: None,
        }
    }

    pub(crate) async fn tenant(&self, slug: &str, policy: Option<identity::SecurityPolicy>) {
        let request = identity::CreateTenantRequest {
            tenant: Some(identity::Tenant { display_name: slug.to_owned(), slug: slug.to_owned(), ..identity::Tenant::default() }),
            administrator: Some(identity::Administrator {
                email: "admin@example.com".to_owned(),
                display_name: "Administrator".to_owned(),
                password: PASSWORD.to_owned(),
            }),
            security_policy: policy,
        };
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.credential).parse().expect("ASCII"));
        TenantServiceClient::new(self.identity.clone()).create_tenant(request).await.expect("the operator creates a tenant");
    }

    pub(crate) async fn sign_in(&self, slug: &str, email: &str) -> String {
        let request = identity::SignInRequest { tenant: slug.to_owned(), email: email.to_owned(), password: PASSWORD.to_owned() };
        SessionServiceClient::new(self.identity.clone()).sign_in(request).await.expect("a user signs in").into_inner().access_token
    }

    pub(crate) async fn create_contact(&self, token: &str, family_name: &str) -> Result<contacts::Contact, tonic::Status> {
        let person = contacts::Person { family_name: family_name.to_owned(), ..contacts::Person::default() };
        let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
        let request = with(token, contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false });
        Ok(ContactServiceClient::new(self.contacts.clone()).create_contact(request).await?.into_inner())
    }
}

/// What a process tells of itself.
pub(crate) struct Told {
    pub(crate) grpc: String,
    pub(crate) metrics: String,
    credential: String,
}

/// Starts the program with all services for the one that `arguments` name, on a free port.
pub(crate) async fn process(instance: &str, arguments: &[&str], broker: &str) -> (Child, Told) {
    let binary = setting("RAPPORT_BINARY").expect("RAPPORT_BINARY names the program with all services; scripts/test sets it");
    let status = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.json", clock::new_id()));
    let mut command = Command::new(binary);
    command.args(["serve", "--instance", instance]).args(arguments).env("RAPPORT_AMQP_URL", broker).env("RAPPORT_STATUS_FILE", &status);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("the program starts");
    let told: serde_json::Value = eventually("a process that serves", async || {
        let text = std::fs::read(&status).ok()?;
        Some(serde_json::from_slice(&text).expect("the status is JSON"))
    })
    .await;
    std::fs::remove_file(&status).expect("the status file goes");
    let service = told["services"].as_object().and_then(|services| services.values().next()).expect("one service");
    let grpc = format!("http://{}", service["grpc"].as_str().expect("an address"));
    let metrics = service["metrics"].as_str().expect("an address").to_owned();
    (child, Told { grpc, metrics, credential: told["operator_credential"].as_str().expect("a credential").to_owned() })
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn policy() -> identity::SecurityPolicy {
    identity::SecurityPolicy {
        name: "securityPolicy".to_owned(),
        password_min_length: 8,
        lockout_attempts: 5,
        lockout_base_seconds: 30,
        session_idle_seconds: 3_600,
        session_absolute_seconds: 36_000,
        history_retention_days: 3_650,
        data_owner: "Example Ltd".to_owned(),
        ..identity::SecurityPolicy::default()
    }
}

pub(crate) fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a token is ASCII"));
    request
}

pub(crate) fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A database as the superuser, who is bound by nothing.
pub(crate) async fn superuser(logins: &Logins) -> PgConnection {
    let own: PgConnectOptions = logins.system.expose_secret().parse().expect("an address");
    let admin: PgConnectOptions = Infra::from_environment().postgres.expose_secret().parse().expect("an address");
    admin.database(own.get_database().expect("the address names a database")).connect().await.expect("the superuser may connect")
}
