//! The decision, row by row, of what may be loaded.
//!
//! Guarantees: rows loaded + rows reported = rows present, for each file; a row is loaded whole or not
//! at all; a loaded row refers to loaded rows only; a loaded birth date is a real day in ISO form; a
//! mended cell is listed, and only for rows that are loaded.

use std::collections::BTreeMap;

use crate::rows::{AccountRow, Dataset, Mended, PersonRow, PhoneRow, Problem, Table};
use crate::rules::{link, mend};

mod cells;
mod directory;

use cells::{email_fault, iso_date, money_fault};
use directory::Directory;

/// The most characters a cell may have.
pub const LONGEST_CELL: usize = 255;

/// A data set whose rows can be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// The accounts to load, in file order.
    pub accounts: Table<AccountRow>,
    /// For each account the index of its parent.
    pub parents: Vec<Option<usize>>,
    /// The people to load, in file order, birth dates in ISO form.
    pub people: Table<PersonRow>,
    /// For each person the index of the account: the stated one, else what [`link`] says.
    pub account_of: Vec<Option<usize>>,
    /// The telephone numbers.
    pub phones: Table<PhoneRow>,
    /// Every row that is not loaded, by file and line; a row stands here once.
    pub problems: Vec<Problem>,
    /// Every cell that was corrected.
    pub mended: Vec<Mended>,
}

/// How a file's rows came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The file's path under the data folder.
    pub file: String,
    /// Rows in the file.
    pub present: usize,
    /// Rows to load.
    pub loaded: usize,
    /// Rows reported as problems.
    pub reported: usize,
}

impl Prepared {
    /// The counts of each file that exists.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let tables = [
            (&self.accounts.file, self.accounts.present, self.accounts.rows.len()),
            (&self.people.file, self.people.present, self.people.rows.len()),
            (&self.phones.file, self.phones.present, self.phones.rows.len()),
        ];
        let existing = tables.into_iter().filter(|(file, _, _)| !file.is_empty());
        let count = |(file, present, loaded): (&String, usize, usize)| Count {
            file: file.clone(),
            present,
            loaded,
            reported: self.problems.iter().filter(|problem| problem.file == *file).count(),
        };
        existing.map(count).collect()
    }

    /// The accounts' indexes in an order in which each parent comes before its subsidiaries, otherwise
    /// in file order.
    #[must_use]
    pub fn parents_first(&self) -> Vec<usize> {
        let depth = |index: usize| std::iter::successors(Some(index), |below| self.parents[*below]).count();
        let mut order: Vec<usize> = (0..self.parents.len()).collect();
        order.sort_by_key(|index| depth(*index));
        order
    }
}

/// Decides about every row of a data set.
#[must_use]
pub fn prepare(data: &Dataset) -> Prepared {
    let mut prepared = Prepared { problems: data.problems.clone(), ..Prepared::default() };
    prepare_accounts(&data.accounts, &mut prepared);
    prepare_people(&data.people, &data.accounts.rows, &mut prepared);
    prepared.phones = data.phones.clone();
    prepared.problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    prepared
}

