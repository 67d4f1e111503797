//! How names sound, so far that spellings of one name in English, French, Italian, Turkish and Hebrew meet.
//!
//! Guarantees: a sound depends on the letters alone, not on case, accents or points. Stored keys depend on this file: a
//! change of it needs a migration that queues every record again.

use crate::search::words::words;

/// Consonants that count.
const LONGEST: usize = 5;

/// The letters of a text, folded, without anything between them.
#[must_use]
pub fn letters(text: &str) -> String {
    words(text).concat().chars().filter(|letter| letter.is_alphabetic()).collect()
}

/// The consonants of a word as classes that sound alike; `0` in front if it begins with a vowel. Of scripts whose letters
/// have no class here, the first letters.
#[must_use]
pub fn sound(letters: &str) -> String {
    let mut sound = String::with_capacity(LONGEST);
    let mut last = None;
    for (position, letter) in letters.chars().enumerate() {
        let class = class(letter);
        if position == 0 && class.is_none() {
            sound.push('0');
        }
        if let Some(class) = class.filter(|_| class != last) {
            sound.push(class);
        }
        // Consonants of one class with only an h or a w between are one, as Soundex has it.
        if !matches!(letter, 'h' | 'w') {
            last = class;
        }
        if sound.len() >= LONGEST {
            break;
        }
    }
    if sound == "0" && !letters.is_ascii() { letters.chars().take(LONGEST).collect() } else { sound }
}

/// What a consonant sounds like. V and the Hebrew vav, yod, alef, ayin and he are as often vowels or written as such.
fn class(letter: char) -> Option<char> {
    Some(match letter {
        'b' | 'p' | 'f' | 'ב' | 'פ' => '1',
        'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' | 'ג' | 'ז' | 'ח' | 'כ' | 'ס' | 'צ' | 'ק' | 'ש' => '2',
        'd' | 't' | 'ד' | 'ט' | 'ת' => '3',
        'l' | 'ל' => '4',
        'm' | 'n' | 'מ' | 'נ' => '5',
        'r' | 'ר' => '6',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_sound_alike() {
        for (one, other) in [
            ("Smith", "Smyth"),
            ("Philip", "Filip"),
            ("Dupont", "Dupond"),
            ("Catherine", "Kathryn"),
            ("Giuseppe", "Giuzeppe"),
            ("Şükrü", "Sukru"),
            ("Yıldız", "Yildiz"),
            ("כהן", "Cohen"),
            ("לוי", "Levi"),
            ("דוד", "David"),
            ("שָׂרָה", "Sarah"),
        ] {
            assert_eq!(sound(&letters(one)), sound(&letters(other)), "{one} {other}");
        }
    }

    #[test]
    fn other_names_sound_otherwise() {
        for (one, other) in [("Smith", "Jones"), ("Rossi", "Bianchi"), ("Demir", "Kaya"), ("Anna", "Dana"), ("לוי", "כהן")] {
            assert_ne!(sound(&letters(one)), sound(&letters(other)), "{one} {other}");
        }
    }

    #[test]
    fn a_name_in_a_script_without_classes_keeps_its_letters() {
        assert_eq!(sound(&letters("Ольга")), "ольга");
        assert_eq!(sound(""), "");
    }
}
