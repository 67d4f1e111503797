//! Proto and model of what both resources have: contact points, addresses, days, times.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use prost_types::Timestamp;
use rapport_contacts_api::v1 as pb;
use rapport_kit::{Fault, clock};
use rapport_proto::google_type::{Date, PostalAddress};
use rlibphonenumber::Region;

use crate::address::{self, Address};
use crate::contact_point::{self, ContactPoint, Kind, Status};
use crate::limits;
use crate::owner::Owner;
use crate::violations::Violations;

/// What parsing needs to know besides what was sent.
#[derive(Debug)]
pub struct Known<'a, Details> {
    /// What is stored, if the record exists.
    pub details: Option<&'a Details>,
    /// Who owns it if the request does not say.
    pub owner: Owner,
    /// Where telephone numbers without country code are read.
    pub region: Option<Region>,
    /// The present time.
    pub now: DateTime<Utc>,
}

/// The contact points in `sent`. Points without a status keep that of the same point in `known`.
pub fn contact_points(
    found: &mut Violations,
    field: &str,
    sent: Vec<pb::ContactPoint>,
    known: &[ContactPoint],
    region: Option<Region>,
) -> Vec<ContactPoint> {
    let sent = found.at_most(field, sent, limits::CONTACT_POINTS);
    let mut points = Vec::with_capacity(sent.len());
    for (index, point) in sent.into_iter().enumerate() {
        points.extend(contact_point(found, &format!("{field}[{index}]"), point, known, region));
    }
    if let Some(second) = contact_point::settle_primary(&mut points) {
        found.add(format!("{field}[{second}].primary"), "is marked on another one of its kind too; mark one at most");
    }
    points
}

fn contact_point(
    found: &mut Violations,
    field: &str,
    sent: pb::ContactPoint,
    known: &[ContactPoint],
    region: Option<Region>,
) -> Option<ContactPoint> {
    let kind = match sent.kind() {
        pb::contact_point::Kind::Email => Kind::Email,
        pb::contact_point::Kind::Phone => Kind::Phone,
        pb::contact_point::Kind::Chat => Kind::Chat,
        pb::contact_point::Kind::Web => Kind::Web,
        pb::contact_point::Kind::Unspecified => {
            found.add(format!("{field}.kind"), "is required");
            return None;
        }
    };
    let status = status(sent.status());
    let value = found.required(&format!("{field}.value"), sent.value, limits::CONTACT_POINT);
    let own_region = if sent.region.is_empty() { Ok(None) } else { sent.region.parse::<Region>().map(Some) };
    if own_region.is_err() {
        found.add(format!("{field}.region"), "must be an ISO 3166-1 alpha-2 country such as FR");
    }
    // What was read once stays as it was read, also when the default region has become another.
    let unchanged = known.iter().find(|other| other.kind == kind && other.value == value && other.region == sent.region);
    let normalized = match unchanged {
        Some(other) => other.normalized.clone(),
        None => contact_point::normalize(kind, &value, own_region.ok().flatten().or(region)).unwrap_or_else(|problem| {
            if !value.is_empty() {
                found.add(format!("{field}.value"), problem);
            }
            String::new()
        }),
    };
    let label = found.text(&format!("{field}.label"), sent.label, limits::LABEL);
    let mut point = ContactPoint { kind, value, normalized, label, primary: sent.primary, status: Status::Unverified, region: sent.region };
    let before = known.iter().find(|other| other.is_same(&point)).map(|other| other.status);
    point.status = status.or(before).unwrap_or(Status::Unverified);
    Some(point)
}

