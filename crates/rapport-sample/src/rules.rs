//! The stated rules: facts the files leave open are decided here, the same way each time.
//!
//! Guarantees: every rule is a pure function of its arguments. None looks at the truth columns, so a
//! rule never leaks the answer to the question that a test or the demo asks.

use std::collections::BTreeMap;

use crate::rows::{PersonRow, PhoneRow};

/// Spreads the bits of a number (the finishing step of SplitMix64).
pub(crate) fn scramble(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A hash that is the same in every build and on every machine: 64-bit FNV-1a of the UTF-8 bytes, its
/// bits spread so that a remainder uses all of them.
#[must_use]
pub fn stable_hash(text: &str) -> u64 {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    scramble(hash)
}

/// `stable_hash(text)` modulo `length`; `None` for an empty list.
fn place(text: &str, length: usize) -> Option<usize> {
    let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
    usize::try_from(stable_hash(text) % length).ok()
}

/// Which of `accounts` companies a person without a stated one belongs to: the hash of the external id
/// modulo the number of companies. `None` when there is no company.
#[must_use]
pub fn link(external_id: &str, accounts: usize) -> Option<usize> {
    place(external_id, accounts)
}

/// The person's telephone number: the stated one, else the E.164 form of the list's entry at the hash
/// of the external id modulo the list's length. `None` when the list is empty too.
///
/// Duplicates of a person have external ids of their own and so get numbers that say nothing about
/// being the same; with more people than numbers, strangers share one.
#[must_use]
pub fn phone_for<'a>(person: &'a PersonRow, phones: &'a [PhoneRow]) -> Option<&'a str> {
    if let Some(stated) = &person.phone {
        return Some(stated);
    }
    // A salt, so that company and number are independent of each other.
    let entry = place(&format!("phone of {}", person.external_id), phones.len())?;
    Some(&phones[entry].e164)
}

const SECTOR: &str = "sector spelling";
const COUNTRY: &str = "country spelling";

/// Misspelling, right spelling, rule. A misspelling must not be a word of its own.
pub(crate) const MENDS: &[(&str, &str, &str)] = &[
    ("technolgy", "technology", SECTOR),
    ("medcial", "medical", SECTOR),
    ("retial", "retail", SECTOR),
    ("sofware", "software", SECTOR),
    ("servcies", "services", SECTOR),
    ("maketing", "marketing", SECTOR),
    ("fincance", "finance", SECTOR),
    ("telecomunications", "telecommunications", SECTOR),
    ("entertainement", "entertainment", SECTOR),
    ("employement", "employment", SECTOR),
    ("logisitcs", "logistics", SECTOR),
    ("manufacturng", "manufacturing", SECTOR),
    ("Philipines", "Philippines", COUNTRY),
    ("Untied States", "United States", COUNTRY),
    ("Untied Kingdom", "United Kingdom", COUNTRY),
    ("Cananda", "Canada", COUNTRY),
    ("Frnace", "France", COUNTRY),
    ("Türkyie", "Türkiye", COUNTRY),
    ("Isreal", "Israel", COUNTRY),
    ("Itlay", "Italy", COUNTRY),
    ("Austrailia", "Australia", COUNTRY),
    ("Gemany", "Germany", COUNTRY),
];

/// The right spelling of a known misspelling (case aside) and the rule's name; `None` for anything
/// else, right or wrong.
#[must_use]
pub fn mend(value: &str) -> Option<(String, &'static str)> {
    let folded = value.trim().to_lowercase();
    let known = MENDS.iter().find(|(wrong, _, _)| wrong.to_lowercase() == folded);
    known.map(|(_, right, rule)| ((*right).to_owned(), *rule))
}

/// Country names as the files write them, with their ISO 3166 codes.
const COUNTRIES: &[(&str, &str)] = &[
    ("australia", "AU"),
    ("austria", "AT"),
    ("belgium", "BE"),
    ("brazil", "BR"),
    ("canada", "CA"),
    ("china", "CN"),
    ("denmark", "DK"),
    ("france", "FR"),
    ("germany", "DE"),
    ("greece", "GR"),
    ("india", "IN"),
    ("ireland", "IE"),
    ("israel", "IL"),
    ("italy", "IT"),
    ("japan", "JP"),
    ("jordan", "JO"),
    ("kenya", "KE"),
    ("korea", "KR"),
    ("mexico", "MX"),
    ("netherlands", "NL"),
    ("norway", "NO"),
    ("panama", "PA"),
    ("philippines", "PH"),
    ("poland", "PL"),
    ("portugal", "PT"),
    ("romania", "RO"),
    ("south korea", "KR"),
    ("spain", "ES"),
    ("sweden", "SE"),
    ("switzerland", "CH"),
    ("turkey", "TR"),
    ("türkiye", "TR"),
    ("united kingdom", "GB"),
    ("united states", "US"),
];

/// The ISO 3166 code of a country's English name (case aside), or of a code itself. `None` when the
/// name is not in the short list of countries the sample files use.
#[must_use]
pub fn country_code(name: &str) -> Option<&'static str> {
    let folded = name.trim().to_lowercase();
    let found = COUNTRIES.iter().find(|(country, code)| *country == folded || code.to_lowercase() == folded);
    found.map(|(_, code)| *code)
}

