//! Keys: what a record is found by, each a hash of tenant, field, kind of fit and a part of a word.
//!
//! Guarantees: equal records have equal keys, in every process and release; a key of one tenant or field is none of
//! another. Stored keys depend on this file: a change of it needs a migration that puts every tenant into `search_again`.

use std::collections::BTreeSet;

use rapport_contacts_api::v1 as pb;
use rlibphonenumber::PHONE_NUMBER_UTIL;
use uuid::Uuid;

use super::Kind;
use super::words::{begin, slips, words, words_and_compounds};

/// Letters of the longest beginning that is a key of its own.
const LONGEST_BEGINNING: usize = 16;
/// Letters in a row of a word of an address that are a key; what is sought has all of its own there.
const LETTERS_IN_A_ROW: usize = 3;
/// Letters of such a word that count.
const LONGEST_OF_ADDRESS: usize = 24;
/// Digits in a row of a telephone number or an address that are a key; what is sought has all of its own there.
pub const DIGITS_IN_A_ROW: usize = 5;
/// Digits of a telephone number's beginning that are sought where there are fewer than those; also the least that are.
pub const BEGINNINGS_OF_NUMBER: std::ops::RangeInclusive<usize> = 3..=4;
/// Last digits of a telephone number that it is found by.
const ENDING_OF_NUMBER: usize = 4;

/// A field that records are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Of which kind of record.
    pub kind: Kind,
    /// Paths whose rules hold for it.
    pub paths: &'static [&'static str],
    /// Whether it holds ways to reach somebody, of which any part is enough, and not a name, in which a slip is forgiven.
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

/// What of a word of a record a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A name's word.
    Whole,
    /// The beginning of a word.
    Beginning,
    /// A name's word without one letter.
    Slip,
    /// Letters in a row of an address.
    Letters,
    /// Digits in a row of a telephone number.
    Digits,
    /// The first digits of a telephone number.
    FirstDigits,
    /// The last digits of a telephone number.
    LastDigits,
    /// Digits in a row of an address.
    DigitsOfAddress,
}

impl Part {
    /// In keys; never given to another part.
    fn number(self) -> u8 {
        match self {
            Self::Whole => 1,
            Self::Beginning => 2,
            // 3 stood for parts that are no more.
            Self::Slip => 4,
            Self::Letters => 5,
            Self::Digits => 6,
            Self::FirstDigits => 7,
            Self::LastDigits => 8,
            Self::DigitsOfAddress => 9,
        }
    }
}

/// The key of a part of a word (FNV-1a over 64 bits).
#[must_use]
pub fn key(tenant: Uuid, field: Field, part: Part, text: &str) -> i64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let marks = [field.number, part.number()];
    let bytes = tenant.as_bytes().iter().chain(&marks).chain(text.as_bytes());
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME)).cast_signed()
}

/// The key of the records with a word that begins so.
#[must_use]
pub fn beginning(tenant: Uuid, field: Field, word: &str) -> i64 {
    key(tenant, field, Part::Beginning, begin(word, LONGEST_BEGINNING))
}

/// The keys that a record with `word` inside a word of an address has all of; fewer than three letters must begin it.
#[must_use]
pub fn letters(tenant: Uuid, field: Field, word: &str) -> Vec<i64> {
    let word = begin(word, LONGEST_OF_ADDRESS);
    // Three digits in a row stand in too many addresses to be looked for.
    if word.len() >= DIGITS_IN_A_ROW && word.bytes().all(|sign| sign.is_ascii_digit()) {
        return in_a_row(word, DIGITS_IN_A_ROW).map(|text| key(tenant, field, Part::DigitsOfAddress, &text)).collect();
    }
    if word.chars().count() < LETTERS_IN_A_ROW {
        return vec![beginning(tenant, field, word)];
    }
    in_a_row(word, LETTERS_IN_A_ROW).map(|text| key(tenant, field, Part::Letters, &text)).collect()
}

