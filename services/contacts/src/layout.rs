//! The flat picture of a contact and of an account: cells of one row under stable English headers, which export
//! writes and import reads.
//!
//! Guarantees: what is written and read again is the same record, but for what has no meaning: the order of contact
//! points of different kinds, empty lines of addresses, and normalised forms, which are made anew. Headers never change
//! their meaning. A cell says what stands in the record; how it is put together with a stored one is the import's.
//!
//! What repeats stands in numbered groups: `E-mail 1`, `E-mail 1 - Label`, `E-mail 2` …

pub mod account;
pub mod cell;
pub mod contact;
pub mod part;

use std::fmt;

use crate::limits;

/// Whose picture it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Contacts.
    Contact,
    /// Accounts.
    Account,
}

/// A column; columns are ordered as they stand in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// What a record has once.
    Single(Single),
    /// A part of the contact point of a kind with this number, from 1.
    Point(Channel, usize, PointPart),
    /// A part of the address with this number, from 1.
    Address(usize, AddressPart),
    /// A part of the account with this number that a contact acts for, from 1.
    Account(usize, RolePart),
    /// What the system of this name calls the record.
    ExternalId(String),
}

/// A cell that has something in it, with the column that it stands in.
pub type Cell = (Column, String);

/// What a record has once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the headers below say what each one is")]
pub enum Single {
    Record,
    Salutation,
    GivenName,
    AdditionalName,
    FamilyName,
    JobTitle,
    Language,
    BirthDate,
    DisplayName,
    Kind,
    Relationships,
    Number,
    LegalEntity,
    Parent,
    Sector,
    Website,
    Employees,
    Revenue,
    Currency,
    Founded,
    Tags,
    Owner,
    Notes,
    Created,
    Updated,
    Deleted,
    Version,
}

/// The kind of a contact point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the headers below say what each one is")]
pub enum Channel {
    Email,
    Phone,
    Chat,
    Web,
}

/// A part of a contact point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the headers below say what each one is")]
pub enum PointPart {
    Value,
    Label,
    Primary,
    Status,
    Region,
}

/// A part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the headers below say what each one is")]
pub enum AddressPart {
    Kind,
    Primary,
    Recipients,
    Organization,
    Street,
    District,
    City,
    PostalCode,
    SortingCode,
    State,
    Country,
    Language,
}

/// A part of what a contact is to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the headers below say what each one is")]
pub enum RolePart {
    Account,
    Role,
    Primary,
    Start,
    End,
}

/// Each with its header and the paths that it stands for in an update of a contact and of an account: none where the
/// resource has no such column, an empty one for what the service gives.
const SINGLES: &[(Single, &str, Option<&str>, Option<&str>)] = &[
    (Single::Record, "Record", Some(""), Some("")),
    (Single::Salutation, "Salutation", Some("person.salutation"), None),
    (Single::GivenName, "Given name", Some("person.given_name"), None),
    (Single::AdditionalName, "Additional name", Some("person.additional_name"), None),
    (Single::FamilyName, "Family name", Some("person.family_name"), None),
    (Single::JobTitle, "Job title", Some("person.job_title"), None),
    (Single::Language, "Language", Some("person.language"), None),
    (Single::BirthDate, "Birth date", Some("person.birth_date"), None),
    (Single::DisplayName, "Name", None, Some("display_name")),
    (Single::Kind, "Kind", None, Some("kind")),
    (Single::Relationships, "Relationships", None, Some("relationships")),
    (Single::Number, "Number", None, Some("")),
    (Single::LegalEntity, "Legal entity", None, Some("legal_entity")),
    (Single::Parent, "Parent", None, Some("parent")),
    (Single::Sector, "Sector", None, Some("sector")),
    (Single::Website, "Website", None, Some("website")),
    (Single::Employees, "Employees", None, Some("employee_count")),
    (Single::Revenue, "Annual revenue", None, Some("annual_revenue")),
    (Single::Currency, "Annual revenue - Currency", None, Some("annual_revenue")),
    (Single::Founded, "Founded", None, Some("founded_year")),
    (Single::Tags, "Tags", Some("tags"), Some("tags")),
    (Single::Owner, "Owner", Some("owner"), Some("owner")),
    (Single::Notes, "Notes", Some("person.notes"), None),
    (Single::Created, "Created", Some(""), Some("")),
    (Single::Updated, "Updated", Some(""), Some("")),
    (Single::Deleted, "Deleted", Some(""), Some("")),
    (Single::Version, "Version", Some(""), Some("")),
];

const CHANNELS: &[(Channel, &str)] = &[(Channel::Email, "E-mail"), (Channel::Phone, "Phone"), (Channel::Chat, "Chat"), (Channel::Web, "Web")];

const POINT_PARTS: &[(PointPart, &str)] = &[
    (PointPart::Value, ""),
    (PointPart::Label, "Label"),
    (PointPart::Primary, "Primary"),
    (PointPart::Status, "Status"),
    (PointPart::Region, "Region"),
];

const ADDRESS: &str = "Address";
const ADDRESS_PARTS: &[(AddressPart, &str)] = &[
    (AddressPart::Kind, "Kind"),
    (AddressPart::Primary, "Primary"),
    (AddressPart::Recipients, "Recipients"),
    (AddressPart::Organization, "Organisation"),
    (AddressPart::Street, "Street"),
    (AddressPart::District, "District"),
    (AddressPart::City, "City"),
    (AddressPart::PostalCode, "Postal code"),
    (AddressPart::SortingCode, "Sorting code"),
    (AddressPart::State, "State"),
    (AddressPart::Country, "Country"),
    (AddressPart::Language, "Language"),
];

