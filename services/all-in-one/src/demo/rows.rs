//! Rows of the files as records of the product.
//!
//! Guarantees: pure functions; a cell goes over as it stands. A postal address whose country has no known
//! code has no place in the product, which asks for the code; it is left out, and [`without_place`] says so.

use rapport_contacts_api::v1::{Account, AccountRole, Address, Contact, ContactPoint, Person, account, address, contact_point};
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::{Date, Money, PostalAddress};
use rapport_sample::{AccountRow, PersonRow, country_code};

/// What the system is called that the files come from.
pub(crate) const SYSTEM: &str = "legacy-crm";

/// The account of that row.
pub(crate) fn account(row: &AccountRow, owner: &str, legal_entity: &str, parent: &str) -> Account {
    let office = address(address::Kind::Work, None, row.office_city.as_ref(), None, None, row.office_country.as_ref());
    Account {
        display_name: row.name.clone(),
        kind: account::Kind::Organisation.into(),
        relationships: vec![account::Relationship::Customer.into()],
        legal_entity: legal_entity.to_owned(),
        parent: parent.to_owned(),
        sector: row.sector.clone().unwrap_or_default(),
        employee_count: row.employees.and_then(|employees| i32::try_from(employees).ok()),
        annual_revenue: row.revenue.as_deref().and_then(millions),
        founded_year: row.founded_year.map(i32::from),
        addresses: office.into_iter().collect(),
        owner: owner.to_owned(),
        external_ids: external_ids(&row.external_id),
        ..Default::default()
    }
}

/// The contact of that row.
pub(crate) fn contact(row: &PersonRow, phone: Option<&str>, owner: &str, account: Option<&str>) -> Contact {
    let home = address(address::Kind::Home, row.street.as_ref(), row.city.as_ref(), row.postcode.as_ref(), row.region.as_ref(), row.country.as_ref());
    let email = row.email.as_deref().map(|email| point(contact_point::Kind::Email, email, ""));
    let region = row.country.as_deref().and_then(country_code).unwrap_or_default();
    let phone = phone.map(|phone| point(contact_point::Kind::Phone, phone, region));
    let person = Person {
        given_name: row.given_name.clone().unwrap_or_default(),
        family_name: row.family_name.clone().unwrap_or_default(),
        birth_date: row.birth_date.as_deref().and_then(date),
        contact_points: email.into_iter().chain(phone).collect(),
        addresses: home.into_iter().collect(),
        ..Default::default()
    };
    let role = |account: &str| AccountRole { account: account.to_owned(), primary: true, ..Default::default() };
    Contact {
        person: Some(person),
        accounts: account.map(role).into_iter().collect(),
        owner: owner.to_owned(),
        external_ids: external_ids(&row.external_id),
        ..Default::default()
    }
}

/// The country of a row whose address is left out; the other cells are those of the address.
pub(crate) fn without_place<'a>(country: Option<&'a String>, others: &[&Option<String>]) -> Option<&'a str> {
    match country {
        Some(country) => country_code(country).is_none().then_some(country),
        None => others.iter().any(|cell| cell.is_some()).then_some("(empty)"),
    }
}

fn address(
    kind: address::Kind,
    street: Option<&String>,
    city: Option<&String>,
    postcode: Option<&String>,
    region: Option<&String>,
    country: Option<&String>,
) -> Option<Address> {
    let region_code = country_code(country?)?.to_owned();
    let text = |cell: Option<&String>| cell.cloned().unwrap_or_default();
    let postal_address = PostalAddress {
        region_code,
        postal_code: text(postcode),
        administrative_area: text(region),
        locality: text(city),
        address_lines: street.cloned().into_iter().collect(),
        ..Default::default()
    };
    Some(Address { kind: kind.into(), postal_address: Some(postal_address), primary: true })
}

fn point(kind: contact_point::Kind, value: &str, region: &str) -> ContactPoint {
    ContactPoint { kind: kind.into(), value: value.to_owned(), region: region.to_owned(), primary: true, ..Default::default() }
}

fn external_ids(id: &str) -> Vec<ExternalId> {
    vec![ExternalId { system: SYSTEM.to_owned(), id: id.to_owned() }]
}

/// `1980-02-29`, which was checked before.
fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-').map(|part| part.parse::<i32>().ok());
    Some(Date { year: parts.next()??, month: parts.next()??, day: parts.next()?? })
}

/// Millions of US dollars in decimal text, as an exact amount: no floating point.
fn millions(text: &str) -> Option<Money> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Six digits of a million's fraction are whole dollars, nine more are billionths of one.
    let fraction = format!("{fraction:0<15}");
    let dollars = fraction.get(..6)?.parse::<i64>().ok()?;
    let nanos = fraction.get(6..15)?.parse::<i32>().ok()?;
    let units = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(dollars)?;
    Some(Money { currency_code: "USD".to_owned(), units, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revenue_in_millions_is_exact() {
        let money = |text| millions(text).map(|money| (money.units, money.nanos));
        assert_eq!(money("1100.04"), Some((1_100_040_000, 0)));
        assert_eq!(money("0.0000015"), Some((1, 500_000_000)));
        assert_eq!(money("7"), Some((7_000_000, 0)));
        assert_eq!(money("99999999999999999999"), None);
    }

    #[test]
    fn a_date_is_taken_apart() {
        assert_eq!(date("1980-02-29"), Some(Date { year: 1980, month: 2, day: 29 }));
        assert_eq!(date(""), None);
    }
}
