//! What becomes of each standard column of the exports of other programs: the tables in `crosswalks/`, which are the one
//! place that says so.
//!
//! A row of a table tells a column by the name that the program's interface has for it and by what its screens call it,
//! the field that it fills, what is said beside it of the same group, or why it is left out. Several columns may
//! fill the street of an address: each is a further line of it.

use std::sync::LazyLock;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportLayout;
use rapport_contacts_api::v1::import_match::By;

use crate::layout::{Column, Resource, RolePart, Single};

/// The tables, each with whose export it is of and what its rows become.
const TABLES: [(ImportLayout, Resource, &str); 4] = [
    (ImportLayout::Salesforce, Resource::Account, include_str!("../../crosswalks/salesforce-accounts.csv")),
    (ImportLayout::Salesforce, Resource::Contact, include_str!("../../crosswalks/salesforce-contacts.csv")),
    (ImportLayout::Dynamics, Resource::Account, include_str!("../../crosswalks/dynamics-accounts.csv")),
    (ImportLayout::Dynamics, Resource::Contact, include_str!("../../crosswalks/dynamics-contacts.csv")),
];

static CROSSWALKS: LazyLock<Vec<Crosswalk>> = LazyLock::new(|| {
    let read = |(layout, resource, text): &(ImportLayout, Resource, &str)| Crosswalk { layout: *layout, resource: *resource, entries: entries(text) };
    TABLES.iter().map(read).collect()
});

/// What becomes of the columns of one export.
#[derive(Debug)]
pub struct Crosswalk {
    layout: ImportLayout,
    resource: Resource,
    /// In the order of the table.
    pub entries: Vec<Entry>,
}

/// A standard column of an export.
#[derive(Debug)]
pub struct Entry {
    /// As the interface of the program calls it.
    pub column: String,
    /// As its screens do; empty if they do not, or call it the same.
    pub shown: String,
    /// Header of the field that it fills; empty if it is left out.
    pub fills: String,
    /// What is constant beside it: the header of a field, and its value.
    pub beside: Option<(String, String)>,
    /// Why it is left out; empty if it is not.
    pub why: String,
}

/// The crosswalk for an export of this layout, if there is one.
#[must_use]
pub fn of(layout: ImportLayout, resource: Resource) -> Option<&'static Crosswalk> {
    CROSSWALKS.iter().find(|crosswalk| crosswalk.layout == layout && crosswalk.resource == resource)
}

impl Crosswalk {
    /// What is said of a column with this header.
    #[must_use]
    pub fn entry(&self, header: &str) -> Option<&Entry> {
        let named = |name: fn(&Entry) -> &str| self.entries.iter().find(|entry| name(entry).eq_ignore_ascii_case(header));
        if header.is_empty() { None } else { named(|entry| &entry.column).or_else(|| named(|entry| &entry.shown)) }
    }

    /// How records are told that come out of this program: by the ids that it gave.
    #[must_use]
    pub fn record_match(&self) -> Option<pb::ImportMatch> {
        let system = |entry: &Entry| match Column::parse(self.resource, &entry.fills) {
            Some(Column::ExternalId(system)) => Some(system),
            _ => None,
        };
        let system = self.entries.iter().find_map(system)?;
        Some(pb::ImportMatch { by: By::ExternalId.into(), system })
    }

    /// How cells of a file with this header call an account: columns of the interface hold its id, those of screens its
    /// name.
    #[must_use]
    pub fn account_match(&self, header: &[String]) -> Option<pb::ImportMatch> {
        let names_account = |entry: &Entry| {
            matches!(Column::parse(self.resource, &entry.fills), Some(Column::Single(Single::Parent) | Column::Account(_, RolePart::Account)))
        };
        let named = header.iter().find_map(|header| Some((header, self.entry(header.trim()).filter(|entry| names_account(entry))?)));
        match named {
            Some((header, entry)) if entry.shown.eq_ignore_ascii_case(header.trim()) && !entry.shown.ends_with("ID") => {
                Some(pb::ImportMatch { by: By::DisplayName.into(), system: String::new() })
            }
            _ => self.record_match(),
        }
    }
}

/// The rows of a table. A test shows that each can be read.
fn entries(text: &str) -> Vec<Entry> {
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let entry = |row: ::csv::StringRecord| {
        let cell = |index: usize| row.get(index).unwrap_or_default().to_owned();
        let beside = row.get(3).and_then(|beside| beside.split_once(" = ")).map(|(field, value)| (field.to_owned(), value.to_owned()));
        Entry { column: cell(0), shown: cell(1), fills: cell(2), beside, why: cell(4) }
    };
    reader.records().filter_map(Result::ok).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_column_fills_a_field_or_says_why_it_does_not() {
        assert!(CROSSWALKS.iter().all(|crosswalk| crosswalk.entries.len() > 50));
        for Crosswalk { layout, resource, entries } in CROSSWALKS.iter() {
            let mut columns = HashSet::new();
            for entry in entries {
                let told = format!("{layout:?} {resource:?} {}", entry.column);
                assert!(!entry.column.is_empty() && columns.insert(entry.column.to_lowercase()), "{told} stands there twice");
                assert_ne!(entry.fills.is_empty(), entry.why.is_empty(), "{told} fills a field or is left out");
                let of_deleted = Column::Single(Single::Deleted);
                let is_field = |column: &Column| column.path(*resource).is_some() || *column == of_deleted;
                let filled = Column::parse(*resource, &entry.fills).filter(is_field);
                assert!(entry.fills.is_empty() || filled.is_some(), "{told} fills {}", entry.fills);
                let Some((beside, value)) = &entry.beside else { continue };
                assert!(Column::parse(*resource, beside).is_some() && !value.is_empty(), "{told}: {beside}");
            }
        }
    }

    #[test]
    fn what_screens_call_columns_is_unambiguous() {
        for Crosswalk { layout, resource, entries } in CROSSWALKS.iter() {
            let mut shown = HashSet::new();
            for entry in entries.iter().filter(|entry| !entry.shown.is_empty() && entry.shown != entry.column) {
                assert!(shown.insert(entry.shown.to_lowercase()), "{layout:?} {resource:?}: {}", entry.shown);
            }
        }
    }

    #[test]
    fn records_are_told_by_the_ids_of_the_program_and_accounts_as_the_file_calls_them() {
        let header = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (layout, resource, text, by, system) in [
            (ImportLayout::Salesforce, Resource::Contact, "Id,AccountId", By::ExternalId, "salesforce"),
            (ImportLayout::Dynamics, Resource::Contact, "contactid,_parentcustomerid_value", By::ExternalId, "dynamics"),
            (ImportLayout::Dynamics, Resource::Contact, "(Do Not Modify) Contact,Company Name", By::DisplayName, ""),
            (ImportLayout::Dynamics, Resource::Account, "(Do Not Modify) Account,Parent Account", By::DisplayName, ""),
        ] {
            let crosswalk = of(layout, resource).expect("a crosswalk");
            let told = crosswalk.account_match(&header(text)).expect("a match");
            assert_eq!((told.by(), told.system.as_str()), (by, system), "{text}");
            assert_eq!(crosswalk.record_match().expect("a match").by(), By::ExternalId);
        }
        assert!(of(ImportLayout::Outlook, Resource::Contact).is_none());
    }
}
