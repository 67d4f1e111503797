//! Resource names, parsed at the edge: `contacts/{uuid}`, and `services/{service}/jobs/{uuid}` for what every service
//! has of its own.

use std::collections::HashSet;

use uuid::Uuid;

use crate::command;
use crate::fault::Fault;

/// The name of a record.
#[must_use]
pub fn format(collection: &str, id: Uuid) -> String {
    let mut digits = Uuid::encode_buffer();
    [collection, "/", id.hyphenated().encode_lower(&mut digits)].concat()
}

/// The id in `name`, which must be of `collection`.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) naming `field`.
pub fn parse(collection: &str, name: &str, field: &str) -> Result<Uuid, Fault> {
    split(name)
        .filter(|(found, _)| *found == collection)
        .map(|(_, id)| id)
        .ok_or_else(|| Fault::invalid(field, format!("must look like {collection}/{{uuid}}")))
}

/// Collection and id of any name in canonical form; none if it has another shape.
#[must_use]
pub fn split(name: &str) -> Option<(&str, Uuid)> {
    let (collection, id) = name.split_once('/')?;
    if id.len() != 36 || collection.is_empty() {
        return None;
    }
    Some((collection, Uuid::try_parse(id).ok()?))
}

/// The id in `name` if one is given; an empty text is none.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) naming `field`.
pub fn parse_optional(collection: &str, name: &str, field: &str) -> Result<Option<Uuid>, Fault> {
    if name.is_empty() { Ok(None) } else { parse(collection, name, field).map(Some) }
}

/// The ids in the `names` of a batch read, each once, in the order of the request.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE).
pub fn parse_all(collection: &str, names: &[String], max: usize) -> Result<Vec<Uuid>, Fault> {
    if names.is_empty() {
        return Err(Fault::invalid("names", "is required"));
    }
    command::require_size(names.len(), max)?;
    let mut seen = HashSet::with_capacity(names.len());
    let mut ids = Vec::with_capacity(names.len());
    for (index, text) in names.iter().enumerate() {
        let id = parse(collection, text, &format!("names[{index}]"))?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The name of something that every service has of its own.
#[must_use]
pub fn format_own(service: &str, collection: &str, id: Uuid) -> String {
    format!("services/{service}/{collection}/{id}")
}

/// The id in `services/{service}/{collection}/{uuid}`; what another service has is absent here.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) naming `field`; NOT_FOUND (RECORD_NOT_FOUND).
pub fn parse_own(service: &str, collection: &str, name: &str, field: &str) -> Result<Uuid, Fault> {
    let parts = name.strip_prefix("services/").and_then(|rest| rest.split_once('/'));
    let own = parts.and_then(|(of, rest)| Some((of, split(rest).filter(|(found, _)| *found == collection)?.1)));
    let (of, id) = own.ok_or_else(|| Fault::invalid(field, format!("must look like services/{service}/{collection}/{{uuid}}")))?;
    if of == service { Ok(id) } else { Err(Fault::not_found(name)) }
}

/// Refuses a `parent` that is not `services/{service}`.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) if there is none; NOT_FOUND (RECORD_NOT_FOUND) for another service.
pub(crate) fn require_parent(service: &str, parent: &str) -> Result<(), Fault> {
    if parent.is_empty() {
        return Err(Fault::invalid("parent", "is required"));
    }
    if parent == format!("services/{service}") { Ok(()) } else { Err(Fault::not_found(parent)) }
}
