//! Folding: the form of a text in which letters that people take for the same are the same.
//!
//! Guarantees: folding twice changes nothing more. Case, accents, Hebrew points, Arabic vowel signs, invisible
//! marks and the width of spaces do not matter; the four Turkish letters i are one. Signs that make another
//! letter (Indic vowels and viramas, Japanese voicing) stay. Stored folded columns depend on this file: a
//! change of it needs a migration that folds them again.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// `text` without the differences that searching and sorting should not see.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.nfkd().filter(|letter| !is_dropped(*letter)).flat_map(char::to_lowercase) {
        push_plain(&mut folded, letter);
    }
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Accents and points, and what directs or joins letters without being one.
fn is_dropped(letter: char) -> bool {
    /// Of the combining classes those that make another letter: kana voicing marks and viramas.
    const KEPT: [u8; 3] = [0, 8, 9];
    !KEPT.contains(&canonical_combining_class(letter))
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Letters that differ from a plain one by more than an accent, and the many forms of quotes and hyphens.
fn push_plain(folded: &mut String, letter: char) {
    let plain = match letter {
        'ı' => "i",
        'ß' => "ss",
        'ς' => "σ",
        'ø' => "o",
        'ł' => "l",
        'đ' => "d",
        'æ' => "ae",
        'œ' => "oe",
        '‘' | '’' | 'ʼ' | '׳' => "'",
        '“' | '”' | '״' => "\"",
        '‐' | '–' | '—' | '־' => "-",
        _ => return folded.push(letter),
    };
    folded.push_str(plain);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_accents_do_not_matter() {
        for (text, folded) in [
            ("Çelik", "celik"),
            ("MÜLLER", "muller"),
            ("José\u{301}", "jose"),
            ("Łukasz Ørsted", "lukasz orsted"),
            ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
            ("ﬁne Ａ", "fine a"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn the_four_turkish_letters_i_are_one() {
        for text in ["ISIK", "ışık", "IŞIK", "İşik", "isik"] {
            assert_eq!(fold(text), "isik", "{text}");
        }
    }

    #[test]
    fn a_sharp_s_is_a_double_s_in_either_case() {
        for text in ["Straße", "STRAẞE", "STRASSE", "strasse"] {
            assert_eq!(fold(text), "strasse", "{text}");
        }
    }

    #[test]
    fn hebrew_points_marks_of_direction_and_typed_quotes_do_not_matter() {
        assert_eq!(fold("שָׁלוֹם"), fold("שלום"));
        assert_eq!(fold("\u{200f}צה״ל\u{200e}"), fold("צה\"ל"));
        assert_eq!(fold("תל־אביב"), fold("תל-אביב"));
    }

    #[test]
    fn signs_that_make_another_letter_stay() {
        assert_ne!(fold("バス"), fold("ハス"));
        assert_ne!(fold("कि"), fold("का"));
    }

    #[test]
    fn spaces_are_single_and_not_at_the_ends() {
        assert_eq!(fold(" \u{a0}Anna\t \u{3000}Maria\n"), "anna maria");
        assert_eq!(fold("\u{301} "), "");
    }

    #[test]
    fn folding_a_single_letter_twice_changes_nothing_more() {
        for letter in '\0'..=char::MAX {
            let once = fold(&letter.to_string());
            assert_eq!(fold(&once), once, "{letter:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing_more(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
