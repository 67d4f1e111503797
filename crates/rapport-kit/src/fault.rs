//! Errors as a contract: a restricted set of codes, one stable reason, and a text that says what the
//! caller can do.
//!
//! Guarantees: every non-OK answer carries exactly one ErrorInfo with every variable of the text; internals
//! (SQL, stack, paths) stay in `source` and go to the log once, when the fault becomes an answer. Whatever was
//! sent, a refusal fits into the 8 KiB of headers that clients take: beyond them the whole connection would end.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rapport_proto::google_rpc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of all reasons, as ErrorInfo asks for.
pub const DOMAIN: &str = "rapport";
/// Wrong fields that are named; the others are counted.
const VIOLATIONS: usize = 10;
/// Bytes of a name, a field or what is wrong with it: callers may have sent any length.
const NAME: usize = 120;
/// Bytes of a text or of one of its variables.
const TEXT: usize = 600;

/// Why a call was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {}", .0.reason, .0.text)]
pub struct Fault(Box<Parts>);

/// Boxed, so that results stay small.
#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    reason: &'static str,
    text: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<(String, String)>,
    /// Wrong fields that are not named.
    more: usize,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Fault {
    fn new(code: Code, reason: &'static str, text: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            text: text.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            more: 0,
            retry_after: None,
            source: None,
        }))
    }

    /// A field of the request is wrong: INVALID_ARGUMENT, reason FIELD_INVALID.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid_fields(vec![(field.into(), description.into())])
    }

    /// Several fields are wrong: INVALID_ARGUMENT, reason FIELD_INVALID, one violation for each.
    #[must_use]
    pub fn invalid_fields(mut violations: Vec<(String, String)>) -> Self {
        let more = violations.len().saturating_sub(VIOLATIONS);
        violations.truncate(VIOLATIONS);
        Self::of_fields(violations, more)
    }

    /// The same of what stands in the field `outer` of a request: each wrong field is named below it. A refusal that
    /// names no fields stays as it is.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        if self.0.violations.is_empty() {
            return self;
        }
        let violations = self.0.violations.into_iter().map(|(field, problem)| (format!("{outer}.{field}"), problem));
        Self::of_fields(violations.collect(), self.0.more)
    }

    fn of_fields(mut violations: Vec<(String, String)>, more: usize) -> Self {
        // One alone may say at length what would be right, such as the paths that there are.
        let most = if violations.len() == 1 { TEXT } else { NAME };
        for (field, problem) in &mut violations {
            shorten(field, NAME);
            shorten(problem, most);
        }
        let mut fields = violations.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>().join(", ");
        if more > 0 {
            shorten(&mut fields, TEXT - NAME);
            fields.push_str(&format!(" and {more} more"));
        }
        let text = match violations.as_slice() {
            [(field, problem)] => format!("Correct this field and send again: {field} {problem}."),
            _ => format!("Correct these fields and send again: {fields}."),
        };
        let mut fault = Self::new(Code::InvalidArgument, "FIELD_INVALID", text);
        (fault.0.violations, fault.0.more) = (violations, more);
        fault.with("fields", fields)
    }

    /// The request as a whole is wrong: INVALID_ARGUMENT.
    pub fn argument(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, reason, text)
    }

    /// Absent, or hidden from the caller: NOT_FOUND, reason RECORD_NOT_FOUND. Both read the same.
    pub fn not_found(name: impl Into<String>) -> Self {
        let mut name = name.into();
        shorten(&mut name, NAME);
        Self::new(Code::NotFound, "RECORD_NOT_FOUND", format!("There is no {name} that you may see.")).with("name", name)
    }

    /// The record or another one is in a state that forbids this: FAILED_PRECONDITION.
    pub fn precondition(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, text)
    }

    /// Something of this kind exists already: ALREADY_EXISTS.
    pub fn exists(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, reason, text)
    }

    /// The method, field or level is not for this caller: PERMISSION_DENIED.
    pub fn denied(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, reason, text)
    }

    /// No valid credential: UNAUTHENTICATED, reason CREDENTIAL_INVALID. The reason for refusal is logged, not told.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::credential(
            "Check tenant, e-mail address and password, or whatever else was shown: it opens nothing here, or its owner may not sign in.",
        )
    }

    /// The same with a text of its own, for what a caller can mend without learning anything about others.
    #[must_use]
    pub fn credential(text: &'static str) -> Self {
        Self::new(Code::Unauthenticated, "CREDENTIAL_INVALID", text)
    }

    /// Another change came first: ABORTED, reason ETAG_MISMATCH.
    pub fn etag_mismatch(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(Code::Aborted, "ETAG_MISMATCH", format!("{name} has changed since you read it; read it again and repeat your change."))
            .with("name", name)
    }

    /// Too many changes to one record at once: ABORTED, reason CONTENDED; send again.
    #[must_use]
    pub fn contended() -> Self {
        Self::new(Code::Aborted, "CONTENDED", "The record is changed by others at this moment; send the request again.")
            .retry_after(Duration::from_millis(50))
    }

    /// A limit of this process is reached: RESOURCE_EXHAUSTED with a time to wait.
    pub fn exhausted(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, reason, text).retry_after(Duration::from_millis(200))
    }

    /// Something this call needs is away: UNAVAILABLE with a time to wait.
    pub fn unavailable(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason, text).retry_after(Duration::from_millis(500))
    }

    /// More than a message may take: RESOURCE_EXHAUSTED, reason MESSAGE_TOO_LARGE. Sending it again helps nobody.
    pub(crate) fn too_large(text: &'static str) -> Self {
        Self::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", text)
    }

    /// The caller's deadline passed: DEADLINE_EXCEEDED, reason DEADLINE_PASSED.
    #[must_use]
    pub fn deadline() -> Self {
        Self::new(Code::DeadlineExceeded, "DEADLINE_PASSED", "The deadline of the call passed before it was done; allow it more time.")
    }

    /// What the transport refused before or instead of a handler, in our terms: the library's answers carry no
    /// reason, and name some causes by other codes than gRPC's own list does.
    pub(crate) fn of_transport(status: &Status) -> Self {
        match status.code() {
            Code::Unimplemented => Self::new(Code::Unimplemented, "METHOD_UNKNOWN", "This service has no such method, or not in this encoding."),
            Code::OutOfRange => Self::too_large("Send less at once: a request may take at most 4 MiB."),
            Code::Internal if status.message().starts_with("failed to decode") => {
                Self::argument("MESSAGE_UNREADABLE", "The request is not a message of this method.")
            }
            code => Self::new(code, "TRANSPORT_REFUSED", status.message()),
        }
    }

    /// Our mistake: INTERNAL, reason INTERNAL. The cause goes to the log with the request id, not to the caller.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "INTERNAL", "Something went wrong on our side; tell your operator the request id.").because(source)
    }

    /// Adds a variable of the text.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.push((key, value.into()));
        self
    }

    /// Sets the time after which sending again makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Keeps what caused the fault, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The public text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What caused it, for the log and nobody else.
    pub(crate) fn cause(&self) -> Option<String> {
        self.0.source.as_ref().map(ToString::to_string)
    }

    /// Name of the unique or check constraint that the database refused, if that is what happened.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.0.source.as_ref()?.downcast_ref::<sqlx::Error>()?.as_database_error()?.constraint()
    }
}

