//! Words of a text, in the form in which they are compared.
//!
//! Guarantees: a word holds letters and digits alone, folded, so that case, accents, Hebrew points and final letters do
//! not matter. Stored keys depend on this file: a change of it needs a migration that puts every tenant into `search_again`.

use rapport_kit::filter::fold;

/// Words of one text that count.
const MOST: usize = 32;
/// Letters of a word that count.
const LONGEST: usize = 40;
/// Letters of the shortest word that may be a longer one with a letter too few; it has no misspellings of its own.
const SHORTEST_WITH_SLIP: usize = 3;
/// A word of more letters is compared by its beginning.
const SLIP_TO: usize = 16;

/// The words of a text. Signs part words; each ideograph and kana is a word of its own, because nothing parts them.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in fold(text).chars().map(plain) {
        let stands_alone = stands_alone(letter);
        if !word.is_empty() && (stands_alone || !letter.is_alphanumeric()) {
            words.push(std::mem::take(&mut word));
        }
        if stands_alone {
            words.push(letter.to_string());
        } else if letter.is_alphanumeric() {
            word.push(letter);
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words.truncate(MOST);
    words.into_iter().map(|word| begin(&word, LONGEST).to_owned()).collect()
}

/// As [`words`], and what signs part without a space as one word too: `O'Brien` is sought as `obrien` as well.
#[must_use]
pub fn words_and_compounds(text: &str) -> Vec<String> {
    let mut all = words(text);
    for part in fold(text).split(' ') {
        let parts = words(part);
        if parts.len() > 1 && !parts.iter().any(|word| word.chars().all(stands_alone)) {
            all.push(begin(&parts.concat(), LONGEST).to_owned());
        }
    }
    all.truncate(2 * MOST);
    all
}

/// What a word and its misspellings have in common: itself, and itself without one letter. Two words that differ by one
/// slip have one of these in common. Short words have themselves alone, and words with digits none: they are codes.
#[must_use]
pub fn slips(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().take(SLIP_TO).collect();
    if letters.iter().any(|letter| !letter.is_alphabetic()) {
        return Vec::new();
    }
    let whole: String = letters.iter().collect();
    if letters.len() <= SHORTEST_WITH_SLIP {
        return vec![whole];
    }
    let without = |left_out: usize| letters.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, letter)| *letter).collect();
    let mut slips: Vec<String> = (0..letters.len()).map(without).chain([whole]).collect();
    slips.sort_unstable();
    slips.dedup();
    slips
}

/// Whether a slip in a word is guessed at all.
#[must_use]
pub fn may_slip(word: &str) -> bool {
    word.chars().count() >= SHORTEST_WITH_SLIP && word.chars().all(char::is_alphabetic)
}

/// The first `most` letters.
#[must_use]
pub fn begin(word: &str, most: usize) -> &str {
    word.char_indices().nth(most).map_or(word, |(end, _)| word.get(..end).unwrap_or(word))
}

/// Hebrew final letters are the letters that they end words as.
fn plain(letter: char) -> char {
    match letter {
        'ך' => 'כ',
        'ם' => 'מ',
        'ן' => 'נ',
        'ף' => 'פ',
        'ץ' => 'צ',
        _ => letter,
    }
}

fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_and_spaces_part_words_and_case_and_accents_do_not_matter() {
        for (text, expected) in [
            ("Ada  LOVELACE", vec!["ada", "lovelace"]),
            ("Müller-Lüdenscheidt", vec!["muller", "ludenscheidt"]),
            ("ada.lovelace@Example.org", vec!["ada", "lovelace", "example", "org"]),
            ("İSTANBUL ıstanbul", vec!["istanbul", "istanbul"]),
            ("山田 太郎", vec!["山", "田", "太", "郎"]),
            (" ?! ", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn hebrew_points_and_final_letters_do_not_matter() {
        assert_eq!(words("שָׁלוֹם"), words("שלומ"));
        assert_eq!(words("כהן"), ["כהנ"]);
    }

    #[test]
    fn what_signs_part_is_one_word_too() {
        assert_eq!(words_and_compounds("O’Brien Ltd"), ["o", "brien", "ltd", "obrien"]);
        assert_eq!(words_and_compounds("צה״ל"), ["צה", "ל", "צהל"]);
        assert_eq!(words_and_compounds("山田"), ["山", "田"]);
    }

    #[test]
    fn words_that_differ_by_one_slip_have_something_in_common() {
        let meet = |one: &str, other: &str| slips(one).iter().any(|slip| slips(other).contains(slip));
        for (one, other) in
            [("jonh", "john"), ("smiht", "smith"), ("mueller", "muller"), ("smth", "smith"), ("smyth", "smith"), ("anna", "ana"), ("jon", "john")]
        {
            assert!(meet(one, other), "{one} {other}");
        }
        for (one, other) in [("john", "mary"), ("smith", "smart"), ("ann", "ana"), ("a1001", "a1002")] {
            assert!(!meet(one, other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parted_into_a_bounded_number_of_words(text in "\\PC{0,300}") {
            let words = words_and_compounds(&text);
            prop_assert!(words.len() <= 2 * MOST && words.iter().all(|word| !word.is_empty() && word.chars().count() <= LONGEST));
        }

        #[test]
        fn a_letter_that_is_left_out_still_meets_the_word(word in "[a-z]{5,12}", position in 0_usize..12) {
            let mut short = word.clone();
            short.remove(position % word.len());
            prop_assert!(slips(&short).iter().any(|slip| slips(&word).contains(slip)));
        }

        #[test]
        fn two_letters_that_changed_places_still_meet_the_word(word in "[a-z]{4,12}", position in 0_usize..11) {
            let mut letters: Vec<char> = word.chars().collect();
            letters.swap(position % (word.len() - 1), position % (word.len() - 1) + 1);
            let swapped: String = letters.into_iter().collect();
            prop_assert!(slips(&swapped).iter().any(|slip| slips(&word).contains(slip)));
        }
    }
}
