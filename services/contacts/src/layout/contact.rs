//! A contact as cells of a row, and back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_types::Timestamp;
use rapport_contacts_api::v1 as pb;
use rapport_proto::google_type::Date;

use super::part::{self, Groups};
use super::{Column, ROLE_PARTS, Resource, RolePart, Single, cell};
use crate::violations::Violations;

/// Whose person is hidden.
static NOBODY: LazyLock<pb::Person> = LazyLock::new(pb::Person::default);

/// What stands in a column of a contact; empty where there is nothing.
#[must_use]
pub fn cell<'r>(contact: &'r pb::Contact, column: &Column) -> Cow<'r, str> {
    let person = contact.person.as_ref().unwrap_or(&NOBODY);
    match column {
        Column::Single(single) => single_cell(contact, person, *single),
        Column::Point(channel, number, part) => part::point_cell(&person.contact_points, *channel, *number, *part),
        Column::Address(number, part) => part::address_cell(&person.addresses, *number, *part),
        Column::Account(number, part) => contact.accounts.get(number - 1).map(|role| role_cell(role, *part)).unwrap_or_default(),
        Column::ExternalId(system) => part::external_id_cell(&contact.external_ids, system),
    }
}

fn single_cell<'r>(contact: &'r pb::Contact, person: &'r pb::Person, single: Single) -> Cow<'r, str> {
    let time = |time: Option<Timestamp>| Cow::Owned(time.map(cell::time).unwrap_or_default());
    match single {
        Single::Record => Cow::Borrowed(&contact.name),
        Single::Salutation => Cow::Borrowed(&person.salutation),
        Single::GivenName => Cow::Borrowed(&person.given_name),
        Single::AdditionalName => Cow::Borrowed(&person.additional_name),
        Single::FamilyName => Cow::Borrowed(&person.family_name),
        Single::JobTitle => Cow::Borrowed(&person.job_title),
        Single::Language => Cow::Borrowed(&person.language),
        Single::BirthDate => Cow::Owned(person.birth_date.map(cell::day).unwrap_or_default()),
        Single::Tags => Cow::Owned(cell::list(contact.tags.iter().map(String::as_str))),
        Single::Owner => Cow::Borrowed(&contact.owner),
        Single::Notes => Cow::Borrowed(&person.notes),
        Single::Created => time(contact.create_time),
        Single::Updated => time(contact.update_time),
        Single::Deleted => time(contact.delete_time),
        Single::Version => Cow::Borrowed(&contact.etag),
        Single::DisplayName
        | Single::Kind
        | Single::Relationships
        | Single::Number
        | Single::LegalEntity
        | Single::Parent
        | Single::Sector
        | Single::Website
        | Single::Employees
        | Single::Revenue
        | Single::Currency
        | Single::Founded => Cow::Borrowed(""),
    }
}

fn role_cell(role: &pb::AccountRole, part: RolePart) -> Cow<'_, str> {
    let day = |day: Option<Date>| Cow::Owned(day.map(cell::day).unwrap_or_default());
    match part {
        RolePart::Account => Cow::Borrowed(&role.account),
        RolePart::Role => Cow::Borrowed(&role.role),
        RolePart::Primary => Cow::Borrowed(cell::flag(role.primary)),
        RolePart::Start => day(role.start_date),
        RolePart::End => day(role.end_date),
    }
}

/// The columns in which a contact can have something, in order.
pub fn columns(contact: &pb::Contact) -> impl Iterator<Item = Column> {
    let person = contact.person.as_ref().unwrap_or(&NOBODY);
    let roles = (1..=contact.accounts.len()).flat_map(|number| ROLE_PARTS.iter().map(move |(part, _)| Column::Account(number, *part)));
    let before = Resource::Contact.singles().chain(part::point_columns(&person.contact_points)).chain(part::address_columns(&person.addresses));
    before.chain(roles).chain(part::external_id_columns(&contact.external_ids))
}

/// The contact that cells show; what cannot be read is noted under its header. Values are taken as they are: what a
/// contact may hold is asked when it is written.
pub fn record<'a>(found: &mut Violations, cells: impl IntoIterator<Item = (&'a Column, &'a str)>) -> pb::Contact {
    let mut contact = pb::Contact { person: Some(pb::Person::default()), ..pb::Contact::default() };
    let mut groups = Groups::default();
    let mut roles: BTreeMap<usize, pb::AccountRole> = BTreeMap::new();
    for (column, text) in cells.into_iter().filter(|(_, text)| !text.is_empty()) {
        match column {
            Column::Single(single) => read_single(found, &mut contact, *single, text),
            Column::Point(channel, number, part) => groups.point(found, *channel, *number, *part, text),
            Column::Address(number, part) => groups.address(found, *number, *part, text),
            Column::Account(number, part) => read_role(found, roles.entry(*number).or_default(), column, *part, text),
            Column::ExternalId(system) => groups.external_id(system, text),
        }
    }
    let person = contact.person.get_or_insert_default();
    (person.contact_points, person.addresses, contact.external_ids) = groups.finish();
    // A role without an account is none.
    contact.accounts = roles.into_values().filter(|role| !role.account.is_empty()).collect();
    contact
}

