//! Records as vCards 3.0 (RFC 2426) and 4.0 (RFC 6350): what address books know of a person or an organisation.
//!
//! Who a contact acts for stands as `ORG` with the first account that the caller may read, the primary one before others.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use calcard::common::PartialDateTime;
use calcard::vcard::{VCardEntry, VCardKind, VCardParameter, VCardParameterName, VCardProperty, VCardType, VCardValue, VCardValueType, VCardVersion};
use chrono::{DateTime, Datelike, Timelike, Utc};
use prost_types::Timestamp;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_kit::{Fault, name};
use rapport_proto::google_type::{Date, PostalAddress};

use super::records::{Page, Record};

pub(super) use calcard::vcard::VCardVersion as Version;

/// The records of the page as cards, one behind the other.
///
/// # Errors
/// INTERNAL if a card cannot be written, which does not happen in memory.
pub(super) fn write(version: VCardVersion, page: &Page) -> Result<Vec<u8>, Fault> {
    let mut text = String::new();
    for record in &page.records {
        let entries = match record {
            Record::Contact(contact) => of_contact(version, contact, &page.account_names),
            Record::Account(account) => of_account(version, account),
        };
        write_card(&mut text, version, &entries).map_err(Fault::internal)?;
    }
    Ok(text.into_bytes())
}

/// The library would give texts of version 3.0 a parameter CHARSET, which that version has not. Dates without hyphens are
/// good in both.
fn write_card(text: &mut String, version: VCardVersion, entries: &[VCardEntry]) -> fmt::Result {
    write!(text, "BEGIN:VCARD\r\nVERSION:{version}\r\n")?;
    entries.iter().try_for_each(|entry| entry.write_to(text, true))?;
    text.write_str("END:VCARD\r\n")
}

fn of_contact(version: VCardVersion, contact: &pb::Contact, account_names: &HashMap<String, String>) -> Vec<VCardEntry> {
    let none = pb::Person::default();
    let person = contact.person.as_ref().unwrap_or(&none);
    let mut entries = head(version, &contact.name, VCardKind::Individual);
    let parts = [&person.salutation, &person.given_name, &person.additional_name, &person.family_name];
    let words: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    // Required, so that a person without a name is called by how to reach them.
    let formatted =
        if words.is_empty() { person.contact_points.first().map(|point| point.value.clone()).unwrap_or_default() } else { words.join(" ") };
    entries.push(VCardEntry::new(VCardProperty::Fn).with_value(formatted));
    let name = [&person.family_name, &person.given_name, &person.additional_name, &person.salutation].map(|part| VCardValue::Text(part.clone()));
    entries.push(VCardEntry::new(VCardProperty::N).with_values(name.into_iter().chain([VCardValue::Text(String::new())]).collect()));
    if let Some(day) = person.birth_date.as_ref().and_then(birthday) {
        entries.push(VCardEntry::new(VCardProperty::Bday).with_value(day));
    }
    let mut roles: Vec<&pb::AccountRole> = contact.accounts.iter().filter(|role| account_names.contains_key(&role.account)).collect();
    roles.sort_by_key(|role| !role.primary);
    if let Some(role) = roles.first() {
        put(&mut entries, VCardProperty::Org, account_names.get(&role.account).map(String::as_str).unwrap_or_default());
        put(&mut entries, VCardProperty::Role, &role.role);
    }
    put(&mut entries, VCardProperty::Title, &person.job_title);
    if version == VCardVersion::V4_0 {
        put(&mut entries, VCardProperty::Lang, &person.language);
    }
    reach(&mut entries, version, &person.contact_points, &person.addresses);
    put(&mut entries, VCardProperty::Note, &person.notes);
    tail(&mut entries, &contact.tags, contact.update_time);
    entries
}

fn of_account(version: VCardVersion, account: &pb::Account) -> Vec<VCardEntry> {
    let is_person = account.kind() == pb::account::Kind::Person;
    let mut entries = head(version, &account.name, if is_person { VCardKind::Individual } else { VCardKind::Org });
    entries.push(VCardEntry::new(VCardProperty::Fn).with_value(account.display_name.clone()));
    let name = if is_person { account.display_name.clone() } else { String::new() };
    let parts = [name, String::new(), String::new(), String::new(), String::new()];
    entries.push(VCardEntry::new(VCardProperty::N).with_values(parts.map(VCardValue::Text).to_vec()));
    if !is_person {
        put(&mut entries, VCardProperty::Org, &account.display_name);
    }
    put(&mut entries, VCardProperty::Url, &account.website);
    reach(&mut entries, version, &account.contact_points, &account.addresses);
    tail(&mut entries, &account.tags, account.update_time);
    entries
}

/// The same id in every export, so that an address book knows the card again.
fn head(version: VCardVersion, record: &str, kind: VCardKind) -> Vec<VCardEntry> {
    let id = name::split(record).map(|(_, id)| id.urn().to_string()).unwrap_or_default();
    let mut entries = vec![VCardEntry::new(VCardProperty::Uid).with_value(id)];
    if version == VCardVersion::V4_0 {
        entries.push(VCardEntry::new(VCardProperty::Kind).with_value(kind));
    }
    entries
}

