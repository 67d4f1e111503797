//! How close one field of two records is.
//!
//! Guarantees: the order of the two records does not matter; a field that one of them lacks says nothing.

use serde::{Deserialize, Serialize};
use strsim::osa_distance;

use super::email;
use super::profile::Profile;
use super::rule::{Comparison, Field, Method};
use super::sound::sound;
use crate::contact::model::BirthDate;

/// Last digits that make two telephone numbers close.
const ENDING: usize = 7;

/// How close two values are, the closest first. The numbers are those of the proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closeness {
    /// The same.
    Equal = 1,
    /// Given and family name, or day and month, in each other's place.
    Swapped = 2,
    /// The last digits are the same.
    Ending = 3,
    /// The same but for a slip.
    Slip = 4,
    /// The same mailbox at another host, unless it is made of their names.
    Mailbox = 5,
    /// Alike by sound.
    Sound = 6,
    /// One is the initial of the other.
    Initial = 7,
    /// Not close.
    Different = 8,
}

impl Closeness {
    /// What it counts. The parts of a weight come from how much rarer each is among records of two people than among
    /// those of one (`shipped.rs`).
    #[must_use]
    pub fn points(self, comparison: &Comparison) -> i32 {
        let of_weight = |percent: i32| comparison.weight * percent / 100;
        match (self, comparison.method) {
            (Self::Equal, _) | (Self::Swapped, Method::Name) => comparison.weight,
            (Self::Swapped | Self::Ending, _) => of_weight(80),
            (Self::Slip, Method::Date | Method::Digits) => of_weight(60),
            (Self::Slip, _) => of_weight(80),
            (Self::Mailbox, _) => of_weight(35),
            (Self::Sound, Method::Phonetic) => of_weight(75),
            (Self::Sound | Self::Initial, _) => of_weight(25),
            (Self::Different, _) => -comparison.penalty,
        }
    }
}

/// How close the compared field of two records is; none if one of them lacks it.
#[must_use]
pub fn compare(comparison: &Comparison, one: &Profile, other: &Profile) -> Option<Closeness> {
    let method = comparison.method;
    match comparison.field {
        Field::GivenName => name(method, (&one.given, &one.family), (&other.given, &other.family)),
        Field::FamilyName => name(method, (&one.family, &one.given), (&other.family, &other.given)),
        Field::BirthDate => one.birth.zip(other.birth).map(|(one, other)| day(method, one, other)),
        Field::Email => email::compare(method, one, other),
        Field::Phone => closest(&one.phones, &other.phones, |one, other| digits(method, one, other)),
        Field::Street => street(method, one, other),
        Field::StreetNumber => closest(&one.numbers, &other.numbers, |one, other| text(Method::Exact, one, other)),
        Field::PostalCode => closest(&one.postal_codes, &other.postal_codes, |one, other| digits(method, one, other)),
        Field::Locality => closest(&one.towns, &other.towns, |one, other| text(method, one, other)),
        Field::DisplayName => Some(text(method, &one.name, &other.name)).filter(|_| !one.name.is_empty() && !other.name.is_empty()),
        Field::Domain => closest(&one.domains, &other.domains, |one, other| text(Method::Exact, one, other)),
        Field::ExternalId => ids(comparison, one, other),
    }
}

pub(super) fn closest<T>(one: &[T], other: &[T], compare: impl Fn(&T, &T) -> Closeness) -> Option<Closeness> {
    one.iter().flat_map(|one| other.iter().map(|other| compare(one, other))).min()
}

/// Names, each with the other name of the same person.
fn name(method: Method, (one, one_other): (&str, &str), (two, two_other): (&str, &str)) -> Option<Closeness> {
    if one.is_empty() || two.is_empty() {
        return None;
    }
    let straight = text(method, one, two);
    if method != Method::Name || straight <= Closeness::Slip {
        return Some(straight);
    }
    let is_close = |one: &str, two: &str| !one.is_empty() && !two.is_empty() && (one == two || is_slip(one, two));
    Some(if is_close(one, two_other) && is_close(one_other, two) { Closeness::Swapped } else { straight })
}

fn text(method: Method, one: &str, other: &str) -> Closeness {
    if one == other {
        return Closeness::Equal;
    }
    let is_initial = |short: &str, long: &str| short.chars().count() == 1 && long.starts_with(short);
    match method {
        Method::Name | Method::Slip if is_slip(one, other) => Closeness::Slip,
        Method::Name if is_initial(one, other) || is_initial(other, one) => Closeness::Initial,
        Method::Name | Method::Phonetic if one.len().min(other.len()) > 1 && sound(one) == sound(other) => Closeness::Sound,
        _ => Closeness::Different,
    }
}

