//! Companies with sectors, offices and a hierarchy.
//!
//! Guarantees: names are unique; a parent is named exactly as it stands in its own row and is itself
//! sound; owners form trees of at most three levels.

use std::collections::BTreeSet;

use super::{broken_rows, line, spoil};
use crate::names::{Language, Name};
use crate::places::{Country, SECTORS, Town};
use crate::random::Random;
use crate::rows::{AccountRow, Expected};

/// A company's row with what the makers of people need to know about it.
#[derive(Debug, Clone)]
pub(super) struct Company {
    pub(super) row: AccountRow,
    pub(super) language: Language,
    pub(super) country: &'static Country,
    /// Domain of its mail addresses.
    pub(super) domain: String,
    word: &'static str,
    level: u8,
}

impl Company {
    /// Whether people may be planted at this company.
    pub(super) fn sound(&self) -> bool {
        !matches!(self.row.expected, Some(Expected::Refuse(_)))
    }
}

/// Makes `wanted` companies in file order.
pub(super) fn accounts(seed: u64, wanted: usize) -> Vec<Company> {
    let mut random = Random::stream(seed, "accounts");
    let mut names = BTreeSet::new();
    let broken = broken_rows(wanted, spoil::ACCOUNT_FAULTS.len());
    let sound = wanted - broken;
    // 35 in 200 are 17.5 %, the middle of what large customer bases show.
    let subsidiaries = sound * 35 / 200;

    let mut companies: Vec<Company> = Vec::with_capacity(wanted);
    for _ in 0..sound - subsidiaries {
        let language = Language::random(&mut random);
        let word = *random.pick(&language.company_words());
        companies.push(company(language, word, &mut names, &mut random));
    }
    for _ in 0..subsidiaries {
        let owners: Vec<usize> = (0..companies.len()).filter(|index| companies[*index].level < 2).collect();
        let owner = companies[*random.pick(&owners)].clone();
        let mut subsidiary = company(owner.language, owner.word, &mut names, &mut random);
        subsidiary.row.parent_name = Some(owner.row.name);
        subsidiary.level = owner.level + 1;
        companies.push(subsidiary);
    }
    for number in 0..broken {
        let language = Language::random(&mut random);
        let word = *random.pick(&language.company_words());
        let mut spoilt = company(language, word, &mut names, &mut random);
        let fault = spoil::ACCOUNT_FAULTS[number % spoil::ACCOUNT_FAULTS.len()];
        spoil::spoil_account(&mut spoilt.row, fault);
        companies.push(spoilt);
    }

    random.shuffle(&mut companies);
    for (index, company) in companies.iter_mut().enumerate() {
        company.row.line = line(index);
        company.row.external_id = format!("A-{:06}", index + 1);
    }
    companies
}

fn company(language: Language, word: &'static str, names: &mut BTreeSet<String>, random: &mut Random) -> Company {
    let country = random.pick(language.countries());
    let office = random.pick(country.towns);
    let trade = random.below(SECTORS.len());
    let employees = employees(random);
    let row = AccountRow {
        name: unused_name(language, word, trade, country, office, names, random),
        sector: Some(SECTORS[trade].to_owned()),
        office_city: Some(office.name.to_owned()),
        office_country: Some(country.name.to_owned()),
        revenue: Some(revenue(employees, random)),
        employees: Some(employees),
        founded_year: u16::try_from(1950 + random.below(70)).ok(),
        expected: Some(Expected::Load),
        ..AccountRow::default()
    };
    Company { row, language, country, domain: format!("{}-{}.example", Name::of(word).slug(), SECTORS[trade]), word, level: 0 }
}

/// `Word Trade Form`, with the town and then a number added while the name is taken.
fn unused_name(
    language: Language,
    word: &str,
    trade: usize,
    country: &Country,
    office: &Town,
    names: &mut BTreeSet<String>,
    random: &mut Random,
) -> String {
    let word = Name::of(word).native;
    let trade = language.trades()[trade];
    let form = *random.pick(country.company_forms);
    let mut name = format!("{word} {trade} {form}");
    if names.contains(&name) {
        name = format!("{word} {trade} {} {form}", office.name);
    }
    let mut number = 2;
    while names.contains(&name) {
        name = format!("{word} {trade} {} {number} {form}", office.name);
        number += 1;
    }
    names.insert(name.clone());
    name
}

/// Many small companies, few large ones.
fn employees(random: &mut Random) -> u32 {
    let ceiling = *random.pick(&[20, 60, 200, 800, 3_000, 12_000]);
    u32::try_from(1 + random.below(ceiling)).expect("at most 12,000")
}

/// 0.08 to 0.32 million a head, as decimal text.
fn revenue(employees: u32, random: &mut Random) -> String {
    let heads = usize::try_from(employees).expect("at most 12,000");
    let hundredths = heads * (8 + random.below(25));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
