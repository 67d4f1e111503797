//! Keys: what a record is found by, each a hash of tenant, field, kind of fit and a part of a word.
//!
//! Guarantees: equal records have equal keys, in every process and release; a key of one tenant or field is none of
//! another. Stored keys depend on this file: a change of it needs a migration that queues every record again.

use std::collections::BTreeSet;

use rapport_contacts_api::v1 as pb;
use rlibphonenumber::PHONE_NUMBER_UTIL;
use uuid::Uuid;

use super::Kind;
use super::words::{begin, slips, words, words_and_compounds};

/// Letters of the longest beginning that is a key of its own; as many as the digits of a telephone number at most.
const LONGEST_BEGINNING: usize = 16;
/// Digits of the shortest beginning of a telephone number.
const SHORTEST_NUMBER: usize = 3;
/// Last digits of a telephone number that it is found by.
const ENDINGS: std::ops::RangeInclusive<usize> = 4..=7;
/// Letters in a row of the shortest part of a mailbox's name that it is found by, and of the longest name with parts.
const SHORTEST_PART: usize = 3;
const LONGEST_WITH_PARTS: usize = 12;

/// A field that records are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Of which kind of record.
    pub kind: Kind,
    /// Paths whose rules hold for it.
    pub paths: &'static [&'static str],
    /// Whether it holds ways to reach somebody, of which a part is enough, and not a name, in which a slip is forgiven.
    pub is_point: bool,
    /// In keys; never given to another field.
    number: u8,
}

const GIVEN_NAME: Field = Field { kind: Kind::Contact, paths: &["person.given_name"], is_point: false, number: 1 };
const FAMILY_NAME: Field = Field { kind: Kind::Contact, paths: &["person.family_name"], is_point: false, number: 2 };
const ADDITIONAL_NAME: Field = Field { kind: Kind::Contact, paths: &["person.additional_name"], is_point: false, number: 3 };
const POINTS_OF_CONTACT: Field =
    Field { kind: Kind::Contact, paths: &["person.contact_points.value", "person.contact_points.normalized"], is_point: true, number: 4 };
const DISPLAY_NAME: Field = Field { kind: Kind::Account, paths: &["display_name"], is_point: false, number: 5 };
const NUMBER: Field = Field { kind: Kind::Account, paths: &["number"], is_point: false, number: 6 };
const POINTS_OF_ACCOUNT: Field =
    Field { kind: Kind::Account, paths: &["contact_points.value", "contact_points.normalized"], is_point: true, number: 7 };
/// Every field that records are found by.
pub const FIELDS: [Field; 7] = [GIVEN_NAME, FAMILY_NAME, ADDITIONAL_NAME, POINTS_OF_CONTACT, DISPLAY_NAME, NUMBER, POINTS_OF_ACCOUNT];

/// How a word fits a word of a record, the closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is that word.
    Whole,
    /// That word begins with it.
    Beginning,
    /// It stands inside or at the end.
    Inside,
    /// It is that word but for a slip.
    Slip,
}

impl Fit {
    fn number(self) -> u8 {
        match self {
            Self::Whole => 1,
            Self::Beginning => 2,
            Self::Inside => 3,
            Self::Slip => 4,
        }
    }
}

/// The key of a part of a word (FNV-1a over 64 bits).
#[must_use]
pub fn key(tenant: Uuid, field: Field, fit: Fit, part: &str) -> i64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let marks = [field.number, fit.number()];
    let bytes = tenant.as_bytes().iter().chain(&marks).chain(part.as_bytes());
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME)).cast_signed()
}

/// The key of the records with a word that begins so.
#[must_use]
pub fn beginning(tenant: Uuid, field: Field, word: &str) -> i64 {
    key(tenant, field, Fit::Beginning, begin(word, LONGEST_BEGINNING))
}

/// The keys of a contact, in order; none of one in the bin.
#[must_use]
pub fn of_contact(tenant: Uuid, contact: &pb::Contact) -> Vec<i64> {
    let mut keys = Keys { tenant, keys: BTreeSet::new() };
    if let (Some(person), None) = (&contact.person, &contact.delete_time) {
        keys.name(GIVEN_NAME, &person.given_name);
        keys.name(FAMILY_NAME, &person.family_name);
        keys.name(ADDITIONAL_NAME, &person.additional_name);
        person.contact_points.iter().for_each(|point| keys.point(POINTS_OF_CONTACT, point));
    }
    keys.keys.into_iter().collect()
}

