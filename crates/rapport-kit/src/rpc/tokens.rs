//! Tokens with which this service calls others in somebody's name.
//!
//! Guarantees: one exchange for each actor at a time, its token kept until a minute before its end; a token is
//! limited to what the caller's own credential is limited to; the number of tokens kept is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use rapport_proto::{Door, MethodRule, Repeat};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::Client;
use crate::clock;
use crate::ctx::Ctx;
use crate::fault::Fault;

/// Actors whose tokens are kept; beyond it those that have ended are dropped, then all.
const KEPT: usize = 10_000;
/// A token is not shown any more when it has less than this left.
const MARGIN: Duration = Duration::from_secs(60);
const PATH: &str = "/rapport.identity.v1.TokenService/ExchangeToken";

/// The rule of the exchange. The kit knows no service's api, so this one method of identity is spelt out here;
/// a test of the tests' crate compares it with the contract.
pub static EXCHANGE: &[MethodRule] = &[MethodRule {
    path: PATH,
    request: "rapport.identity.v1.ExchangeTokenRequest",
    door: Door::Public,
    permission: "",
    repeat: Repeat::Safe,
    sensitive_read: false,
    set_up: false,
    streaming: false,
}];

#[derive(Clone, PartialEq, prost::Message)]
struct ExchangeTokenRequest {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    secret: String,
    #[prost(string, tag = "3")]
    tenant: String,
    #[prost(string, tag = "4")]
    actor: String,
    #[prost(string, repeated, tag = "5")]
    scopes: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExchangeTokenResponse {
    #[prost(string, tag = "1")]
    access_token: String,
    #[prost(message, optional, tag = "2")]
    access_token_expire_time: Option<prost_types::Timestamp>,
}

/// Whom calls are made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    tenant: Uuid,
    actor: String,
    scopes: Vec<String>,
}

impl Who {
    /// The user or service account that the context acts for; none for work of a service itself.
    pub(super) fn of(ctx: &Ctx) -> Option<Self> {
        let actor = ctx.actor().on_behalf_of.as_ref().unwrap_or(&ctx.actor().name);
        let named = actor.starts_with("users/") || actor.starts_with("serviceAccounts/");
        let scopes = ctx.limits().unwrap_or_default().to_vec();
        named.then(|| Self { tenant: ctx.tenant(), actor: actor.clone(), scopes })
    }
}

/// A token as it is sent.
#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// The place of one actor's token, locked while it is fetched.
type Place = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The tokens of one process.
pub(crate) struct Tokens {
    identity: Client,
    service: String,
    credential: SecretString,
    places: Mutex<HashMap<Who, Place>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(identity: Client, service: &str, credential: SecretString) -> Self {
        Self { identity, service: format!("services/{service}"), credential, places: Mutex::default() }
    }

    /// The header with which to call for `who`.
    pub(super) async fn of(&self, who: &Who, until: Instant) -> Result<HeaderValue, Status> {
        let place = self.place(who);
        let mut token = place.lock().await;
        if let Some(token) = token.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(token.header.clone());
        }
        let fresh = self.exchange(who, until).await?;
        let header = fresh.header.clone();
        *token = Some(fresh);
        Ok(header)
    }

    pub(super) fn forget(&self, who: &Who) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    fn place(&self, who: &Who) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT && !places.contains_key(who) {
            let now = Instant::now();
            // A place that is locked is being filled.
            places.retain(|_, place| place.try_lock().map_or(true, |token| token.as_ref().is_some_and(|token| token.until > now)));
            if places.len() >= KEPT {
                places.clear();
            }
        }
        Arc::clone(places.entry(who.clone()).or_default())
    }

    async fn exchange(&self, who: &Who, until: Instant) -> Result<Token, Status> {
        let mut request = Request::new(ExchangeTokenRequest {
            service: self.service.clone(),
            secret: self.credential.expose_secret().to_owned(),
            tenant: format!("tenants/{}", who.tenant),
            actor: who.actor.clone(),
            scopes: who.scopes.clone(),
        });
        let begun = Instant::now();
        request.set_timeout(until.saturating_duration_since(begun));
        let mut grpc = tonic::client::Grpc::new(self.identity.alone());
        let codec = ProstCodec::<ExchangeTokenRequest, ExchangeTokenResponse>::default();
        let answer = grpc.unary(request, http::uri::PathAndQuery::from_static(PATH), codec).await;
        let answer = answer.map_err(refused)?.into_inner();
        let mut header = HeaderValue::from_str(&format!("Bearer {}", answer.access_token)).map_err(Fault::internal)?;
        header.set_sensitive(true);
        let ends = answer.access_token_expire_time.unwrap_or_default().seconds;
        let left = u64::try_from(ends.saturating_sub(clock::now().timestamp())).unwrap_or_default();
        Ok(Token { header, until: begun + Duration::from_secs(left).saturating_sub(MARGIN) })
    }
}

/// Identity's refusal as the caller may see it: that this service's own credential is wrong is not their affair.
fn refused(status: Status) -> Status {
    match status.code() {
        Code::Unauthenticated => Fault::internal("identity does not accept this service's credential").into(),
        _ => status,
    }
}