const ACCOUNT: &str = "Account";
const ROLE_PARTS: &[(RolePart, &str)] =
    &[(RolePart::Account, ""), (RolePart::Role, "Role"), (RolePart::Primary, "Primary"), (RolePart::Start, "Start"), (RolePart::End, "End")];

const EXTERNAL_ID: &str = "External id - ";

impl Column {
    /// The column of `resource` under a header, in whatever case it is written; none if there is no such column.
    #[must_use]
    pub fn parse(resource: Resource, header: &str) -> Option<Self> {
        let header = header.trim();
        let is_named = |name: &str| name.eq_ignore_ascii_case(header);
        if let Some((single, ..)) = SINGLES.iter().find(|(single, name, ..)| is_named(name) && resource.has(*single)) {
            return Some(Self::Single(*single));
        }
        if let (Some(start), Some(system)) = (header.get(..EXTERNAL_ID.len()), header.get(EXTERNAL_ID.len()..))
            && start.eq_ignore_ascii_case(EXTERNAL_ID)
        {
            return (!system.is_empty()).then(|| Self::ExternalId(system.to_owned()));
        }
        let (group, part) = header.split_once(" - ").unwrap_or((header, ""));
        let (group, number) = group.rsplit_once(' ')?;
        let number: usize = number.parse().ok()?;
        let within = |most: usize| (1..=most).contains(&number);
        if let Some((channel, _)) = CHANNELS.iter().find(|(_, name)| name.eq_ignore_ascii_case(group)) {
            return named(POINT_PARTS, part).filter(|_| within(limits::CONTACT_POINTS)).map(|part| Self::Point(*channel, number, part));
        }
        if group.eq_ignore_ascii_case(ADDRESS) {
            return named(ADDRESS_PARTS, part).filter(|_| within(limits::ADDRESSES)).map(|part| Self::Address(number, part));
        }
        if group.eq_ignore_ascii_case(ACCOUNT) && resource == Resource::Contact {
            return named(ROLE_PARTS, part).filter(|_| within(limits::ACCOUNT_ROLES)).map(|part| Self::Account(number, part));
        }
        None
    }

    /// The path in an update of `resource` that the column is a part of; none for what the service gives.
    #[must_use]
    pub fn path(&self, resource: Resource) -> Option<&'static str> {
        let of_contact = resource == Resource::Contact;
        match self {
            Self::Single(single) => resource.path(*single).filter(|path| !path.is_empty()),
            Self::Point(..) => Some(if of_contact { "person.contact_points" } else { "contact_points" }),
            Self::Address(..) => Some(if of_contact { "person.addresses" } else { "addresses" }),
            Self::Account(..) => Some("accounts"),
            Self::ExternalId(_) => Some("external_ids"),
        }
    }
}

/// The header.
impl fmt::Display for Column {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(single) => out.write_str(SINGLES.iter().find(|(other, ..)| other == single).map_or("", |(_, header, ..)| header)),
            Self::Point(channel, number, part) => grouped(out, name_of(CHANNELS, *channel), *number, name_of(POINT_PARTS, *part)),
            Self::Address(number, part) => grouped(out, ADDRESS, *number, name_of(ADDRESS_PARTS, *part)),
            Self::Account(number, part) => grouped(out, ACCOUNT, *number, name_of(ROLE_PARTS, *part)),
            Self::ExternalId(system) => write!(out, "{EXTERNAL_ID}{system}"),
        }
    }
}

impl Resource {
    fn has(self, single: Single) -> bool {
        self.path(single).is_some()
    }

    fn path(self, single: Single) -> Option<&'static str> {
        let (_, _, contact, account) = SINGLES.iter().find(|(other, ..)| *other == single)?;
        match self {
            Self::Contact => *contact,
            Self::Account => *account,
        }
    }

    /// Columns of what a record of this sort has once, in order.
    pub fn singles(self) -> impl Iterator<Item = Column> {
        SINGLES.iter().filter(move |(single, ..)| self.has(*single)).map(|(single, ..)| Column::Single(*single))
    }
}

fn grouped(out: &mut fmt::Formatter<'_>, group: &str, number: usize, part: &str) -> fmt::Result {
    write!(out, "{group} {number}")?;
    if part.is_empty() { Ok(()) } else { write!(out, " - {part}") }
}

fn named<P: Copy>(table: &[(P, &'static str)], name: &str) -> Option<P> {
    table.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(part, _)| *part)
}

fn name_of<P: Copy + PartialEq>(table: &[(P, &'static str)], part: P) -> &'static str {
    table.iter().find(|(known, _)| *known == part).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_found_under_its_header_and_no_two_share_one() {
        for resource in [Resource::Contact, Resource::Account] {
            let points = CHANNELS.iter().flat_map(|(channel, _)| POINT_PARTS.iter().map(|(part, _)| Column::Point(*channel, 50, *part)));
            let addresses = ADDRESS_PARTS.iter().map(|(part, _)| Column::Address(1, *part));
            let roles = ROLE_PARTS.iter().map(|(part, _)| Column::Account(2, *part)).filter(|_| resource == Resource::Contact);
            let external = ["erp", "Old - erp"].map(|system| Column::ExternalId(system.to_owned()));
            for column in resource.singles().chain(points).chain(addresses).chain(roles).chain(external) {
                assert_eq!(Column::parse(resource, &column.to_string()), Some(column.clone()), "{column}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_no_column() {
        for header in ["", "E-mail", "E-mail 0", "E-mail 51", "E-mail 1 - Colour", "Address 1", "External id - ", "Name", "Größe"] {
            assert_eq!(Column::parse(Resource::Contact, header), None, "{header}");
        }
        assert_eq!(Column::parse(Resource::Account, "Account 1"), None);
        assert_eq!(Column::parse(Resource::Contact, " given NAME "), Some(Column::Single(Single::GivenName)));
    }
}
