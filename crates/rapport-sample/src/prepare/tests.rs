//! What is refused, and what follows from it.

use super::*;
use crate::{Size, generate};

fn account(line: u64, name: &str, parent: &str) -> AccountRow {
    AccountRow {
        line,
        external_id: format!("A{line}"),
        name: name.to_owned(),
        parent_name: (!parent.is_empty()).then(|| parent.to_owned()),
        ..AccountRow::default()
    }
}

fn person(line: u64, account: &str) -> PersonRow {
    PersonRow {
        line,
        external_id: format!("P{line}"),
        family_name: Some("Ash".into()),
        account: (!account.is_empty()).then(|| account.to_owned()),
        ..PersonRow::default()
    }
}

fn data(accounts: Vec<AccountRow>, people: Vec<PersonRow>) -> Dataset {
    Dataset {
        accounts: Table { file: "accounts.csv".into(), present: accounts.len(), rows: accounts },
        people: Table { file: "people.csv".into(), present: people.len(), rows: people },
        ..Dataset::default()
    }
}

fn reasons(prepared: &Prepared) -> Vec<(u64, &str)> {
    prepared.problems.iter().map(|problem| (problem.line, problem.reason.as_str())).collect()
}

#[test]
fn owners_must_exist_once_and_not_form_a_circle() {
    let accounts = vec![
        account(2, "Ash", "Cedar"),
        account(3, "Birch", "Ash"),
        account(4, "Cedar", "Birch"),
        account(5, "Elm", "Cedar"),
        account(6, "Fir", "Fir"),
        account(7, "Oak", "Nowhere"),
        account(8, "Twin", ""),
        account(9, "Twin", ""),
        account(10, "Yew", "Twin"),
        account(11, "Vine", "A9"),
    ];
    let prepared = prepare(&data(accounts, Vec::new()));
    let expected = [
        (2, "its owners form a circle"),
        (3, "its owners form a circle"),
        (4, "its owners form a circle"),
        (5, "that row is refused itself, line 4"),
        (6, "a company cannot own itself"),
        (7, "no account has this name or external id"),
        (10, "2 accounts have this name; give the external id"),
    ];
    assert_eq!(reasons(&prepared), expected);
    assert_eq!(prepared.parents, [None, None, Some(1)]);
}

#[test]
fn people_of_a_refused_account_are_refused_with_its_line() {
    let accounts = vec![account(2, "Ash", "Nowhere"), account(3, "Birch", "")];
    let people = vec![person(2, "Ash"), person(3, "A3"), person(4, ""), person(5, "Elsewhere"), person(4, "")];
    let prepared = prepare(&data(accounts, people));
    let expected =
        [(2, "no account has this name or external id"), (2, "that row is refused itself, line 2"), (5, "no account has this name or external id")];
    assert_eq!(reasons(&prepared), expected);
    assert_eq!(prepared.account_of, [Some(0), Some(0), Some(0)]);
}

#[test]
fn an_external_id_may_stand_once() {
    let mut again = account(3, "Birch", "");
    again.external_id = "A2".into();
    let prepared = prepare(&data(vec![account(2, "Ash", ""), again], Vec::new()));
    assert_eq!(reasons(&prepared), [(3, "stands already on line 2")]);
}

#[test]
fn parents_come_before_their_subsidiaries() {
    let prepared = prepare(&generate(6, Size::DEMO));
    let order = prepared.parents_first();
    let position = |wanted: usize| order.iter().position(|index| *index == wanted);
    assert_eq!(order.len(), prepared.accounts.rows.len());
    for (index, parent) in prepared.parents.iter().enumerate() {
        assert!(parent.is_none() || position(parent.unwrap_or(0)) < position(index));
    }
}

#[test]
fn rows_loaded_and_rows_reported_are_all_rows() {
    for seed in 0..20 {
        let size = Size { accounts: 30 + 17 * usize::try_from(seed).expect("small"), people: 500 };
        for count in prepare(&generate(seed, size)).counts() {
            assert_eq!(count.loaded + count.reported, count.present, "{count:?}");
        }
    }
}