/// A refusal as the result of one entry of a batch.
impl From<Fault> for google_rpc::Status {
    fn from(fault: Fault) -> Self {
        let status = Status::from(fault);
        // The details of a refusal are this message already, with code and text.
        Self::decode(status.details()).unwrap_or_default()
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let state = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        match (&error, state.as_deref()) {
            // PostgreSQL keeps the character NUL in no text, and in no text within JSON.
            (_, Some("22021" | "22P05")) => Self::argument("TEXT_INVALID", "Leave out the character NUL: no text can have it."),
            (_, Some("57014")) => Self::deadline().because(error),
            (_, Some("40001" | "40P01" | "55P03")) => Self::contended().because(error),
            // A transaction that idled too long (25P03) and words that were not understood are mistakes of ours: whoever
            // tries again must count.
            (_, Some("57P01" | "57P02" | "57P03" | "57P05" | "53300")) | (sqlx::Error::Io(_) | sqlx::Error::Tls(_), _) => {
                Self::unavailable("DATABASE_AWAY", "The database does not answer at this moment; send the request again.").because(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl From<Fault> for Status {
    fn from(Fault(mut fault): Fault) -> Self {
        if let Some(source) = &fault.source {
            let cause = source.to_string();
            if fault.code == Code::Internal {
                tracing::error!(reason = fault.reason, cause, "a call failed");
            } else {
                tracing::warn!(reason = fault.reason, cause, "a call failed");
            }
        }
        shorten(&mut fault.text, TEXT);
        fault.metadata.iter_mut().for_each(|(_, value)| shorten(value, TEXT));
        let mut details = ErrorDetails::new();
        details.set_error_info(
            fault.reason,
            DOMAIN,
            fault.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<std::collections::HashMap<_, _>>(),
        );
        for (field, description) in fault.violations {
            details.add_bad_request_violation(field, description);
        }
        if let Some(wait) = fault.retry_after {
            details.set_retry_info(Some(wait));
        }
        Status::with_error_details(fault.code, fault.text, details)
    }
}

/// Cuts a text down to `most` bytes, between two characters.
fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_fits_into_headers_whatever_was_sent() {
        let long = "名".repeat(10_000);
        let many: Vec<(String, String)> = (0..1000).map(|index| (format!("contacts[{index}].{long}"), format!("{long} is unknown"))).collect();
        for fault in [
            Fault::invalid_fields(many),
            Fault::not_found(&long),
            Fault::etag_mismatch(&long),
            Fault::argument("FILTER_INVALID", &long).with("filter", &long),
        ] {
            let response = Status::from(fault).into_http::<String>();
            let bytes: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 8 * 1024, "{bytes} bytes: {response:?}");
        }
    }

    #[test]
    fn a_conversation_with_the_database_that_went_wrong_is_our_mistake_and_one_that_broke_off_is_not() {
        let broken = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!(Fault::from(broken).code(), Code::Unavailable);
        assert_eq!(Fault::from(sqlx::Error::Protocol("an answer to nothing".to_owned())).code(), Code::Internal);
    }

    #[test]
    fn the_first_wrong_fields_are_named_and_the_others_counted() {
        let wrong = |count: usize| Fault::invalid_fields((1..=count).map(|index| (format!("f{index}"), "is wrong".to_owned())).collect());
        assert_eq!(wrong(2).text(), "Correct these fields and send again: f1, f2.");
        assert!(wrong(13).text().ends_with("f9, f10 and 3 more."), "{}", wrong(13).text());
        assert_eq!(wrong(13).0.violations.len(), VIOLATIONS);
    }

    #[test]
    fn what_is_wrong_within_a_field_is_named_from_the_request_on() {
        let wrong = |count: usize| Fault::invalid_fields((1..=count).map(|index| (format!("f{index}"), "is wrong".to_owned())).collect());
        let told = wrong(2).within("rules").within("files[1]");
        assert_eq!(told.text(), "Correct these fields and send again: files[1].rules.f1, files[1].rules.f2.");
        assert_eq!(told.0.metadata, [("fields", "files[1].rules.f1, files[1].rules.f2".to_owned())]);
        assert!(wrong(13).within("rules").text().ends_with("rules.f10 and 3 more."));
        assert_eq!(Fault::not_found("files/1").within("files[1]").text(), Fault::not_found("files/1").text());
    }
}