/// Whether a word is another one but for a slip, of letters that changed places too; for two slips in long words.
pub(super) fn is_slip(one: &str, other: &str) -> bool {
    let (short, long) = (one.len().min(other.len()), one.len().max(other.len()));
    // Nobody forgives a slip in a paragraph, whose comparison would take its length squared.
    if short < 3 || long - short > 4 || long > 128 {
        return false;
    }
    match osa_distance(one, other) {
        1 => one.chars().count().min(other.chars().count()) >= 3,
        2 => one.chars().count().min(other.chars().count()) >= 6,
        _ => false,
    }
}

/// Streets in their places. Nearly every town has a High Street: one of that name with another number, another postal
/// code and another town is another street.
fn street(method: Method, one: &Profile, other: &Profile) -> Option<Closeness> {
    let name = closest(&one.streets, &other.streets, |one, other| text(method, &one.whole, &other.whole))?;
    let is_other = |closeness: Option<Closeness>| closeness == Some(Closeness::Different);
    let is_elsewhere = is_other(closest(&one.numbers, &other.numbers, |one, other| text(Method::Exact, one, other)))
        && is_other(closest(&one.postal_codes, &other.postal_codes, |one, other| digits(Method::Digits, one, other)))
        && is_other(closest(&one.towns, &other.towns, |one, other| text(Method::Slip, one, other)));
    Some(if is_elsewhere { Closeness::Different } else { name })
}

fn digits(method: Method, one: &str, other: &str) -> Closeness {
    if one == other {
        return Closeness::Equal;
    }
    if method != Method::Digits {
        return Closeness::Different;
    }
    if ending(one).is_some_and(|one| ending(other) == Some(one)) {
        return Closeness::Ending;
    }
    if one.len().abs_diff(other.len()) <= 1 && osa_distance(one, other) == 1 { Closeness::Slip } else { Closeness::Different }
}

/// The last digits of a longer number.
fn ending(digits: &str) -> Option<&str> {
    digits.len().checked_sub(ENDING).filter(|start| *start > 0).and_then(|start| digits.get(start..))
}

fn ids(comparison: &Comparison, one: &Profile, other: &Profile) -> Option<Closeness> {
    let counts = |issuer: &str| comparison.system.is_empty() || comparison.system == issuer;
    let of_one = one.ids.iter().filter(|(issuer, _)| counts(issuer));
    let pairs = of_one.flat_map(|(issuer, one)| other.ids.iter().filter(move |(of, _)| of == issuer).map(move |(_, other)| (one, other)));
    pairs.map(|(one, other)| digits(comparison.method, one, other)).min()
}

