//! A query: what is sought of each word, and how closely a record fits.

use std::collections::BTreeSet;

use rapport_kit::Fault;
use uuid::Uuid;

use super::keys::{BEGINNINGS_OF_NUMBER, DIGITS_IN_A_ROW, Field, Part, beginning, digits, key, letters};
use super::words::{may_slip, slips, words};

const MOST_LETTERS: usize = 200;
const MOST_WORDS: usize = 8;
/// A number of so many digits may begin with one that is dialled inside a country alone.
const NATIONAL: usize = 10;

/// What somebody looks for: every word must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    words: Vec<Word>,
}

/// A word as it was typed, in the forms of which one must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    typed: String,
    forms: Vec<String>,
}

impl Word {
    fn plain(word: String) -> Self {
        Self { forms: vec![word.clone()], typed: word }
    }
}

/// The keys of a query, of the fields that the caller may search.
#[derive(Debug, Clone)]
pub struct Sought {
    words: Vec<SoughtWord>,
}

#[derive(Debug, Clone)]
struct SoughtWord {
    /// Of names; a record has one of them.
    whole: Vec<i64>,
    beginning: Vec<i64>,
    slips: Vec<i64>,
    /// Of ways to reach somebody; a record has all of one set.
    parts: Vec<Vec<i64>>,
}

/// The keys by which a word fits: one of `one_of`, or all of one of `all_of`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitting {
    /// One is enough.
    pub one_of: Vec<i64>,
    /// All of a set are needed.
    pub all_of: Vec<Vec<i64>>,
}

impl Query {
    /// The query that `text` asks for.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID) if it has no letter and digit, or is too long.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.chars().count() > MOST_LETTERS {
            return Err(Fault::invalid("query", format!("must have at most {MOST_LETTERS} characters")));
        }
        let mut words: Vec<Word> = Vec::new();
        let mut number: Vec<&str> = Vec::new();
        // A chunk at the end that is none lets go of a number before it.
        for chunk in text.split_whitespace().chain([""]) {
            if is_of_number(chunk) {
                number.push(chunk);
                continue;
            }
            words.extend(take_number(&mut number));
            words.extend(self::words(chunk).into_iter().map(Word::plain));
        }
        if words.is_empty() {
            return Err(Fault::invalid("query", "is required: some letters or digits of a name, a number or an address"));
        }
        if words.len() > MOST_WORDS {
            return Err(Fault::invalid("query", format!("must have at most {MOST_WORDS} words")));
        }
        Ok(Self { words })
    }

    /// Its keys in `fields`.
    #[must_use]
    pub fn keys(&self, tenant: Uuid, fields: &[Field]) -> Sought {
        let (points, names): (Vec<Field>, Vec<Field>) = fields.iter().copied().partition(|field| field.is_point);
        let of_word = |word: &Word| {
            let forms = &word.forms;
            let slips: Vec<String> = forms.iter().filter(|form| may_slip(form)).flat_map(|form| slips(form)).collect();
            let with_slip = |part| each(&names, &slips, move |field, slip| key(tenant, field, part, slip));
            SoughtWord {
                whole: each(&names, forms, |field, form| key(tenant, field, Part::Whole, form)),
                beginning: each(&names, forms, |field, form| beginning(tenant, field, form)),
                // The record's word has a letter too many, another one or two that changed places; or one too few.
                slips: [with_slip(Part::Slip), with_slip(Part::Whole)].concat(),
                parts: points.iter().flat_map(|field| parts(tenant, *field, word)).collect(),
            }
        };
        Sought { words: self.words.iter().map(of_word).collect() }
    }
}

/// Sets of keys, of one of which a record has all that can be reached by an address with the word in it, or by a number.
fn parts(tenant: Uuid, field: Field, word: &Word) -> Vec<Vec<i64>> {
    let is_number = |form: &&String| form.bytes().all(|byte| byte.is_ascii_digit());
    // What has a form in it has also a form that is a part of that one, unless so few digits are sought at its ends alone.
    let stands_for = |other: &String, form: &String| other != form && other.len() >= DIGITS_IN_A_ROW && form.contains(other.as_str());
    let is_least = |form: &&String| !word.forms.iter().any(|other| stands_for(other, form));
    let of_numbers = word.forms.iter().filter(is_number).filter(is_least).flat_map(|form| digits(tenant, field, form));
    std::iter::once(letters(tenant, field, &word.typed)).chain(of_numbers).collect()
}

impl Sought {
    /// How each word fits without a slip.
    #[must_use]
    pub fn close(&self) -> Vec<Fitting> {
        self.words.iter().map(|word| word.fitting(false)).collect()
    }

    /// How each word fits at all; none if no word may have a slip.
    #[must_use]
    pub fn with_slips(&self) -> Option<Vec<Fitting>> {
        let may_slip = self.words.iter().any(|word| !word.slips.is_empty());
        may_slip.then(|| self.words.iter().map(|word| word.fitting(true)).collect())
    }

    /// How closely a record with these keys fits, which are in order; more is closer.
    #[must_use]
    pub fn closeness(&self, keys: &[i64]) -> i64 {
        self.words.iter().map(|word| word.closeness(keys)).sum()
    }
}

