//! Calls to other services: the one client that services use, under the generated ones.
//!
//! Guarantees: a call never outlasts the deadline of the call it belongs to; it goes to a connection that is
//! open and whose service says that it serves, so an endpoint that died gets nothing until it is back; what may
//! have had an effect is repeated only if its rule (and a key, where the rule asks for one) makes that harmless,
//! at most `attempts` times and within a budget that a failing service uses up; of a chain of services only the
//! last caller repeats. Tokens are fetched once for each actor and kept until shortly before their end.
//!
//! ```ignore
//! let contacts: rpc::Client = app.client("contacts", contacts_api::METHODS)?;
//! ContactServiceClient::new(contacts.within(&ctx)).get_contact(request).await?;
//! ```

mod connection;
mod pool;
mod retry;
mod tokens;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use rapport_proto::{MethodRule, Repeat};
use tokio_util::sync::DropGuard;
use tonic::Status;
use tonic::body::Body;

pub use tokens::EXCHANGE;
pub(crate) use tokens::Tokens;

use self::connection::Sent;
use self::pool::Pool;
use self::retry::{Budget, Refusal};
use self::tokens::Who;
use crate::auth::Rules;
use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::{MAX_MESSAGE, metrics, serve};

/// Room for framing beside the largest message.
const FRAMING: usize = 1024;

/// How to reach a service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://name:port`, or several with commas between them. Every address that a name resolves to is called,
    /// so the name of a headless service means all of its pods. Or `https://name:port`, for mutual TLS: each of the
    /// addresses has to show a certificate for that name.
    pub address: String,
    /// The certificate to show where the address asks for TLS.
    pub tls: Option<Tls>,
    /// Calls this address alone, whatever the name resolves to.
    pub at: Option<SocketAddr>,
    /// Connections to each address.
    pub connections: usize,
    /// Whether to call only what says SERVING over the standard health service. A service without one is called.
    pub health: bool,
    /// Names are resolved anew after this time, and after a connection was lost.
    pub resolve_every: Duration,
    /// How long a connection may take to be made, and a call may wait for one.
    pub connect_timeout: Duration,
    /// Time for a call that belongs to no other and asks for none itself.
    pub deadline: Duration,
    /// How often a call is sent at most.
    pub attempts: u32,
}

impl Settings {
    /// The usual ones.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            tls: None,
            at: None,
            connections: 1,
            health: true,
            resolve_every: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            attempts: 3,
        }
    }
}

/// A client of one service; cheap to clone, to be shared by all calls. Its connections end with the last clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
    tokens: Option<Arc<Tokens>>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    rules: Rules,
    budget: Budget,
    settings: Settings,
    _connections: DropGuard,
}

/// The calls that belong to one call, or to none; what generated clients are made over.
#[derive(Debug, Clone)]
pub struct Calls {
    client: Client,
    who: Option<Who>,
    deadline: Option<Instant>,
    headers: HeaderMap,
}

impl Client {
    /// A client that connects at once. Methods without a rule among `rules` are never repeated.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (SERVICE_ADDRESS_INVALID) if the address cannot be read, or asks for TLS and there is no
    /// certificate.
    pub fn new(settings: Settings, rules: &[&'static [MethodRule]], tasks: &Tasks) -> Result<Self, Fault> {
        let pool = Pool::start(&settings, tasks)?;
        let connections = pool.gone.clone().drop_guard();
        let inner = Inner { pool, rules: Rules::new(rules), budget: Budget::default(), settings, _connections: connections };
        Ok(Self { inner: Arc::new(inner), tokens: None })
    }

    /// Calls in the name of whom a context acts for show a token from there.
    pub(crate) fn with_tokens(self, tokens: Arc<Tokens>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Calls that belong to the call of `ctx`: under its deadline, request id and trace, in the name of the user or
    /// service account that it acts for and within the limits of that credential. Work that nobody asked for has no
    /// name; its calls carry a token only if the request does.
    #[must_use]
    pub fn within(&self, ctx: &Ctx) -> Calls {
        let mut headers = HeaderMap::new();
        let call = ctx.call();
        for (name, text) in [("x-request-id", Some(call.request_id.clone())), ("traceparent", call.traceparent())] {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        Calls { client: self.clone(), who: Who::of(ctx), deadline: Some(call.deadline), headers }
    }

    /// Calls that belong to no other, with no name but what the request itself shows.
    #[must_use]
    pub fn alone(&self) -> Calls {
        Calls { client: self.clone(), who: None, deadline: None, headers: HeaderMap::new() }
    }
}

impl tower::Service<http::Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move { Ok(calls.answer(request).await) })
    }
}

impl Calls {
    async fn answer(&self, request: http::Request<Body>) -> Response<Body> {
        let until = self.until(request.headers());
        match tokio::time::timeout_at(until.into(), self.send(request, until)).await {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => status.into_http(),
            Err(_) => Status::from(Fault::deadline()).into_http(),
        }
    }

    /// The earlier of what the request asks for and what the call it belongs to has left.
    fn until(&self, headers: &HeaderMap) -> Instant {
        let asked = serve::asked_time(headers).and_then(|asked| Instant::now().checked_add(asked));
        match (asked, self.deadline) {
            (Some(asked), Some(deadline)) => asked.min(deadline),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Instant::now() + self.client.inner.settings.deadline,
        }
    }

