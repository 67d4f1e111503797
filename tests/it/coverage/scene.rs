//! Where the walkers take place: one service, two tenants, and people who lack exactly one thing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use rapport_kit::clock;
use rapport_kit::testing::{Subject, TestService};
use rapport_proto::common::v1::policy_change::State;
use rapport_proto::common::v1::{GrantLevel, PolicyTenant};
use rapport_proto::{Door, Event, MethodRule};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use super::wire::{Answer, Caller, Wire};
use super::{contacts, identity};
use crate::bureau::{Bureau, policy};

/// Services of the shared contract that a service with records of its own serves for them.
const OF_RECORDS: &[&str] = &[
    "/rapport.common.v1.AccessService/",
    "/rapport.common.v1.AuditService/",
    "/rapport.common.v1.DeadLetterService/",
    "/rapport.common.v1.FileService/",
    "/rapport.common.v1.JobService/",
];
/// Those that identity serves.
const OF_IDENTITY: &[&str] = &["/rapport.common.v1.PolicyService/", "/rapport.common.v1.DeadLetterService/"];

/// What a request is about, which decides who finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Many records, none, or one that is to be made.
    Nothing,
    /// One stored record, which is absent for everybody who may not see it.
    Record,
    /// Something that everybody of the tenant may know and nobody else.
    Tenant,
}

/// A request that succeeds when an administrator sends it.
#[derive(Debug, Clone)]
pub(super) struct Valid {
    /// Encoded.
    pub(super) request: Vec<u8>,
    /// Rows of the journal that it leaves.
    pub(super) facts: usize,
    /// What it is about.
    pub(super) about: About,
    /// Who has to send it, if it is about the caller.
    pub(super) by: Option<Subject>,
    /// Whether the caller's credential is worth nothing afterwards.
    pub(super) ends_caller: bool,
    /// Whether nothing is left of the record, so that it is absent for whoever comes later.
    pub(super) removes: bool,
}

impl Valid {
    /// A read of many records or none.
    pub(super) fn read(request: &impl Message) -> Self {
        Self { request: request.encode_to_vec(), facts: 0, about: About::Nothing, by: None, ends_caller: false, removes: false }
    }

    /// A change that leaves `facts` rows.
    pub(super) fn change(request: &impl Message, facts: usize) -> Self {
        Self { facts, ..Self::read(request) }
    }

    /// The same about one stored record.
    pub(super) fn about_a_record(self) -> Self {
        Self { about: About::Record, ..self }
    }
}

/// The service that is walked over.
#[derive(Debug)]
enum Stage {
    Contacts(Box<TestService>),
    Identity(Box<Bureau>),
}

/// A service with people.
#[derive(Debug)]
pub(super) struct Scene {
    stage: Stage,
    pub(super) wire: Wire,
    /// May do everything in the first tenant.
    pub(super) administrator: Subject,
    /// The same.
    pub(super) colleague: Subject,
    /// May do everything in the second tenant.
    pub(super) foreigner: Subject,
    /// Holds no role.
    pub(super) nobody: Subject,
    /// May do everything in a tenant that has no security policy yet.
    pub(super) early: Subject,
    /// Holds a credential that is limited to this permission of an administrator's.
    pub(super) limited: (Subject, &'static str),
    /// By permission: who holds every other permission over all records.
    pub(super) lacking: BTreeMap<&'static str, Subject>,
    numbers: AtomicU64,
}

impl Scene {
    /// One for each service.
    pub(super) async fn all() -> [Self; 2] {
        [Box::pin(Self::contacts()).await, Box::pin(Self::identity()).await]
    }

