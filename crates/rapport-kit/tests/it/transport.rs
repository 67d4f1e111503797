//! Calls over the wire: deadlines, faults of handlers, limits.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rapport_kit::testing::{Identity, Infra, Subject, channel, eventually};
use rapport_kit::{Service, clock};
use rapport_proto::MethodRule;
use rapport_proto::common::v1 as pb;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Lines, Rig, SERVICE, client, do_as, gate, refusal, refused, runs, says_when_to_retry, serve, start_with, superuser};

#[tokio::test]
async fn a_call_past_its_deadline_is_told_so_and_its_query_ends() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mark = clock::new_id().to_string();
    let mut slow = caller.request(do_as(format!("sleep:{mark}")));
    slow.set_timeout(Duration::from_millis(300));
    let status = rig.client().await.list_changes(slow).await.expect_err("the handler takes a minute");
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_PASSED".to_owned()));
    eventually("the end of the query", async || (!runs(&rig.logins, &mark).await).then_some(())).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_the_query_along() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mark = clock::new_id().to_string();
    let mut client = rig.client().await;
    tokio::select! {
        _ = client.list_changes(caller.request(do_as(format!("sleep:{mark}")))) => panic!("a query of a minute has ended"),
        () = eventually("a running query", async || runs(&rig.logins, &mark).await.then_some(())) => {}
    }
    drop(client);
    eventually("the end of the query", async || (!runs(&rig.logins, &mark).await).then_some(())).await;
}

#[tokio::test]
async fn a_deadline_holds_through_a_chain_of_services() {
    let first = Rig::start().await;
    let caller = first.identity.administrator(first.identity.tenant());
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(serve(&first.logins, &first.identity.address, |_| {}).await);
    }
    let path: Vec<String> = others.iter().map(|running| running.address.to_string()).collect();
    // The answer comes in time and the last one's query has ended soon after. The times are those promised; since
    // this machine may be busy with something else, one of several tries has to keep them, and all tell the truth.
    let mut kept = false;
    for _ in 0..5 {
        let mark = clock::new_id().to_string();
        let mut slow = caller.request(do_as(format!("hand on:{mark}>{}", path.join(">"))));
        slow.set_timeout(Duration::from_millis(300));
        let mut client = first.client().await;
        let begun = Instant::now();
        let status = client.list_changes(slow).await.expect_err("the last of them takes a minute");
        let answered = begun.elapsed();
        assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_PASSED".to_owned()));
        eventually("the end of the query", async || (!runs(&first.logins, &mark).await).then_some(())).await;
        let ended = begun.elapsed();
        kept = answered <= Duration::from_millis(350) && ended <= Duration::from_millis(500);
        if kept {
            break;
        }
        eprintln!("answered after {answered:?}, query ended after {ended:?}");
    }
    assert!(kept, "neither in five tries");
}

#[tokio::test]
async fn one_connection_more_than_a_process_may_hold_is_told_so_and_finds_room_later() {
    let rig = Rig::configured(|config| config.connections = 2).await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let (mut one, mut other) = (rig.client().await, rig.client().await);
    for client in [&mut one, &mut other] {
        client.list_changes(caller.request(do_as("answer:"))).await.expect("there is room for two");
    }
    let status = rig.client().await.list_changes(caller.request(do_as("answer:"))).await.expect_err("and for no more");
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "TOO_MANY_CONNECTIONS".to_owned()));
    assert!(says_when_to_retry(&status));
    // Whoever asks for health opens a connection for it, and must not take the full process for a dead one.
    let health = HealthClient::new(channel(&rig.running)).check(HealthCheckRequest::default()).await.expect("health answers");
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);
    one.list_changes(caller.request(do_as("answer:"))).await.expect("those inside are not disturbed");
    drop(one);
    eventually("room", async || rig.client().await.list_changes(caller.request(do_as("answer:"))).await.ok()).await;
}

#[tokio::test]
async fn watches_of_health_are_bounded_and_looks_at_it_go_on() {
    let rig = Rig::start().await;
    let health = HealthClient::new(channel(&rig.running));
    let mut watches = Vec::new();
    let status = loop {
        match health.clone().watch(HealthCheckRequest::default()).await {
            Ok(watch) => watches.push(watch),
            Err(status) => break status,
        }
        assert!(watches.len() < 900, "watches are not bounded");
    };
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    health.clone().check(HealthCheckRequest::default()).await.expect("a look");
    let caller = rig.identity.administrator(rig.identity.tenant());
    rig.client().await.list_changes(caller.request(do_as("answer:"))).await.expect("a call");
    watches.pop();
    eventually("a watch in its place", async || health.clone().watch(HealthCheckRequest::default()).await.ok()).await;
}

