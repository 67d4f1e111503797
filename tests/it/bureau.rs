//! The real identity, and tenants and people made through its public API.

use prost::Message;
use rapport_identity_api::v1 as pb;
use rapport_kit::db::Logins;
use rapport_kit::process::Running;
use rapport_kit::testing::{self, Infra, Prefix, Subject, password};
use rapport_proto::common::v1::GrantLevel;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tonic::Status;
use uuid::Uuid;

use crate::coverage::wire::{Answer, Caller, Wire};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "a long enough password";
/// Address of each tenant's administrator.
pub(crate) const ADMINISTRATOR: &str = "admin@example.com";

/// Identity on a database of its own.
#[derive(Debug)]
pub(crate) struct Bureau {
    pub(crate) wire: Wire,
    pub(crate) logins: Logins,
    running: Option<Running>,
    names: Prefix,
}

impl Drop for Bureau {
    fn drop(&mut self) {
        // Told to end before its names on the broker go, or it would make them anew.
        self.running.iter().for_each(Running::abandon);
    }
}

/// A user as it is stored, as far as tests go on with it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stored {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "40")]
    pub(crate) etag: String,
}

impl Stored {
    pub(crate) fn id(&self) -> Uuid {
        rapport_kit::name::split(&self.name).expect("a record has a name").1
    }
}

impl Bureau {
    pub(crate) async fn open() -> Self {
        let infra = Infra::from_environment();
        let logins = infra.database(&rapport_identity::SERVICE).await;
        let names = Prefix::new(&infra, &["identity"]);
        let running = testing::run(&rapport_identity::SERVICE, &infra, &logins, "http://127.0.0.1:9", names.text()).await;
        Self { wire: Wire::new(testing::channel(&running)), logins, running: Some(running), names }
    }

    /// Ends the service; its database stays.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Starts the service again.
    pub(crate) async fn start(&mut self) {
        let infra = Infra::from_environment();
        let running = testing::run(&rapport_identity::SERVICE, &infra, &self.logins, "http://127.0.0.1:9", self.names.text()).await;
        self.wire = Wire::new(testing::channel(&running));
        self.running = Some(running);
    }

    /// The answer of a call that must succeed.
    pub(crate) async fn ask<A: Message + Default>(&self, caller: &Caller, path: &str, request: &impl Message) -> A {
        self.try_ask(caller, path, request).await.unwrap_or_else(|status| panic!("{path}: {status:?}"))
    }

    /// The answer of a call.
    pub(crate) async fn try_ask<A: Message + Default>(&self, caller: &Caller, path: &str, request: &impl Message) -> Result<A, Status> {
        let answer = self.send(caller, path, request.encode_to_vec()).await?;
        Ok(A::decode(answer.as_slice()).expect("an answer of the method"))
    }

    /// The answer of a call, encoded.
    pub(crate) async fn send(&self, caller: &Caller, path: &str, request: Vec<u8>) -> Answer {
        self.wire.send(&format!("/rapport.identity.v1.{path}"), caller, request).await
    }

    /// A new tenant, in which an administrator is signed in.
    pub(crate) async fn tenant(&self, slug: &str, policy: Option<pb::SecurityPolicy>) -> Subject {
        let administrator =
            pb::Administrator { email: ADMINISTRATOR.to_owned(), display_name: "Administrator".to_owned(), password: PASSWORD.to_owned() };
        let request = pb::CreateTenantRequest {
            tenant: Some(pb::Tenant { display_name: slug.to_owned(), slug: slug.to_owned(), ..pb::Tenant::default() }),
            administrator: Some(administrator),
            security_policy: policy,
        };
        let answer: pb::CreateTenantResponse = self.ask(&Caller::operator(), "TenantService/CreateTenant", &request).await;
        let tenant = answer.tenant.expect("a tenant is answered");
        let (_, id) = rapport_kit::name::split(&tenant.name).expect("a tenant has a name");
        self.sign_in(id, ADMINISTRATOR).await.0
    }

