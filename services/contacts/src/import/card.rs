//! A vCard as cells of the layout. Every version is read alike; what a contact has no field for is left out.

use std::collections::BTreeMap;

use calcard::common::{IanaString, PartialDateTime};
use calcard::vcard::{VCard, VCardEntry, VCardParameterName, VCardParameterValue, VCardProperty, VCardType, VCardValue};
use rapport_kit::Fault;
use rapport_proto::google_type::Date;

use crate::layout::{AddressPart, Cell, Channel, Column, PointPart, RolePart, Single, cell};

/// System of the ids that cards bring along.
const SYSTEM: &str = "vcard";

/// The cells that a card fills; those of its organisation too, which may name an account.
///
/// # Errors
/// INVALID_ARGUMENT (CARD_UNREADABLE).
pub fn cells(text: &str, names_accounts: bool) -> Result<Vec<Cell>, Fault> {
    let unreadable = || Fault::argument("CARD_UNREADABLE", "This is no vCard; look at its first and its last line.");
    let card = VCard::parse(text).map_err(|_| unreadable())?;
    let mut read = Read::default();
    for entry in &card.entries {
        read.entry(entry);
    }
    read.settle_name();
    if names_accounts && !read.organisation.is_empty() {
        read.put(Column::Account(1, RolePart::Account), read.organisation.clone());
    }
    Ok(read.cells.into_iter().collect())
}

#[derive(Default)]
struct Read {
    cells: BTreeMap<Column, String>,
    /// The name as it is shown.
    shown: String,
    organisation: String,
    counts: BTreeMap<Channel, usize>,
    addresses: usize,
}

impl Read {
    /// Adds a cell, unless it is empty or there is one.
    fn put(&mut self, column: Column, text: String) {
        let text = text.trim();
        if !text.is_empty() {
            self.cells.entry(column).or_insert_with(|| text.to_owned());
        }
    }

    fn single(&mut self, single: Single, text: String) {
        self.put(Column::Single(single), text);
    }

    fn entry(&mut self, entry: &VCardEntry) {
        let part = |index: usize| entry.values.get(index).map(text).unwrap_or_default();
        match entry.name {
            VCardProperty::N => {
                self.single(Single::FamilyName, part(0));
                self.single(Single::GivenName, part(1));
                self.single(Single::AdditionalName, part(2));
                self.single(Single::Salutation, part(3));
            }
            VCardProperty::Fn if self.shown.is_empty() => self.shown = part(0),
            VCardProperty::Org if self.organisation.is_empty() => self.organisation = part(0),
            VCardProperty::Title | VCardProperty::Role => self.single(Single::JobTitle, part(0)),
            VCardProperty::Note => self.single(Single::Notes, part(0)),
            VCardProperty::Lang => self.single(Single::Language, part(0)),
            VCardProperty::Bday => self.single(Single::BirthDate, entry.values.first().map(day).unwrap_or_default()),
            VCardProperty::Categories => {
                let texts: Vec<String> = entry.values.iter().map(text).collect();
                self.single(Single::Tags, cell::list(texts.iter().map(String::as_str)));
            }
            VCardProperty::Uid => self.put(Column::ExternalId(SYSTEM.to_owned()), part(0)),
            VCardProperty::Email => self.point(Channel::Email, entry, &part(0)),
            VCardProperty::Tel => self.point(Channel::Phone, entry, part(0).trim_start_matches("tel:")),
            VCardProperty::Impp => self.point(Channel::Chat, entry, &part(0)),
            VCardProperty::Url => self.point(Channel::Web, entry, &part(0)),
            VCardProperty::Adr => self.address(entry),
            _ => {}
        }
    }

    fn point(&mut self, channel: Channel, entry: &VCardEntry, value: &str) {
        if value.trim().is_empty() {
            return;
        }
        let number = self.counts.entry(channel).or_default();
        *number += 1;
        let number = *number;
        self.put(Column::Point(channel, number, PointPart::Value), value.to_owned());
        let label = types(entry).into_iter().find(|name| !matches!(name.as_str(), "internet" | "pref" | "voice" | "x400"));
        self.put(Column::Point(channel, number, PointPart::Label), label.unwrap_or_default());
    }

