//! Calls all services from inside the cluster by the kit's client, open loop, until it is asked to end; then reads
//! back every write that was acknowledged. For `scripts/cluster-test`.
//!
//! usage: rapport-load RATE CREDENTIAL-FILE [IDENTITY-ADDRESS CONTACTS-ADDRESS]
//!
//! Prints JSON lines: `{"ready": …}` once calls begin, one for every call that failed, `{"second": …}` with the calls of
//! each second, and in the end a summary. It ends well if no acknowledged write was lost, whatever failed.

mod organisation;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{Contact, CreateContactRequest, GetContactRequest, ListContactsRequest, Person};
use rapport_identity_api::v1::ListRolesRequest;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::{clock, process};
use tonic::{Request, Status};

use organisation::Organisation;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Access tokens last five minutes.
const RENEW: Duration = Duration::from_secs(120);

/// What is called, and what came of it.
struct Load {
    identity: Client,
    contacts: Client,
    organisation: Organisation,
    begun: Instant,
    sent: AtomicUsize,
    answered: AtomicUsize,
    failed: AtomicUsize,
    /// Milliseconds of each call that was answered.
    times: Mutex<Vec<u64>>,
    /// Acknowledged, as names.
    written: Mutex<Vec<String>>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (rate, credential, identity, contacts) = match arguments.as_slice() {
        [rate, credential] => (rate, credential, "http://identity-headless:8080", "http://contacts-headless:8080"),
        [rate, credential, identity, contacts] => (rate, credential, identity.as_str(), contacts.as_str()),
        _ => return Err("usage: rapport-load RATE CREDENTIAL-FILE [IDENTITY-ADDRESS CONTACTS-ADDRESS]".into()),
    };
    let rate: u32 = rate.parse()?;
    let tasks = Tasks::default();
    let client = |address: &str, rules| Client::new(Settings::new(address), &[rules], &tasks);
    let (identity, contacts) = (client(identity, rapport_identity_api::METHODS)?, client(contacts, rapport_contacts_api::METHODS)?);
    let credential = std::fs::read_to_string(credential)?;
    let organisation = Organisation::create(&identity, &contacts, credential.trim()).await?;
    let load = Arc::new(Load {
        identity,
        contacts,
        organisation,
        begun: Instant::now(),
        sent: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        times: Mutex::default(),
        written: Mutex::default(),
    });
    tell(&serde_json::json!({"ready": true, "at": clock::now().to_rfc3339()}));
    tokio::select! {
        _ = load.run(rate, &tasks) => {}
        asked = process::asked_to_end() => asked?,
    }
    // What is under way has a deadline of ten seconds.
    let waited = Instant::now();
    while load.under_way() > 0 && waited.elapsed() < Duration::from_secs(12) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lost = load.lost().await?;
    load.summarise(lost);
    if lost == 0 { Ok(()) } else { Err(format!("{lost} acknowledged writes are lost").into()) }
}

impl Load {
    /// `rate` calls a second, each sent when it is due whatever became of those before.
    async fn run(self: &Arc<Self>, rate: u32, tasks: &Tasks) {
        let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut renewed = Instant::now();
        for number in 0_u64.. {
            let at: Instant = due.tick().await.into();
            if number % u64::from(rate) == 0 {
                self.tell_second();
                if renewed.elapsed() > RENEW {
                    renewed = Instant::now();
                    let load = Arc::clone(self);
                    tasks.spawn("renewal", async move { load.organisation.renew(&load.identity).await });
                }
            }
            let load = Arc::clone(self);
            self.sent.fetch_add(1, Ordering::Relaxed);
            tasks.spawn("call", async move { load.call(number, at).await });
        }
    }

    /// Half are reads of one record, a fifth each lists and creations, a tenth goes to identity.
    async fn call(&self, number: u64, due: Instant) {
        let (method, answer) = match number % 10 {
            0 | 5 => ("CreateContact", self.create(number).await),
            1 | 6 => ("ListContacts", self.list().await),
            2 => ("ListRoles", self.roles().await),
            _ => ("GetContact", self.get(number).await),
        };
        match answer {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let time = due.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
                self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
            }
            Err(status) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let after = self.begun.elapsed().as_secs_f64();
                tell(&serde_json::json!({"failed": method, "after": after, "code": format!("{:?}", status.code()), "text": status.message()}));
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        self.organisation.request(message)
    }

    async fn create(&self, number: u64) -> Result<(), Status> {
        let person = Person { given_name: "Load".to_owned(), family_name: format!("Number {number}"), ..Person::default() };
        let contact = Contact { person: Some(person), ..Contact::default() };
        let mut request = self.request(CreateContactRequest { contact: Some(contact), allow_duplicates: false });
        // With a key a creation may be repeated by the client.
        let key = format!("load-{number}").parse().map_err(|_| Status::internal("no key"))?;
        request.metadata_mut().insert("idempotency-key", key);
        let created = ContactServiceClient::new(self.contacts.alone()).create_contact(request).await?.into_inner();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(created.name);
        Ok(())
    }

    async fn list(&self) -> Result<(), Status> {
        let request = self.request(ListContactsRequest { page_size: 10, ..ListContactsRequest::default() });
        ContactServiceClient::new(self.contacts.alone()).list_contacts(request).await.map(|_| ())
    }

    async fn roles(&self) -> Result<(), Status> {
        let request = self.request(ListRolesRequest { page_size: 10, ..ListRolesRequest::default() });
        RoleServiceClient::new(self.identity.alone()).list_roles(request).await.map(|_| ())
    }

    /// One of those that were written, else the list.
    async fn get(&self, number: u64) -> Result<(), Status> {
        let name = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let position = usize::try_from(number).unwrap_or_default().checked_rem(written.len());
            position.and_then(|position| written.get(position).cloned())
        };
        let Some(name) = name else { return self.list().await };
        let request = self.request(GetContactRequest { name, as_of: None });
        ContactServiceClient::new(self.contacts.alone()).get_contact(request).await.map(|_| ())
    }

    fn under_way(&self) -> usize {
        let ended = self.answered.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// How many acknowledged writes cannot be read back.
    async fn lost(&self) -> Outcome<usize> {
        self.organisation.renew(&self.identity).await;
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut lost = 0;
        for name in written {
            let request = self.request(GetContactRequest { name: name.clone(), as_of: None });
            if let Err(status) = ContactServiceClient::new(self.contacts.alone()).get_contact(request).await {
                lost += 1;
                tell(&serde_json::json!({"lost": name, "code": format!("{:?}", status.code())}));
            }
        }
        Ok(lost)
    }

    fn tell_second(&self) {
        let (sent, answered, failed) =
            (self.sent.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        tell(&serde_json::json!({"second": self.begun.elapsed().as_secs(), "sent": sent, "answered": answered, "failed": failed}));
    }

    fn summarise(&self, lost: usize) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.sort_unstable();
        let at = |hundredths: usize| times.get(times.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or_default();
        tell(&serde_json::json!({
            "summary": true,
            "sent": self.sent.load(Ordering::Relaxed),
            "answered": self.answered.load(Ordering::Relaxed),
            "failed": self.failed.load(Ordering::Relaxed),
            "unanswered": self.under_way(),
            "written": self.written.lock().unwrap_or_else(PoisonError::into_inner).len(),
            "lost": lost,
            "median_ms": at(50),
            "p99_ms": at(99),
            "slowest_ms": at(100),
        }));
    }
}

#[expect(clippy::print_stdout, reason = "whoever started it reads this")]
fn tell(line: &serde_json::Value) {
    println!("{line}");
}