/// Sets of keys, of one of which a record with these digits in a telephone number has all: at least three digits at its
/// beginning, four at its end, and more anywhere.
#[must_use]
pub fn digits(tenant: Uuid, field: Field, digits: &str) -> Vec<Vec<i64>> {
    let key = |part, text: &str| key(tenant, field, part, text);
    if digits.len() >= DIGITS_IN_A_ROW {
        return vec![in_a_row(digits, DIGITS_IN_A_ROW).map(|text| key(Part::Digits, &text)).collect()];
    }
    let first = BEGINNINGS_OF_NUMBER.contains(&digits.len()).then(|| vec![key(Part::FirstDigits, digits)]);
    let last = (digits.len() == ENDING_OF_NUMBER).then(|| vec![key(Part::LastDigits, digits)]);
    first.into_iter().chain(last).collect()
}

/// Each `length` signs in a row of a word; of a shorter one the word itself.
fn in_a_row(word: &str, length: usize) -> impl Iterator<Item = String> {
    let signs: Vec<char> = word.chars().collect();
    let count = (signs.len() + 1).saturating_sub(length).max(1);
    (0..count).map(move |first| signs.iter().skip(first).take(length).collect())
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
            keys.word(NUMBER, &word);
            keys.word(NUMBER, word.trim_start_matches('0'));
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
    fn add(&mut self, field: Field, part: Part, text: &str) {
        self.insert(key(self.tenant, field, part, text));
    }

    fn insert(&mut self, key: i64) {
        // Names come first, so that a record with too many points is still found by its name.
        if self.keys.len() < MOST {
            self.keys.insert(key);
        }
    }

    /// A word of a name, and its beginnings.
    fn word(&mut self, field: Field, word: &str) {
        let letters = word.chars().count();
        if letters == 0 {
            return;
        }
        self.add(field, Part::Whole, word);
        for most in 1..=letters.min(LONGEST_BEGINNING) {
            self.add(field, Part::Beginning, begin(word, most));
        }
    }

    fn name(&mut self, field: Field, name: &str) {
        for word in words_and_compounds(name) {
            self.word(field, &word);
            // The word itself is there already.
            for slip in slips(&word).iter().filter(|slip| **slip != word) {
                self.add(field, Part::Slip, slip);
            }
        }
    }

    fn point(&mut self, field: Field, point: &pb::ContactPoint) {
        let text: &str = if point.normalized.is_empty() { &point.value } else { &point.normalized };
        match point.kind() {
            pb::contact_point::Kind::Phone => self.phone(field, text),
            pb::contact_point::Kind::Email | pb::contact_point::Kind::Chat => self.address(field, text),
            pb::contact_point::Kind::Web => self.address(field, text.split_once("://").map_or(text, |(_, address)| address)),
            pb::contact_point::Kind::Unspecified => {}
        }
    }

    /// People make names in addresses of several words without a sign between, so that any part counts.
    fn address(&mut self, field: Field, address: &str) {
        for word in words(address) {
            for most in 1..LETTERS_IN_A_ROW {
                self.add(field, Part::Beginning, begin(&word, most));
            }
            let word = begin(&word, LONGEST_OF_ADDRESS);
            in_a_row(word, LETTERS_IN_A_ROW).for_each(|text| self.add(field, Part::Letters, &text));
            let numbers = word.split(|sign: char| !sign.is_ascii_digit()).filter(|number| number.len() >= DIGITS_IN_A_ROW);
            numbers.flat_map(|number| in_a_row(number, DIGITS_IN_A_ROW)).for_each(|text| self.add(field, Part::DigitsOfAddress, &text));
        }
    }

    /// A telephone number with country code, or as it was typed if nobody can read it.
    fn phone(&mut self, field: Field, text: &str) {
        let number: String = words(text).concat().chars().filter(char::is_ascii_digit).collect();
        let national = PHONE_NUMBER_UTIL.parse(text, None).map(|number| number.get_national_significant_number()).unwrap_or_default();
        for length in BEGINNINGS_OF_NUMBER {
            for first in [number.get(..length), national.get(..length)].into_iter().flatten() {
                self.add(field, Part::FirstDigits, first);
            }
        }
        if let Some(last) = number.len().checked_sub(ENDING_OF_NUMBER).and_then(|from| number.get(from..)) {
            self.add(field, Part::LastDigits, last);
        }
        if number.len() >= DIGITS_IN_A_ROW {
            in_a_row(&number, DIGITS_IN_A_ROW).for_each(|text| self.add(field, Part::Digits, &text));
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
        let points = (0..50_u64).map(|point| {
            let words: Vec<String> = (1..33).map(|word| format!("{:x}", (point * 32 + word) * 0x9E37_79B9_7F4A_u64)).collect();
            reached_by(pb::contact_point::Kind::Chat, &words.join(" ")).person.unwrap().contact_points.remove(0)
        });
        contact.person.as_mut().unwrap().contact_points = points.collect();
        let keys = of_contact(Uuid::nil(), &contact);
        assert_eq!(keys.len(), MOST);
        assert!(keys.binary_search(&key(Uuid::nil(), GIVEN_NAME, Part::Whole, "ada")).is_ok());
    }

    #[test]
    fn keys_never_change() {
        // Rows that an earlier release wrote are found by what this one asks for.
        assert_eq!(key(Uuid::nil(), GIVEN_NAME, Part::Whole, "ada"), KEY_OF_ADA);
    }
    const KEY_OF_ADA: i64 = 4_106_816_804_668_972_617;

    #[test]
    fn a_key_of_one_tenant_or_field_is_none_of_another() {
        let own = key(Uuid::nil(), GIVEN_NAME, Part::Whole, "ada");
        assert_ne!(own, key(Uuid::max(), GIVEN_NAME, Part::Whole, "ada"));
        assert_ne!(own, key(Uuid::nil(), FAMILY_NAME, Part::Whole, "ada"));
        assert_ne!(own, key(Uuid::nil(), GIVEN_NAME, Part::Beginning, "ada"));
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
    fn a_telephone_number_is_met_by_its_beginnings_its_end_and_five_digits_of_it() {
        let keys = of_contact(Uuid::nil(), &reached_by(pb::contact_point::Kind::Phone, "+49301234567"));
        let meets = |sought: &str| digits(Uuid::nil(), POINTS_OF_CONTACT, sought).iter().any(|all| all.iter().all(|key| keys.contains(key)));
        for sought in ["49301234567", "301234567", "493", "4930", "301", "3012", "4567", "23456"] {
            assert!(meets(sought), "{sought}");
        }
        for sought in ["30", "1234", "567", "49301234568", "12346"] {
            assert!(!meets(sought), "{sought}");
        }
    }

    #[test]
    fn an_address_is_met_by_any_three_letters_in_a_row_and_by_fewer_that_begin_a_word() {
        let keys = of_contact(Uuid::nil(), &reached_by(pb::contact_point::Kind::Email, "jsmith@ex.example.org"));
        let meets = |sought: &str| letters(Uuid::nil(), POINTS_OF_CONTACT, sought).iter().all(|key| keys.contains(key));
        for sought in ["jsmith", "smith", "mit", "jsm", "ample", "ex", "j", "js", "org"] {
            assert!(meets(sought), "{sought}");
        }
        for sought in ["jsmiths", "smyth", "mi", "s", "orgs"] {
            assert!(!meets(sought), "{sought}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_in_order_and_each_stands_once(name in "\\PC{0,100}") {
            let keys = of_contact(Uuid::nil(), &named(&name));
            prop_assert!(keys.is_sorted_by(|one, next| one < next));
        }
    }
}
