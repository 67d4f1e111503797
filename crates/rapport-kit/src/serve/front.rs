//! The layer stack, outermost first: request id, span, metrics, deadline, overload, panic, auth, handler.
//!
//! Nothing else may be layered for one service alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use rapport_proto::MethodRule;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;
use tracing::Instrument;

use super::attached::{Attached, PATIENCE};
use crate::auth::{Door, Rules};
use crate::ctx::Call;
use crate::fault::Fault;
use crate::{clock, metrics};

/// A call without a deadline gets this one; no call gets more.
const LONGEST: Duration = Duration::from_secs(60);
/// A full process refuses after this wait.
const QUEUE: Duration = Duration::from_millis(50);
/// Looks at health that are answered at once, apart from all other calls.
const LOOKS: usize = 64;
/// Watches of health and conversations with reflection that may be open.
const STREAMS: usize = 256;
/// Downloads that may be open, each with a chunk or two of a MiB in memory.
const DOWNLOADS: usize = 32;
const REQUEST_ID: &str = "x-request-id";
const KEY: &str = "idempotency-key";

/// How many calls are in at once, over all connections.
#[derive(Debug)]
pub(crate) struct Slots {
    calls: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new(calls: usize) -> Self {
        let bound = |most| Arc::new(Semaphore::new(most));
        Self { calls: bound(calls), looks: bound(LOOKS), streams: bound(STREAMS), downloads: bound(DOWNLOADS) }
    }
}

/// What a call is, by its path.
#[derive(Clone, Copy)]
enum Kind {
    /// One of a service, with its rule.
    Ruled(&'static MethodRule),
    /// A look at health.
    Look,
    /// A watch of health, or reflection.
    Stream,
    /// Anything else; never let in, whatever is registered.
    Unknown,
}

impl Kind {
    /// Whether the answer lasts longer than the handler.
    fn streams(self) -> bool {
        match self {
            Self::Ruled(rule) => rule.streaming,
            Self::Stream => true,
            Self::Look | Self::Unknown => false,
        }
    }
}

/// Whether methods of this service go without a rule: they tell about the process, nothing about anybody's records.
fn needs_no_rule(service: &str) -> bool {
    matches!(service, "grpc.health.v1.Health" | "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection")
}

/// What every call of a process passes.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) rules: Rules,
    pub(crate) door: Door,
    pub(crate) slots: Slots,
    /// When the process takes no more calls.
    pub(crate) leaving: CancellationToken,
    pub(crate) sealer: crate::page::Sealer,
    pub(crate) log: crate::access_log::AccessLog,
}

impl Front {
    /// Answers one request; never fails. On a connection beyond the bound only health is told.
    pub(crate) async fn call(self: Arc<Self>, routes: Routes, request: Request<Incoming>, crowded: bool) -> Response<Body> {
        let begun = Instant::now();
        let kind = self.kind(request.uri().path());
        let method = if let Kind::Ruled(rule) = kind { rule.path } else { "_OTHER" };
        // Request id: the caller's if it is decent, else a new one.
        let request_id = request_id(request.headers());
        let deadline = begun + timeout(request.headers());
        let mut call = Call::new(method, request_id.clone(), deadline, self.sealer.clone(), self.log.clone());
        call.trace_id = header(request.headers(), "traceparent", 256).as_deref().and_then(trace_id);
        call.key = header(request.headers(), KEY, 128);
        // Span: what every log line of the call carries. No personal data in it.
        let span = tracing::info_span!("call", method, request_id, trace = call.trace_id.as_deref().unwrap_or_default());
        let call = Arc::new(call);
        let answer = if crowded && !matches!(kind, Kind::Look) {
            let text = "This process holds as many connections as it may; use one that is open, or try again after the given time.";
            Err(Fault::exhausted("TOO_MANY_CONNECTIONS", text))
        } else if call.key.is_none() && request.headers().contains_key(KEY) {
            // Passed over, the caller would believe that sending again is safe.
            Err(Fault::argument("IDEMPOTENCY_KEY_INVALID", "Send an idempotency key of 1 to 128 visible ASCII characters, or none."))
        } else {
            self.within_deadline(routes, request, kind, Arc::clone(&call)).instrument(span).await
        };
        let mut response = answer.map(explained).unwrap_or_else(|fault| Status::from(fault).into_http());
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        // Metrics: by method and code; unknown methods are one series.
        let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0");
        metrics::calls().with_label_values(&[method, code]).observe(begun.elapsed().as_secs_f64());
        if code != "0" {
            self.tell(&call, response.headers());
        }
        response
    }

    /// Deadline: ours, so that the code is DEADLINE_EXCEEDED. Dropping the handler also stops its query.
    async fn within_deadline(&self, routes: Routes, request: Request<Incoming>, kind: Kind, call: Arc<Call>) -> Result<Response<Body>, Fault> {
        let deadline = call.deadline;
        match tokio::time::timeout_at(deadline.into(), self.admitted(routes, request, kind, call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::deadline()),
        }
    }

    fn kind(&self, path: &str) -> Kind {
        if let Some(rule) = self.rules.get(path) {
            return Kind::Ruled(rule);
        }
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        match service.filter(|(service, _)| needs_no_rule(service)) {
            Some(("grpc.health.v1.Health", method)) if method != "Watch" => Kind::Look,
            Some(_) => Kind::Stream,
            None => Kind::Unknown,
        }
    }

