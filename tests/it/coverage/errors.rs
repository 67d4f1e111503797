//! What every refusal must look like, whatever was refused.

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

/// Traces of the inside that no text for callers may show.
const INSIDE: &[&str] = &["select ", "insert into", "sqlx", "panicked", "/src/", "postgres", "kit.", "stack backtrace"];

/// The reason of a refusal; empty if it has none.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// What is wrong with a refusal as such: nothing, if it keeps the contract of errors.
pub(crate) fn problems(status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    let details = pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default();
    let infos: Vec<_> = details.iter().filter(|detail| detail.type_url.ends_with("/google.rpc.ErrorInfo")).collect();
    if infos.len() != 1 {
        problems.push(format!("{} ErrorInfo instead of one", infos.len()));
    }
    for info in infos.iter().filter_map(|info| pb::ErrorInfo::decode(info.value.as_slice()).ok()) {
        let shouts = info.reason.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
        if info.reason.is_empty() || !shouts {
            problems.push(format!("the reason {:?} is not UPPER_SNAKE", info.reason));
        }
        if info.domain.is_empty() {
            problems.push("ErrorInfo without a domain".to_owned());
        }
    }
    if matches!(status.code(), Code::Internal | Code::Unknown | Code::Cancelled) {
        problems.push(format!("code {:?}: our mistake, not the caller's", status.code()));
    }
    let waits = details.iter().any(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"));
    if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) && !waits {
        problems.push("no RetryInfo".to_owned());
    }
    let shown = format!("{}\n{}", status.message(), String::from_utf8_lossy(status.details())).to_lowercase();
    problems.extend(INSIDE.iter().filter(|word| shown.contains(*word)).map(|word| format!("shows the inside: {word:?}")));
    problems
}

/// The refusal in one line, for messages of tests.
pub(crate) fn told(status: &Status) -> String {
    format!("{:?} {} {:?}", status.code(), reason(status), status.message())
}
