//! How the demo calls the services: connections, sessions, and reading refusals.
//!
//! Guarantees: nothing but the public interface is used; a session is renewed before its access token ends;
//! a call that should have succeeded and did not becomes [`Trouble`] that says what was being done.

use std::fmt;
use std::time::{Duration, Instant};

use prost::Message;
use rapport_contacts_api::v1::ListContactsRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::{RefreshSessionRequest, SignInRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::Stack;

/// Access tokens last five minutes; they are renewed well before.
const RENEW: Duration = Duration::from_secs(180);
/// News of people and roles reach a service within seconds; past this they are lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// Something that should have worked did not.
#[derive(Debug)]
pub(crate) struct Trouble {
    doing: String,
    problem: String,
}

impl Trouble {
    pub(crate) fn new(doing: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { doing: doing.into(), problem: problem.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "while {}: {}", self.doing, self.problem)
    }
}

/// The answer of a call that has to succeed.
pub(crate) fn answered<T>(doing: &str, answer: Result<Response<T>, Status>) -> Result<T, Trouble> {
    answer.map(Response::into_inner).map_err(|status| Trouble::new(doing, described(&status)))
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A refusal as people read it: code, reason, text and the fields at fault.
pub(crate) fn described(status: &Status) -> String {
    let reason = reason(status).unwrap_or_else(|| "no reason".to_owned());
    let mut text = format!("{:?} {reason}: {}", status.code(), status.message());
    for violation in status.get_details_bad_request().into_iter().flat_map(|request| request.field_violations) {
        text.push_str(&format!(" [{}: {}]", violation.field, violation.description));
    }
    text
}

/// The refusal of one entry of a batch, with the same details as one of a whole call.
pub(crate) fn entry_refusal(error: &rapport_proto::google_rpc::Status) -> Status {
    Status::with_details(Code::from(error.code), error.message.clone(), error.encode_to_vec().into())
}

/// Connections to the services.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) identity: Channel,
    pub(crate) contacts: Channel,
}

impl Servers {
    pub(crate) fn connect(stack: &Stack) -> Result<Self, Trouble> {
        Ok(Self { identity: channel(&stack.identity)?, contacts: channel(&stack.contacts)? })
    }
}

fn channel(address: &str) -> Result<Channel, Trouble> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|error| Trouble::new(format!("connecting to {address}"), error.to_string()))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(60)).connect_lazy())
}

/// A message with a credential.
pub(crate) fn with_bearer<T>(credential: &str, message: T) -> Result<Request<T>, Trouble> {
    let value = format!("Bearer {credential}").parse().map_err(|_| Trouble::new("showing a credential", "it has signs that no header may have"))?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

/// Somebody who is signed in.
#[derive(Debug)]
pub(crate) struct Caller {
    /// `users/{uuid}`.
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) password: String,
    sessions: SessionServiceClient<Channel>,
    access_token: String,
    refresh_token: String,
    renewed: Instant,
}

impl Caller {
    pub(crate) async fn sign_in(servers: &Servers, tenant: &str, email: &str, password: &str) -> Result<Self, Trouble> {
        let mut sessions = SessionServiceClient::new(servers.identity.clone());
        let request = SignInRequest { tenant: tenant.to_owned(), email: email.to_owned(), password: password.to_owned() };
        let opened = answered(&format!("signing in as {email}"), sessions.sign_in(request).await)?;
        let name = opened.session.map(|session| session.user).unwrap_or_default();
        Ok(Self {
            name,
            email: email.to_owned(),
            password: password.to_owned(),
            sessions,
            access_token: opened.access_token,
            refresh_token: opened.refresh_token,
            renewed: Instant::now(),
        })
    }

    /// The message as this person sends it.
    pub(crate) async fn request<T>(&mut self, message: T) -> Result<Request<T>, Trouble> {
        if self.renewed.elapsed() > RENEW {
            let request = RefreshSessionRequest { refresh_token: self.refresh_token.clone() };
            let renewed = answered(&format!("renewing the session of {}", self.email), self.sessions.refresh_session(request).await)?;
            self.access_token = renewed.access_token;
            self.refresh_token = renewed.refresh_token;
            self.renewed = Instant::now();
        }
        with_bearer(&self.access_token, message)
    }

    /// Waits until contacts recognises the credential, whatever it then allows.
    pub(crate) async fn recognised_by_contacts(&mut self, servers: &Servers) -> Result<(), Trouble> {
        self.called_on_contacts(servers, &[Code::Unauthenticated]).await.map(|_| ())
    }

    /// Waits until contacts has heard of the person's roles.
    pub(crate) async fn known_to_contacts(&mut self, servers: &Servers) -> Result<(), Trouble> {
        let answer = self.called_on_contacts(servers, &[Code::Unauthenticated, Code::PermissionDenied]).await?;
        answer.map_err(|status| Trouble::new(format!("waiting until contacts knows {}", self.email), described(&status)))
    }

    /// Calls until the answer is none of those that mean that news is still on its way.
    async fn called_on_contacts(&mut self, servers: &Servers, on_its_way: &[Code]) -> Result<Result<(), Box<Status>>, Trouble> {
        let mut contacts = ContactServiceClient::new(servers.contacts.clone());
        let begun = Instant::now();
        loop {
            let request = self.request(ListContactsRequest { page_size: 1, ..Default::default() }).await?;
            let Err(status) = contacts.list_contacts(request).await else { return Ok(Ok(())) };
            if !on_its_way.contains(&status.code()) || begun.elapsed() > PATIENCE {
                return Ok(Err(Box::new(status)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