fn day(method: Method, one: BirthDate, other: BirthDate) -> Closeness {
    // A year that one does not know cannot differ.
    let is_year_equal = one.year.zip(other.year).is_none_or(|(one, other)| one == other);
    if is_year_equal && (one.month, one.day) == (other.month, other.day) {
        return Closeness::Equal;
    }
    if method != Method::Date {
        return Closeness::Different;
    }
    if is_year_equal && (one.month, one.day) == (other.day, other.month) {
        return Closeness::Swapped;
    }
    let written = |date: BirthDate| format!("{:04}{:02}{:02}", date.year.unwrap_or_default(), date.month, date.day);
    if one.year.is_some() == other.year.is_some() && osa_distance(&written(one), &written(other)) == 1 {
        Closeness::Slip
    } else {
        Closeness::Different
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::profile::Street;
    use super::*;

    fn named(given: &str, family: &str) -> Profile {
        Profile { given: given.to_owned(), family: family.to_owned(), ..Profile::default() }
    }

    fn said(field: Field, method: Method, one: &Profile, other: &Profile) -> Option<Closeness> {
        let comparison = Comparison { field, method, weight: 10, penalty: 5, system: String::new() };
        let closeness = compare(&comparison, one, other);
        assert_eq!(compare(&comparison, other, one), closeness, "in the other order");
        closeness
    }

    #[test]
    fn names_are_close_by_slips_by_sound_by_initials_and_in_each_others_place() {
        for ((given, family), expected) in [
            (("catherine", "martin"), Closeness::Equal),
            (("cathrine", "martin"), Closeness::Slip),
            (("martin", "catherine"), Closeness::Swapped),
            (("martni", "catherine"), Closeness::Swapped),
            (("katarina", "martin"), Closeness::Sound),
            (("c", "martin"), Closeness::Initial),
            (("giulia", "martin"), Closeness::Different),
        ] {
            let closeness = said(Field::GivenName, Method::Name, &named("catherine", "martin"), &named(given, family));
            assert_eq!(closeness, Some(expected), "{given} {family}");
        }
        assert_eq!(said(Field::GivenName, Method::Name, &named("catherine", "martin"), &named("", "martin")), None);
        assert_eq!(said(Field::GivenName, Method::Exact, &named("catherine", ""), &named("cathrine", "")), Some(Closeness::Different));
    }

    #[test]
    fn short_names_that_differ_are_no_slip() {
        for (one, other) in [("al", "ali"), ("anna", "hanni"), ("jo", "ho")] {
            assert!(!is_slip(one, other), "{one} {other}");
        }
        for (one, other) in [("john", "jonh"), ("catherine", "catherien"), ("schneider", "schnider"), ("alexandra", "aleksandra"), ("כהן", "כהנ")]
        {
            assert!(is_slip(one, other), "{one} {other}");
        }
    }

    #[test]
    fn days_are_close_by_a_digit_and_with_day_and_month_exchanged() {
        let born = |year: Option<i32>, month: u32, day: u32| Profile { birth: Some(BirthDate { year, month, day }), ..Profile::default() };
        for (other, expected) in [
            (born(Some(1984), 3, 4), Closeness::Equal),
            (born(None, 3, 4), Closeness::Equal),
            (born(Some(1984), 4, 3), Closeness::Swapped),
            (born(Some(1948), 3, 4), Closeness::Slip),
            (born(Some(1984), 3, 5), Closeness::Slip),
            (born(Some(1984), 8, 21), Closeness::Different),
        ] {
            assert_eq!(said(Field::BirthDate, Method::Date, &born(Some(1984), 3, 4), &other), Some(expected), "{other:?}");
        }
    }

    #[test]
    fn numbers_are_close_by_their_ending_and_by_a_digit_and_the_closest_two_count() {
        let reached = |phones: &[&str]| Profile { phones: phones.iter().map(|phone| (*phone).to_owned()).collect(), ..Profile::default() };
        for (phones, expected) in [
            (vec!["33123456789", "390212345"], Closeness::Equal),
            (vec!["0123456789"], Closeness::Ending),
            (vec!["33123456798"], Closeness::Slip),
            (vec!["902121234567"], Closeness::Different),
        ] {
            assert_eq!(said(Field::Phone, Method::Digits, &reached(&["33123456789"]), &reached(&phones)), Some(expected), "{phones:?}");
        }
    }

    #[test]
    fn a_street_of_the_same_name_in_another_town_is_another_street() {
        let at = |number: &str, code: &str, town: &str| Profile {
            streets: vec![Street { whole: "parkavenue".to_owned(), own: "park".to_owned() }],
            numbers: vec![number.to_owned()],
            postal_codes: vec![code.to_owned()],
            towns: vec![town.to_owned()],
            ..Profile::default()
        };
        let home = at("175", "97251", "portland");
        for (other, expected) in [
            (at("97", "53785", "madison"), Closeness::Different),
            (at("97", "53785", "portlnad"), Closeness::Equal),
            (at("97", "97215", "madison"), Closeness::Equal),
            (at("175", "53785", "madison"), Closeness::Equal),
            (Profile { towns: Vec::new(), ..at("97", "53785", "") }, Closeness::Equal),
        ] {
            assert_eq!(said(Field::Street, Method::Slip, &home, &other), Some(expected), "{other:?}");
        }
    }

    #[test]
    fn ids_are_compared_with_those_of_the_same_issuer() {
        let known = |issuer: &str, id: &str| Profile { ids: vec![(issuer.to_owned(), id.to_owned())], ..Profile::default() };
        assert_eq!(said(Field::ExternalId, Method::Digits, &known("soc", "6988048"), &known("soc", "6988084")), Some(Closeness::Slip));
        assert_eq!(said(Field::ExternalId, Method::Digits, &known("soc", "6988048"), &known("erp", "6988048")), None);
    }

    proptest! {
        #[test]
        fn the_order_of_two_records_does_not_matter(given in "[a-d]{0,4}", family in "[a-d]{0,4}", other_given in "[a-d]{0,4}", other in "[a-d]{0,4}") {
            for method in [Method::Exact, Method::Name, Method::Slip, Method::Phonetic] {
                said(Field::GivenName, method, &named(&given, &family), &named(&other_given, &other));
            }
        }
    }
}