/// A contact point as [`contact_point_to_proto`] wrote it into the journal; none if it is not one of those.
#[must_use]
pub fn contact_point_of_snapshot(stored: pb::ContactPoint) -> Option<ContactPoint> {
    let kind = match stored.kind() {
        pb::contact_point::Kind::Email => Kind::Email,
        pb::contact_point::Kind::Phone => Kind::Phone,
        pb::contact_point::Kind::Chat => Kind::Chat,
        pb::contact_point::Kind::Web => Kind::Web,
        pb::contact_point::Kind::Unspecified => return None,
    };
    let status = status(stored.status())?;
    let pb::ContactPoint { value, normalized, label, primary, region, .. } = stored;
    Some(ContactPoint { kind, value, normalized, label, primary, status, region })
}

/// An address as [`address_to_proto`] wrote it into the journal; none if it is not one of those.
#[must_use]
pub fn address_of_snapshot(stored: pb::Address) -> Option<Address> {
    // What was stored has no fault to be found.
    let mut found = Violations::default();
    let address = address(&mut found, "address", stored);
    found.finish().ok().map(|()| address)
}

fn status(sent: pb::contact_point::Status) -> Option<Status> {
    match sent {
        pb::contact_point::Status::Unspecified => None,
        pb::contact_point::Status::Unverified => Some(Status::Unverified),
        pb::contact_point::Status::Valid => Some(Status::Valid),
        pb::contact_point::Status::Bouncing => Some(Status::Bouncing),
        pb::contact_point::Status::Invalid => Some(Status::Invalid),
        pb::contact_point::Status::Complained => Some(Status::Complained),
        pb::contact_point::Status::OptedOut => Some(Status::OptedOut),
    }
}

/// A contact point as it is shown.
#[must_use]
pub fn contact_point_to_proto(point: ContactPoint) -> pb::ContactPoint {
    let kind = match point.kind {
        Kind::Email => pb::contact_point::Kind::Email,
        Kind::Phone => pb::contact_point::Kind::Phone,
        Kind::Chat => pb::contact_point::Kind::Chat,
        Kind::Web => pb::contact_point::Kind::Web,
    };
    let status = match point.status {
        Status::Unverified => pb::contact_point::Status::Unverified,
        Status::Valid => pb::contact_point::Status::Valid,
        Status::Bouncing => pb::contact_point::Status::Bouncing,
        Status::Invalid => pb::contact_point::Status::Invalid,
        Status::Complained => pb::contact_point::Status::Complained,
        Status::OptedOut => pb::contact_point::Status::OptedOut,
    };
    pb::ContactPoint {
        kind: kind.into(),
        value: point.value,
        normalized: point.normalized,
        label: point.label,
        primary: point.primary,
        status: status.into(),
        region: point.region,
    }
}

/// The addresses in `sent`; at most one primary a kind.
pub fn addresses(found: &mut Violations, field: &str, sent: Vec<pb::Address>) -> Vec<Address> {
    let sent = found.at_most(field, sent, limits::ADDRESSES);
    let mut addresses: Vec<Address> = Vec::with_capacity(sent.len());
    for (index, sent) in sent.into_iter().enumerate() {
        let field = format!("{field}[{index}]");
        let address = address(found, &field, sent);
        if address.primary && addresses.iter().any(|other| other.primary && other.kind == address.kind) {
            found.add(format!("{field}.primary"), "is marked on another one of its kind too; mark one at most");
        }
        addresses.push(address);
    }
    addresses
}

