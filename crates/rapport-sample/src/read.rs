//! Reading a data folder.
//!
//! Guarantees: the own layout (see the README, section "Layout") is looked for first, then the published
//! research files; in the folder itself, then in a folder `data` inside it. Nothing is ever written.
//! Rows that are no rows end in [`Dataset::problems`] with their line.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::layout::{ACCOUNTS, PEOPLE, PHONES};
use crate::public_files;
use crate::rows::{AccountRow, Dataset, PersonRow, PhoneRow};
use crate::sheet::{BadCell, Row, Sheet};

/// Why a folder could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The folder holds none of the files that are known here.
    NothingToRead(PathBuf),
    /// A file exists but cannot be read as a table.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or the CSV reader says.
        reason: String,
    },
    /// A file lacks a column that must be there.
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: &'static str,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToRead(dir) => {
                write!(f, "{} holds neither {ACCOUNTS} nor {PEOPLE}, nor any of {}", dir.display(), public_files::FILES.join(", "))
            }
            Self::Unreadable { path, reason } => {
                write!(f, "{} cannot be read: {reason}", path.display())
            }
            Self::MissingColumn { path, column } => {
                write!(f, "{} has no column `{column}` in its first line", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads the data set in `dir`, or in `dir/data`.
///
/// # Errors
/// When no known file is there, one cannot be read, or one lacks a column that must be there. Faulty
/// rows are no error: they are in [`Dataset::problems`].
pub fn read(dir: &Path) -> Result<Dataset, ReadError> {
    let folders = [dir.to_owned(), dir.join("data")];
    for folder in &folders {
        if let Some(data) = read_own_layout(folder)? {
            return Ok(data);
        }
    }
    for folder in &folders {
        if let Some(data) = public_files::read(folder)? {
            return Ok(data);
        }
    }
    Err(ReadError::NothingToRead(dir.to_owned()))
}

fn read_own_layout(dir: &Path) -> Result<Option<Dataset>, ReadError> {
    let accounts = Sheet::open(dir, ACCOUNTS)?;
    let people = Sheet::open(dir, PEOPLE)?;
    if accounts.is_none() && people.is_none() {
        return Ok(None);
    }
    let mut data = Dataset::default();
    if let Some(sheet) = accounts {
        data.accounts = sheet.table(dir, &["name"], &mut data.problems, account)?;
    }
    if let Some(sheet) = people {
        data.people = sheet.table(dir, &["family_name"], &mut data.problems, person)?;
    }
    if let Some(sheet) = Sheet::open(dir, PHONES)? {
        data.phones = sheet.table(dir, &["region", "e164"], &mut data.problems, phone)?;
    }
    Ok(Some(data))
}

fn account(row: &Row<'_>) -> Result<AccountRow, BadCell> {
    Ok(AccountRow {
        line: row.line,
        external_id: external_id(row),
        name: row.required("name")?,
        sector: row.text("sector"),
        office_city: row.text("office_city"),
        office_country: row.text("office_country"),
        revenue: row.text("revenue"),
        employees: row.parsed("employees", "a whole number")?,
        founded_year: row.parsed("founded_year", "a year")?,
        parent_name: row.text("parent_name"),
        expected: row.parsed("expected", "`load`, `mend COLUMN` or `refuse COLUMN`")?,
    })
}

fn person(row: &Row<'_>) -> Result<PersonRow, BadCell> {
    Ok(PersonRow {
        line: row.line,
        external_id: external_id(row),
        given_name: row.text("given_name"),
        family_name: row.text("family_name"),
        birth_date: row.text("birth_date"),
        street: row.text("street"),
        city: row.text("city"),
        postcode: row.text("postcode"),
        region: row.text("region"),
        country: row.text("country"),
        email: row.text("email"),
        phone: row.text("phone"),
        account: row.text("account"),
        entity: row.text("entity"),
        variation: row.text("variation"),
        expected: row.parsed("expected", "`load`, `mend COLUMN` or `refuse COLUMN`")?,
    })
}

/// A row of `phones.csv`; the published list has the same columns.
pub(crate) fn phone(row: &Row<'_>) -> Result<PhoneRow, BadCell> {
    Ok(PhoneRow {
        line: row.line,
        region: row.required("region")?,
        kind: row.text("type").unwrap_or_default(),
        e164: row.required("e164")?,
        international: row.text("international").unwrap_or_default(),
        national: row.text("national").unwrap_or_default(),
        rfc3966: row.text("rfc3966").unwrap_or_default(),
    })
}

fn external_id(row: &Row<'_>) -> String {
    let stated = row.text("external_id");
    stated.unwrap_or_else(|| format!("{}:{}", row.file, row.line))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Size, generate, prepare, write};

    /// A folder of its own, removed when the test is over.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rapport-sample-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary folder takes a folder");
            Self(path)
        }

        fn with(self, file: &str, bytes: &[u8]) -> Self {
            fs::write(self.0.join(file), bytes).expect("the folder takes a file");
            self
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder left behind does no harm.
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_was_written_reads_back_equal() {
        for (seed, size) in [(1, Size::SMALL), (2, Size { accounts: 0, people: 30 }), (9, Size::DEMO)] {
            let folder = Folder::new(&format!("round-trip-{seed}"));
            let data = generate(seed, size);
            write(&data, &folder.0).expect("the files can be written");
            assert_eq!(read(&folder.0).expect("the files can be read"), data);
        }
    }

    #[test]
    fn a_folder_named_data_is_found_inside() {
        let folder = Folder::new("inside");
        let data = generate(4, Size::SMALL);
        write(&data, &folder.0.join("data")).expect("the files can be written");
        assert_eq!(read(&folder.0).expect("the files can be read"), data);
    }

    #[test]
    fn spreadsheet_files_are_understood() {
        let text = "\u{feff}Name; Employees ;remark\r\n\"Ash; Elm\";12;x\r\n Birch ;;\r\n";
        let folder = Folder::new("spreadsheet").with("accounts.csv", text.as_bytes());
        let data = read(&folder.0).expect("the file can be read");
        let names: Vec<&str> = data.accounts.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["Ash; Elm", "Birch"]);
        assert_eq!(data.accounts.rows[0].employees, Some(12));
        assert_eq!(data.accounts.rows[1].external_id, "accounts.csv:3");
        assert_eq!(data.phones.present, 0);
    }

    #[test]
    fn each_bad_row_is_reported_with_its_line_and_the_rest_is_read() {
        let mut bytes = b"name,employees\nAsh,1\nBirch\n\"Cedar\nand sons\",many\n\nD\xff,4\n,5\nElm,6\n".to_vec();
        bytes.extend_from_slice("\"Fir,7\"\n".as_bytes());
        let folder = Folder::new("bad-rows").with("accounts.csv", &bytes);
        let data = read(&folder.0).expect("the file can be read");
        let lines: Vec<(u64, &str)> = data.problems.iter().map(|p| (p.line, p.reason.as_str())).collect();
        let expected = [
            (3, "1 cells where the header has 2"),
            (4, "must be a whole number"),
            (7, "not UTF-8"),
            (8, "must not be blank"),
            (10, "1 cells where the header has 2"),
        ];
        assert_eq!(lines, expected);
        let names: Vec<&str> = data.accounts.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["Ash", "Elm"]);
        assert_eq!(data.accounts.present, 7);
        assert!(prepare(&data).counts().iter().all(|count| count.loaded + count.reported == count.present));
    }

    #[test]
    fn a_folder_without_known_files_and_a_file_without_its_column_are_errors() {
        let empty = Folder::new("empty");
        assert_eq!(read(&empty.0), Err(ReadError::NothingToRead(empty.0.clone())));
        let folder = Folder::new("no-column").with("people.csv", b"surname\nAsh\n");
        let error = read(&folder.0).expect_err("a column is missing").to_string();
        assert!(error.ends_with("people.csv has no column `family_name` in its first line"), "{error}");
    }
}
