//! Between the policy and its message.

use prost_types::FieldMask;
use rapport_identity_api::v1 as pb;
use rapport_kit::mask::Mask;
use rapport_kit::{Fault, clock};

use super::SecurityPolicy;
use crate::parse::Problems;

const KNOWN: &[&str] = &[
    "password_min_length",
    "lockout_attempts",
    "lockout_base_seconds",
    "session_idle_seconds",
    "session_absolute_seconds",
    "history_retention_days",
    "data_owner",
];

impl From<&SecurityPolicy> for pb::SecurityPolicy {
    fn from(policy: &SecurityPolicy) -> Self {
        let stored = policy.version > 0;
        Self {
            name: "securityPolicy".to_owned(),
            password_min_length: policy.password_min_length,
            lockout_attempts: policy.lockout_attempts,
            lockout_base_seconds: policy.lockout_base_seconds,
            session_idle_seconds: policy.session_idle_seconds,
            session_absolute_seconds: policy.session_absolute_seconds,
            history_retention_days: policy.history_retention_days,
            data_owner: policy.data_owner.clone(),
            stored,
            etag: if stored { policy.version.to_string() } else { String::new() },
            create_time: stored.then(|| clock::timestamp(policy.created_at)),
            update_time: stored.then(|| clock::timestamp(policy.updated_at)),
        }
    }
}

/// `policy` with the fields of the mask as the request says; `path` stands before fields in refusals.
pub(crate) fn parse(policy: &SecurityPolicy, request: &pb::SecurityPolicy, mask: Option<FieldMask>, path: &str) -> Result<SecurityPolicy, Fault> {
    let mask = Mask::parse(mask, |field| populated(request, field), KNOWN)?;
    let mut changed = policy.clone();
    for field in mask.paths() {
        match *field {
            "password_min_length" => changed.password_min_length = request.password_min_length,
            "lockout_attempts" => changed.lockout_attempts = request.lockout_attempts,
            "lockout_base_seconds" => changed.lockout_base_seconds = request.lockout_base_seconds,
            "session_idle_seconds" => changed.session_idle_seconds = request.session_idle_seconds,
            "session_absolute_seconds" => changed.session_absolute_seconds = request.session_absolute_seconds,
            "history_retention_days" => changed.history_retention_days = request.history_retention_days,
            _ => request.data_owner.trim().clone_into(&mut changed.data_owner),
        }
    }
    let mut problems = Problems::default();
    changed.check(path, &mut problems);
    problems.done()?;
    Ok(changed)
}

fn populated(request: &pb::SecurityPolicy, field: &str) -> bool {
    match field {
        "password_min_length" => request.password_min_length != 0,
        "lockout_attempts" => request.lockout_attempts != 0,
        "lockout_base_seconds" => request.lockout_base_seconds != 0,
        "session_idle_seconds" => request.session_idle_seconds != 0,
        "session_absolute_seconds" => request.session_absolute_seconds != 0,
        "history_retention_days" => request.history_retention_days != 0,
        _ => !request.data_owner.is_empty(),
    }
}