/// Why a row is refused: column, value, reason.
type Fault = (&'static str, String, String);

fn fault(column: &'static str, value: &str, reason: impl Into<String>) -> Fault {
    (column, value.to_owned(), reason.into())
}

fn prepare_accounts(table: &Table<AccountRow>, prepared: &mut Prepared) {
    let directory = Directory::of(&table.rows);
    let mut faults: Vec<Option<Fault>> = Vec::with_capacity(table.rows.len());
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(table.rows.len());
    let mut ids = BTreeMap::new();
    for (index, row) in table.rows.iter().enumerate() {
        let parent = row.parent_name.as_deref().map(|name| directory.find(name)).transpose();
        let parent_fault = |reason| fault("parent_name", row.parent_name.as_deref().unwrap_or_default(), reason);
        let own_cells = account_fault(row).or_else(|| repeated(&row.external_id, row.line, &mut ids));
        let found = match parent {
            Ok(Some(parent)) if parent == index => Err(parent_fault("a company cannot own itself")),
            Ok(parent) => Ok(parent),
            Err(reason) => Err(parent_fault(&reason)),
        };
        parents.push(found.clone().ok().flatten());
        faults.push(own_cells.or(found.err()));
    }
    refuse_cycles(&table.rows, &parents, &mut faults);
    refuse_orphans(&table.rows, &parents, &mut faults);

    let mut new_index = vec![None; table.rows.len()];
    let mut loaded = Table { file: table.file.clone(), present: table.present, rows: Vec::new() };
    for (index, row) in table.rows.iter().enumerate() {
        if let Some((column, value, reason)) = faults[index].take() {
            prepared.problems.push(Problem::new(&table.file, row.line, column, &value, reason));
            continue;
        }
        let mut row = row.clone();
        let mut mending = |column, cell: &mut Option<String>| {
            prepared.mended.extend(mend_cell(&table.file, row.line, column, cell));
        };
        mending("sector", &mut row.sector);
        mending("office_country", &mut row.office_country);
        new_index[index] = Some(loaded.rows.len());
        loaded.rows.push(row);
    }
    let kept = (0..table.rows.len()).filter(|index| new_index[*index].is_some());
    prepared.parents = kept.map(|index| parents[index].and_then(|parent| new_index[parent])).collect();
    prepared.accounts = loaded;
}

fn account_fault(row: &AccountRow) -> Option<Fault> {
    let cells = [
        ("external_id", Some(&row.external_id)),
        ("name", Some(&row.name)),
        ("sector", row.sector.as_ref()),
        ("office_city", row.office_city.as_ref()),
        ("office_country", row.office_country.as_ref()),
        ("parent_name", row.parent_name.as_ref()),
    ];
    if let Some(fault) = overlong(&cells) {
        return Some(fault);
    }
    let revenue = row.revenue.as_deref()?;
    money_fault(revenue).map(|reason| fault("revenue", revenue, reason))
}

/// Refuses every account whose chain of parents comes back to it.
fn refuse_cycles(rows: &[AccountRow], parents: &[Option<usize>], faults: &mut [Option<Fault>]) {
    for (index, row) in rows.iter().enumerate() {
        let chain = std::iter::successors(parents[index], |above| parents[*above]);
        // A chain longer than the list has a circle above this row, which is refused for itself.
        let returns = chain.take(rows.len()).any(|above| above == index);
        if returns && faults[index].is_none() {
            let parent = row.parent_name.as_deref().unwrap_or_default();
            faults[index] = Some(fault("parent_name", parent, "its owners form a circle"));
        }
    }
}

/// Refuses the subsidiaries of refused accounts, and theirs.
fn refuse_orphans(rows: &[AccountRow], parents: &[Option<usize>], faults: &mut [Option<Fault>]) {
    let mut settled = false;
    while !settled {
        settled = true;
        for (index, row) in rows.iter().enumerate() {
            let Some(parent) = parents[index] else {
                continue;
            };
            if faults[index].is_none() && faults[parent].is_some() {
                let name = row.parent_name.as_deref().unwrap_or_default();
                let reason = format!("that row is refused itself, line {}", rows[parent].line);
                faults[index] = Some(fault("parent_name", name, reason));
                settled = false;
            }
        }
    }
}

fn prepare_people(table: &Table<PersonRow>, accounts: &[AccountRow], prepared: &mut Prepared) {
    let directory = Directory::of(accounts);
    let loaded_accounts = prepared.accounts.rows.iter().enumerate();
    let by_line: BTreeMap<u64, usize> = loaded_accounts.map(|(index, row)| (row.line, index)).collect();
    let stated_account = |name: &str| {
        let line = accounts[directory.find(name)?].line;
        let loaded = by_line.get(&line).copied();
        loaded.ok_or_else(|| format!("that row is refused itself, line {line}"))
    };

    let mut loaded = Table { file: table.file.clone(), present: table.present, rows: Vec::new() };
    let mut ids = BTreeMap::new();
    for row in &table.rows {
        let stated = row.account.as_deref().map(stated_account).transpose();
        let account_fault = |reason: &String| fault("account", row.account.as_deref().unwrap_or_default(), reason);
        let fault = person_fault(row).or_else(|| repeated(&row.external_id, row.line, &mut ids)).or_else(|| stated.as_ref().err().map(account_fault));
        if let Some((column, value, reason)) = fault {
            prepared.problems.push(Problem::new(&table.file, row.line, column, &value, reason));
            continue;
        }
        let mut row = row.clone();
        row.birth_date = row.birth_date.as_deref().and_then(iso_date);
        prepared.mended.extend(mend_cell(&table.file, row.line, "country", &mut row.country));
        let account = stated.ok().flatten().or_else(|| link(&row.external_id, prepared.accounts.rows.len()));
        prepared.account_of.push(account);
        loaded.rows.push(row);
    }
    prepared.people = loaded;
}

fn person_fault(row: &PersonRow) -> Option<Fault> {
    let cells = [
        ("external_id", Some(&row.external_id)),
        ("given_name", row.given_name.as_ref()),
        ("family_name", row.family_name.as_ref()),
        ("street", row.street.as_ref()),
        ("city", row.city.as_ref()),
        ("postcode", row.postcode.as_ref()),
        ("region", row.region.as_ref()),
        ("country", row.country.as_ref()),
        ("email", row.email.as_ref()),
        ("phone", row.phone.as_ref()),
    ];
    if let Some(fault) = overlong(&cells) {
        return Some(fault);
    }
    if row.given_name.is_none() && row.family_name.is_none() {
        return Some(fault("family_name", "", "a person needs a given or a family name"));
    }
    if let Some(date) = row.birth_date.as_deref().filter(|date| iso_date(date).is_none()) {
        return Some(fault("birth_date", date, "no day of the calendar"));
    }
    let email = row.email.as_deref()?;
    email_fault(email).map(|reason| fault("email", email, reason))
}

fn overlong(cells: &[(&'static str, Option<&String>)]) -> Option<Fault> {
    let too_long = |text: &String| text.chars().count() > LONGEST_CELL;
    let (column, text) = cells.iter().find_map(|(column, cell)| cell.filter(|text| too_long(text)).map(|text| (*column, text)))?;
    Some(fault(column, text, format!("longer than {LONGEST_CELL} characters")))
}

fn repeated(external_id: &str, line: u64, seen: &mut BTreeMap<String, u64>) -> Option<Fault> {
    let first = *seen.entry(external_id.to_owned()).or_insert(line);
    (first != line).then(|| fault("external_id", external_id, format!("stands already on line {first}")))
}

fn mend_cell(file: &str, line: u64, column: &str, cell: &mut Option<String>) -> Option<Mended> {
    let before = cell.clone()?;
    let (after, rule) = mend(&before)?;
    *cell = Some(after.clone());
    Some(Mended { file: file.to_owned(), line, column: column.to_owned(), before, after, rule })
}

#[cfg(test)]
mod tests;
