//! A service whose reaction fails for the events that a test names, until the test mends it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use prost::Message;
use rapport_kit::bus::{Outcome, Outgoing, Publisher};
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::testing::{Subject, TestService, eventually};
use rapport_kit::{App, Fault, Service, Tx};
use rapport_proto::Event;
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::dead_letter_service_client::DeadLetterServiceClient;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::line::note;
use crate::support::{SERVICE, superuser};

/// How often the reaction was entered, by event.
static TRIES: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

pub(super) struct Desk {
    pub(super) administrator: Subject,
    /// May do everything in another tenant.
    pub(super) foreigner: Subject,
    service: TestService,
}

fn start(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        app.consume(Consumers::new(SERVICE.name).on::<pb::RecordShared, _>(|tx, received| Box::pin(react(tx, received))));
        Ok(())
    })
}

async fn react(tx: &mut Tx, received: Received<pb::RecordShared>) -> Result<(), Fault> {
    let Received { event, tenant, subject, version, id } = received;
    *TRIES.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default() += 1;
    // What a failed attempt wrote must not stay.
    note(tx, Received { event: pb::PolicyChange::default(), tenant, subject, version, id }).await?;
    let name = event.record;
    assert_ne!(name, "panic", "this reaction was asked to panic");
    let is_broken: bool = sqlx::query_scalar("select exists (select from broken where tenant_id = $1 and name = $2)")
        .bind(tenant)
        .bind(name)
        .fetch_one(tx.conn())
        .await?;
    if is_broken { Err(Fault::argument("MAKES_NO_SENSE", "What?")) } else { Ok(()) }
}

impl Desk {
    pub(super) async fn open() -> Self {
        let service = TestService::start(&Service { start, ..SERVICE }).await;
        let (tenant, other) = (service.identity.tenant(), service.identity.tenant());
        let (administrator, foreigner) = (service.identity.administrator(tenant), service.identity.administrator(other));
        Self { administrator, foreigner, service }
    }

    pub(super) fn client(&self) -> DeadLetterServiceClient<Channel> {
        DeadLetterServiceClient::new(self.service.channel.clone())
    }

    /// From now on the reaction fails for events of this name.
    pub(super) async fn break_down(&self, name: &str) {
        self.execute("insert into broken (tenant_id, name) values ($1, $2)", name).await;
    }

    /// From now on it does not any more.
    pub(super) async fn mend(&self, name: &str) {
        self.execute("delete from broken where tenant_id = $1 and name = $2", name).await;
    }

    async fn execute(&self, statement: &'static str, name: &str) {
        let mut conn = superuser(&self.service.logins).await;
        sqlx::query(statement).bind(self.administrator.tenant).bind(name).execute(&mut conn).await.expect("it is written");
    }

    /// Sends an event that the consumer has not seen if it is new; answers its id.
    pub(super) async fn send(&self, record: Uuid, version: i64, name: &str) -> String {
        let id = format!("elsewhere:{record}:{version}");
        self.send_as(&id, record, version, name).await;
        id
    }

    /// The same under a given id.
    pub(super) async fn send_as(&self, id: &str, record: Uuid, version: i64, name: &str) {
        // Not a change of policy, which the process hears over another queue too.
        let event = pb::RecordShared { record: name.to_owned(), ..pb::RecordShared::default() };
        let headers = vec![
            ("cloudEvents:subject", format!("effects/{record}")),
            ("rapport-tenant", self.administrator.tenant.to_string()),
            ("rapport-version", version.to_string()),
            ("traceparent", "00-trace-01".to_owned()),
        ];
        let message = Outgoing { id: id.to_owned(), routing_key: format!("{}.p00", pb::RecordShared::KEY), headers, body: event.encode_to_vec() };
        eventually("a consumer that is bound", async || {
            let mut publisher = Publisher::new(self.service.broker.clone(), "by hand".to_owned());
            let sent = publisher.publish(std::slice::from_ref(&message)).await.ok()?;
            publisher.close().await;
            (sent == [Outcome::Confirmed]).then_some(())
        })
        .await;
    }

    /// Effects in their order: record and version.
    pub(super) async fn effects(&self) -> Vec<(Uuid, i64)> {
        let mut conn = superuser(&self.service.logins).await;
        sqlx::query_as("select record_id, version from effect order by seq").fetch_all(&mut conn).await.expect("effects")
    }

    /// Effects as soon as there are `count`, once nothing is held that could still have one.
    pub(super) async fn all_effects(&self, count: usize) -> Vec<(Uuid, i64)> {
        eventually(&format!("{count} effects"), async || (self.effects().await.len() >= count).then_some(())).await;
        eventually("an end of what is due", async || {
            let mut conn = superuser(&self.service.logins).await;
            let query = "select not exists (select from kit.dead_letter where state = 'due')";
            let is_over: bool = sqlx::query_scalar(query).fetch_one(&mut conn).await.expect("an answer");
            is_over.then_some(())
        })
        .await;
        self.effects().await
    }

    /// How often the reaction was entered for the event.
    pub(super) fn tries(&self, event: &str) -> u32 {
        TRIES.lock().unwrap_or_else(PoisonError::into_inner).get(event).copied().unwrap_or_default()
    }

    /// The letter, once it is there alone.
    pub(super) async fn only_letter(&self) -> pb::DeadLetter {
        let mut letters = eventually("a dead letter", async || Some(self.letters("").await).filter(|letters| !letters.is_empty())).await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        letters.remove(0)
    }

    /// The letter, once so many events wait behind it.
    pub(super) async fn waited_for(&self, count: i32) -> pb::DeadLetter {
        let what = format!("{count} events behind the dead letter");
        eventually(&what, async || self.letters("").await.pop().filter(|letter| letter.waiting_count == count)).await
    }

    pub(super) async fn letters(&self, filter: &str) -> Vec<pb::DeadLetter> {
        self.list(&self.administrator, filter).await.expect("an administrator may list").dead_letters
    }

    pub(super) async fn list(&self, caller: &Subject, filter: &str) -> Result<pb::ListDeadLettersResponse, Status> {
        let request = pb::ListDeadLettersRequest { parent: parent(), filter: filter.to_owned(), ..pb::ListDeadLettersRequest::default() };
        self.client().list_dead_letters(caller.request(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn replay(&self, caller: &Subject, name: &str, key: Option<&str>) -> Result<pb::ReplayDeadLettersResponse, Status> {
        let request = pb::ReplayDeadLettersRequest { parent: parent(), names: vec![name.to_owned()] };
        let request = match key {
            Some(key) => caller.keyed(request, key),
            None => caller.request(request),
        };
        self.client().replay_dead_letters(request).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn discard(&self, caller: &Subject, name: &str, reason: &str) -> Result<pb::DiscardDeadLettersResponse, Status> {
        let request = pb::DiscardDeadLettersRequest { parent: parent(), names: vec![name.to_owned()], reason: reason.to_owned() };
        self.client().discard_dead_letters(caller.request(request)).await.map(tonic::Response::into_inner)
    }

    /// Facts about dead letters that the administrator's decisions left in the journal.
    pub(super) async fn journal(&self) -> Vec<String> {
        let mut conn = superuser(&self.service.logins).await;
        let facts = sqlx::query_scalar(
            "select fact from kit.journal where record_type = 'deadLetters' and actor = $1 and message is not null order by xid, id",
        );
        facts.bind(self.administrator.name()).fetch_all(&mut conn).await.expect("facts")
    }
}

fn parent() -> String {
    format!("services/{}", SERVICE.name)
}
