//! The copy of identity's policy: what is taken away is gone, what is old stays old.

use prost::Message;
use rapport_kit::bus::{Outcome, Outgoing, Publisher};
use rapport_kit::clock;
use rapport_kit::tasks::Tasks;
use rapport_kit::testing::{Identity, Subject, TestService, eventually};
use rapport_proto::Event;
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::policy_change::State;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{Rig, SERVICE, Wire, client, refusal, serve};

#[tokio::test]
async fn a_role_that_is_taken_away_takes_effect() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    verify(&mut client, &caller).await.expect("the role permits it");
    rig.identity.grant(tenant, caller.id, 2, None, &[]);
    everything_is_known(&rig.identity, &mut client).await;
    assert_denied(verify(&mut client, &caller).await);
}

#[tokio::test]
async fn a_role_that_loses_its_permission_takes_effect() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::Own);
    verify(&mut client, &caller).await.expect("the role permits it");
    rig.identity.tell(tenant, format!("roles/{role}"), 2, Some(State::Role(pb::PolicyRole::default())));
    everything_is_known(&rig.identity, &mut client).await;
    assert_denied(verify(&mut client, &caller).await);
}

#[tokio::test]
async fn an_older_state_never_replaces_a_newer_one() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    verify(&mut client, &caller).await.expect("the role permits it");
    rig.identity.grant(tenant, caller.id, 3, None, &[]);
    everything_is_known(&rig.identity, &mut client).await;
    assert_denied(verify(&mut client, &caller).await);
    // Version 2 comes late, and so does version 3 once more.
    rig.identity.grant(tenant, caller.id, 2, None, &[(role, pb::GrantLevel::All)]);
    everything_is_known(&rig.identity, &mut client).await;
    assert_denied(verify(&mut client, &caller).await);
}

#[tokio::test]
async fn somebody_who_was_deleted_or_disabled_is_turned_away_and_late_news_bring_nobody_back() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let deleted = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let disabled = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    for caller in [&deleted, &disabled] {
        verify(&mut client, caller).await.expect("the role permits it");
    }
    rig.identity.tell(tenant, deleted.name(), 5, None);
    rig.identity.tell(tenant, disabled.name(), 5, Some(State::Subject(pb::PolicySubject::default())));
    rig.identity.grant(tenant, deleted.id, 4, None, &[(role, pb::GrantLevel::All)]);
    rig.identity.grant(tenant, disabled.id, 4, None, &[(role, pb::GrantLevel::All)]);
    everything_is_known(&rig.identity, &mut client).await;
    for caller in [&deleted, &disabled] {
        let status = verify(&mut client, caller).await.expect_err("nobody any more");
        assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn a_session_that_was_ended_opens_no_door() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let (caller, session) = in_session(&rig.identity, caller);
    verify(&mut client, &caller).await.expect("the session is alive");
    end(&rig.identity, tenant, session);
    everything_is_known(&rig.identity, &mut client).await;
    let status = verify(&mut client, &caller).await.expect_err("the session has ended");
    assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()));
    // Other processes of the service, and the next one after a restart, know it too.
    let next = serve(&rig.logins, &rig.identity.address, |_| {}).await;
    let status = verify(&mut crate::support::client(next.address).await, &caller).await.expect_err("the session has ended");
    assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()));
}

#[tokio::test]
async fn a_process_that_could_not_reach_identity_learns_of_sessions_that_ended_meanwhile() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let (caller, session) = in_session(&rig.identity, caller);
    verify(&mut client, &caller).await.expect("the session is alive");
    let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = line.local_addr().unwrap();
    drop(line);
    let late = serve(&rig.logins, &format!("http://{address}"), |_| {}).await;
    let mut late = crate::support::client(late.address).await;
    verify(&mut late, &caller).await.expect("the session is alive");

    // The first process hears of its end and stores that it has.
    end(&rig.identity, tenant, session);
    everything_is_known(&rig.identity, &mut client).await;
    let identity = rig.identity.address.strip_prefix("http://").expect("an address").to_owned();
    let line = TcpListener::bind(address).await.unwrap();
    Tasks::default().spawn("line", async move {
        let mut connections = JoinSet::new();
        while let Ok((mut from, _)) = line.accept().await {
            let mut to = TcpStream::connect(&identity).await.expect("identity listens");
            connections.spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let status = eventually("the end of the session", async || verify(&mut late.clone(), &caller).await.err()).await;
    assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()));
}