    fn address(&mut self, entry: &VCardEntry) {
        let part = |index: usize| entry.values.get(index).map(text).unwrap_or_default();
        if (0..7).all(|index| part(index).trim().is_empty()) {
            return;
        }
        self.addresses += 1;
        let number = self.addresses;
        let types = types(entry);
        let is = |name: &str| types.iter().any(|other| other == name);
        let kind = [("work", "work"), ("home", "home"), ("billing", "billing"), ("delivery", "shipping")].into_iter().find(|(name, _)| is(name));
        let mut put = |column: AddressPart, text: String| self.put(Column::Address(number, column), text);
        put(AddressPart::Kind, kind.map(|(_, kind)| kind.to_owned()).unwrap_or_default());
        let street: Vec<String> = (0..3).map(part).collect();
        put(AddressPart::Street, cell::lines(street.iter().map(String::as_str)));
        put(AddressPart::City, part(3));
        put(AddressPart::State, part(4));
        put(AddressPart::PostalCode, part(5));
        put(AddressPart::Country, part(6));
    }

    /// A card without the parts of a name has the name as it is shown, or its organisation's.
    fn settle_name(&mut self) {
        let has_name = [Single::GivenName, Single::FamilyName].iter().any(|name| self.cells.contains_key(&Column::Single(*name)));
        if has_name {
            return;
        }
        let shown = self.shown.trim().to_owned();
        match shown.rsplit_once(' ') {
            Some((given, family)) => {
                self.single(Single::GivenName, given.to_owned());
                self.single(Single::FamilyName, family.to_owned());
            }
            None if !shown.is_empty() => self.single(Single::FamilyName, shown),
            None => self.single(Single::FamilyName, self.organisation.clone()),
        }
    }
}

/// A value as text; several in one place with spaces between. Bytes are none.
fn text(value: &VCardValue) -> String {
    match value {
        VCardValue::Component(texts) => texts.join(" "),
        VCardValue::Integer(number) => number.to_string(),
        other => other.as_text().unwrap_or_default().to_owned(),
    }
}

fn day(value: &VCardValue) -> String {
    let VCardValue::PartialDateTime(PartialDateTime { year, month: Some(month), day: Some(day), .. }) = value else { return text(value) };
    cell::day(Date { year: year.map_or(0, i32::from), month: i32::from(*month), day: i32::from(*day) })
}

/// Names of the types of an entry, in lower case.
fn types(entry: &VCardEntry) -> Vec<String> {
    let told = entry.parameters(&VCardParameterName::Type).filter_map(|value| match value {
        VCardParameterValue::Type(kind) => Some(VCardType::as_str(kind).to_lowercase()),
        VCardParameterValue::Text(text) => Some(text.to_lowercase()),
        _ => None,
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let cells = cells(text, false).expect("a card");
        cells.into_iter().map(|(column, text)| (column.to_string(), text)).collect()
    }

    fn told(cells: &[(&str, &str)]) -> Vec<(String, String)> {
        cells.iter().map(|(column, text)| ((*column).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_card_of_each_version_is_read() {
        let expected = told(&[
            ("Salutation", "Dr"),
            ("Given name", "Ayşe"),
            ("Family name", "Kaya"),
            ("Birth date", "1980-02-03"),
            ("E-mail 1", "ayse@example.org"),
            ("Phone 1", "+90 532 123 45 67"),
            ("Phone 1 - Label", "cell"),
        ]);
        for text in [
            "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Kaya;Ay=C5=9Fe;;Dr\r\nTEL;CELL:+90 532 123 45 67\r\n\
             EMAIL;INTERNET:ayse@example.org\r\nBDAY:19800203\r\nEND:VCARD\r\n",
            "BEGIN:VCARD\nVERSION:3.0\nFN:Dr Ayşe Kaya\nN:Kaya;Ayşe;;Dr;\nTEL;TYPE=CELL:+90 532 123 45 67\nEMAIL:ayse@example.org\nBDAY:1980-02-03\nEND:VCARD\n",
            "BEGIN:VCARD\nVERSION:4.0\nFN:x\nN:Kaya;Ayşe;;Dr;\nTEL;TYPE=cell:+90 532 123 45 67\nEMAIL:ayse@example.org\nBDAY:19800203\nEND:VCARD\n",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_card_without_a_name_is_called_as_it_is_shown_or_as_its_organisation() {
        let card = |lines: &str| format!("BEGIN:VCARD\nVERSION:3.0\n{lines}\nEND:VCARD\n");
        assert_eq!(read(&card("FN:Ada King Lovelace")), told(&[("Given name", "Ada King"), ("Family name", "Lovelace")]));
        assert_eq!(read(&card("FN:\nORG:Acme;Sales")), told(&[("Family name", "Acme")]));
        assert_eq!(cells("no card", false).unwrap_err().reason(), "CARD_UNREADABLE");
    }
}
