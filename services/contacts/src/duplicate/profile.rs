//! What a record is compared by, in the form in which it is compared.
//!
//! Guarantees: a profile holds nothing that a rule cannot name, each list a bounded number of entries.

use rapport_kit::access::FieldRules;

use super::rule::Field;
use super::sound::letters;
use crate::account::{self, Account};
use crate::address::Address;
use crate::contact::model::BirthDate;
use crate::contact::{self, Contact, Person};
use crate::contact_point::{ContactPoint, Kind as PointKind};
use crate::external_id::ExternalId;
use crate::search::Kind;
use crate::search::words::words;

/// Entries of a list that are compared: comparing two records costs the product of both.
const MOST: usize = 5;
/// Signs that do not tell whose a name is, at its end or beginning.
const LEGAL_FORMS: &[&str] = &[
    "ab",
    "ag",
    "as",
    "bv",
    "co",
    "company",
    "corp",
    "corporation",
    "ev",
    "gmbh",
    "inc",
    "kg",
    "limited",
    "llc",
    "llp",
    "ltd",
    "nv",
    "oy",
    "plc",
    "sa",
    "sarl",
    "sas",
    "sirketi",
    "snc",
    "spa",
    "srl",
    "sti",
    "the",
];
/// Hosts whose mailboxes are of people who have nothing in common.
const PUBLIC_HOSTS: &[&str] = &[
    "aol.com",
    "free.fr",
    "gmail.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.com",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mail.ru",
    "mynet.com",
    "orange.fr",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "tiscali.it",
    "t-online.de",
    "virgilio.it",
    "walla.co.il",
    "wanadoo.fr",
    "web.de",
    "yahoo.com",
    "yahoo.fr",
    "yandex.com",
];

/// Words that many streets have.
const COMMON: &[&str] = &[
    "av",
    "ave",
    "avenue",
    "bd",
    "blvd",
    "boulevard",
    "bulvari",
    "cad",
    "caddesi",
    "circuit",
    "close",
    "corso",
    "court",
    "crescent",
    "de",
    "del",
    "della",
    "des",
    "di",
    "drive",
    "du",
    "la",
    "lane",
    "le",
    "les",
    "mah",
    "mahallesi",
    "parkway",
    "piazza",
    "place",
    "rd",
    "road",
    "rue",
    "sok",
    "sokak",
    "st",
    "street",
    "terrace",
    "the",
    "via",
    "viale",
    "way",
    "רחוב",
    "שדרות",
    "דרכ",
];

/// What a record is compared by; what it lacks is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Letters of the given name.
    pub given: String,
    /// Letters of the family name.
    pub family: String,
    /// Date of birth.
    pub birth: Option<BirthDate>,
    /// Normalised e-mail addresses.
    pub emails: Vec<String>,
    /// Digits of telephone numbers, in international form where they can be read.
    pub phones: Vec<String>,
    /// Lines of addresses.
    pub streets: Vec<Street>,
    /// Numbers in lines of addresses.
    pub numbers: Vec<String>,
    /// Postal codes, letters and digits alone.
    pub postal_codes: Vec<String>,
    /// Letters of cities.
    pub towns: Vec<String>,
    /// Ids, each with its issuer.
    pub ids: Vec<(String, String)>,
    /// Name of an account, without its legal form.
    pub name: String,
    /// Hosts of an account that are its own.
    pub domains: Vec<String>,
}

/// A line of an address, without numbers and in one word, because spaces slip too; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Street {
    /// All of its letters.
    pub whole: String,
    /// Those of words that few streets have.
    pub own: String,
}

impl Profile {
    /// Of a contact.
    #[must_use]
    pub fn of_contact(details: &contact::Details) -> Self {
        Self::of_person(&details.person, &details.external_ids)
    }

    /// Of what a contact is compared by.
    #[must_use]
    pub fn of_person(person: &Person, ids: &[ExternalId]) -> Self {
        let mut profile =
            Self { given: letters(&person.given_name), family: letters(&person.family_name), birth: person.birth_date, ..Self::default() };
        profile.take_points(&person.contact_points);
        profile.take_addresses(&person.addresses);
        profile.take_ids(ids);
        profile
    }

    /// Of an account.
    #[must_use]
    pub fn of_account(details: &account::Details) -> Self {
        Self::of_organisation(&details.display_name, &details.profile, &details.external_ids)
    }

    /// Of what an account is compared by.
    #[must_use]
    pub fn of_organisation(display_name: &str, details: &account::model::Profile, ids: &[ExternalId]) -> Self {
        let mut profile = Self { name: name_of(display_name), ..Self::default() };
        profile.take_points(&details.contact_points);
        profile.take_addresses(&details.addresses);
        profile.take_ids(ids);
        let site = host(&details.website);
        let of_mail = profile.emails.iter().filter_map(|email| email.rsplit_once('@')).map(|(_, host)| host.to_owned());
        let domains = site.into_iter().chain(of_mail).filter(|host| !PUBLIC_HOSTS.contains(&host.as_str()));
        profile.domains = few(domains);
        profile
    }

