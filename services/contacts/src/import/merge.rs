//! What a row makes of a record that is there.
//!
//! What a cell says replaces a single value; contact points, accounts and external ids are added to those that there
//! are, or change the one that they are about. An address changes the one of its kind. An empty cell changes nothing,
//! unless it is asked to empty the field: then what stands in the row is all that stays of the columns of the file.

use rapport_contacts_api::v1 as pb;
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::PostalAddress;
use rlibphonenumber::Region;

use crate::contact_point::{self, Kind};
use crate::layout::{Column, PointPart, RolePart, Single};

/// Takes the text if there is one.
fn text(stored: &mut String, sent: String) {
    if !sent.is_empty() {
        *stored = sent;
    }
}

/// The contact that `sent` makes of `stored`; `empty` are the columns to be emptied.
#[must_use]
pub fn contact(stored: pb::Contact, sent: pb::Contact, empty: &[Column], region: Option<Region>) -> pb::Contact {
    let mut merged = stored;
    let person = merged.person.get_or_insert_default();
    let from = sent.person.unwrap_or_default();
    text(&mut person.given_name, from.given_name);
    text(&mut person.family_name, from.family_name);
    text(&mut person.additional_name, from.additional_name);
    text(&mut person.salutation, from.salutation);
    text(&mut person.language, from.language);
    text(&mut person.job_title, from.job_title);
    text(&mut person.notes, from.notes);
    person.birth_date = from.birth_date.or(person.birth_date);
    points(&mut person.contact_points, from.contact_points, empty, region);
    addresses(&mut person.addresses, from.addresses, empty);
    text(&mut merged.owner, sent.owner);
    if !sent.tags.is_empty() {
        merged.tags = sent.tags;
    }
    external_ids(&mut merged.external_ids, sent.external_ids, empty);
    roles(&mut merged.accounts, sent.accounts, empty);
    let person = merged.person.get_or_insert_default();
    for column in empty {
        let Column::Single(single) = column else { continue };
        match single {
            Single::GivenName => person.given_name.clear(),
            Single::FamilyName => person.family_name.clear(),
            Single::AdditionalName => person.additional_name.clear(),
            Single::Salutation => person.salutation.clear(),
            Single::Language => person.language.clear(),
            Single::JobTitle => person.job_title.clear(),
            Single::Notes => person.notes.clear(),
            Single::BirthDate => person.birth_date = None,
            Single::Tags => merged.tags.clear(),
            // A record is never nobody's, and the others are no fields of a contact.
            _ => {}
        }
    }
    merged
}

/// The account that `sent` makes of `stored`; `empty` are the columns to be emptied. The parent stays.
#[must_use]
pub fn account(stored: pb::Account, sent: pb::Account, empty: &[Column], region: Option<Region>) -> pb::Account {
    let mut merged = stored;
    text(&mut merged.display_name, sent.display_name);
    text(&mut merged.legal_entity, sent.legal_entity);
    text(&mut merged.sector, sent.sector);
    text(&mut merged.website, sent.website);
    text(&mut merged.owner, sent.owner);
    if !sent.relationships.is_empty() {
        merged.relationships = sent.relationships;
    }
    merged.employee_count = sent.employee_count.or(merged.employee_count);
    merged.founded_year = sent.founded_year.or(merged.founded_year);
    merged.annual_revenue = sent.annual_revenue.or(merged.annual_revenue);
    points(&mut merged.contact_points, sent.contact_points, empty, region);
    addresses(&mut merged.addresses, sent.addresses, empty);
    external_ids(&mut merged.external_ids, sent.external_ids, empty);
    if !sent.tags.is_empty() {
        merged.tags = sent.tags;
    }
    for column in empty {
        let Column::Single(single) = column else { continue };
        match single {
            Single::Relationships => merged.relationships.clear(),
            Single::Sector => merged.sector.clear(),
            Single::Website => merged.website.clear(),
            Single::Employees => merged.employee_count = None,
            Single::Revenue => merged.annual_revenue = None,
            Single::Founded => merged.founded_year = None,
            Single::Tags => merged.tags.clear(),
            // An account has a name, and keeps its kind, its legal entity and its owner.
            _ => {}
        }
    }
    merged
}

