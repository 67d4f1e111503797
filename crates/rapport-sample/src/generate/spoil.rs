//! What goes wrong with rows: faults that must be refused or mended, and second rows of a person.
//!
//! Guarantees: a spoilt row has exactly one fault, and `expected` names it. A text is never changed
//! into itself.

use super::PhoneList;
use super::people::{Person, notation};
use crate::names::plain;
use crate::phones::random_phone;
use crate::prepare::LONGEST_CELL;
use crate::random::Random;
use crate::rows::{AccountRow, Expected, PersonRow};
use crate::rules::MENDS;

#[derive(Debug, Clone, Copy)]
pub(super) enum AccountFault {
    MisspeltSector,
    MisspeltCountry,
    UnknownParent,
    OverlongName,
}

pub(super) const ACCOUNT_FAULTS: [AccountFault; 4] =
    [AccountFault::MisspeltSector, AccountFault::MisspeltCountry, AccountFault::UnknownParent, AccountFault::OverlongName];

#[derive(Debug, Clone, Copy)]
pub(super) enum PersonFault {
    BadEmail,
    ImpossibleDate,
    UnknownAccount,
    OverlongName,
    MisspeltCountry,
}

pub(super) const PERSON_FAULTS: [PersonFault; 5] =
    [PersonFault::BadEmail, PersonFault::ImpossibleDate, PersonFault::UnknownAccount, PersonFault::OverlongName, PersonFault::MisspeltCountry];

#[derive(Debug, Clone, Copy)]
pub(super) enum Variation {
    TypingError,
    SwappedNames,
    ChangedPhone,
    Moved,
    PlainLetters,
}

pub(super) const VARIATIONS: [Variation; 5] =
    [Variation::TypingError, Variation::SwappedNames, Variation::ChangedPhone, Variation::Moved, Variation::PlainLetters];

impl Variation {
    /// The word in the `variation` column.
    fn word(self) -> &'static str {
        match self {
            Self::TypingError => "typing-error",
            Self::SwappedNames => "swapped-names",
            Self::ChangedPhone => "changed-phone",
            Self::Moved => "moved",
            Self::PlainLetters => "plain-letters",
        }
    }
}

pub(super) fn spoil_account(row: &mut AccountRow, fault: AccountFault) {
    let expected = match fault {
        AccountFault::MisspeltSector => {
            row.sector = misspelt(row.sector.as_deref());
            Expected::Mend("sector".into())
        }
        AccountFault::MisspeltCountry => {
            row.office_country = misspelt(row.office_country.as_deref());
            Expected::Mend("office_country".into())
        }
        AccountFault::UnknownParent => {
            row.parent_name = Some(format!("{} Holding", row.name));
            Expected::Refuse("parent_name".into())
        }
        AccountFault::OverlongName => {
            row.name = overlong(&row.name);
            Expected::Refuse("name".into())
        }
    };
    row.expected = Some(expected);
}

pub(super) fn spoil_person(row: &mut PersonRow, fault: PersonFault, random: &mut Random) {
    let expected = match fault {
        PersonFault::BadEmail => {
            let bad = ["nobody.example", "no body@mail.example", "nobody@@mail.example", "nobody@", "@mail.example"];
            row.email = Some((*random.pick(&bad)).to_owned());
            Expected::Refuse("email".into())
        }
        PersonFault::ImpossibleDate => {
            let impossible = ["1987-02-29", "1990-13-01", "1975-04-31", "1968-00-12", "31/31/1980"];
            row.birth_date = Some((*random.pick(&impossible)).to_owned());
            Expected::Refuse("birth_date".into())
        }
        PersonFault::UnknownAccount => {
            row.account = Some("Nowhere & Sons".into());
            Expected::Refuse("account".into())
        }
        PersonFault::OverlongName => {
            row.family_name = row.family_name.as_deref().map(overlong);
            Expected::Refuse("family_name".into())
        }
        PersonFault::MisspeltCountry => {
            row.country = misspelt(row.country.as_deref());
            Expected::Mend("country".into())
        }
    };
    row.expected = Some(expected);
}

fn misspelt(word: Option<&str>) -> Option<String> {
    let known = MENDS.iter().find(|(_, right, _)| Some(*right) == word);
    let (wrong, _, _) = known.expect("each sector and country has a known misspelling");
    Some((*wrong).to_owned())
}

fn overlong(text: &str) -> String {
    format!("{text} ").repeat(LONGEST_CELL).trim_end().to_owned()
}

/// A further row of the same person.
pub(super) fn duplicate(original: &Person, variation: Variation, phones: &mut PhoneList, random: &mut Random) -> PersonRow {
    let mut row = original.row.clone();
    row.variation = Some(variation.word().to_owned());
    match variation {
        Variation::TypingError => mistype_name(&mut row, random),
        Variation::SwappedNames if row.given_name == row.family_name => mistype_name(&mut row, random),
        Variation::SwappedNames => std::mem::swap(&mut row.given_name, &mut row.family_name),
        Variation::ChangedPhone => change_phone(&mut row, original, phones, random),
        Variation::Moved => move_house(&mut row, original, random),
        Variation::PlainLetters => write_plainly(&mut row, original, random),
    }
    // One of the two may be missing: what remains still identifies the person.
    match random.below(10) {
        0..2 => row.email = None,
        2 => row.birth_date = None,
        _ => {}
    }
    row
}

fn mistype_name(row: &mut PersonRow, random: &mut Random) {
    let name = if random.percent(50) { &mut row.given_name } else { &mut row.family_name };
    *name = name.as_deref().map(|right| mistype(right, random));
}

/// One slip of the finger: two letters swapped, one dropped or one doubled.
fn mistype(right: &str, random: &mut Random) -> String {
    let letters: Vec<char> = right.chars().collect();
    let position = random.below(letters.len().saturating_sub(1));
    let mut slipped = letters.clone();
    match random.below(3) {
        0 if letters.len() > 1 => slipped.swap(position, position + 1),
        1 if letters.len() > 2 => drop(slipped.remove(position)),
        _ => slipped.insert(position, letters[position]),
    }
    if slipped == letters {
        // Two equal letters were swapped.
        slipped.insert(position, letters[position]);
    }
    slipped.into_iter().collect()
}

fn change_phone(row: &mut PersonRow, original: &Person, phones: &mut PhoneList, random: &mut Random) {
    let mut phone = random_phone(original.country.region, random);
    while phone.e164 == original.e164 {
        phone = random_phone(original.country.region, random);
    }
    phones.remember(&phone);
    row.phone = Some(notation(&phone.national, &phone.e164, random));
}

fn move_house(row: &mut PersonRow, original: &Person, random: &mut Random) {
    let town = random.pick(original.country.towns);
    while row.street == original.row.street {
        row.street = Some(original.language.street_address(random));
    }
    row.city = Some(town.name.to_owned());
    row.postcode = Some(random.fill(town.postcode));
    row.region = town.state.map(str::to_owned);
}

/// The name and address as typed on a keyboard without the language's letters; a name that has none
/// of them gets a typing error instead.
fn write_plainly(row: &mut PersonRow, original: &Person, random: &mut Random) {
    row.given_name = Some(original.given.latin.clone());
    row.family_name = Some(original.family.latin.clone());
    row.street = row.street.as_deref().map(plain);
    row.city = row.city.as_deref().map(plain);
    let names_unchanged = row.given_name == original.row.given_name && row.family_name == original.row.family_name;
    if names_unchanged {
        mistype_name(row, random);
        row.variation = Some(Variation::TypingError.word().to_owned());
    }
}
