//! The rows of a data set, as plain values.
//!
//! Guarantees: a row holds what its file says, before any check or mending; blank cells and absent
//! columns are `None`; `line` is the line on which the row begins, the header being line 1.

use std::fmt;
use std::str::FromStr;

/// Rows of the three files, together with the rows that could not be taken as rows at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dataset {
    /// Companies, with their place in a hierarchy.
    pub accounts: Table<AccountRow>,
    /// People, duplicates included.
    pub people: Table<PersonRow>,
    /// Telephone numbers in each of their notations.
    pub phones: Table<PhoneRow>,
    /// Rows refused while reading (wrong number of cells, not UTF-8, a number that is none).
    pub problems: Vec<Problem>,
}

/// The rows of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<Row> {
    /// The file's path under the data folder; empty when there is no such file.
    pub file: String,
    /// Rows in the file without its header, readable or not.
    pub present: usize,
    /// The readable rows, in file order.
    pub rows: Vec<Row>,
}

impl<Row> Default for Table<Row> {
    fn default() -> Self {
        Self { file: String::new(), present: 0, rows: Vec::new() }
    }
}

/// A company.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountRow {
    /// Line in the file.
    pub line: u64,
    /// The source system's key, unique within the file.
    pub external_id: String,
    /// The company's name.
    pub name: String,
    /// Line of business.
    pub sector: Option<String>,
    /// City of the main office.
    pub office_city: Option<String>,
    /// Country of the main office, as an English name.
    pub office_country: Option<String>,
    /// Yearly revenue in millions of US dollars, as decimal text.
    pub revenue: Option<String>,
    /// Number of employees.
    pub employees: Option<u32>,
    /// Year of foundation.
    pub founded_year: Option<u16>,
    /// Name or external id of the company that owns this one.
    pub parent_name: Option<String>,
    /// What loading this row must come to, where it is known.
    pub expected: Option<Expected>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonRow {
    /// Line in the file.
    pub line: u64,
    /// The source system's key, unique within the file.
    pub external_id: String,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// `1980-02-29` or `19800229`; not yet known to be a date.
    pub birth_date: Option<String>,
    /// Street and number.
    pub street: Option<String>,
    /// Town.
    pub city: Option<String>,
    /// Postal code.
    pub postcode: Option<String>,
    /// State, province or county.
    pub region: Option<String>,
    /// Country, as an English name.
    pub country: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number in any notation of the country.
    pub phone: Option<String>,
    /// Name or external id of the company this person belongs to; absent, [`crate::link`] decides.
    pub account: Option<String>,
    /// Truth: rows with the same entity are the same person.
    pub entity: Option<String>,
    /// Truth: how this row was made to differ from the person's first row.
    pub variation: Option<String>,
    /// What loading this row must come to, where it is known.
    pub expected: Option<Expected>,
}

/// A telephone number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhoneRow {
    /// Line in the file.
    pub line: u64,
    /// ISO 3166 code of the region, `FR`.
    pub region: String,
    /// `FIXED_LINE`, `MOBILE` or `FIXED_LINE_OR_MOBILE`.
    pub kind: String,
    /// `+33199001234`.
    pub e164: String,
    /// `+33 1 99 00 12 34`.
    pub international: String,
    /// `01 99 00 12 34`.
    pub national: String,
    /// `tel:+33-1-99-00-12-34`.
    pub rfc3966: String,
}

/// What loading a row must come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It is loaded as it stands.
    Load,
    /// It is loaded after the named column was mended.
    Mend(String),
    /// It is refused because of the named column.
    Refuse(String),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("load"),
            Self::Mend(column) => write!(f, "mend {column}"),
            Self::Refuse(column) => write!(f, "refuse {column}"),
        }
    }
}

impl FromStr for Expected {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "load" {
            return Ok(Self::Load);
        }
        match text.split_once(' ') {
            Some(("mend", column)) => Ok(Self::Mend(column.to_owned())),
            Some(("refuse", column)) => Ok(Self::Refuse(column.to_owned())),
            _ => Err("must be `load`, `mend COLUMN` or `refuse COLUMN`"),
        }
    }
}

/// A row that is not loaded, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's path under the data folder.
    pub file: String,
    /// Line on which the row begins.
    pub line: u64,
    /// The column at fault; empty when it is the whole row.
    pub column: String,
    /// What stands there, cut to 80 characters.
    pub value: String,
    /// Why that is refused, as a sentence without its full stop.
    pub reason: String,
}

impl Problem {
    /// A problem with the value cut to a readable length.
    pub(crate) fn new(file: &str, line: u64, column: &str, value: &str, reason: String) -> Self {
        Self { file: file.to_owned(), line, column: column.to_owned(), value: shortened(value), reason }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, value, reason } = self;
        if column.is_empty() {
            return write!(f, "{file}:{line}: {reason}: `{value}`");
        }
        write!(f, "{file}:{line}: {column}: {reason}: `{value}`")
    }
}

fn shortened(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    let mut short: String = value.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}

/// A cell that was corrected before loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The file's path under the data folder.
    pub file: String,
    /// Line on which the row begins.
    pub line: u64,
    /// The column that was mended.
    pub column: String,
    /// What the file says.
    pub before: String,
    /// What is loaded.
    pub after: String,
    /// The rule that says so.
    pub rule: &'static str,
}