fn read_single(found: &mut Violations, contact: &mut pb::Contact, single: Single, text: &str) {
    let person = contact.person.get_or_insert_default();
    match single {
        Single::Record => text.clone_into(&mut contact.name),
        Single::Salutation => text.clone_into(&mut person.salutation),
        Single::GivenName => text.clone_into(&mut person.given_name),
        Single::AdditionalName => text.clone_into(&mut person.additional_name),
        Single::FamilyName => text.clone_into(&mut person.family_name),
        Single::JobTitle => text.clone_into(&mut person.job_title),
        Single::Language => text.clone_into(&mut person.language),
        Single::BirthDate => {
            person.birth_date = cell::read_day(text);
            if person.birth_date.is_none() {
                found.add(Column::Single(single).to_string(), NO_DAY);
            }
        }
        Single::Tags => contact.tags = cell::read_list(text),
        Single::Owner => text.clone_into(&mut contact.owner),
        Single::Notes => text.clone_into(&mut person.notes),
        Single::Created => contact.create_time = cell::read_time(text),
        Single::Updated => contact.update_time = cell::read_time(text),
        Single::Deleted => contact.delete_time = cell::read_time(text),
        Single::Version => text.clone_into(&mut contact.etag),
        Single::DisplayName
        | Single::Kind
        | Single::Relationships
        | Single::Number
        | Single::LegalEntity
        | Single::Parent
        | Single::Sector
        | Single::Website
        | Single::Employees
        | Single::Revenue
        | Single::Currency
        | Single::Founded => {}
    }
}

fn read_role(found: &mut Violations, role: &mut pb::AccountRole, column: &Column, part: RolePart, text: &str) {
    let day = |found: &mut Violations| {
        let day = cell::read_day(text);
        if day.is_none() {
            found.add(column.to_string(), NO_DAY);
        }
        day
    };
    match part {
        RolePart::Account => text.clone_into(&mut role.account),
        RolePart::Role => text.clone_into(&mut role.role),
        RolePart::Primary => role.primary = part::flag(found, || column.to_string(), text),
        RolePart::Start => role.start_date = day(found),
        RolePart::End => role.end_date = day(found),
    }
}

/// What is wrong with a cell that is no day.
pub(super) const NO_DAY: &str = "must be a day such as 2026-01-31";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rapport_kit::{clock, name};
    use uuid::Uuid;

    use super::super::Cell;
    use super::super::part::tests::{addresses, external_ids, points, text};
    use super::*;

    fn written(contact: &pb::Contact) -> Vec<Cell> {
        columns(contact).map(|column| (column.clone(), cell(contact, &column).into_owned())).filter(|(_, text)| !text.is_empty()).collect()
    }

    fn read(cells: &[Cell]) -> pb::Contact {
        let mut found = Violations::default();
        let contact = record(&mut found, cells.iter().map(|(column, text)| (column, text.as_str())));
        found.finish().expect("every cell can be read");
        contact
    }

    proptest! {
        #[test]
        fn a_contact_is_read_as_it_was_written(
            names in prop::array::uniform7(text()),
            (points, addresses, external_ids) in (points(), addresses(), external_ids()),
            tags in prop::collection::vec("[a-z,\"' ]{1,6}".prop_map(|tag| tag.trim().to_owned()).prop_filter("no tag", |tag| !tag.is_empty()), 0..4),
            years in prop::collection::vec(1..9999_i32, 0..3),
        ) {
            let [salutation, given_name, additional_name, family_name, job_title, language, notes] = names;
            let day = |year: &i32| Some(Date { year: *year, month: 2, day: 3 });
            let accounts = years.iter().map(|year| pb::AccountRole {
                account: name::format("accounts", Uuid::nil()), role: notes.clone(), primary: year % 2 == 0, start_date: day(year), end_date: None,
            });
            let now = Some(clock::timestamp(clock::now()));
            let contact = pb::Contact {
                name: name::format("contacts", Uuid::nil()),
                accounts: accounts.collect(),
                person: Some(pb::Person {
                    given_name, family_name, additional_name, salutation, language, job_title, notes,
                    birth_date: years.first().and_then(day),
                    contact_points: points, addresses,
                }),
                owner: name::format("users", Uuid::nil()),
                external_ids, tags, etag: "7".to_owned(), create_time: now, update_time: now, ..pb::Contact::default()
            };
            let written = written(&contact);
            prop_assert!(written.is_sorted_by(|(first, _), (second, _)| first < second));
            prop_assert_eq!(&read(&written), &contact);
            // The same through headers and guarded texts, as a file has them.
            let filed = written.iter().map(|(column, text)| {
                let header = column.to_string();
                (Column::parse(Resource::Contact, &header).expect("a column"), cell::unguarded(&cell::guarded(text)).to_owned())
            });
            prop_assert_eq!(read(&filed.collect::<Vec<_>>()), contact);
        }
    }

    #[test]
    fn a_cell_that_cannot_be_read_is_noted_under_its_header() {
        let column = Column::Single(Single::BirthDate);
        let mut found = Violations::default();
        record(&mut found, [(&column, "soon")]);
        assert!(found.finish().unwrap_err().text().contains("Birth date"));
    }
}