    /// The contacts service, with a stand-in for identity.
    pub(super) async fn contacts() -> Self {
        let service = TestService::start(&rapport_contacts::SERVICE).await;
        let identity = &service.identity;
        let (tenant, other, early) = (identity.tenant(), identity.tenant(), rapport_kit::clock::new_id());
        identity.tell(early, format!("tenants/{early}"), 1, Some(State::TenantState(PolicyTenant { ready: false })));
        let mut lacking = BTreeMap::new();
        let permissions = permissions(&methods(rapport_contacts_api::METHODS, OF_RECORDS));
        for permission in &permissions {
            let role = identity.role(tenant, &others(&permissions, permission), Vec::new());
            lacking.insert(*permission, identity.user(tenant, None, role, GrantLevel::All));
        }
        let administrator = identity.administrator(tenant);
        let permission = "contacts.contact.read";
        let mut claims = identity.claims(tenant, &administrator.name());
        claims.scope = Some(vec![permission.to_owned()]);
        let limited = Subject { token: identity.token(&claims), ..administrator.clone() };
        let scene = Self {
            wire: Wire::new(service.channel.clone()),
            nobody: identity.user_with(tenant, None, &[]),
            administrator,
            colleague: identity.administrator(tenant),
            early: identity.administrator(early),
            limited: (limited, permission),
            foreigner: identity.administrator(other),
            lacking,
            numbers: AtomicU64::new(1),
            stage: Stage::Contacts(Box::new(service)),
        };
        // Whoever comes last is told of last: with the first answer to it the service knows everybody.
        let list = rapport_contacts_api::v1::ListContactsRequest::default().encode_to_vec();
        let path = "/rapport.contacts.v1.ContactService/ListContacts";
        scene.wire.send(path, &Caller::of(&scene.foreigner), list).await.expect("an administrator lists contacts");
        scene
    }

    /// Identity itself.
    async fn identity() -> Self {
        let bureau = Bureau::open().await;
        let administrator = bureau.tenant("walked", Some(policy())).await;
        let foreigner = bureau.tenant("other", Some(policy())).await;
        let early = bureau.tenant("early", None).await;
        let tenant = administrator.tenant;
        let everything = bureau.role(&administrator, "Everything", &["*"]).await;
        let colleague = bureau.user(&administrator, identity::COLLEAGUE, None, true).await;
        bureau.grant(&administrator, &colleague.name, &everything.name, GrantLevel::All).await;
        let nobody = bureau.user(&administrator, "nobody@example.com", None, false).await;
        let mut lacking = BTreeMap::new();
        let permissions = permissions(&methods(rapport_identity_api::METHODS, OF_IDENTITY));
        for permission in &permissions {
            let role = bureau.role(&administrator, &format!("all but {permission}"), &others(&permissions, permission)).await;
            let user = bureau.user(&administrator, &format!("{permission}@example.com"), None, false).await;
            bureau.grant(&administrator, &user.name, &role.name, GrantLevel::All).await;
            lacking.insert(*permission, bureau.act_for(tenant, &user.name).await);
        }
        let permission = "identity.role.read";
        Self {
            wire: bureau.wire.clone(),
            colleague: bureau.sign_in(tenant, identity::COLLEAGUE).await.0,
            nobody: bureau.act_for(tenant, &nobody.name).await,
            limited: (identity::limited_to(&bureau, &administrator, &everything.name, permission).await, permission),
            administrator,
            foreigner,
            early,
            lacking,
            numbers: AtomicU64::new(1),
            stage: Stage::Identity(Box::new(bureau)),
        }
    }

    /// Every method that the service offers.
    pub(super) fn methods(&self) -> Vec<&'static MethodRule> {
        match &self.stage {
            Stage::Contacts(_) => methods(rapport_contacts_api::METHODS, OF_RECORDS),
            Stage::Identity(_) => methods(rapport_identity_api::METHODS, OF_IDENTITY),
        }
    }