#[tokio::test]
async fn a_tenant_without_a_security_policy_is_served_nothing() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let tenant = clock::new_id();
    let caller = rig.identity.administrator(tenant);
    let status = verify(&mut client, &caller).await.expect_err("no policy is stored");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "SECURITY_POLICY_MISSING".to_owned()));
    rig.identity.tell(tenant, format!("tenants/{tenant}"), 2, Some(State::TenantState(pb::PolicyTenant { ready: true })));
    verify(&mut client, &caller).await.expect("now there is one");
}

#[tokio::test]
async fn a_service_that_starts_while_identity_is_away_serves_what_it_knew() {
    let rig = Rig::start().await;
    let (tenant, role) = permitted(&rig.identity);
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let stranger = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    rig.identity.grant(tenant, stranger.id, 2, None, &[]);
    verify(&mut rig.client().await, &caller).await.expect("the role permits it");
    assert!(rig.running.stop().await);

    let alone = serve(&rig.logins, "http://127.0.0.1:1", |_| {}).await;
    let mut client = client(alone.address).await;
    verify(&mut client, &caller).await.expect("the stored keys and the stored policy permit it");
    assert_denied(verify(&mut client, &stranger).await);
    let unknown = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let status = verify(&mut client, &unknown).await.expect_err("nobody has told of this one");
    assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()));
}

#[tokio::test]
async fn a_change_takes_effect_by_its_event_alone() {
    let service = TestService::start(&SERVICE).await;
    let (tenant, role) = permitted(&service.identity);
    let caller = service.identity.user(tenant, None, role, pb::GrantLevel::All);
    let mut client = AuditServiceClient::new(service.channel.clone());
    client.verify_seal(caller.request(pb::VerifySealRequest::default())).await.expect("the role permits it");
    // Identity's own list never shows this change, so only the event can have told it.
    let cut = pb::PolicyChange {
        tenant: format!("tenants/{tenant}"),
        name: caller.name(),
        version: 2,
        state: Some(State::Subject(pb::PolicySubject { active: true, ..pb::PolicySubject::default() })),
        ..pb::PolicyChange::default()
    };
    let event = Outgoing {
        id: "identity:1:1".to_owned(),
        routing_key: format!("{}.p03", pb::PolicyChange::KEY),
        headers: vec![("rapport-tenant", tenant.to_string()), ("rapport-version", "2".to_owned())],
        body: cut.encode_to_vec(),
    };
    eventually("somebody who listens", async || {
        let mut publisher = Publisher::new(service.broker.clone(), "identity by hand".to_owned());
        (publisher.publish(std::slice::from_ref(&event)).await.ok()? == [Outcome::Confirmed]).then_some(())
    })
    .await;
    let status = eventually("the cut", async || client.clone().verify_seal(caller.request(pb::VerifySealRequest::default())).await.err()).await;
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
}

/// A tenant and a role in it that permits the call.
fn permitted(identity: &Identity) -> (Uuid, Uuid) {
    let tenant = identity.tenant();
    (tenant, identity.role(tenant, &["audit.seal.verify"], Vec::new()))
}

/// The same caller with a token of a session.
fn in_session(identity: &Identity, caller: Subject) -> (Subject, Uuid) {
    let session = clock::new_id();
    let mut claims = identity.claims(caller.tenant, &caller.name());
    claims.sid = Some(session);
    (Subject { token: identity.token(&claims), ..caller }, session)
}

/// Identity tells that the session has ended.
fn end(identity: &Identity, tenant: Uuid, session: Uuid) {
    let forget_time = prost_types::Timestamp { seconds: clock::now().timestamp() + 300, nanos: 0 };
    let ended = State::RevokedSession(pb::PolicyRevokedSession { forget_time: Some(forget_time) });
    identity.tell(tenant, format!("sessions/{session}"), 1, Some(ended));
}

/// Ready when the service knows all that identity has told so far: it asks when somebody unknown comes.
async fn everything_is_known(identity: &Identity, client: &mut AuditServiceClient<Wire>) {
    let (tenant, role) = permitted(identity);
    let newcomer = identity.user(tenant, None, role, pb::GrantLevel::All);
    verify(client, &newcomer).await.expect("the service catches up");
}

async fn verify(client: &mut AuditServiceClient<Wire>, caller: &Subject) -> Result<(), Status> {
    client.verify_seal(caller.request(pb::VerifySealRequest::default())).await.map(|_| ())
}

fn assert_denied(answer: Result<(), Status>) {
    let status = answer.expect_err("no role permits it");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
}