fn reach(entries: &mut Vec<VCardEntry>, version: VCardVersion, points: &[pb::ContactPoint], addresses: &[pb::Address]) {
    for point in points.iter().filter(|point| !point.value.is_empty()) {
        let property = match point.kind() {
            Kind::Email => VCardProperty::Email,
            Kind::Phone => VCardProperty::Tel,
            Kind::Chat => VCardProperty::Impp,
            Kind::Web => VCardProperty::Url,
            Kind::Unspecified => continue,
        };
        let mut entry = VCardEntry::new(property).with_value(point.value.clone());
        if point.kind() == Kind::Chat {
            // A handle is no address of its own.
            entry.add_param(VCardParameter::value(VCardValueType::Text));
        }
        if !point.label.is_empty() {
            entry.add_param(VCardParameter::typ(kind_of(&point.label)));
        }
        entries.push(preferred(entry, version, point.primary));
    }
    for address in addresses {
        let Some(postal) = &address.postal_address else { continue };
        let mut entry = VCardEntry::new(VCardProperty::Adr).with_values(postal_parts(postal));
        let kind = match address.kind() {
            pb::address::Kind::Work => Some("work"),
            pb::address::Kind::Home => Some("home"),
            pb::address::Kind::Billing => Some("billing"),
            pb::address::Kind::Shipping => Some("delivery"),
            pb::address::Kind::Other | pb::address::Kind::Unspecified => None,
        };
        if let Some(kind) = kind {
            entry.add_param(VCardParameter::typ(kind_of(kind)));
        }
        entries.push(preferred(entry, version, address.primary));
    }
}

/// Box, extension, street, city, region, code and country.
fn postal_parts(postal: &PostalAddress) -> Vec<VCardValue> {
    let street = [postal.recipients.clone(), vec![postal.organization.clone()], postal.address_lines.clone(), vec![postal.sublocality.clone()]];
    let street: Vec<String> = street.concat().into_iter().filter(|line| !line.is_empty()).collect();
    let text = |text: &String| VCardValue::Text(text.clone());
    let empty = || VCardValue::Text(String::new());
    let street = if street.is_empty() { empty() } else { VCardValue::Component(street) };
    let [city, state, code, country] = [&postal.locality, &postal.administrative_area, &postal.postal_code, &postal.region_code].map(text);
    vec![empty(), empty(), street, city, state, code, country]
}

fn preferred(entry: VCardEntry, version: VCardVersion, is_primary: bool) -> VCardEntry {
    match (is_primary, version) {
        (false, _) => entry,
        (true, VCardVersion::V4_0) => entry.with_param(VCardParameter::pref(1_u32)),
        (true, _) => entry.with_param(VCardParameter::new(VCardParameterName::Type, "PREF".to_owned())),
    }
}

fn kind_of(label: &str) -> calcard::vcard::VCardParameterValue {
    match label.to_lowercase().as_str() {
        "work" => VCardType::Work.into(),
        "home" => VCardType::Home.into(),
        "mobile" | "cell" => VCardType::Cell.into(),
        "fax" => VCardType::Fax.into(),
        // A parameter cannot hold quotation marks.
        _ => label.replace('"', "'").into(),
    }
}

fn tail(entries: &mut Vec<VCardEntry>, tags: &[String], updated: Option<Timestamp>) {
    if !tags.is_empty() {
        entries.push(VCardEntry::new(VCardProperty::Categories).with_values(tags.iter().cloned().map(VCardValue::Text).collect()));
    }
    if let Some(moment) = updated.and_then(moment) {
        entries.push(VCardEntry::new(VCardProperty::Rev).with_value(moment));
    }
}

fn put(entries: &mut Vec<VCardEntry>, property: VCardProperty, text: &str) {
    if !text.is_empty() {
        entries.push(VCardEntry::new(property).with_value(text.to_owned()));
    }
}

fn birthday(date: &Date) -> Option<VCardValue> {
    let year = u16::try_from(date.year).ok()?;
    let (month, day) = (u8::try_from(date.month).ok()?, u8::try_from(date.day).ok()?);
    let day = PartialDateTime { year: (year > 0).then_some(year), month: Some(month), day: Some(day), ..PartialDateTime::default() };
    Some(VCardValue::PartialDateTime(day))
}

fn moment(time: Timestamp) -> Option<VCardValue> {
    let time = DateTime::<Utc>::from_timestamp(time.seconds, 0)?;
    let small = |part: u32| u8::try_from(part).ok();
    let moment = PartialDateTime {
        year: u16::try_from(time.year()).ok(),
        month: small(time.month()),
        day: small(time.day()),
        hour: small(time.hour()),
        minute: small(time.minute()),
        second: small(time.second()),
        tz_hour: Some(0),
        tz_minute: Some(0),
        tz_minus: false,
    };
    Some(VCardValue::PartialDateTime(moment))
}

#[cfg(test)]
mod tests {
    use calcard::vcard::VCard;
    use calcard::{Entry, Parser};
    use rapport_kit::clock;

    use super::*;

