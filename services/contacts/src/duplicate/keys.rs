//! Keys: records that share one are compared, and no others.
//!
//! Guarantees: equal records have equal keys, in every process and release; a record has at most 12. Stored keys depend on
//! this file: a change of it needs a migration that queues every record again.

use std::collections::BTreeSet;

use super::profile::Profile;
use super::sound::sound;
use crate::search::Kind;

/// Keys of one record at most.
const MOST: usize = 12;
/// Values of a list that make keys.
const FEW: usize = 2;
/// Last digits of a telephone number.
const ENDING: usize = 7;
/// What a key is made of; the numbers are never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Id = 1,
    Email = 2,
    Phone = 3,
    Names = 4,
    Birth = 5,
    House = 6,
    NameAndStreet = 7,
    Domain = 8,
    Organisation = 9,
}

/// The keys of a record, in order.
#[must_use]
pub fn of(kind: Kind, profile: &Profile) -> Vec<i64> {
    let mut keys = Keys { kind, keys: BTreeSet::new() };
    for (issuer, id) in profile.ids.iter().take(FEW) {
        keys.add(Part::Id, &[issuer, id]);
    }
    for email in profile.emails.iter().take(FEW).filter(|_| kind == Kind::Contact) {
        keys.add(Part::Email, &[email]);
    }
    for phone in profile.phones.iter().take(FEW) {
        keys.add(Part::Phone, &[phone.get(phone.len().saturating_sub(ENDING)..).unwrap_or(phone)]);
    }
    match kind {
        Kind::Contact => keys.person(profile),
        Kind::Account => keys.organisation(profile),
    }
    keys.keys.into_iter().collect()
}

struct Keys {
    kind: Kind,
    keys: BTreeSet<i64>,
}

impl Keys {
    fn add(&mut self, part: Part, values: &[&str]) {
        if self.keys.len() < MOST && values.iter().all(|value| !value.is_empty()) {
            self.keys.insert(hash(self.kind, part, values));
        }
    }

    /// By both names at once and in either order, by birth with one name, by house, and by street with one name: a slip in
    /// one or two of them leaves another key in common.
    fn person(&mut self, profile: &Profile) {
        let mut names = [begin(&sound(&profile.given), 4), begin(&sound(&profile.family), 4)];
        names.sort_unstable();
        let [first, second] = &names;
        self.add(Part::Names, &[first, second]);
        let birth = profile.birth.map(|date| format!("{:04}{:02}{:02}", date.year.unwrap_or_default(), date.month, date.day)).unwrap_or_default();
        for name in &names {
            self.add(Part::Birth, &[&birth, &begin(name, 1)]);
        }
        for street in profile.streets.iter().take(FEW) {
            let street = sound(&street.own);
            self.add(Part::House, &[profile.numbers.first().map_or("", String::as_str), &begin(&street, 4)]);
            for name in &names {
                self.add(Part::NameAndStreet, &[&begin(name, 3), &street]);
            }
        }
    }

    fn organisation(&mut self, profile: &Profile) {
        for domain in profile.domains.iter().take(FEW) {
            self.add(Part::Domain, &[domain]);
        }
        let letters: String = profile.name.chars().filter(|letter| letter.is_alphabetic()).collect();
        self.add(Part::Organisation, &[&begin(&letters, 4), &sound(&letters)]);
        for code in profile.postal_codes.iter().take(FEW) {
            self.add(Part::NameAndStreet, &[code, &begin(&sound(&letters), 3)]);
        }
    }
}

fn begin(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// FNV-1a over 64 bits, with a sign between the values so that they do not run into each other.
fn hash(kind: Kind, part: Part, values: &[&str]) -> i64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let marks = [u8::try_from(kind.number()).unwrap_or_default(), part as u8];
    let bytes = values.iter().flat_map(|value| value.bytes().chain([0]));
    marks.into_iter().chain(bytes).fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::super::profile::Street;
    use super::*;
    use crate::contact::BirthDate;

    fn person(given: &str, family: &str) -> Profile {
        Profile { given: given.to_owned(), family: family.to_owned(), ..Profile::default() }
    }

    #[test]
    fn names_in_each_others_place_meet_and_one_name_alone_has_no_key() {
        assert_eq!(of(Kind::Contact, &person("ada", "lovelace")), of(Kind::Contact, &person("lovelace", "ada")));
        assert!(of(Kind::Contact, &person("", "lovelace")).is_empty());
    }

    #[test]
    fn a_record_with_very_much_has_a_bounded_number_of_keys() {
        let many = |prefix: &str| -> Vec<String> { (0..50).map(|number| format!("{prefix}{number}1234567")).collect() };
        let profile = Profile {
            emails: many("a"),
            phones: many("1"),
            ids: many("x").into_iter().map(|id| (id.clone(), id)).collect(),
            streets: ["mirtel", "dorbank", "pagiel"].map(|own| Street { whole: own.to_owned(), own: own.to_owned() }).to_vec(),
            birth: Some(BirthDate { year: Some(1984), month: 3, day: 4 }),
            numbers: many("2"),
            ..person("ada", "lovelace")
        };
        assert_eq!(of(Kind::Contact, &profile).len(), MOST);
    }

    #[test]
    fn keys_never_change() {
        // Rows that an earlier release wrote are met by what this one writes.
        assert_eq!(hash(Kind::Contact, Part::Email, &["ada@example.org"]), KEY_OF_ADA);
    }
    const KEY_OF_ADA: i64 = -3_424_530_602_604_946_873;
}