/// The keys of an account, in order; none of one in the bin.
#[must_use]
pub fn of_account(tenant: Uuid, account: &pb::Account) -> Vec<i64> {
    let mut keys = Keys { tenant, keys: BTreeSet::new() };
    if account.delete_time.is_none() {
        keys.name(DISPLAY_NAME, &account.display_name);
        for word in words_and_compounds(&account.number) {
            keys.word(NUMBER, &word, 1);
            keys.word(NUMBER, word.trim_start_matches('0'), 1);
        }
        account.contact_points.iter().for_each(|point| keys.point(POINTS_OF_ACCOUNT, point));
    }
    keys.keys.into_iter().collect()
}

/// Keys of one record at most: no record may make the index, or whoever keeps it, large.
const MOST: usize = 2_000;

struct Keys {
    tenant: Uuid,
    keys: BTreeSet<i64>,
}

impl Keys {
    fn add(&mut self, field: Field, fit: Fit, part: &str) {
        // Names come first, so that a record with too many points is still found by its name.
        if self.keys.len() >= MOST {
            return;
        }
        self.keys.insert(key(self.tenant, field, fit, part));
    }

    /// A word, and its beginnings from `shortest` letters on.
    fn word(&mut self, field: Field, word: &str, shortest: usize) {
        let letters = word.chars().count();
        if letters == 0 {
            return;
        }
        self.add(field, Fit::Whole, word);
        for most in shortest..=letters.min(LONGEST_BEGINNING) {
            self.add(field, Fit::Beginning, begin(word, most));
        }
    }

    fn name(&mut self, field: Field, name: &str) {
        for word in words_and_compounds(name) {
            self.word(field, &word, 1);
            for slip in slips(&word) {
                self.add(field, Fit::Slip, &slip);
            }
        }
    }

    fn point(&mut self, field: Field, point: &pb::ContactPoint) {
        let text: &str = if point.normalized.is_empty() { &point.value } else { &point.normalized };
        match point.kind() {
            pb::contact_point::Kind::Phone => self.phone(field, text),
            pb::contact_point::Kind::Email => {
                let (mailbox, host) = text.rsplit_once('@').unwrap_or((text, ""));
                self.handle(field, mailbox);
                words(host).iter().for_each(|word| self.word(field, word, 1));
            }
            pb::contact_point::Kind::Chat => self.handle(field, text),
            pb::contact_point::Kind::Web => {
                let address = text.split_once("://").map_or(text, |(_, address)| address);
                words(address).iter().for_each(|word| self.word(field, word, 1));
            }
            pb::contact_point::Kind::Unspecified => {}
        }
    }

    /// The name of a mailbox or in a messenger, which people make of several words without a sign between.
    fn handle(&mut self, field: Field, handle: &str) {
        for word in words(handle) {
            self.word(field, &word, 1);
            let letters: Vec<char> = word.chars().take(LONGEST_WITH_PARTS).collect();
            for first in 1..letters.len() {
                for end in first + SHORTEST_PART..=letters.len() {
                    let part: String = letters.iter().skip(first).take(end - first).collect();
                    self.add(field, Fit::Inside, &part);
                }
            }
        }
    }

