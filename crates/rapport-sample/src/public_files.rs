//! Published research files as a data set.
//!
//! | file | rows | becomes |
//! |---|---|---|
//! | `crm/maventech/accounts.csv` | 85 | accounts; the name is the external id too, `subsidiary_of` names the parent |
//! | `dedupe/febrl_dataset3.csv` | 5,000 | people in Australia; `rec_id` is the external id, its number the entity. The invented social security number is left out: a customer base has none |
//! | `i18n/phones_A.csv` | 734 | phones |
//!
//! Guarantees: the files are read where they lie; any of them may be missing; cells stay as they are,
//! spelling errors and impossible dates included.

use std::path::Path;

use crate::read::{ReadError, phone};
use crate::rows::{AccountRow, Dataset, PersonRow};
use crate::sheet::{BadCell, Row, Sheet};

/// Paths of the files under the data folder: accounts, people, phones.
pub const FILES: [&str; 3] = ["crm/maventech/accounts.csv", "dedupe/febrl_dataset3.csv", "i18n/phones_A.csv"];

/// Reads what is there; `None` when none of the files is.
pub(crate) fn read(dir: &Path) -> Result<Option<Dataset>, ReadError> {
    let [accounts, people, phones] = FILES;
    let mut data = Dataset::default();
    let mut found = false;
    if let Some(sheet) = Sheet::open(dir, accounts)? {
        data.accounts = sheet.table(dir, &["account"], &mut data.problems, account)?;
        found = true;
    }
    if let Some(sheet) = Sheet::open(dir, people)? {
        data.people = sheet.table(dir, &["rec_id"], &mut data.problems, person)?;
        found = true;
    }
    if let Some(sheet) = Sheet::open(dir, phones)? {
        data.phones = sheet.table(dir, &["region", "e164"], &mut data.problems, phone)?;
        found = true;
    }
    Ok(found.then_some(data))
}

fn account(row: &Row<'_>) -> Result<AccountRow, BadCell> {
    let name = row.required("account")?;
    Ok(AccountRow {
        line: row.line,
        external_id: name.clone(),
        name,
        sector: row.text("sector"),
        office_city: None,
        office_country: row.text("office_location"),
        revenue: row.text("revenue"),
        employees: row.parsed("employees", "a whole number")?,
        founded_year: row.parsed("year_established", "a year")?,
        parent_name: row.text("subsidiary_of"),
        expected: None,
    })
}

fn person(row: &Row<'_>) -> Result<PersonRow, BadCell> {
    let external_id = row.required("rec_id")?;
    let Some(entity) = entity(&external_id) else {
        return Err(BadCell { column: "rec_id", value: external_id, reason: "must look like rec-12-org or rec-12-dup-0".into() });
    };
    Ok(PersonRow {
        line: row.line,
        entity: Some(entity),
        external_id,
        given_name: row.text("given_name"),
        family_name: row.text("surname"),
        birth_date: row.text("date_of_birth"),
        street: street(row),
        city: row.text("suburb"),
        postcode: row.text("postcode"),
        region: row.text("state"),
        country: Some("Australia".into()),
        ..PersonRow::default()
    })
}

/// The number inside `rec-12-org`.
fn entity(rec_id: &str) -> Option<String> {
    let number = rec_id.strip_prefix("rec-")?.split('-').next()?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.to_owned())
}

/// `7 wallaby place, delmar`: the number, the street, then the rest of the address.
fn street(row: &Row<'_>) -> Option<String> {
    let numbered: Vec<String> = [row.text("street_number"), row.text("address_1")].into_iter().flatten().collect();
    let numbered = (!numbered.is_empty()).then(|| numbered.join(" "));
    let parts: Vec<String> = [numbered, row.text("address_2")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::{duplicate_pairs, link, phone_for, prepare};

    /// The folder with the published files, or a word that the test did not run.
    fn shared(test: &str) -> Option<PathBuf> {
        let folder = std::env::var_os("RAPPORT_SHARED").map(PathBuf::from);
        if folder.is_none() {
            eprintln!("SKIPPED: {test}: RAPPORT_SHARED does not name the folder of the published files");
        }
        folder
    }

    #[test]
    fn the_published_files_have_their_known_counts() {
        let Some(folder) = shared("the_published_files_have_their_known_counts") else {
            return;
        };
        let data = crate::read(&folder).expect("the files can be read");
        assert_eq!(data.problems, []);
        assert_eq!(data.accounts.rows.len(), 85);
        assert_eq!(data.accounts.rows.iter().filter(|row| row.parent_name.is_some()).count(), 15);
        assert_eq!(data.people.rows.len(), 5000);
        let entities: BTreeSet<&Option<String>> = data.people.rows.iter().map(|row| &row.entity).collect();
        assert_eq!(entities.len(), 2000);
        assert_eq!(duplicate_pairs(&data.people.rows).len(), 6538);
        assert_eq!(data.phones.rows.len(), 734);
        assert_eq!(crate::read(&folder.join("data")).unwrap_or(data.clone()), data);
    }

    #[test]
    fn every_published_row_is_loaded_or_reported() {
        let Some(folder) = shared("every_published_row_is_loaded_or_reported") else {
            return;
        };
        let prepared = prepare(&crate::read(&folder).expect("the files can be read"));
        let counts: Vec<(usize, usize, usize)> = prepared.counts().iter().map(|count| (count.present, count.loaded, count.reported)).collect();
        assert_eq!(counts, [(85, 85, 0), (5000, 4959, 41), (734, 734, 0)]);
        let reported = |column: &str| {
            let problems = prepared.problems.iter();
            problems.filter(|problem| problem.column == column).count()
        };
        assert_eq!(reported("birth_date"), 35, "days that no calendar has");
        assert_eq!(reported("family_name"), 6, "people without any name");
        assert_eq!(duplicate_pairs(&prepared.people.rows).len(), 6407);
        assert_eq!(prepared.mended.iter().filter(|mended| mended.after == "technology").count(), 12);
        assert_eq!(prepared.mended.iter().filter(|mended| mended.after == "Philippines").count(), 1);
        assert_eq!(prepared.mended.len(), 13);
        assert_eq!(prepared.parents.iter().flatten().count(), 15);

        for (person, account) in prepared.people.rows.iter().zip(&prepared.account_of) {
            assert_eq!(*account, link(&person.external_id, 85));
            assert!(phone_for(person, &prepared.phones.rows).is_some());
        }
    }

    #[test]
    fn the_entity_is_the_number_of_the_record() {
        assert_eq!(entity("rec-552-dup-3"), Some("552".into()));
        assert_eq!(entity("rec-"), None);
        assert_eq!(entity("552"), None);
    }
}
