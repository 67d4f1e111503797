//! The files of a data set, and how they are written.
//!
//! Three UTF-8 files, comma or semicolon between cells (the header line decides), quotes as in RFC 4180,
//! line ends LF or CRLF, a byte order mark is allowed. The first line names the columns, in any order;
//! columns beyond these are ignored. White space around a cell is no part of it; an empty cell means
//! "not known". `accounts.csv` or `people.csv` must exist, `phones.csv` may be missing.
//!
//! | file | must have | may have |
//! |---|---|---|
//! | `accounts.csv` | `name` | `external_id`, `sector`, `office_city`, `office_country`, `revenue` (millions of US dollars, `12.50`), `employees`, `founded_year`, `parent_name` (name or external id of another row), `expected` |
//! | `people.csv` | `family_name` | `external_id`, `given_name`, `birth_date` (`1980-02-29` or `19800229`), `street`, `city`, `postcode`, `region`, `country`, `email`, `phone` (any notation of the country), `account` (name or external id), `entity`, `variation`, `expected` |
//! | `phones.csv` | `region`, `e164` | `type`, `international`, `national`, `rfc3966` |
//!
//! Without `external_id` a row is called `accounts.csv:LINE` or `people.csv:LINE`. The truth columns are
//! for scoring: rows with one `entity` are one person, `variation` says how a duplicate was made, and
//! `expected` is `load`, `mend COLUMN` or `refuse COLUMN`.
//!
//! Guarantees: reading back what was written gives an equal data set, as long as it has no problems
//! of its own and no cell with white space at its ends.

use std::fs;
use std::io;
use std::path::Path;

use crate::rows::{AccountRow, Dataset, PersonRow, PhoneRow};

pub(crate) const ACCOUNTS: &str = "accounts.csv";
pub(crate) const PEOPLE: &str = "people.csv";
pub(crate) const PHONES: &str = "phones.csv";

const ACCOUNT_COLUMNS: [&str; 10] =
    ["external_id", "name", "sector", "office_city", "office_country", "revenue", "employees", "founded_year", "parent_name", "expected"];

const PERSON_COLUMNS: [&str; 15] = [
    "external_id",
    "given_name",
    "family_name",
    "birth_date",
    "street",
    "city",
    "postcode",
    "region",
    "country",
    "email",
    "phone",
    "account",
    "entity",
    "variation",
    "expected",
];

const PHONE_COLUMNS: [&str; 6] = ["region", "type", "e164", "international", "national", "rfc3966"];

/// The names and bytes of the three files. Problems are not written.
#[must_use]
pub fn to_files(data: &Dataset) -> [(&'static str, Vec<u8>); 3] {
    [
        (ACCOUNTS, file(&ACCOUNT_COLUMNS, data.accounts.rows.iter().map(account_cells))),
        (PEOPLE, file(&PERSON_COLUMNS, data.people.rows.iter().map(person_cells))),
        (PHONES, file(&PHONE_COLUMNS, data.phones.rows.iter().map(phone_cells))),
    ]
}

/// Writes the three files into `dir`, which is made if need be; files of that name are replaced.
///
/// # Errors
/// What the file system says.
pub fn write(data: &Dataset, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in to_files(data) {
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

fn file<const COLUMNS: usize>(header: &[&str; COLUMNS], rows: impl Iterator<Item = [String; COLUMNS]>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).expect("memory takes every record");
    for row in rows {
        writer.write_record(&row).expect("each row has as many cells as the header");
    }
    writer.into_inner().expect("memory takes every byte")
}

fn account_cells(row: &AccountRow) -> [String; 10] {
    [
        row.external_id.clone(),
        row.name.clone(),
        cell(row.sector.as_ref()),
        cell(row.office_city.as_ref()),
        cell(row.office_country.as_ref()),
        cell(row.revenue.as_ref()),
        cell(row.employees),
        cell(row.founded_year),
        cell(row.parent_name.as_ref()),
        cell(row.expected.as_ref()),
    ]
}

fn person_cells(row: &PersonRow) -> [String; 15] {
    [
        row.external_id.clone(),
        cell(row.given_name.as_ref()),
        cell(row.family_name.as_ref()),
        cell(row.birth_date.as_ref()),
        cell(row.street.as_ref()),
        cell(row.city.as_ref()),
        cell(row.postcode.as_ref()),
        cell(row.region.as_ref()),
        cell(row.country.as_ref()),
        cell(row.email.as_ref()),
        cell(row.phone.as_ref()),
        cell(row.account.as_ref()),
        cell(row.entity.as_ref()),
        cell(row.variation.as_ref()),
        cell(row.expected.as_ref()),
    ]
}

fn phone_cells(row: &PhoneRow) -> [String; 6] {
    [row.region.clone(), row.kind.clone(), row.e164.clone(), row.international.clone(), row.national.clone(), row.rfc3966.clone()]
}

fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_every_file_and_column() {
        let readme = include_str!("../README.md");
        let files = [ACCOUNTS, PEOPLE, PHONES].into_iter();
        let columns = ACCOUNT_COLUMNS.iter().chain(&PERSON_COLUMNS).chain(&PHONE_COLUMNS);
        for name in files.chain(columns.copied()) {
            assert!(readme.contains(&format!("`{name}`")), "the README does not name {name}");
        }
    }
}
