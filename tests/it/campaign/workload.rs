//! Commands that go on whatever is killed: each is sent again under its idempotency key until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tonic::Request;
use uuid::Uuid;

use super::stage::Stage;

const WRITERS: usize = 4;
const CHANGES: usize = 5;
const PASSWORD: &str = "a long enough password";

/// A record and the version that a caller was told.
pub(super) type Acknowledged = (Uuid, i64);

/// Running writers.
pub(super) struct Workload {
    /// Commands that were sent and not answered yet.
    pub(super) under_way: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Vec<Acknowledged>>>,
    refresher: JoinHandle<()>,
}

/// Sets a tenant up and starts writing.
pub(super) async fn start(stage: &Stage) -> Workload {
    let request = identity::CreateTenantRequest {
        tenant: Some(identity::Tenant { display_name: "Campaign".to_owned(), slug: "campaign".to_owned(), ..identity::Tenant::default() }),
        administrator: Some(identity::Administrator {
            email: "admin@example.com".to_owned(),
            display_name: "Administrator".to_owned(),
            password: PASSWORD.to_owned(),
        }),
        security_policy: Some(identity::SecurityPolicy {
            name: "securityPolicy".to_owned(),
            password_min_length: 8,
            lockout_attempts: 10,
            lockout_base_seconds: 30,
            session_idle_seconds: 3_600,
            session_absolute_seconds: 36_000,
            history_retention_days: 3_650,
            data_owner: "the campaign".to_owned(),
            ..identity::SecurityPolicy::default()
        }),
    };
    let channel = stage.identity();
    persist("create the tenant", || {
        let mut request = Request::new(request.clone());
        request.metadata_mut().insert("authorization", "Bearer development-credential".parse().expect("ASCII"));
        request.metadata_mut().insert("idempotency-key", "campaign-tenant".parse().expect("ASCII"));
        let mut client = TenantServiceClient::new(channel.clone());
        async move { client.create_tenant(request).await }
    })
    .await;
    let token = Arc::new(RwLock::new(sign_in(stage.identity()).await));
    let stop = Arc::new(AtomicBool::new(false));
    let refresher = refresh(stage.identity(), Arc::clone(&token));
    let under_way = Arc::new(AtomicUsize::new(0));
    let writers = (0..WRITERS)
        .map(|_| {
            let writer = Writer { channel: stage.contacts(), token: Arc::clone(&token), under_way: Arc::clone(&under_way), stop: Arc::clone(&stop) };
            spawn(writer.write())
        })
        .collect();
    Workload { under_way, stop, writers, refresher }
}

impl Workload {
    /// Ends the writers after their present record; answers everything that was acknowledged.
    pub(super) async fn finish(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.expect("a writer ends"));
        }
        self.refresher.abort();
        all
    }
}

struct Writer {
    channel: tonic::transport::Channel,
    token: Arc<RwLock<String>>,
    under_way: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    async fn write(self) -> Vec<Acknowledged> {
        let mut acknowledged = Vec::new();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let person = contacts::Person { family_name: format!("Person {number}"), ..contacts::Person::default() };
            let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
            let mut current = self.create(contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }).await;
            acknowledged.push(told(&current));
            for change in 0..CHANGES {
                current.tags = vec![format!("change {change}")];
                current = self
                    .update(contacts::UpdateContactRequest {
                        contact: Some(current.clone()),
                        update_mask: Some(prost_types::FieldMask { paths: vec!["tags".to_owned()] }),
                        allow_duplicates: false,
                    })
                    .await;
                acknowledged.push(told(&current));
            }
        }
        acknowledged
    }

    async fn create(&self, request: contacts::CreateContactRequest) -> contacts::Contact {
        let key = Uuid::now_v7().to_string();
        persist("create", || async {
            let request = self.request(request.clone(), &key).await;
            self.counted(ContactServiceClient::new(self.channel.clone()).create_contact(request)).await
        })
        .await
    }

    async fn update(&self, request: contacts::UpdateContactRequest) -> contacts::Contact {
        let key = Uuid::now_v7().to_string();
        persist("update", || async {
            let request = self.request(request.clone(), &key).await;
            self.counted(ContactServiceClient::new(self.channel.clone()).update_contact(request)).await
        })
        .await
    }

    async fn request<T>(&self, message: T, key: &str) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token.read().await);
        request.metadata_mut().insert("authorization", bearer.parse().expect("ASCII"));
        request.metadata_mut().insert("idempotency-key", key.parse().expect("ASCII"));
        request
    }

    async fn counted<T>(&self, call: impl Future<Output = T>) -> T {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let answer = call.await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

/// What the caller was told: the version is the etag.
fn told(contact: &contacts::Contact) -> Acknowledged {
    let (_, id) = rapport_kit::name::split(&contact.name).expect("a contact has a name");
    (id, contact.etag.parse().expect("an etag is a version"))
}

/// Sends again until it is answered; a refusal that will not pass ends the campaign.
async fn persist<T, F: Future<Output = Result<tonic::Response<T>, tonic::Status>>>(what: &str, send: impl Fn() -> F) -> T {
    let begun = std::time::Instant::now();
    loop {
        match send().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => {
                use tonic::Code::{Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unauthenticated, Unavailable, Unknown};
                let passes = matches!(
                    status.code(),
                    Unavailable | DeadlineExceeded | Cancelled | Unknown | ResourceExhausted | Aborted | Unauthenticated | Internal
                );
                assert!(passes, "{what}: {status:?}");
                assert!(begun.elapsed() < Duration::from_secs(90), "{what} was not answered for 90 s: {status:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn sign_in(channel: tonic::transport::Channel) -> String {
    persist("sign in", || {
        let request = identity::SignInRequest { tenant: "campaign".to_owned(), email: "admin@example.com".to_owned(), password: PASSWORD.to_owned() };
        let mut client = SessionServiceClient::new(channel.clone());
        async move { client.sign_in(request).await }
    })
    .await
    .access_token
}

/// Tokens live five minutes; a campaign may live longer.
fn refresh(channel: tonic::transport::Channel, token: Arc<RwLock<String>>) -> JoinHandle<()> {
    spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(120)).await;
            *token.write().await = sign_in(channel.clone()).await;
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the campaign waits for its writers itself")]
fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}
