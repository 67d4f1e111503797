//! Telephone numbers that are valid where they say they are.
//!
//! Guarantees: each number has the length, prefix and grouping that its country's numbering plan asks
//! for, so a number library accepts it as valid for the region and formats it as written here. The
//! United Kingdom, North America and France set ranges aside for fiction, which are used; the other
//! countries have none, there the subscriber part begins with 555.

use crate::random::Random;
use crate::rows::PhoneRow;

/// Region, kind, national and international notation; `#` is a digit, the same in both.
type Plan = (&'static str, &'static str, &'static str, &'static str);

const PLANS: &[Plan] = &[
    ("GB", "FIXED_LINE", "020 7946 0###", "+44 20 7946 0###"),
    ("GB", "FIXED_LINE", "0113 496 0###", "+44 113 496 0###"),
    ("GB", "FIXED_LINE", "0117 496 0###", "+44 117 496 0###"),
    ("GB", "FIXED_LINE", "0131 496 0###", "+44 131 496 0###"),
    ("GB", "FIXED_LINE", "0161 496 0###", "+44 161 496 0###"),
    ("US", "FIXED_LINE_OR_MOBILE", "(303) 555-01##", "+1 303-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(503) 555-01##", "+1 503-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(512) 555-01##", "+1 512-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(608) 555-01##", "+1 608-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(614) 555-01##", "+1 614-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(720) 555-01##", "+1 720-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(737) 555-01##", "+1 737-555-01##"),
    ("US", "FIXED_LINE_OR_MOBILE", "(971) 555-01##", "+1 971-555-01##"),
    ("FR", "FIXED_LINE", "01 99 00 ## ##", "+33 1 99 00 ## ##"),
    ("FR", "FIXED_LINE", "03 53 01 ## ##", "+33 3 53 01 ## ##"),
    ("FR", "FIXED_LINE", "04 65 71 ## ##", "+33 4 65 71 ## ##"),
    ("FR", "FIXED_LINE", "05 36 49 ## ##", "+33 5 36 49 ## ##"),
    ("CA", "FIXED_LINE_OR_MOBILE", "(418) 555-01##", "+1 418-555-01##"),
    ("CA", "FIXED_LINE_OR_MOBILE", "(438) 555-01##", "+1 438-555-01##"),
    ("CA", "FIXED_LINE_OR_MOBILE", "(514) 555-01##", "+1 514-555-01##"),
    ("CA", "FIXED_LINE_OR_MOBILE", "(581) 555-01##", "+1 581-555-01##"),
    ("CA", "FIXED_LINE_OR_MOBILE", "(819) 555-01##", "+1 819-555-01##"),
    ("TR", "FIXED_LINE", "(0212) 555 ## ##", "+90 212 555 ## ##"),
    ("TR", "FIXED_LINE", "(0216) 555 ## ##", "+90 216 555 ## ##"),
    ("TR", "FIXED_LINE", "(0232) 555 ## ##", "+90 232 555 ## ##"),
    ("TR", "FIXED_LINE", "(0312) 555 ## ##", "+90 312 555 ## ##"),
    ("TR", "MOBILE", "0501 555 ## ##", "+90 501 555 ## ##"),
    ("IL", "FIXED_LINE", "02-555-####", "+972 2-555-####"),
    ("IL", "FIXED_LINE", "03-555-####", "+972 3-555-####"),
    ("IL", "FIXED_LINE", "04-855-####", "+972 4-855-####"),
    ("IL", "MOBILE", "050-555-####", "+972 50-555-####"),
    ("IT", "FIXED_LINE", "02 5550 ####", "+39 02 5550 ####"),
    ("IT", "FIXED_LINE", "06 5550 ####", "+39 06 5550 ####"),
    ("IT", "FIXED_LINE", "011 555 ####", "+39 011 555 ####"),
    ("IT", "FIXED_LINE", "051 555 ####", "+39 051 555 ####"),
    ("IT", "MOBILE", "320 555 ####", "+39 320 555 ####"),
];

/// A random number of a region, which must be one of the sample company's. Its line is left at 0.
pub(crate) fn random_phone(region: &str, random: &mut Random) -> PhoneRow {
    let plans: Vec<&Plan> = PLANS.iter().filter(|plan| plan.0 == region).collect();
    let (region, kind, national, international) = **random.pick(&plans);
    let wildcards = national.matches('#').count();
    let digits = random.fill(&"#".repeat(wildcards));
    let national = filled(national, &digits);
    let international = filled(international, &digits);
    PhoneRow {
        line: 0,
        region: region.to_owned(),
        kind: kind.to_owned(),
        e164: international.chars().filter(|mark| *mark == '+' || mark.is_ascii_digit()).collect(),
        rfc3966: format!("tel:{}", international.replace(' ', "-")),
        international,
        national,
    }
}

fn filled(pattern: &str, digits: &str) -> String {
    let mut digits = digits.chars();
    let fill_one = |mark: char| match mark {
        '#' => digits.next().expect("as many digits as wildcards"),
        other => other,
    };
    pattern.chars().map(fill_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Language;

    #[test]
    fn notations_of_a_number_agree() {
        let mut random = Random::stream(1, "phones");
        for country in Language::ALL.into_iter().flat_map(Language::countries) {
            for _ in 0..50 {
                let phone = random_phone(country.region, &mut random);
                let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
                assert_eq!(phone.region, country.region);
                assert_eq!(digits(&phone.e164), digits(&phone.rfc3966));
                let national = digits(&phone.national);
                let subscriber = if country.region == "IT" { &national } else { national.trim_start_matches('0') };
                assert!(phone.e164.ends_with(subscriber), "{phone:?}");
                assert!((11..=13).contains(&phone.e164.len()), "{phone:?}");
            }
        }
    }

    #[test]
    fn both_notations_of_a_plan_have_the_same_wildcards() {
        for (_, _, national, international) in PLANS {
            assert_eq!(national.matches('#').count(), international.matches('#').count(), "{national}");
        }
    }
}