impl SoughtWord {
    fn fitting(&self, with_slips: bool) -> Fitting {
        let slips = if with_slips { self.slips.as_slice() } else { &[] };
        // A set of one key is one of those of which one is enough.
        let (one, all_of): (Vec<&Vec<i64>>, Vec<&Vec<i64>>) = self.parts.iter().partition(|keys| keys.len() == 1);
        let one_of = self.beginning.iter().chain(slips).chain(one.into_iter().flatten()).copied().collect();
        Fitting { one_of, all_of: all_of.into_iter().cloned().collect() }
    }

    fn closeness(&self, keys: &[i64]) -> i64 {
        const WHOLE: i64 = 100;
        const BEGINNING: i64 = 80;
        const PART: i64 = 60;
        const SLIP: i64 = 20;
        let has = |key: &i64| keys.binary_search(key).is_ok();
        if self.whole.iter().any(has) {
            return WHOLE;
        }
        if self.beginning.iter().any(has) {
            return BEGINNING;
        }
        if self.parts.iter().any(|all| all.iter().all(has)) {
            return PART;
        }
        // The more they have in common, the smaller the slip.
        SLIP + self.slips.iter().filter(|key| has(key)).map(|_| 1).sum::<i64>()
    }
}

/// The keys of all forms in all fields, each once.
fn each(fields: &[Field], forms: &[String], key: impl Fn(Field, &str) -> i64) -> Vec<i64> {
    let mut keys = BTreeSet::new();
    for field in fields {
        keys.extend(forms.iter().map(|form| key(*field, form)));
    }
    keys.into_iter().collect()
}

/// Whether a chunk can be a part of a telephone number: digits and what people put between them.
fn is_of_number(chunk: &str) -> bool {
    !chunk.is_empty() && chunk.chars().all(|sign| sign.is_ascii_digit() || "+()-/.".contains(sign))
}

/// The number that was gathered, in the forms in which one is stored; none if there are no digits.
fn take_number(chunks: &mut Vec<&str>) -> Option<Word> {
    // A zero in brackets is dialled inside the country alone.
    let text = std::mem::take(chunks).concat().replace("(0)", "");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < *BEGINNINGS_OF_NUMBER.start() {
        return Some(digits).filter(|digits| !digits.is_empty()).map(Word::plain);
    }
    let international = digits.strip_prefix("00").unwrap_or(&digits);
    let national = digits.trim_start_matches('0');
    let inside = digits.get(1..).filter(|_| digits.len() >= NATIONAL).unwrap_or(&digits);
    let others = [international, national, inside].into_iter().filter(|form| form.len() >= *BEGINNINGS_OF_NUMBER.start());
    let forms: BTreeSet<&str> = others.chain([digits.as_str()]).collect();
    Some(Word { forms: forms.into_iter().map(str::to_owned).collect(), typed: digits.clone() })
}

#[cfg(test)]
mod tests {
    use rapport_contacts_api::v1 as pb;

    use super::super::keys::{FIELDS, of_contact};
    use super::*;

    fn forms(text: &str) -> Vec<Vec<String>> {
        Query::parse(text).unwrap().words.into_iter().map(|word| word.forms).collect()
    }

    fn closeness(text: &str, name: &str) -> i64 {
        let person = pb::Person { given_name: name.to_owned(), ..pb::Person::default() };
        let keys = of_contact(Uuid::nil(), &pb::Contact { person: Some(person), ..pb::Contact::default() });
        Query::parse(text).unwrap().keys(Uuid::nil(), &FIELDS).closeness(&keys)
    }

    #[test]
    fn digits_with_what_people_put_between_them_are_one_number() {
        for text in ["+49 (30) 1234-567", "0049 30/1234.567", "49 30 1234567", "+49 (0)30 1234567"] {
            let [number] = forms(text).try_into().unwrap_or_else(|forms| panic!("{text}: {forms:?}"));
            assert!(number.contains(&"49301234567".to_owned()), "{text}: {number:?}");
        }
        assert!(forms("030 1234567").concat().contains(&"301234567".to_owned()));
        assert!(forms("8 912 345-67-89").concat().contains(&"9123456789".to_owned()));
        assert_eq!(forms("smith 0171 23 jonh").len(), 3);
        assert_eq!(forms("studio 54"), [["studio"], ["54"]]);
    }

    #[test]
    fn a_query_needs_something_to_look_for_and_has_an_end() {
        for text in ["", " -- ", "()", &"a ".repeat(9), &"a".repeat(201)] {
            assert_eq!(Query::parse(text).unwrap_err().reason(), "FIELD_INVALID", "{text}");
        }
        assert!(Query::parse(&"a ".repeat(8)).is_ok());
    }

    #[test]
    fn the_whole_word_is_closer_than_its_beginning_and_that_is_closer_than_a_slip() {
        let [whole, beginning, swapped, other] = ["John", "Johnson", "Jonh", "Josh"].map(|name| closeness("john", name));
        assert!(whole > beginning && beginning > swapped && swapped > other, "{whole} {beginning} {swapped} {other}");
    }
}