    fn contact() -> pb::Contact {
        let point = |kind: Kind, value: &str, label: &str, primary| pb::ContactPoint {
            kind: kind.into(),
            value: value.to_owned(),
            label: label.to_owned(),
            primary,
            ..pb::ContactPoint::default()
        };
        let postal = PostalAddress {
            address_lines: vec!["12, rue du Bac".to_owned(), "Bâtiment B".to_owned()],
            locality: "Paris".to_owned(),
            postal_code: "75007".to_owned(),
            region_code: "FR".to_owned(),
            ..PostalAddress::default()
        };
        let person = pb::Person {
            given_name: "Şule".to_owned(),
            family_name: "Yılmaz; Koç".to_owned(),
            salutation: "Dr".to_owned(),
            birth_date: Some(Date { year: 0, month: 12, day: 10 }),
            contact_points: vec![
                point(Kind::Email, "sule@example.com", "work", true),
                point(Kind::Phone, "+90 212 000 00 00", "at the \"villa\"", false),
            ],
            addresses: vec![pb::Address { kind: pb::address::Kind::Work.into(), postal_address: Some(postal), primary: false }],
            notes: "First line\nEND:VCARD, second".to_owned(),
            ..pb::Person::default()
        };
        pb::Contact {
            name: name::format("contacts", clock::new_id()),
            person: Some(person),
            accounts: vec![pb::AccountRole {
                account: "accounts/1".to_owned(),
                role: "buyer".to_owned(),
                primary: true,
                ..pb::AccountRole::default()
            }],
            tags: vec!["vip".to_owned(), "a,b".to_owned()],
            ..pb::Contact::default()
        }
    }

    fn cards(text: &str) -> Vec<VCard> {
        let mut parser = Parser::new(text).strict();
        let mut cards = Vec::new();
        loop {
            match parser.entry() {
                Entry::VCard(card) => cards.push(card),
                Entry::Eof => return cards,
                other => panic!("{other:?} in {text}"),
            }
        }
    }

    fn texts(card: &VCard, property: &VCardProperty) -> Vec<String> {
        let entries = card.entries.iter().filter(|entry| entry.name == *property);
        entries.flat_map(|entry| entry.values.iter().filter_map(VCardValue::as_text)).map(str::to_owned).collect()
    }

    #[test]
    fn a_card_says_in_both_versions_what_the_contact_says() {
        let page = Page {
            records: vec![Record::Contact(Box::new(contact())), Record::Contact(Box::new(contact()))],
            account_names: HashMap::from([("accounts/1".to_owned(), "Nord, & Sons".to_owned())]),
            next: None,
        };
        for version in [VCardVersion::V3_0, VCardVersion::V4_0] {
            let text = String::from_utf8(write(version, &page).unwrap()).unwrap();
            let cards = cards(&text);
            assert_eq!(cards.len(), 2, "{text}");
            let card = &cards[0];
            assert_eq!(card.version(), Some(version));
            assert_eq!(texts(card, &VCardProperty::Fn), ["Dr Şule Yılmaz; Koç"]);
            assert_eq!(texts(card, &VCardProperty::N), ["Yılmaz; Koç", "Şule", "", "Dr", ""], "{text}");
            assert_eq!(texts(card, &VCardProperty::Email), ["sule@example.com"]);
            assert_eq!(texts(card, &VCardProperty::Tel), ["+90 212 000 00 00"]);
            assert_eq!(texts(card, &VCardProperty::Org), ["Nord, & Sons"]);
            assert_eq!(texts(card, &VCardProperty::Role), ["buyer"]);
            assert_eq!(texts(card, &VCardProperty::Note), ["First line\nEND:VCARD, second"]);
            assert_eq!(texts(card, &VCardProperty::Categories), ["vip", "a,b"]);
            let born = card.property(&VCardProperty::Bday).and_then(|entry| entry.values.first()).and_then(VCardValue::as_partial_date_time);
            assert_eq!(born.map(|day| (day.year, day.month, day.day)), Some((None, Some(12), Some(10))), "{text}");
            assert!(text.contains("12\\, rue du Bac,B"), "{text}");
            assert!(text.contains("TYPE=\"at the 'villa'\"") || text.contains("TYPE=at the 'villa'"), "{text}");
            assert!(!text.contains("CHARSET"), "{text}");
        }
    }

    #[test]
    fn an_account_is_an_organisation_unless_it_is_a_person() {
        for (kind, said) in [(pb::account::Kind::Organisation, "KIND:org"), (pb::account::Kind::Person, "KIND:individual")] {
            let account = pb::Account {
                name: name::format("accounts", clock::new_id()),
                display_name: "Nordlicht".to_owned(),
                kind: kind.into(),
                ..pb::Account::default()
            };
            let page = Page { records: vec![Record::Account(Box::new(account))], ..Page::default() };
            let text = String::from_utf8(write(VCardVersion::V4_0, &page).unwrap()).unwrap();
            assert!(text.to_lowercase().contains(&said.to_lowercase()), "{text}");
            assert_eq!(texts(&cards(&text)[0], &VCardProperty::Fn), ["Nordlicht"]);
        }
    }
}