/// Adds contact points, or changes the ones that they are, however those were typed.
pub fn points(stored: &mut Vec<pb::ContactPoint>, sent: Vec<pb::ContactPoint>, empty: &[Column], region: Option<Region>) {
    let mut told = Vec::with_capacity(sent.len());
    for point in sent {
        let (kind, key) = (point.kind, key(&point, region));
        if point.primary {
            stored.iter_mut().filter(|other| other.kind == kind).for_each(|other| other.primary = false);
        }
        match stored.iter_mut().find(|other| other.kind == kind && self::key(other, region) == key) {
            Some(known) => {
                text(&mut known.label, point.label);
                known.primary |= point.primary;
                if point.status != 0 {
                    known.status = point.status;
                }
            }
            None => stored.push(point),
        }
        told.push((kind, key));
    }
    for column in empty {
        let Column::Point(channel, _, PointPart::Value) = column else { continue };
        let kind = crate::layout::part::kind_of(*channel);
        stored.retain(|point| point.kind() != kind || told.contains(&(point.kind, key(point, region))));
    }
}

/// What two contact points have in common that are the same.
fn key(point: &pb::ContactPoint, region: Option<Region>) -> String {
    if !point.normalized.is_empty() {
        return point.normalized.clone();
    }
    let kind = match point.kind() {
        pb::contact_point::Kind::Email => Kind::Email,
        pb::contact_point::Kind::Phone => Kind::Phone,
        pb::contact_point::Kind::Web => Kind::Web,
        pb::contact_point::Kind::Chat | pb::contact_point::Kind::Unspecified => Kind::Chat,
    };
    let value = point.value.trim();
    let region = point.region.parse().ok().or(region);
    contact_point::normalize(kind, value, region).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| value.to_owned())
}

/// Adds addresses, or changes those of their kind, each the next one.
pub fn addresses(stored: &mut Vec<pb::Address>, sent: Vec<pb::Address>, empty: &[Column]) {
    // An empty part of an address that has others says nothing of the other addresses.
    if sent.is_empty() && empty.iter().any(|column| matches!(column, Column::Address(..))) {
        stored.clear();
        return;
    }
    let kind = |address: &pb::Address| if address.kind == 0 { pb::address::Kind::Other as i32 } else { address.kind };
    for (index, address) in sent.iter().enumerate() {
        let nth = sent.iter().take(index).filter(|other| kind(other) == kind(address)).count();
        match stored.iter_mut().filter(|other| kind(other) == kind(address)).nth(nth) {
            Some(known) => overlay(known, address.clone()),
            None => stored.push(address.clone()),
        }
    }
}

fn overlay(known: &mut pb::Address, sent: pb::Address) {
    known.primary |= sent.primary;
    let from = sent.postal_address.unwrap_or_default();
    let postal = known.postal_address.get_or_insert_default();
    let PostalAddress { region_code, language_code, postal_code, sorting_code, administrative_area, locality, sublocality, organization, .. } = from;
    text(&mut postal.region_code, region_code);
    text(&mut postal.language_code, language_code);
    text(&mut postal.postal_code, postal_code);
    text(&mut postal.sorting_code, sorting_code);
    text(&mut postal.administrative_area, administrative_area);
    text(&mut postal.locality, locality);
    text(&mut postal.sublocality, sublocality);
    text(&mut postal.organization, organization);
    if !from.address_lines.is_empty() {
        postal.address_lines = from.address_lines;
    }
    if !from.recipients.is_empty() {
        postal.recipients = from.recipients;
    }
}

/// Adds external ids; one a system.
pub fn external_ids(stored: &mut Vec<ExternalId>, sent: Vec<ExternalId>, empty: &[Column]) {
    stored.retain(|pair| !empty.iter().any(|column| matches!(column, Column::ExternalId(system) if *system == pair.system)));
    for pair in sent {
        match stored.iter_mut().find(|known| known.system == pair.system) {
            Some(known) => known.id = pair.id,
            None => stored.push(pair),
        }
    }
}

/// Adds accounts, or changes what the contact is to them.
fn roles(stored: &mut Vec<pb::AccountRole>, sent: Vec<pb::AccountRole>, empty: &[Column]) {
    if empty.iter().any(|column| matches!(column, Column::Account(_, RolePart::Account))) {
        *stored = sent;
        return;
    }
    for role in sent {
        if role.primary {
            stored.iter_mut().for_each(|known| known.primary = false);
        }
        match stored.iter_mut().find(|known| known.account == role.account) {
            Some(known) => {
                text(&mut known.role, role.role);
                known.primary |= role.primary;
                known.start_date = role.start_date.or(known.start_date);
                known.end_date = role.end_date.or(known.end_date);
            }
            None => stored.push(role),
        }
    }
}
