//! An account as cells of a row, and back.

use std::borrow::Cow;

use prost_types::Timestamp;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::account::{Kind, Relationship};
use rapport_proto::google_type::Money;

use super::part::{self, Groups};
use super::{Column, Resource, Single, cell};
use crate::violations::Violations;

const NANOS: i64 = 1_000_000_000;

/// What stands in a column of an account; empty where there is nothing.
#[must_use]
pub fn cell<'r>(account: &'r pb::Account, column: &Column) -> Cow<'r, str> {
    match column {
        Column::Single(single) => single_cell(account, *single),
        Column::Point(channel, number, part) => part::point_cell(&account.contact_points, *channel, *number, *part),
        Column::Address(number, part) => part::address_cell(&account.addresses, *number, *part),
        Column::ExternalId(system) => part::external_id_cell(&account.external_ids, system),
        Column::Account(..) => Cow::Borrowed(""),
    }
}

fn single_cell(account: &pb::Account, single: Single) -> Cow<'_, str> {
    let number = |number: Option<i32>| Cow::Owned(number.map(|number| number.to_string()).unwrap_or_default());
    let time = |time: Option<Timestamp>| Cow::Owned(time.map(cell::time).unwrap_or_default());
    match single {
        Single::Record => Cow::Borrowed(&account.name),
        Single::DisplayName => Cow::Borrowed(&account.display_name),
        Single::Kind => Cow::Borrowed(name_of(&KINDS, account.kind())),
        Single::Relationships => Cow::Owned(cell::list(account.relationships().map(|relationship| name_of(&RELATIONSHIPS, relationship)))),
        Single::Number => Cow::Borrowed(&account.number),
        Single::LegalEntity => Cow::Borrowed(&account.legal_entity),
        Single::Parent => Cow::Borrowed(&account.parent),
        Single::Sector => Cow::Borrowed(&account.sector),
        Single::Website => Cow::Borrowed(&account.website),
        Single::Employees => number(account.employee_count),
        Single::Revenue => Cow::Owned(account.annual_revenue.as_ref().map(amount).unwrap_or_default()),
        Single::Currency => Cow::Borrowed(account.annual_revenue.as_ref().map_or("", |money| &money.currency_code)),
        Single::Founded => number(account.founded_year),
        Single::Tags => Cow::Owned(cell::list(account.tags.iter().map(String::as_str))),
        Single::Owner => Cow::Borrowed(&account.owner),
        Single::Created => time(account.create_time),
        Single::Updated => time(account.update_time),
        Single::Deleted => time(account.delete_time),
        Single::Version => Cow::Borrowed(&account.etag),
        Single::Salutation
        | Single::GivenName
        | Single::AdditionalName
        | Single::FamilyName
        | Single::JobTitle
        | Single::Language
        | Single::BirthDate
        | Single::Notes => Cow::Borrowed(""),
    }
}

/// The columns in which an account can have something, in order.
pub fn columns(account: &pb::Account) -> impl Iterator<Item = Column> {
    let before = Resource::Account.singles().chain(part::point_columns(&account.contact_points)).chain(part::address_columns(&account.addresses));
    before.chain(part::external_id_columns(&account.external_ids))
}

/// The account that cells show; as [`super::contact::record`].
pub fn record<'a>(found: &mut Violations, cells: impl IntoIterator<Item = (&'a Column, &'a str)>) -> pb::Account {
    let mut account = pb::Account::default();
    let (mut groups, mut has_revenue) = (Groups::default(), false);
    for (column, text) in cells.into_iter().filter(|(_, text)| !text.is_empty()) {
        has_revenue |= *column == Column::Single(Single::Revenue);
        match column {
            Column::Single(single) => read_single(found, &mut account, *single, text),
            Column::Point(channel, number, part) => groups.point(found, *channel, *number, *part, text),
            Column::Address(number, part) => groups.address(found, *number, *part, text),
            Column::ExternalId(system) => groups.external_id(system, text),
            Column::Account(..) => {}
        }
    }
    (account.contact_points, account.addresses, account.external_ids) = groups.finish();
    // A currency without an amount is none, and not an amount of nothing.
    account.annual_revenue = account.annual_revenue.filter(|_| has_revenue);
    account
}