    async fn admitted(&self, routes: Routes, request: Request<Incoming>, kind: Kind, call: Arc<Call>) -> Result<Response<Body>, Fault> {
        // Health and reflection have slots of their own: they answer when all else is full. So have downloads, whose
        // callers decide how long they last.
        let slot = match kind {
            Kind::Ruled(rule) if !rule.streaming => slot(&self.slots.calls).await?,
            Kind::Look => slot(&self.slots.looks).await?,
            Kind::Ruled(_) => slot(&self.slots.downloads).await?,
            Kind::Stream => slot(&self.slots.streams).await?,
            Kind::Unknown => return Err(Fault::of_transport(&Status::unimplemented(""))),
        };
        // Panic: INTERNAL for this call, nothing for the others.
        match AssertUnwindSafe(self.entered(routes, request, kind, call)).catch_unwind().await {
            Ok(Ok(response)) if kind.streams() => Ok(response.map(|body| Body::new(Attached::new(body, self.leaving.clone(), slot, PATIENCE)))),
            Ok(answer) => answer,
            Err(_) => {
                metrics::panics().inc();
                Err(Fault::internal("a handler panicked"))
            }
        }
    }

    async fn entered(&self, routes: Routes, request: Request<Incoming>, kind: Kind, call: Arc<Call>) -> Result<Response<Body>, Fault> {
        let (mut parts, body) = request.into_parts();
        if let Kind::Ruled(rule) = kind {
            // Auth: the method's rule; what it finds goes to the handler.
            let admitted = self.door.admit(rule, &parts.headers, &call).await.inspect_err(|_| metrics::denied_calls().inc())?;
            if let Some(admitted) = admitted {
                parts.extensions.insert(admitted);
            }
        }
        parts.extensions.insert(call);
        // The library would answer CANCELLED at the same moment as our own deadline.
        parts.headers.remove("grpc-timeout");
        match routes.oneshot(Request::from_parts(parts, Body::new(body))).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// One line of the log for a call that was refused or failed, without personal data; who was denied something
    /// stands in the tenant's access log. Strangers, and whoever calls a full process, could fill the log: theirs are
    /// figures, and lines only where the filter asks for them.
    fn tell(&self, call: &Call, answer: &HeaderMap) {
        let Some(status) = Status::from_header_map(answer) else { return };
        let (method, request_id, code) = (call.method, call.request_id.as_str(), status.code());
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        match call.shown() {
            Some((tenant, subject)) if code != Code::ResourceExhausted => {
                if code == Code::PermissionDenied {
                    self.log.denied(tenant, subject, method, &reason, request_id);
                }
                tracing::info!(method, ?code, reason, %tenant, request_id, "refused");
            }
            _ => tracing::debug!(method, ?code, reason, request_id, "refused"),
        }
    }
}

/// Overload: a bounded number of calls at once, over all connections.
async fn slot(slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    match tokio::time::timeout(QUEUE, Arc::clone(slots).acquire_owned()).await {
        Ok(Ok(slot)) => Ok(slot),
        _ => {
            metrics::refused_calls().inc();
            Err(Fault::exhausted("OVERLOADED", "This process has as many calls as it can take; send the request again after the given time."))
        }
    }
}

/// The answer, with a reason if it is a refusal by the library, which gives none.
fn explained(response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key("grpc-status-details-bin") {
        return response;
    }
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Status::from(Fault::of_transport(&status)).into_http(),
        _ => response,
    }
}

fn request_id(headers: &HeaderMap) -> String {
    header(headers, REQUEST_ID, 64).unwrap_or_else(|| clock::new_id().to_string())
}

/// A header of 1 to `longest` visible ASCII characters.
fn header(headers: &HeaderMap, name: &str, longest: usize) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let decent = !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic());
    decent.then(|| text.to_owned())
}

/// The trace id in a `traceparent` (W3C trace context: version, trace id, parent id, flags); none if it is
/// not a valid one. Later versions may add parts at the end.
fn trace_id(traceparent: &str) -> Option<String> {
    let is_hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|byte| byte != b'0');
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_whole = version != "00" || parts.next().is_none();
    let valid = is_hex(version, 2) && version != "ff" && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2) && is_whole;
    valid.then(|| trace.to_owned())
}

/// The time that `grpc-timeout` leaves, less what the answer's way back takes.
fn timeout(headers: &HeaderMap) -> Duration {
    let Some(asked) = asked_time(headers) else { return LONGEST };
    asked.saturating_sub((asked / 10).min(Duration::from_millis(5))).min(LONGEST)
}

/// The time that `grpc-timeout` gives, if it can be read.
pub(crate) fn asked_time(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count = digits.parse::<u64>().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_its_32_digits_and_by_nothing_that_is_not_valid() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(trace_id(&format!("01-{trace}-00f067aa0ba902b7-01-more")).as_deref(), Some(trace));
        for invalid in [
            "",
            trace,
            &format!("00-{trace}-00f067aa0ba902b7"),
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(invalid), None, "{invalid}");
        }
    }

    fn with_timeout(text: &'static str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        timeout(&headers)
    }

    #[test]
    fn a_call_gets_the_time_it_asks_for_less_the_way_back() {
        assert_eq!(with_timeout("300m"), Duration::from_millis(295));
        assert_eq!(with_timeout("10m"), Duration::from_millis(9));
        assert_eq!(with_timeout("99999999H"), LONGEST);
        assert_eq!(with_timeout("soon"), LONGEST);
    }
}