    /// Takes away what the caller's field rules do not show, so that it is not compared.
    pub fn hide(&mut self, kind: Kind, rules: &FieldRules) {
        if rules.is_empty() {
            return;
        }
        let hidden = |field: Field| field.is_hidden(kind, rules);
        let clear = |list: &mut Vec<String>, field: Field| {
            if hidden(field) {
                list.clear();
            }
        };
        for (text, field) in [(&mut self.given, Field::GivenName), (&mut self.family, Field::FamilyName), (&mut self.name, Field::DisplayName)] {
            if hidden(field) {
                text.clear();
            }
        }
        self.birth = self.birth.filter(|_| !hidden(Field::BirthDate));
        clear(&mut self.emails, Field::Email);
        clear(&mut self.phones, Field::Phone);
        clear(&mut self.numbers, Field::StreetNumber);
        clear(&mut self.postal_codes, Field::PostalCode);
        clear(&mut self.towns, Field::Locality);
        clear(&mut self.domains, Field::Domain);
        if hidden(Field::Street) {
            self.streets.clear();
        }
        if hidden(Field::ExternalId) {
            self.ids.clear();
        }
    }

    fn take_points(&mut self, points: &[ContactPoint]) {
        let of = |kind: PointKind| points.iter().filter(move |point| point.kind == kind);
        let told = |point: &ContactPoint| if point.normalized.is_empty() { point.value.to_lowercase() } else { point.normalized.clone() };
        self.emails = few(of(PointKind::Email).map(told));
        self.phones = few(of(PointKind::Phone).map(|point| told(point).chars().filter(char::is_ascii_digit).collect()));
    }

    fn take_addresses(&mut self, addresses: &[Address]) {
        let lines: Vec<Vec<String>> = addresses.iter().flat_map(|address| &address.lines).take(2 * MOST).map(|line| words(line)).collect();
        let is_number = |word: &String| word.chars().next().is_some_and(|first| first.is_ascii_digit());
        let street = |line: &Vec<String>| {
            let words: Vec<&str> = line.iter().filter(|word| !is_number(word)).map(String::as_str).collect();
            let own: String = words.iter().copied().filter(|word| !COMMON.contains(word)).collect();
            let whole = words.concat();
            Some(Street { own: if own.is_empty() { whole.clone() } else { own }, whole }).filter(|street| !street.whole.is_empty())
        };
        self.streets = lines.iter().filter_map(street).take(MOST).collect();
        self.numbers = few(lines.iter().flatten().filter(|word| is_number(word)).cloned());
        self.postal_codes = few(addresses.iter().map(|address| words(&address.postal_code).concat()));
        self.towns = few(addresses.iter().map(|address| letters(&address.locality)));
    }

    fn take_ids(&mut self, ids: &[ExternalId]) {
        let issuer = |system: &str| system.split_once('.').map_or(system, |(issuer, _)| issuer).to_owned();
        self.ids = ids.iter().map(|id| (issuer(&id.system), words(&id.id).concat())).filter(|(_, id)| !id.is_empty()).collect();
    }
}

impl From<&Contact> for Profile {
    fn from(contact: &Contact) -> Self {
        Self::of_contact(contact.details())
    }
}

impl From<&Account> for Profile {
    fn from(account: &Account) -> Self {
        Self::of_account(account.details())
    }
}

/// The first few that say something, each once.
fn few(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut few: Vec<String> = Vec::new();
    for one in all.filter(|one| !one.is_empty()) {
        if few.len() < MOST && !few.contains(&one) {
            few.push(one);
        }
    }
    few
}

/// The words of an organisation's name in one, without its legal form if anything is left then.
fn name_of(display_name: &str) -> String {
    let all = words(display_name);
    let own: String = all.iter().filter(|word| !LEGAL_FORMS.contains(&word.as_str())).map(String::as_str).collect();
    if own.is_empty() { all.concat() } else { own }
}

/// The host of a web address, without `www.`.
fn host(address: &str) -> Option<String> {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = address.split(['/', '?', '#', ':']).next().unwrap_or_default().to_lowercase();
    Some(host.strip_prefix("www.").map_or(host.clone(), str::to_owned)).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_form_of_an_organisation_does_not_tell_whose_a_name_is() {
        for (one, other) in [("Acme GmbH", "ACME"), ("The Acme Co.", "Acme Ltd"), ("Société Générale SA", "Societe Generale")] {
            assert_eq!(name_of(one), name_of(other));
        }
        assert_eq!(name_of("SPA"), "spa");
    }

    #[test]
    fn a_web_address_has_a_host() {
        for (address, expected) in [("https://www.example.com/a", "example.com"), ("Example.COM", "example.com"), ("http://x.org:80?y", "x.org")] {
            assert_eq!(host(address).as_deref(), Some(expected));
        }
        assert_eq!(host(""), None);
    }
}
