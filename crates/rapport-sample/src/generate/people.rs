//! People, and second and third rows of some of them.
//!
//! Guarantees: mail addresses are unique among different people; a duplicate shares at least two of
//! name, birth date, e-mail and telephone number with the person's first row, and differs somewhere.
//! Different people may share a name, and now and then a number: that is no error.

use std::collections::BTreeMap;

use super::accounts::Company;
use super::{PhoneList, broken_rows, line, spoil};
use crate::names::{Language, Name};
use crate::phones::random_phone;
use crate::places::Country;
use crate::random::Random;
use crate::rows::{Expected, PersonRow};

/// A person's first row, with what further rows are made from.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) row: PersonRow,
    pub(super) language: Language,
    pub(super) country: &'static Country,
    pub(super) given: Name,
    pub(super) family: Name,
    pub(super) e164: String,
}

/// Makes `wanted` rows in file order. Numbers that are used go into `phones`.
pub(super) fn people(seed: u64, wanted: usize, companies: &[Company], phones: &mut PhoneList) -> Vec<PersonRow> {
    let mut random = Random::stream(seed, "people");
    let employers: Vec<&Company> = companies.iter().filter(|company| company.sound()).collect();
    let mut addresses = BTreeMap::new();
    let broken = broken_rows(wanted, spoil::PERSON_FAULTS.len());
    let duplicates = (wanted - broken) * 12 / 100;
    let firsts = wanted - broken - duplicates;

    let mut people: Vec<Person> = Vec::with_capacity(firsts);
    for _ in 0..firsts + broken {
        let mut person = person(&employers, &mut addresses, phones, &mut random);
        person.row.entity = Some(format!("E-{:06}", people.len() + 1));
        people.push(person);
    }
    let (sound, spoilt) = people.split_at_mut(firsts);
    for (number, person) in spoilt.iter_mut().enumerate() {
        let fault = spoil::PERSON_FAULTS[number % spoil::PERSON_FAULTS.len()];
        spoil::spoil_person(&mut person.row, fault, &mut random);
    }

    let mut rows = Vec::with_capacity(wanted);
    let complete = |person: &&Person| person.row.email.is_some() && person.row.birth_date.is_some();
    let originals: Vec<&Person> = sound.iter().filter(complete).collect();
    for number in 0..duplicates {
        let original = *random.pick(&originals);
        let variation = spoil::VARIATIONS[number % spoil::VARIATIONS.len()];
        rows.push(spoil::duplicate(original, variation, phones, &mut random));
    }
    rows.extend(people.into_iter().map(|person| person.row));
    random.shuffle(&mut rows);
    for (index, row) in rows.iter_mut().enumerate() {
        row.line = line(index);
        row.external_id = format!("P-{:06}", index + 1);
    }
    rows
}

fn person(employers: &[&Company], addresses: &mut BTreeMap<String, u32>, phones: &mut PhoneList, random: &mut Random) -> Person {
    let employed = !employers.is_empty() && random.percent(90);
    let employer = employed.then(|| *random.pick(employers));
    let (language, country) = match employer {
        Some(company) if random.percent(80) => (company.language, company.country),
        _ => anywhere(random),
    };
    let given = name(&language.given_names(), random);
    let family = name(&language.family_names(), random);
    let town = random.pick(country.towns);
    let phone = random_phone(country.region, random);
    phones.remember(&phone);
    let domain = employer.map_or("mail.example", |company| &company.domain);
    let email = unused_address(&given, &family, domain, addresses);

    let row = PersonRow {
        given_name: Some(given.native.clone()),
        family_name: Some(family.native.clone()),
        birth_date: random.percent(94).then(|| birth_date(random)),
        street: Some(language.street_address(random)),
        city: Some(town.name.to_owned()),
        postcode: Some(random.fill(town.postcode)),
        region: town.state.map(str::to_owned),
        country: Some(country.name.to_owned()),
        email: random.percent(92).then_some(email),
        phone: Some(notation(&phone.national, &phone.e164, random)),
        account: employer.map(|company| company.row.name.clone()),
        expected: Some(Expected::Load),
        ..PersonRow::default()
    };
    Person { row, language, country, given, family, e164: phone.e164 }
}

fn anywhere(random: &mut Random) -> (Language, &'static Country) {
    let language = Language::random(random);
    (language, random.pick(language.countries()))
}

fn name(names: &[&str], random: &mut Random) -> Name {
    let entry: &&str = random.pick(names);
    Name::of(entry)
}

/// People write a number as at home, machines in E.164.
pub(super) fn notation(national: &str, e164: &str, random: &mut Random) -> String {
    let written = if random.percent(60) { national } else { e164 };
    written.to_owned()
}

fn birth_date(random: &mut Random) -> String {
    let year = 1945 + random.below(60);
    let month = 1 + random.below(12);
    // No 29th to 31st: every month has the rest.
    let day = 1 + random.below(28);
    format!("{year}-{month:02}-{day:02}")
}

/// `given.family@domain`, numbered from the second of that name on.
fn unused_address(given: &Name, family: &Name, domain: &str, addresses: &mut BTreeMap<String, u32>) -> String {
    let local = format!("{}.{}", given.slug(), family.slug());
    let taken = addresses.entry(format!("{local}@{domain}")).or_insert(0);
    *taken += 1;
    match *taken {
        1 => format!("{local}@{domain}"),
        number => format!("{local}{number}@{domain}"),
    }
}