fn address(found: &mut Violations, field: &str, sent: pb::Address) -> Address {
    let kind = match sent.kind() {
        pb::address::Kind::Billing => address::Kind::Billing,
        pb::address::Kind::Shipping => address::Kind::Shipping,
        pb::address::Kind::Work => address::Kind::Work,
        pb::address::Kind::Home => address::Kind::Home,
        pb::address::Kind::Other | pb::address::Kind::Unspecified => address::Kind::Other,
    };
    let primary = sent.primary;
    let postal = sent.postal_address.unwrap_or_default();
    let field = format!("{field}.postal_address");
    let region = postal.region_code;
    if region.len() != 2 || !region.bytes().all(|byte| byte.is_ascii_uppercase()) {
        found.add(format!("{field}.region_code"), "must be an ISO 3166-1 alpha-2 country such as FR");
    }
    let mut part = |name: &str, text: String| found.text(&format!("{field}.{name}"), text, limits::ADDRESS_LINE);
    let language = part("language_code", postal.language_code);
    let postal_code = part("postal_code", postal.postal_code);
    let sorting_code = part("sorting_code", postal.sorting_code);
    let administrative_area = part("administrative_area", postal.administrative_area);
    let locality = part("locality", postal.locality);
    let sublocality = part("sublocality", postal.sublocality);
    let organization = part("organization", postal.organization);
    let recipients = lines(found, &format!("{field}.recipients"), postal.recipients);
    let lines = lines(found, &format!("{field}.address_lines"), postal.address_lines);
    Address {
        kind,
        region,
        language,
        postal_code,
        sorting_code,
        administrative_area,
        locality,
        sublocality,
        lines,
        recipients,
        organization,
        primary,
    }
}

fn lines(found: &mut Violations, field: &str, lines: Vec<String>) -> Vec<String> {
    let lines = found.at_most(field, lines, limits::ADDRESS_LINES);
    lines.into_iter().enumerate().map(|(index, line)| found.text(&format!("{field}[{index}]"), line, limits::ADDRESS_LINE)).collect()
}

/// An address as it is shown.
#[must_use]
pub fn address_to_proto(address: Address) -> pb::Address {
    let kind = match address.kind {
        address::Kind::Billing => pb::address::Kind::Billing,
        address::Kind::Shipping => pb::address::Kind::Shipping,
        address::Kind::Work => pb::address::Kind::Work,
        address::Kind::Home => pb::address::Kind::Home,
        address::Kind::Other => pb::address::Kind::Other,
    };
    let postal_address = PostalAddress {
        revision: 0,
        region_code: address.region,
        language_code: address.language,
        postal_code: address.postal_code,
        sorting_code: address.sorting_code,
        administrative_area: address.administrative_area,
        locality: address.locality,
        sublocality: address.sublocality,
        address_lines: address.lines,
        recipients: address.recipients,
        organization: address.organization,
    };
    pb::Address { kind: kind.into(), postal_address: Some(postal_address), primary: address.primary }
}

/// A whole day.
pub fn day(found: &mut Violations, field: &str, sent: Option<Date>) -> Option<NaiveDate> {
    let sent = sent?;
    let day = day_in(sent.year, sent);
    if day.is_none() {
        found.add(field, no_such_day(sent));
    }
    day
}

/// The day of `sent` in `year`; none if the calendar has no such day.
#[must_use]
pub fn day_in(year: i32, sent: Date) -> Option<NaiveDate> {
    let month = u32::try_from(sent.month).ok()?;
    let day = u32::try_from(sent.day).ok()?;
    NaiveDate::from_ymd_opt(year, month, day).filter(|_| (1..=9999).contains(&year))
}

/// What is wrong with a date that names no day.
#[must_use]
pub fn no_such_day(sent: Date) -> String {
    format!("must be a day of the calendar with year, month and day; there is no {:04}-{:02}-{:02}", sent.year, sent.month, sent.day)
}

/// A day as it is shown.
#[must_use]
pub fn day_to_proto(day: NaiveDate) -> Date {
    let small = |part: u32| i32::try_from(part).unwrap_or_default();
    Date { year: day.year(), month: small(day.month()), day: small(day.day()) }
}

/// The time of an `as_of`; none if it is unset.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) if it is no time or lies in the future.
pub fn as_of(sent: Option<Timestamp>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Fault> {
    let Some(sent) = sent else { return Ok(None) };
    let time = clock::time(sent).ok_or_else(|| Fault::invalid("as_of", "must be a time"))?;
    if time > now {
        return Err(Fault::invalid("as_of", "must not lie in the future"));
    }
    Ok(Some(time))
}
