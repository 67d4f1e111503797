//! Pairs and matches as they are shown, and what a review says.

use chrono::{DateTime, NaiveDate, Utc};
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_pair::State;
use rapport_kit::access::FieldRules;
use rapport_kit::{Fault, clock, command, name};
use uuid::Uuid;

use super::pair::{Pair, Verdict};
use super::rule::{Field, Match, Reason};
use crate::convert;
use crate::search::Kind;
use crate::violations::Violations;

/// A pair as it is shown on a day (after [`hide`]) and published.
#[must_use]
pub fn to_proto(pair: &Pair, today: NaiveDate) -> pb::DuplicatePair {
    let record = |id| name::format(pair.kind.collection(), id);
    let state = match pair.verdict {
        _ if pair.gone => State::Merged,
        Verdict::NotDuplicate => State::NotDuplicate,
        Verdict::Later(day) if day > today => State::Later,
        Verdict::Later(_) | Verdict::Open => State::Open,
    };
    pb::DuplicatePair {
        name: pair.name(),
        first_record: record(pair.first),
        second_record: record(pair.second),
        score: pair.score,
        reasons: pair.reasons.iter().map(reason_to_proto).collect(),
        state: state.into(),
        later_date: pair.verdict.day().map(convert::day_to_proto),
        reviewer: pair.reviewer.map(|reviewer| reviewer.name()).unwrap_or_default(),
        etag: command::etag(pair.version),
        create_time: Some(clock::timestamp(pair.created_at)),
        review_time: pair.reviewed_at.map(clock::timestamp),
    }
}

fn reason_to_proto(reason: &Reason) -> pb::DuplicateReason {
    pb::DuplicateReason { field: reason.field as i32, system: reason.system.clone(), closeness: reason.closeness as i32, points: reason.points }
}

/// A record that was found.
#[must_use]
pub fn match_to_proto(kind: Kind, (id, found): &(Uuid, Match)) -> pb::DuplicateMatch {
    let reasons = found.reasons.iter().map(reason_to_proto).collect();
    pb::DuplicateMatch { record: name::format(kind.collection(), *id), score: found.score, reasons }
}

/// Takes away what was found by fields that the caller's roles do not show, and the score that they are part of.
pub fn hide(pair: &mut pb::DuplicatePair, rules: &FieldRules) {
    let Some(kind) = kind_of(&pair.first_record).filter(|_| !rules.is_empty()) else { return };
    let is_hidden = |reason: &pb::DuplicateReason| Field::ALL.iter().any(|field| *field as i32 == reason.field && field.is_hidden(kind, rules));
    let told = pair.reasons.len();
    pair.reasons.retain(|reason| !is_hidden(reason));
    if pair.reasons.len() < told {
        pair.score = 0;
    }
}

/// Records of which kind a name is of.
#[must_use]
pub fn kind_of(record: &str) -> Option<Kind> {
    name::split(record).and_then(|(collection, _)| super::rule_convert::kind(collection))
}

/// What a review says.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID).
pub fn verdict(request: &pb::ReviewDuplicatePairRequest, now: DateTime<Utc>) -> Result<Verdict, Fault> {
    let mut found = Violations::default();
    let day = convert::day(&mut found, "later_date", request.later_date);
    let verdict = match (request.state(), day) {
        (State::Open, _) => Verdict::Open,
        (State::NotDuplicate, _) => Verdict::NotDuplicate,
        (State::Later, Some(day)) => Verdict::Later(day),
        (State::Later, None) => {
            if request.later_date.is_none() {
                found.add("later_date", "is required for STATE_LATER");
            }
            Verdict::Open
        }
        (State::Unspecified | State::Merged, _) => {
            found.add("state", "must be STATE_OPEN, STATE_NOT_DUPLICATE or STATE_LATER");
            Verdict::Open
        }
    };
    match verdict {
        Verdict::Later(day) if day <= now.date_naive() => found.add("later_date", "must lie in the future"),
        Verdict::Later(_) => {}
        Verdict::Open | Verdict::NotDuplicate if request.later_date.is_some() => {
            found.add("later_date", "must be unset, unless the state is STATE_LATER")
        }
        Verdict::Open | Verdict::NotDuplicate => {}
    }
    found.finish().map(|()| verdict)
}
