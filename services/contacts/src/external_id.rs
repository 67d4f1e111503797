//! What other systems call a record.

use rapport_kit::Fault;
use rapport_proto::common::v1 as pb;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::violations::Violations;

/// Another system's id for a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalId {
    /// The other system, such as `erp`.
    pub system: String,
    /// What it calls the record.
    pub id: String,
}

/// The external ids in `sent`, by system; one a system.
pub fn parse(found: &mut Violations, field: &str, sent: Vec<pb::ExternalId>) -> Vec<ExternalId> {
    let sent = found.at_most(field, sent, limits::EXTERNAL_IDS);
    let mut ids: Vec<ExternalId> = Vec::with_capacity(sent.len());
    for (index, sent) in sent.into_iter().enumerate() {
        let parsed = parse_one(found, &format!("{field}[{index}]."), sent.system, sent.id);
        if ids.iter().any(|other| other.system == parsed.system) {
            found.add(format!("{field}[{index}].system"), "stands in the list twice; one id a system");
        }
        ids.push(parsed);
    }
    ids.sort_unstable();
    ids
}

/// A pair to look a record up by.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) naming the fields at fault.
pub fn parse_pair(system: String, id: String) -> Result<ExternalId, Fault> {
    let mut found = Violations::default();
    let pair = parse_one(&mut found, "", system, id);
    found.finish().map(|()| pair)
}

fn parse_one(found: &mut Violations, prefix: &str, system: String, id: String) -> ExternalId {
    let field = format!("{prefix}system");
    let system = found.required(&field, system, limits::SYSTEM);
    if !system.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        found.add(field, "must have lower-case letters, digits, dots, hyphens and underscores only");
    }
    let field = format!("{prefix}id");
    // Compared as it is, so not even spaces are taken away.
    let kept = id.clone();
    found.required(&field, id, limits::EXTERNAL_ID);
    ExternalId { system, id: kept }
}

/// As it is shown.
#[must_use]
pub fn to_proto(ids: Vec<ExternalId>) -> Vec<pb::ExternalId> {
    ids.into_iter().map(|ExternalId { system, id }| pb::ExternalId { system, id }).collect()
}

/// The refusal of a pair that stands on another record, seen or not: it names the field only.
#[must_use]
pub fn taken(field: &str) -> Fault {
    Fault::exists("EXTERNAL_ID_TAKEN", format!("Another record has one of the {field} already; each pair of system and id belongs to one record."))
        .with("field", field)
}