    async fn send(&self, request: http::Request<Body>, until: Instant) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.client.inner.pool.uri(&parts.uri)?;
        for (name, value) in &self.headers {
            parts.headers.entry(name).or_insert_with(|| value.clone());
        }
        let token = self.token(&parts.headers, until).await?;
        if let Some(token) = &token {
            parts.headers.insert(http::header::AUTHORIZATION, token.clone());
        }
        let rule = self.client.inner.rules.get(parts.uri.path());
        let response = match rule.filter(|rule| !rule.streaming) {
            Some(rule) => self.whole(rule, parts, body, until).await?,
            None => self.stream(parts, body, until).await?,
        };
        if token.is_some() && response.headers().get("grpc-status").is_some_and(|code| code == "16") {
            self.forget();
        }
        Ok(response)
    }

    /// The actor's token, unless the request brings one itself.
    async fn token(&self, headers: &HeaderMap, until: Instant) -> Result<Option<HeaderValue>, Status> {
        match (&self.who, &self.client.tokens) {
            (Some(who), Some(tokens)) if !headers.contains_key(http::header::AUTHORIZATION) => tokens.of(who, until).await.map(Some),
            _ => Ok(None),
        }
    }

    /// A token that was refused is not shown again.
    fn forget(&self) {
        if let (Some(who), Some(tokens)) = (&self.who, &self.client.tokens) {
            tokens.forget(who);
        }
    }

    /// A call with one message each way, sent until it is answered or must not be sent again.
    async fn whole(&self, rule: &MethodRule, mut parts: Parts, body: Body, until: Instant) -> Result<Response<Body>, Status> {
        let inner = &self.client.inner;
        let body = body.collect().await?.to_bytes();
        let harmless = match rule.repeat {
            Repeat::Safe => true,
            Repeat::Keyed => parts.headers.contains_key("idempotency-key"),
            Repeat::Never => false,
        };
        let mut tried = Vec::new();
        let mut attempt = 0;
        loop {
            if attempt > 0 {
                parts.headers.insert("grpc-previous-rpc-attempts", HeaderValue::from(attempt));
            }
            let (response, arrived) = self.attempt(&mut parts, &body, &mut tried, until).await;
            attempt += 1;
            let Some(refusal) = Refusal::of(&response) else {
                inner.budget.succeeded();
                return Ok(response);
            };
            if arrived {
                inner.budget.failed();
            }
            let again = !arrived || (harmless && !refusal.is_final() && inner.budget.allows());
            let wait = refusal.wait(attempt);
            if !again || attempt >= inner.settings.attempts || Instant::now() + wait >= until {
                return Ok(if arrived && harmless { retry::last(response) } else { response });
            }
            metrics::repeated_calls().inc();
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends once; answers what came back, or UNAVAILABLE, and whether the service may have seen the call.
    async fn attempt(&self, parts: &mut Parts, body: &Bytes, tried: &mut Vec<SocketAddr>, until: Instant) -> (Response<Body>, bool) {
        let inner = &self.client.inner;
        let Some(picked) = inner.pool.pick(tried, until).await else { return (inner.pool.away(None), false) };
        tried.push(picked.address);
        time_left(&mut parts.headers, until);
        let request = http::Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
        let response = match picked.send(request).await {
            Sent::Answered(response) => response,
            Sent::Broken(error) => return (inner.pool.away(Some(error)), true),
            Sent::Not(error) => return (inner.pool.away(Some(error)), false),
        };
        let (mut head, body) = response.into_parts();
        match Limited::new(body, MAX_MESSAGE + FRAMING).collect().await {
            Ok(body) => {
                // A refusal reads the same whether it came before or after the (empty) body.
                if let Some(trailers) = body.trailers().filter(|trailers| trailers.get("grpc-status").is_some_and(|code| code != "0")) {
                    head.headers.extend(trailers.clone());
                    return (Response::from_parts(head, Body::empty()), true);
                }
                (Response::from_parts(head, Body::new(body)), true)
            }
            Err(error) if error.is::<LengthLimitError>() => {
                let text = "The answer is larger than 4 MiB; ask for less at once.";
                (Status::from(Fault::exhausted("MESSAGE_TOO_LARGE", text)).into_http(), true)
            }
            Err(error) => (inner.pool.away(Some(error)), true),
        }
    }

    /// A call with a stream, sent once and passed through as it comes.
    async fn stream(&self, mut parts: Parts, body: Body, until: Instant) -> Result<Response<Body>, Status> {
        let inner = &self.client.inner;
        let Some(picked) = inner.pool.pick(&[], until).await else { return Ok(inner.pool.away(None)) };
        time_left(&mut parts.headers, until);
        match picked.send(http::Request::from_parts(parts, body)).await {
            Sent::Answered(response) => Ok(response.map(Body::new)),
            Sent::Broken(error) | Sent::Not(error) => Ok(inner.pool.away(Some(error))),
        }
    }
}

/// Tells the next service how much time it has.
fn time_left(headers: &mut HeaderMap, until: Instant) {
    let left = until.saturating_duration_since(Instant::now()).as_millis().min(99_999_999);
    if let Ok(value) = HeaderValue::from_str(&format!("{left}m")) {
        headers.insert("grpc-timeout", value);
    }
}