#[tokio::test]
async fn a_service_with_a_method_that_has_no_rule_does_not_start() {
    let identity = Identity::start().await;
    let logins = Infra::from_environment().database(&SERVICE).await;
    static ALL_BUT_ONE: LazyLock<Vec<MethodRule>> =
        LazyLock::new(|| rapport_proto::METHODS.iter().filter(|rule| !rule.path.ends_with("/VerifySeal")).copied().collect());
    static TABLES: LazyLock<Vec<&'static [MethodRule]>> = LazyLock::new(|| vec![&ALL_BUT_ONE]);
    let forgetful = Service { methods: &TABLES, ..SERVICE };
    let fault = start_with(&forgetful, &logins, &identity.address, |_| {}).await.expect_err("a method nobody decided about");
    assert!(fault.text().contains("/rapport.common.v1.AuditService/VerifySeal"), "{}", fault.text());
    assert_eq!(refused(fault), (Code::FailedPrecondition, "METHOD_WITHOUT_RULE".to_owned()));
}

#[tokio::test]
async fn a_service_whose_port_is_taken_says_which_one_and_does_not_start() {
    let identity = Identity::start().await;
    let logins = Infra::from_environment().database(&SERVICE).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "metrics"] {
        let fault = start_with(&SERVICE, &logins, &identity.address, |config| {
            *if key == "listen" { &mut config.listen } else { &mut config.metrics } = address.clone();
        });
        let fault = fault.await.expect_err("the port is taken");
        assert!(fault.text().contains(&address) && fault.text().contains(key), "{}", fault.text());
        assert_eq!(refused(fault), (Code::FailedPrecondition, "ADDRESS_UNUSABLE".to_owned()));
    }
}

#[tokio::test]
async fn a_refused_call_is_one_line_of_the_log_that_names_nobody() {
    let rig = Rig::start().await;
    let tenant = rig.identity.tenant();
    let role = rig.identity.role(tenant, &["probe.thing.read"], Vec::new());
    let reader = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let administrator = rig.identity.administrator(tenant);
    let mut client = rig.client().await;
    eventually("news of the reader", async || rig.client().await.list_changes(reader.request(do_as("answer:"))).await.ok()).await;

    let lines = Lines::default();
    let listening = lines.listen();
    client.list_changes(administrator.request(do_as("answer:"))).await.expect("an administrator is let in");
    let mut refused = reader.request(pb::VerifySealRequest { name: "services/probe".to_owned(), ..pb::VerifySealRequest::default() });
    refused.metadata_mut().insert("x-request-id", "found-again".parse().expect("a header"));
    client.verify_seal(refused).await.expect_err("the reader's role has no such permission");
    client.verify_seal(pb::VerifySealRequest::default()).await.expect_err("a stranger shows no token");
    drop(listening);

    let written = lines.text();
    let [line] = written.lines().filter(|line| line.contains("refused")).collect::<Vec<_>>()[..] else { panic!("not one line: {written}") };
    let tenant = tenant.to_string();
    let parts = ["/rapport.common.v1.AuditService/VerifySeal", "PermissionDenied", "PERMISSION_MISSING", "found-again", tenant.as_str()];
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    assert!(!line.contains(&reader.id.to_string()), "the line names the caller: {line}");
}

#[tokio::test]
async fn who_is_denied_something_stands_in_the_access_log_at_the_door_and_within() {
    let rig = Rig::start().await;
    let tenant = rig.identity.tenant();
    let role = rig.identity.role(tenant, &["contacts.contact.read"], Vec::new());
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let mut client = rig.client().await;
    client.verify_seal(caller.request(pb::VerifySealRequest::default())).await.expect_err("no permission");
    client.list_changes(caller.request(do_as("deny:"))).await.expect_err("the handler denies it");
    let expected = [("/VerifySeal", "PERMISSION_MISSING"), ("/ListChanges", "NOT_FOR_YOU")];
    let expected = expected.map(|(method, reason)| (caller.name(), format!("/rapport.common.v1.AuditService{method}"), reason.to_owned(), 1));
    let logged: Vec<(String, String, String, i32)> = eventually("both rows", async || {
        let mut conn = superuser(&rig.logins).await;
        let rows = sqlx::query_as("select subject, method, reason, calls from kit.access_log where tenant_id = $1 and kind = 'denied' order by id");
        let rows: Vec<_> = rows.bind(tenant).fetch_all(&mut conn).await.expect("rows");
        (rows.len() >= expected.len()).then_some(rows)
    })
    .await;
    assert_eq!(logged, expected);
}

#[tokio::test]
async fn a_handler_that_panics_spoils_its_own_call_alone() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut client = rig.client().await;
    for _ in 0..3 {
        let status = client.list_changes(caller.request(do_as("panic:"))).await.expect_err("the handler panics");
        assert_eq!(refusal(&status), (Code::Internal, "INTERNAL".to_owned()));
        client.list_changes(caller.request(do_as("answer:"))).await.expect("the next call is answered on the same connection");
    }
}