fn read_single(found: &mut Violations, account: &mut pb::Account, single: Single, text: &str) {
    let header = || Column::Single(single).to_string();
    let number = |found: &mut Violations| {
        let number = text.trim().replace([',', ' ', '\u{a0}'], "").parse::<i32>().ok();
        if number.is_none() {
            found.add(header(), "must be a whole number");
        }
        number
    };
    match single {
        Single::Record => text.clone_into(&mut account.name),
        Single::DisplayName => text.clone_into(&mut account.display_name),
        Single::Kind => match find(&KINDS, text) {
            Some(kind) => account.kind = kind.into(),
            None => found.add(header(), part::one_of(KINDS.iter().map(|(_, text)| *text))),
        },
        Single::Relationships => {
            let known: Option<Vec<i32>> = cell::read_list(text).iter().map(|text| find(&RELATIONSHIPS, text).map(i32::from)).collect();
            match known {
                Some(known) => account.relationships = known,
                None => found.add(header(), part::one_of(RELATIONSHIPS.iter().map(|(_, text)| *text))),
            }
        }
        Single::Number => text.clone_into(&mut account.number),
        Single::LegalEntity => text.clone_into(&mut account.legal_entity),
        Single::Parent => text.clone_into(&mut account.parent),
        Single::Sector => text.clone_into(&mut account.sector),
        Single::Website => text.clone_into(&mut account.website),
        Single::Employees => account.employee_count = number(found),
        Single::Founded => account.founded_year = number(found),
        Single::Revenue => match read_amount(text) {
            Some((units, nanos)) => {
                let money = account.annual_revenue.get_or_insert_default();
                (money.units, money.nanos) = (units, nanos);
            }
            None => found.add(header(), "must be an amount such as 1200.50"),
        },
        Single::Currency => text.trim().to_ascii_uppercase().clone_into(&mut account.annual_revenue.get_or_insert_default().currency_code),
        Single::Tags => account.tags = cell::read_list(text),
        Single::Owner => text.clone_into(&mut account.owner),
        Single::Created => account.create_time = cell::read_time(text),
        Single::Updated => account.update_time = cell::read_time(text),
        Single::Deleted => account.delete_time = cell::read_time(text),
        Single::Version => text.clone_into(&mut account.etag),
        Single::Salutation
        | Single::GivenName
        | Single::AdditionalName
        | Single::FamilyName
        | Single::JobTitle
        | Single::Language
        | Single::BirthDate
        | Single::Notes => {}
    }
}