    /// Every method of which the service must not know.
    pub(super) fn absent(&self) -> Vec<&'static MethodRule> {
        let offered = self.methods();
        let all = [rapport_contacts_api::METHODS, rapport_identity_api::METHODS, rapport_proto::METHODS];
        all.into_iter().flatten().filter(|rule| offered.iter().all(|other| other.path != rule.path)).collect()
    }

    /// A request of the method at `path` that succeeds; none if nobody has thought of one.
    pub(super) async fn valid(&self, path: &str) -> Option<Valid> {
        match &self.stage {
            Stage::Contacts(_) => Some(contacts::valid(self, path)?.await),
            Stage::Identity(bureau) => Some(identity::valid(self, bureau, path)?.await),
        }
    }

    /// Who sends a valid request of the method.
    pub(super) fn caller(&self, rule: &MethodRule, valid: &Valid) -> Caller {
        match rule.door {
            Door::Public => Caller::anonymous(),
            Door::Operator => Caller::operator(),
            Door::Authenticated | Door::Permission => Caller::of(valid.by.as_ref().unwrap_or(&self.administrator)),
        }
    }

    /// As whom the journal knows who sends it.
    pub(super) fn actor(&self, rule: &MethodRule, valid: &Valid) -> String {
        match rule.door {
            Door::Operator => "operators/installation".to_owned(),
            _ => valid.by.as_ref().unwrap_or(&self.administrator).name(),
        }
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// An administrator's call.
    pub(super) async fn send(&self, path: &str, request: Vec<u8>) -> Answer {
        self.wire.send(path, &Caller::of(&self.administrator), request).await
    }

    /// Such as `services/contacts`.
    pub(super) fn service(&self) -> &'static str {
        match self.stage {
            Stage::Contacts(_) => "services/contacts",
            Stage::Identity(_) => "services/identity",
        }
    }

    /// The name of a dead letter of the administrator's tenant: an event that cannot be read, however often.
    pub(super) async fn dead_letter(&self) -> String {
        let id = clock::new_id();
        sqlx::query(
            "insert into kit.dead_letter (tenant_id, id, state, consumer, event_id, fact, subject, subject_version, routing_key, headers, body,
               reason, attempts)
             values ($1, $2, 'dead', 'contacts', $2::text, $3, 'legalEntities/' || $2::text, 1, $3 || '.p00', jsonb_build_object('rapport-version', '1'), '',
               'EVENT_UNREADABLE: made by a test', 1)",
        )
        .bind(self.administrator.tenant)
        .bind(id)
        .bind(rapport_identity_api::v1::LegalEntityCreated::KEY)
        .execute(&mut self.database().await)
        .await
        .expect("a dead letter is stored");
        format!("{}/deadLetters/{id}", self.service())
    }

    /// Actors of the journal rows that these requests left, one for each row.
    pub(super) async fn journal(&self, requests: &[String]) -> Vec<String> {
        let query = "select actor from kit.journal where request_id = any($1)";
        sqlx::query_scalar(query).bind(requests).fetch_all(&mut self.database().await).await.expect("rows")
    }

    /// A connection as the system role, which sees all tenants.
    pub(super) async fn database(&self) -> PgConnection {
        let system: &SecretString = match &self.stage {
            Stage::Contacts(service) => &service.logins.system,
            Stage::Identity(bureau) => &bureau.logins.system,
        };
        let options: PgConnectOptions = system.expose_secret().parse().expect("the address of the database can be read");
        options.connect().await.expect("the database answers")
    }
}

fn methods(own: &'static [MethodRule], shared: &[&str]) -> Vec<&'static MethodRule> {
    let shared = rapport_proto::METHODS.iter().filter(|rule| shared.iter().any(|service| rule.path.starts_with(service)));
    own.iter().chain(shared).collect()
}

/// Permissions that the doors of these methods ask for, each once.
fn permissions(methods: &[&'static MethodRule]) -> Vec<&'static str> {
    let mut permissions: Vec<&'static str> = methods.iter().map(|rule| rule.permission).filter(|permission| !permission.is_empty()).collect();
    permissions.sort_unstable();
    permissions.dedup();
    permissions
}

fn others<'a>(permissions: &[&'a str], one: &str) -> Vec<&'a str> {
    permissions.iter().copied().filter(|other| *other != one).collect()
}