#[tokio::test]
async fn a_full_process_refuses_calls_but_says_that_it_is_well() {
    let rig = Rig::configured(|config| config.calls = 1).await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let name = clock::new_id().to_string();
    let full = gate(&name);
    let (mut one, mut other) = (rig.client().await, rig.client().await);
    let held = one.list_changes(caller.request(do_as(format!("wait:{name}"))));
    let meanwhile = async {
        full.reached_by(1).await;
        let status = other.list_changes(caller.request(do_as("answer:"))).await.expect_err("the process is full");
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        assert!(says_when_to_retry(&status));
        let health = HealthClient::new(channel(&rig.running)).check(HealthCheckRequest::default()).await.expect("health answers");
        assert_eq!(health.into_inner().status(), ServingStatus::Serving);
        full.let_pass(1);
    };
    let (held, ()) = tokio::join!(held, meanwhile);
    held.expect("the call that was in is answered");
    other.list_changes(caller.request(do_as("answer:"))).await.expect("there is room again");
}

#[tokio::test]
async fn the_request_id_comes_back_with_answers_and_refusals() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut client = rig.client().await;
    let with = |mut request: Request<pb::ListChangesRequest>, id: &'static str| {
        request.metadata_mut().insert("x-request-id", id.parse().expect("ASCII"));
        request
    };
    let answer = client.list_changes(with(caller.request(do_as("answer:")), "order-66")).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "order-66");
    let refused = client.list_changes(with(Request::new(do_as("answer:")), "order-67")).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "order-67");
    // Without one, or with one that would spoil a log, the service makes its own.
    let own = client.list_changes(with(caller.request(do_as("answer:")), "order 68")).await.unwrap();
    let own = own.metadata().get("x-request-id").unwrap().to_str().unwrap();
    assert!(uuid::Uuid::try_parse(own).is_ok(), "{own}");
}

#[tokio::test]
async fn a_caller_without_the_permission_is_told_which_one_is_missing() {
    let rig = Rig::start().await;
    let tenant = rig.identity.tenant();
    let role = rig.identity.role(tenant, &["contacts.contact.read"], Vec::new());
    let caller = rig.identity.user(tenant, None, role, pb::GrantLevel::All);
    let mut client = rig.client().await;
    let status = client.verify_seal(caller.request(pb::VerifySealRequest::default())).await.expect_err("no permission");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    assert!(status.message().contains("audit.seal.verify"));
    client.list_changes(caller.request(do_as("answer:"))).await.expect("this one asks for a token alone");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    for path in ["/rapport.common.v1.AuditService/Nothing", "/nobody.v1.Nothing/Do"] {
        let status = raw(rig.running.address, path, &caller, do_as("answer:")).await;
        assert_eq!(refusal(&status), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_message_beyond_four_mebibytes_is_refused_and_one_below_is_not() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut client = rig.client().await;
    let large = "x".repeat(4 * 1024 * 1024 - 100);
    client.list_changes(caller.request(do_as(large))).await.expect("just within the limit");
    let larger = "x".repeat(4 * 1024 * 1024 + 1);
    let status = client.list_changes(caller.request(do_as(larger))).await.expect_err("beyond the limit");
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    // Sending it again helps nobody.
    assert!(!says_when_to_retry(&status));
    client.list_changes(caller.request(do_as("answer:"))).await.expect("the connection is as good as before");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_the_callers_mistake() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    // Field 2 is a text in this message and a number in the one that the method expects.
    let wrong = pb::PolicyChange { name: "not a page size".to_owned(), ..pb::PolicyChange::default() };
    let status = raw(rig.running.address, "/rapport.common.v1.AuditService/ListChanges", &caller, wrong).await;
    assert_eq!(refusal(&status), (Code::InvalidArgument, "MESSAGE_UNREADABLE".to_owned()));
}

/// Sends any message to any path; answers the refusal.
async fn raw<M: prost::Message + Default + 'static>(address: SocketAddr, path: &str, caller: &Subject, message: M) -> tonic::Status {
    let origin = format!("http://{address}").parse().expect("an address");
    let mut grpc = tonic::client::Grpc::with_origin(crate::support::wire(address).await, origin);
    grpc.ready().await.expect("a connection");
    let codec = tonic_prost::ProstCodec::<M, pb::ListChangesResponse>::default();
    let path = http::uri::PathAndQuery::try_from(path).expect("a path");
    grpc.unary(caller.request(message), path, codec).await.expect_err("the call is refused")
}

#[tokio::test]
async fn health_answers_for_the_process_and_for_each_service() {
    let rig = Rig::start().await;
    let mut health = HealthClient::new(channel(&rig.running));
    for service in ["", "rapport.common.v1.AuditService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let status = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(refusal(&status).0, Code::NotFound);
    client(rig.running.address).await.list_changes(Request::new(do_as("answer:"))).await.expect_err("health asks for no token, others do");
}

#[tokio::test]
async fn an_idempotency_key_that_cannot_be_kept_is_refused_and_not_passed_over() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    for key in ["two words", "", &"x".repeat(129)] {
        let status = rig.client().await.list_changes(caller.keyed(do_as("nothing"), key)).await.expect_err("the key cannot be used");
        assert_eq!(refusal(&status), (Code::InvalidArgument, "IDEMPOTENCY_KEY_INVALID".to_owned()), "{key:?}");
    }
}