    /// A telephone number with country code, or as it was typed if nobody can read it.
    fn phone(&mut self, field: Field, text: &str) {
        let digits: String = words(text).concat().chars().filter(char::is_ascii_digit).collect();
        self.word(field, &digits, SHORTEST_NUMBER);
        if let Ok(number) = PHONE_NUMBER_UTIL.parse(text, None) {
            self.word(field, &number.get_national_significant_number(), SHORTEST_NUMBER);
        }
        for ending in ENDINGS.filter(|ending| *ending < digits.len()) {
            self.add(field, Fit::Inside, digits.get(digits.len() - ending..).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(given_name: &str) -> pb::Contact {
        pb::Contact { person: Some(pb::Person { given_name: given_name.to_owned(), ..pb::Person::default() }), ..pb::Contact::default() }
    }

    fn reached_by(kind: pb::contact_point::Kind, normalized: &str) -> pb::Contact {
        let point = pb::ContactPoint { kind: kind.into(), normalized: normalized.to_owned(), ..pb::ContactPoint::default() };
        pb::Contact { person: Some(pb::Person { contact_points: vec![point], ..pb::Person::default() }), ..pb::Contact::default() }
    }

    #[test]
    fn a_record_with_very_many_points_has_a_bounded_number_of_keys_and_keeps_its_name() {
        let mut contact = named("Ada");
        let points = (0..50).map(|point| {
            let words: Vec<String> = (0..32).map(|word| format!("h{point:02}a{word:02}bcdefgh")).collect();
            reached_by(pb::contact_point::Kind::Chat, &words.join(" ")).person.unwrap().contact_points.remove(0)
        });
        contact.person.as_mut().unwrap().contact_points = points.collect();
        let keys = of_contact(Uuid::nil(), &contact);
        assert_eq!(keys.len(), MOST);
        assert!(keys.binary_search(&key(Uuid::nil(), GIVEN_NAME, Fit::Whole, "ada")).is_ok());
    }

    #[test]
    fn keys_never_change() {
        // Rows that an earlier release wrote are found by what this one asks for.
        assert_eq!(key(Uuid::nil(), GIVEN_NAME, Fit::Whole, "ada"), KEY_OF_ADA);
    }
    const KEY_OF_ADA: i64 = 4_106_816_804_668_972_617;

    #[test]
    fn a_key_of_one_tenant_or_field_is_none_of_another() {
        let own = key(Uuid::nil(), GIVEN_NAME, Fit::Whole, "ada");
        assert_ne!(own, key(Uuid::max(), GIVEN_NAME, Fit::Whole, "ada"));
        assert_ne!(own, key(Uuid::nil(), FAMILY_NAME, Fit::Whole, "ada"));
        assert_ne!(own, key(Uuid::nil(), GIVEN_NAME, Fit::Beginning, "ada"));
        let numbers: BTreeSet<u8> = FIELDS.iter().map(|field| field.number).collect();
        assert_eq!(numbers.len(), FIELDS.len());
    }

    #[test]
    fn a_record_in_the_bin_has_no_keys() {
        let deleted = pb::Contact { delete_time: Some(prost_types::Timestamp::default()), ..named("Ada") };
        assert!(!of_contact(Uuid::nil(), &named("Ada")).is_empty());
        assert!(of_contact(Uuid::nil(), &deleted).is_empty());
    }

    #[test]
    fn a_telephone_number_has_a_key_for_its_national_form_and_for_its_end() {
        let keys = of_contact(Uuid::nil(), &reached_by(pb::contact_point::Kind::Phone, "+49301234567"));
        let has = |fit, part| keys.contains(&key(Uuid::nil(), POINTS_OF_CONTACT, fit, part));
        assert!(has(Fit::Whole, "49301234567") && has(Fit::Whole, "301234567"));
        assert!(has(Fit::Beginning, "4930") && has(Fit::Beginning, "301") && has(Fit::Inside, "4567"));
        assert!(!has(Fit::Inside, "1234") && !has(Fit::Beginning, "30"));
    }

    #[test]
    fn a_mailbox_has_a_key_for_any_three_letters_in_a_row() {
        let keys = of_contact(Uuid::nil(), &reached_by(pb::contact_point::Kind::Email, "jsmith@example.org"));
        let has = |fit, part| keys.contains(&key(Uuid::nil(), POINTS_OF_CONTACT, fit, part));
        assert!(has(Fit::Inside, "smith") && has(Fit::Inside, "mit") && has(Fit::Beginning, "js") && has(Fit::Beginning, "exam"));
        assert!(!has(Fit::Inside, "ample") && !has(Fit::Inside, "mi"));
    }

    proptest! {
        #[test]
        fn keys_are_in_order_and_each_stands_once(name in "\\PC{0,100}") {
            let keys = of_contact(Uuid::nil(), &named(&name));
            prop_assert!(keys.is_sorted_by(|one, next| one < next));
        }
    }
}
