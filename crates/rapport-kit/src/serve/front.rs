//! The layer stack, outermost first: request id, span, metrics, deadline, overload, panic, auth, handler.
//!
//! Nothing else may be layered for one service alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;
use tracing::Instrument;

use crate::auth::{Door, Rules};
use crate::ctx::Call;
use crate::fault::Fault;
use crate::{clock, metrics};

/// A call without a deadline gets this one; no call gets more.
const LONGEST: Duration = Duration::from_secs(60);
/// A full process refuses after this wait.
const QUEUE: Duration = Duration::from_millis(50);
const REQUEST_ID: &str = "x-request-id";

/// What every call of a process passes.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) rules: Rules,
    pub(crate) door: Door,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) sealer: crate::page::Sealer,
    pub(crate) log: crate::access_log::AccessLog,
}

impl Front {
    /// Answers one request; never fails.
    pub(crate) async fn call(self: Arc<Self>, routes: Routes, request: Request<Incoming>) -> Response<Body> {
        let begun = Instant::now();
        let rule = self.rules.get(request.uri().path());
        let method = rule.map_or("_OTHER", |rule| rule.path);
        // Request id: the caller's if it is decent, else a new one.
        let request_id = request_id(request.headers());
        let deadline = begun + timeout(request.headers());
        let mut call = Call::new(method, request_id.clone(), deadline, self.sealer.clone(), self.log.clone());
        call.trace_id = header(request.headers(), "traceparent", 256).as_deref().and_then(trace_id);
        call.key = header(request.headers(), "idempotency-key", 128);
        // Span: what every log line of the call carries. No personal data in it.
        let span = tracing::info_span!("call", method, request_id, trace = call.trace_id.as_deref().unwrap_or_default());
        let call = Arc::new(call);
        let answer = self.within_deadline(routes, request, rule, Arc::clone(&call)).instrument(span).await;
        let mut response = answer.map(explained).unwrap_or_else(|fault| Status::from(fault).into_http());
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        // Metrics: by method and code; unknown methods are one series.
        let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0");
        metrics::calls().with_label_values(&[method, code]).observe(begun.elapsed().as_secs_f64());
        if code != "0" {
            tell(&call, response.headers());
        }
        response
    }

    /// Deadline: ours, so that the code is DEADLINE_EXCEEDED. Dropping the handler also stops its query.
    async fn within_deadline(
        &self,
        routes: Routes,
        request: Request<Incoming>,
        rule: Option<&'static rapport_proto::MethodRule>,
        call: Arc<Call>,
    ) -> Result<Response<Body>, Fault> {
        let deadline = call.deadline;
        match tokio::time::timeout_at(deadline.into(), self.admitted(routes, request, rule, call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::deadline()),
        }
    }

    async fn admitted(
        &self,
        routes: Routes,
        request: Request<Incoming>,
        rule: Option<&'static rapport_proto::MethodRule>,
        call: Arc<Call>,
    ) -> Result<Response<Body>, Fault> {
        let (mut parts, body) = request.into_parts();
        // Health and reflection have no rule and no slot: they answer when all else is full.
        let _slot = match rule {
            Some(_) => Some(self.slot().await?),
            None => None,
        };
        if let Some(rule) = rule {
            // Auth: the method's rule; what it finds goes to the handler.
            let admitted = self.door.admit(rule, &parts.headers, &call).await.inspect_err(|_| metrics::denied_calls().inc())?;
            if let Some(admitted) = admitted {
                parts.extensions.insert(admitted);
            }
        }
        parts.extensions.insert(call);
        // The library would answer CANCELLED at the same moment as our own deadline.
        parts.headers.remove("grpc-timeout");
        let handler = routes.oneshot(Request::from_parts(parts, Body::new(body)));
        // Panic: INTERNAL for this call, nothing for the others.
        match AssertUnwindSafe(handler).catch_unwind().await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => {
                metrics::panics().inc();
                Err(Fault::internal("a handler panicked"))
            }
        }
    }

    /// Overload: a bounded number of calls at once, over all connections.
    async fn slot(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Fault> {
        match tokio::time::timeout(QUEUE, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => {
                metrics::refused_calls().inc();
                Err(Fault::exhausted("OVERLOADED", "This process has as many calls as it can take; send the request again after the given time."))
            }
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

/// One line of the log for a call that was refused or failed, without personal data. Strangers, and whoever
/// calls a full process, could fill the log: theirs are figures, and lines only where the filter asks for them.
fn tell(call: &Call, answer: &HeaderMap) {
    let Some(status) = Status::from_header_map(answer) else { return };
    let (method, request_id, code) = (call.method, call.request_id.as_str(), status.code());
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match call.tenant() {
        Some(tenant) if code != Code::ResourceExhausted => tracing::info!(method, ?code, reason, %tenant, request_id, "refused"),
        _ => tracing::debug!(method, ?code, reason, request_id, "refused"),
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
    let Some(text) = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()) else { return LONGEST };
    let Some((digits, unit)) = text.split_at_checked(text.len().saturating_sub(1)) else { return LONGEST };
    let Ok(count) = digits.parse::<u64>() else { return LONGEST };
    let asked = match unit {
        "H" => Duration::from_secs(count.saturating_mul(3600)),
        "M" => Duration::from_secs(count.saturating_mul(60)),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return LONGEST,
    };
    asked.saturating_sub((asked / 10).min(Duration::from_millis(5))).min(LONGEST)
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
