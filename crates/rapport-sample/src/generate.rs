//! The sample company, made from a seed.
//!
//! Guarantees: exactly as many rows as asked for; the truth columns (`entity`, `variation`, `expected`)
//! are right for every row, so that finding duplicates and refusing bad rows can be scored; broken rows
//! take no part in duplicates, and nothing sound depends on them. From 20 rows on each kind of fault is
//! present at least once.

mod accounts;
mod people;
mod spoil;

use std::collections::BTreeMap;

use crate::layout;
use crate::rows::{Dataset, PhoneRow, Table};

/// How many rows to make, broken ones and duplicates included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of `accounts.csv`.
    pub accounts: usize,
    /// Rows of `people.csv`.
    pub people: usize,
}

impl Size {
    /// For tests: a fraction of a second to load.
    pub const SMALL: Self = Self { accounts: 40, people: 300 };
    /// For the demo: enough to get lost in.
    pub const DEMO: Self = Self { accounts: 400, people: 5_000 };
    /// For load: lists, imports and searches get long.
    pub const LARGE: Self = Self { accounts: 5_000, people: 100_000 };
}

/// Makes the sample company. The same seed and size give the same data set, always.
#[must_use]
pub fn generate(seed: u64, size: Size) -> Dataset {
    let mut phones = PhoneList::default();
    let companies = accounts::accounts(seed, size.accounts);
    let people = people::people(seed, size.people, &companies, &mut phones);
    let accounts = companies.into_iter().map(|company| company.row).collect();
    Dataset {
        accounts: table(layout::ACCOUNTS, accounts),
        people: table(layout::PEOPLE, people),
        phones: table(layout::PHONES, phones.rows()),
        problems: Vec::new(),
    }
}

fn table<Row>(file: &str, rows: Vec<Row>) -> Table<Row> {
    Table { file: file.to_owned(), present: rows.len(), rows }
}

/// How many of `rows` are broken: one in fifty, but each kind at least once; none in tiny files.
fn broken_rows(rows: usize, kinds: usize) -> usize {
    if rows < 20 {
        return 0;
    }
    kinds.max(rows / 50)
}

/// The line of the row at that index: lines count from 1 and the header is the first.
fn line(index: usize) -> u64 {
    u64::try_from(index + 2).expect("a line number fits into 64 bits")
}

/// Every number handed out, each once.
#[derive(Debug, Default)]
struct PhoneList {
    by_e164: BTreeMap<String, PhoneRow>,
}

impl PhoneList {
    fn remember(&mut self, phone: &PhoneRow) {
        self.by_e164.entry(phone.e164.clone()).or_insert_with(|| phone.clone());
    }

    fn rows(self) -> Vec<PhoneRow> {
        let numbered = self.by_e164.into_values().enumerate();
        numbered.map(|(index, phone)| PhoneRow { line: line(index), ..phone }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rows::{Expected, PersonRow};
    use crate::rules::{duplicate_pairs, stable_hash};
    use crate::{prepare, to_files};

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let bytes = |seed| to_files(&generate(seed, Size::SMALL));
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn the_bytes_of_a_seed_are_pinned_for_all_time() {
        let files = to_files(&generate(1, Size::SMALL));
        let hashes = files.map(|(_, bytes)| stable_hash(&String::from_utf8(bytes).expect("files are UTF-8")));
        assert_eq!(
            hashes,
            [15_703_367_423_217_993_454, 16_954_643_589_349_798_186, 10_056_779_778_014_726_102],
            "every sample company changes; if that is meant, pin anew"
        );
    }

    #[test]
    fn sizes_are_exact() {
        for (accounts, people) in [(0, 0), (1, 1), (3, 19), (20, 20), (57, 411)] {
            let data = generate(5, Size { accounts, people });
            assert_eq!((data.accounts.rows.len(), data.people.rows.len()), (accounts, people));
        }
    }

    #[test]
    fn one_account_in_six_is_a_subsidiary() {
        for seed in 0..5 {
            let prepared = prepare(&generate(seed, Size::DEMO));
            let subsidiaries = prepared.parents.iter().flatten().count();
            let percent = 100 * subsidiaries / prepared.accounts.rows.len();
            assert!((15..=20).contains(&percent), "{percent} %");
        }
    }

    #[test]
    fn each_row_comes_to_what_its_truth_says() {
        for size in [Size::SMALL, Size::DEMO] {
            let data = generate(11, size);
            let prepared = prepare(&data);
            let outcome = |file: &str, line: u64| {
                if let Some(problem) = prepared.problems.iter().find(|p| p.file == file && p.line == line) {
                    return Expected::Refuse(problem.column.clone());
                }
                if let Some(mended) = prepared.mended.iter().find(|m| m.file == file && m.line == line) {
                    return Expected::Mend(mended.column.clone());
                }
                Expected::Load
            };
            for row in &data.accounts.rows {
                assert_eq!(row.expected, Some(outcome("accounts.csv", row.line)), "{row:?}");
            }
            for row in &data.people.rows {
                assert_eq!(row.expected, Some(outcome("people.csv", row.line)), "{row:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_fault_and_variation_is_planted() {
        let data = generate(3, Size::SMALL);
        let expectations = |expected: Vec<&Option<Expected>>| {
            let texts = expected.into_iter().flatten().map(ToString::to_string);
            texts.collect::<BTreeSet<String>>().into_iter().collect::<Vec<String>>()
        };
        let accounts = expectations(data.accounts.rows.iter().map(|row| &row.expected).collect());
        assert_eq!(accounts, ["load", "mend office_country", "mend sector", "refuse name", "refuse parent_name"]);
        let people = expectations(data.people.rows.iter().map(|row| &row.expected).collect());
        assert_eq!(people, ["load", "mend country", "refuse account", "refuse birth_date", "refuse email", "refuse family_name"]);
        let variations: BTreeSet<&str> = data.people.rows.iter().filter_map(|row| row.variation.as_deref()).collect();
        let planted = ["changed-phone", "moved", "plain-letters", "swapped-names", "typing-error"];
        assert_eq!(variations.into_iter().collect::<Vec<_>>(), planted);
    }

    #[test]
    fn duplicates_differ_but_share_enough_to_be_found() {
        let data = generate(2, Size::DEMO);
        let phone_of = |person: &PersonRow| {
            let stated = person.phone.clone();
            let listed = data
                .phones
                .rows
                .iter()
                .find(|phone| stated.as_ref().is_some_and(|stated| [&phone.national, &phone.e164, &phone.international].contains(&stated)));
            listed.map(|phone| phone.e164.clone())
        };
        let pairs = duplicate_pairs(&data.people.rows);
        assert!(pairs.len() > data.people.rows.len() / 10);
        for (first, second) in pairs {
            let (first, second) = (&data.people.rows[first], &data.people.rows[second]);
            if first.variation.is_some() && second.variation.is_some() {
                continue;
            }
            let shares = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
            let names = |person: &PersonRow| (person.given_name.clone(), person.family_name.clone());
            let evidence = [
                names(first) == names(second),
                shares(&first.birth_date, &second.birth_date),
                shares(&first.email, &second.email),
                shares(&phone_of(first), &phone_of(second)),
            ];
            assert!(evidence.into_iter().filter(|held| *held).count() >= 2, "{first:?}\n{second:?}");
            let content = |person: &PersonRow| PersonRow { line: 0, external_id: String::new(), variation: None, ..person.clone() };
            assert_ne!(content(first), content(second));
        }
    }
}