/// An amount with a point and as many decimals as it has.
fn amount(money: &Money) -> String {
    let all = i128::from(money.units) * i128::from(NANOS) + i128::from(money.nanos);
    let sign = if all < 0 { "-" } else { "" };
    let (units, nanos) = (all.unsigned_abs() / NANOS.unsigned_abs() as u128, all.unsigned_abs() % NANOS.unsigned_abs() as u128);
    format!("{sign}{units}.{nanos:09}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole units and billionths of an amount with a point; commas and spaces between thousands are passed over.
fn read_amount(text: &str) -> Option<(i64, i32)> {
    let text = text.trim().replace([',', ' ', '\u{a0}'], "");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
    let (units, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if units.is_empty() || !all_digits(units) || !all_digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let nanos: i32 = format!("{decimals:0<9}").parse().ok()?;
    Some((sign * units.parse::<i64>().ok()?, i32::try_from(sign).ok()? * nanos))
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Unspecified, ""), (Kind::Organisation, "organisation"), (Kind::Person, "person"), (Kind::Household, "household")];

const RELATIONSHIPS: [(Relationship, &str); 6] = [
    (Relationship::Unspecified, ""),
    (Relationship::Customer, "customer"),
    (Relationship::Prospect, "prospect"),
    (Relationship::Partner, "partner"),
    (Relationship::Competitor, "competitor"),
    (Relationship::Vendor, "vendor"),
];

fn name_of<K: Copy + PartialEq>(table: &[(K, &'static str)], kind: K) -> &'static str {
    table.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

fn find<K: Copy>(table: &[(K, &'static str)], text: &str) -> Option<K> {
    table.iter().find(|(_, known)| known.eq_ignore_ascii_case(text.trim())).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rapport_kit::{clock, name};
    use uuid::Uuid;

    use super::super::Cell;
    use super::super::part::tests::{addresses, external_ids, points, text};
    use super::*;

    fn written(account: &pb::Account) -> Vec<Cell> {
        columns(account).map(|column| (column.clone(), cell(account, &column).into_owned())).filter(|(_, text)| !text.is_empty()).collect()
    }

    fn read(cells: &[Cell]) -> pb::Account {
        let mut found = Violations::default();
        let account = record(&mut found, cells.iter().map(|(column, text)| (column, text.as_str())));
        found.finish().expect("every cell can be read");
        account
    }

    proptest! {
        #[test]
        fn an_account_is_read_as_it_was_written(
            (display_name, sector, website) in (text(), text(), text()),
            (contact_points, addresses, external_ids) in (points(), addresses(), external_ids()),
            (kind, relationships) in (0..4_i32, prop::collection::vec(1..6_i32, 0..4)),
            (employee_count, founded_year) in (prop::option::of(any::<i32>()), prop::option::of(1..2026_i32)),
            money in prop::option::of((any::<i32>(), 0..NANOS)),
        ) {
            let now = Some(clock::timestamp(clock::now()));
            let annual_revenue = money.map(|(units, nanos)| {
                let nanos = i32::try_from(nanos).unwrap();
                Money { currency_code: "EUR".to_owned(), units: units.into(), nanos: if units < 0 { -nanos } else { nanos } }
            });
            let account = pb::Account {
                name: name::format("accounts", Uuid::nil()),
                display_name, kind, relationships, number: "000007".to_owned(),
                legal_entity: name::format("legalEntities", Uuid::nil()),
                parent: name::format("accounts", Uuid::max()),
                sector, website, employee_count, annual_revenue, founded_year, contact_points, addresses,
                owner: name::format("teams", Uuid::nil()),
                external_ids, tags: vec!["a, b".to_owned()], etag: "7".to_owned(), create_time: now, update_time: now, delete_time: now,
                merged_into: String::new(),
            };
            let written = written(&account);
            prop_assert_eq!(&read(&written), &account);
            let filed = written.iter().map(|(column, text)| {
                let header = column.to_string();
                (Column::parse(Resource::Account, &header).expect("a column"), cell::unguarded(&cell::guarded(text)).to_owned())
            });
            prop_assert_eq!(read(&filed.collect::<Vec<_>>()), account);
        }
    }

    #[test]
    fn an_amount_is_read_with_and_without_decimals() {
        for (text, read) in
            [("1200.50", Some((1200, 500_000_000))), ("1,200", Some((1200, 0))), ("-0.5", Some((0, -500_000_000))), ("1.2.3", None), ("", None)]
        {
            assert_eq!(read_amount(text), read, "{text}");
        }
    }

    #[test]
    fn a_currency_without_an_amount_is_no_revenue() {
        let currency = (Column::Single(Single::Currency), "EUR".to_owned());
        assert_eq!(read(std::slice::from_ref(&currency)).annual_revenue, None);
        let revenue = (Column::Single(Single::Revenue), "7".to_owned());
        assert_eq!(read(&[currency, revenue]).annual_revenue.map(|money| money.units), Some(7));
    }
}
