//! Where the walkers take place: one service, two tenants, and people who lack exactly one thing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use rapport_kit::testing::{Subject, TestService};
use rapport_proto::common::v1::GrantLevel;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use super::methods;
use super::wire::{Answer, Caller, Wire};

/// A request that succeeds when an administrator sends it.
#[derive(Debug, Clone)]
pub(super) struct Valid {
    /// Encoded.
    pub(super) request: Vec<u8>,
    /// Rows of the journal that it leaves.
    pub(super) facts: usize,
    /// Whether it is about one stored record, which is absent for everybody who may not see it.
    pub(super) about_a_record: bool,
}

impl Valid {
    /// A read of many records or none.
    pub(super) fn read(request: &impl Message) -> Self {
        Self { request: request.encode_to_vec(), facts: 0, about_a_record: false }
    }

    /// A change that leaves `facts` rows.
    pub(super) fn change(request: &impl Message, facts: usize) -> Self {
        Self { facts, ..Self::read(request) }
    }

    /// The same about one stored record.
    pub(super) fn about_a_record(self) -> Self {
        Self { about_a_record: true, ..self }
    }
}

/// A service with people.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) service: TestService,
    pub(super) wire: Wire,
    /// May do everything in the first tenant.
    pub(super) administrator: Subject,
    /// The same.
    pub(super) colleague: Subject,
    /// May do everything in the second tenant.
    pub(super) foreigner: Subject,
    /// Holds no role.
    pub(super) nobody: Subject,
    /// By permission: who holds every other permission over all records.
    pub(super) lacking: BTreeMap<&'static str, Subject>,
    numbers: AtomicU64,
}

impl Scene {
    pub(super) async fn open() -> Self {
        let service = TestService::start(&rapport_contacts::SERVICE).await;
        let identity = &service.identity;
        let (tenant, other) = (identity.tenant(), identity.tenant());
        let mut permissions: Vec<&'static str> = methods().iter().map(|rule| rule.permission).filter(|permission| !permission.is_empty()).collect();
        permissions.sort_unstable();
        permissions.dedup();
        let mut lacking = BTreeMap::new();
        for permission in &permissions {
            let others: Vec<&str> = permissions.iter().copied().filter(|other| other != permission).collect();
            let role = identity.role(tenant, &others, Vec::new());
            lacking.insert(*permission, identity.user(tenant, None, role, GrantLevel::All));
        }
        let scene = Self {
            wire: Wire::new(service.channel.clone()),
            nobody: identity.user_with(tenant, None, &[]),
            administrator: identity.administrator(tenant),
            colleague: identity.administrator(tenant),
            foreigner: identity.administrator(other),
            lacking,
            numbers: AtomicU64::new(1),
            service,
        };
        // Whoever comes last is told of last: with the first answer to it the service knows everybody.
        let list = rapport_contacts_api::v1::ListContactsRequest::default().encode_to_vec();
        let path = "/rapport.contacts.v1.ContactService/ListContacts";
        scene.wire.send(path, &Caller::of(&scene.foreigner), list).await.expect("an administrator lists contacts");
        scene
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// An administrator's call.
    pub(super) async fn send(&self, path: &str, request: Vec<u8>) -> Answer {
        self.wire.send(path, &Caller::of(&self.administrator), request).await
    }

    /// Actors of the journal rows that these requests left, one for each row.
    pub(super) async fn journal(&self, requests: &[String]) -> Vec<String> {
        let options: PgConnectOptions = self.service.logins.system.expose_secret().parse().expect("the address of the database can be read");
        let mut connection: PgConnection = options.connect().await.expect("the database answers");
        sqlx::query_scalar("select actor from kit.journal where request_id = any($1)").bind(requests).fetch_all(&mut connection).await.expect("rows")
    }
}