    /// A new session: who is signed in, and what was answered.
    pub(crate) async fn sign_in(&self, tenant: Uuid, email: &str) -> (Subject, pb::SignInResponse) {
        let answer = self.try_sign_in(tenant, email, PASSWORD).await.expect("a user signs in");
        let session = answer.session.clone().expect("a sign-in opens a session");
        let (_, id) = rapport_kit::name::split(&session.user).expect("a session has a user");
        (Subject { tenant, id, token: answer.access_token.clone() }, answer)
    }

    /// The same, which may be refused.
    pub(crate) async fn try_sign_in(&self, tenant: Uuid, email: &str, password: &str) -> Result<pb::SignInResponse, Status> {
        let request = pb::SignInRequest { tenant: format!("tenants/{tenant}"), email: email.to_owned(), password: password.to_owned() };
        self.try_ask(&Caller::anonymous(), "SessionService/SignIn", &request).await
    }

    /// A new user, who can sign in if `can_sign_in`.
    pub(crate) async fn user(&self, administrator: &Subject, email: &str, unit: Option<Uuid>, can_sign_in: bool) -> Stored {
        let business_unit = unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default();
        let user = pb::User { display_name: email.to_owned(), email: email.to_owned(), business_unit, ..pb::User::default() };
        let initial_password = if can_sign_in { PASSWORD.to_owned() } else { String::new() };
        let request = pb::CreateUserRequest { user: Some(user), initial_password };
        self.ask(&Caller::of(administrator), "UserService/CreateUser", &request).await
    }

    /// A new role.
    pub(crate) async fn role(&self, administrator: &Subject, display_name: &str, permissions: &[&str]) -> Stored {
        let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        let role = pb::Role { display_name: display_name.to_owned(), permissions, ..pb::Role::default() };
        self.ask(&Caller::of(administrator), "RoleService/CreateRole", &pb::CreateRoleRequest { role: Some(role) }).await
    }

    /// Gives a user a role.
    pub(crate) async fn grant(&self, administrator: &Subject, user: &str, role: &str, level: GrantLevel) -> Stored {
        let request = pb::GrantRoleRequest { name: user.to_owned(), role: role.to_owned(), level: level.into(), etag: String::new() };
        self.ask(&Caller::of(administrator), "UserService/GrantRole", &request).await
    }

    /// A token with which a service acts for somebody, who needs no password for it.
    pub(crate) async fn act_for(&self, tenant: Uuid, actor: &str) -> Subject {
        let request = pb::ExchangeTokenRequest {
            service: "services/contacts".to_owned(),
            secret: password().expose_secret().to_owned(),
            tenant: format!("tenants/{tenant}"),
            actor: actor.to_owned(),
            scopes: Vec::new(),
        };
        let answer: pb::ExchangeTokenResponse = self.ask(&Caller::anonymous(), "TokenService/ExchangeToken", &request).await;
        let (_, id) = rapport_kit::name::split(actor).expect("an actor has a name");
        Subject { tenant, id, token: answer.access_token }
    }

    /// A connection as the system role, which sees all tenants.
    pub(crate) async fn database(&self) -> PgConnection {
        let options: PgConnectOptions = self.logins.system.expose_secret().parse().expect("the address of the database can be read");
        options.connect().await.expect("the database answers")
    }
}

/// A policy under which a lock lasts for the whole test.
pub(crate) fn policy() -> pb::SecurityPolicy {
    pb::SecurityPolicy {
        name: "securityPolicy".to_owned(),
        lockout_attempts: 3,
        lockout_base_seconds: 86_400,
        data_owner: "Example Ltd".to_owned(),
        ..pb::SecurityPolicy::default()
    }
}

/// A company as far as identity asks for it.
pub(crate) fn legal_entity(display_name: &str) -> pb::LegalEntity {
    pb::LegalEntity {
        display_name: display_name.to_owned(),
        country: "FR".to_owned(),
        currency: "EUR".to_owned(),
        default_language: "fr-FR".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
        ..pb::LegalEntity::default()
    }
}