/// The true pairs of duplicates as indexes into `people`, the smaller first, in rising order. People
/// without a known entity are in no pair.
#[must_use]
pub fn duplicate_pairs(people: &[PersonRow]) -> Vec<(usize, usize)> {
    let mut by_entity: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, person) in people.iter().enumerate() {
        if let Some(entity) = &person.entity {
            by_entity.entry(entity).or_default().push(index);
        }
    }
    let mut pairs = Vec::new();
    for same in by_entity.values() {
        for (position, first) in same.iter().enumerate() {
            pairs.extend(same[position + 1..].iter().map(|second| (*first, *second)));
        }
    }
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned_for_all_time() {
        assert_eq!(stable_hash("rec-1496-org"), 17_028_284_037_255_813_196);
    }

    #[test]
    fn links_spread_over_all_accounts_and_need_one() {
        let mut seen = [0_usize; 85];
        for number in 0..5000 {
            seen[link(&format!("rec-{number}-org"), 85).expect("there are accounts")] += 1;
        }
        assert!(seen.iter().all(|people| (20..120).contains(people)), "{seen:?}");
        assert_eq!(link("rec-1-org", 0), None);
    }

    #[test]
    fn a_stated_phone_wins_over_the_list() {
        let listed = PhoneRow { e164: "+33199001234".into(), ..PhoneRow::default() };
        let stated = PersonRow { phone: Some("01 99 00 12 34".into()), ..PersonRow::default() };
        assert_eq!(phone_for(&stated, std::slice::from_ref(&listed)), Some("01 99 00 12 34"));
        let silent = PersonRow::default();
        assert_eq!(phone_for(&silent, std::slice::from_ref(&listed)), Some("+33199001234"));
        assert_eq!(phone_for(&silent, &[]), None);
    }

    #[test]
    fn known_misspellings_are_mended_and_nothing_else() {
        assert_eq!(mend(" Technolgy "), Some(("technology".to_owned(), SECTOR)));
        assert_eq!(mend("Philipines"), Some(("Philippines".to_owned(), COUNTRY)));
        assert_eq!(mend("technology"), None);
        for (wrong, right, _) in MENDS {
            assert_eq!(mend(right), None, "{wrong} must be mended in one step");
        }
    }

    #[test]
    fn every_mended_country_has_a_code() {
        for (_, country, _) in MENDS.iter().filter(|(_, _, rule)| *rule == COUNTRY) {
            assert!(country_code(country).is_some(), "{country}");
        }
        assert_eq!(country_code("fr"), Some("FR"));
    }

    #[test]
    fn three_rows_of_one_person_are_three_pairs() {
        let row = |entity: &str| PersonRow { entity: Some(entity.into()), ..PersonRow::default() };
        let people = [row("a"), row("b"), row("a"), row("a"), PersonRow::default(), PersonRow::default()];
        assert_eq!(duplicate_pairs(&people), [(0, 2), (0, 3), (2, 3)]);
    }
}
