//! Contacts between proto and model: parsing with every violation at once, merging of updates, field rules.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Effect, FieldRules};
use rapport_kit::{Fault, name};
use rapport_proto::google_type::Date;
use rlibphonenumber::Region;

use super::{AccountRole, BirthDate, Contact, Details, Person};
use crate::owner::Owner;
use crate::violations::Violations;
use crate::{convert, external_id, hide, limits, tag};

/// What an update can write, in its smallest parts.
pub const PATHS: &[&str] = &[
    "person.given_name",
    "person.family_name",
    "person.additional_name",
    "person.salutation",
    "person.language",
    "person.birth_date",
    "person.job_title",
    "person.contact_points",
    "person.addresses",
    "person.notes",
    "accounts",
    "owner",
    "external_ids",
    "tags",
];

/// What parsing needs to know besides what was sent.
#[derive(Debug)]
pub struct Known<'a> {
    /// What is stored, if the contact exists.
    pub details: Option<&'a Details>,
    /// Who owns it if the request does not say.
    pub owner: Owner,
    /// Where telephone numbers without country code are read.
    pub region: Option<Region>,
    /// The present time.
    pub now: DateTime<Utc>,
}

/// The details in `sent`. Whether its accounts exist is not known yet.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault.
pub fn parse(sent: pb::Contact, known: &Known<'_>) -> Result<Details, Fault> {
    let mut found = Violations::default();
    let details = Details {
        person: person(&mut found, sent.person.unwrap_or_default(), known),
        accounts: accounts(&mut found, sent.accounts),
        owner: Owner::parse(&mut found, "contact.owner", &sent.owner, known.owner),
        external_ids: external_id::parse(&mut found, "contact.external_ids", sent.external_ids),
        tags: tag::parse(&mut found, "contact.tags", sent.tags),
    };
    found.finish().map(|()| details)
}

fn person(found: &mut Violations, sent: pb::Person, known: &Known<'_>) -> Person {
    let points = known.details.map_or(&[][..], |details| &details.person.contact_points);
    let person = Person {
        given_name: found.text("contact.person.given_name", sent.given_name, limits::NAME),
        family_name: found.text("contact.person.family_name", sent.family_name, limits::NAME),
        additional_name: found.text("contact.person.additional_name", sent.additional_name, limits::NAME),
        salutation: found.text("contact.person.salutation", sent.salutation, limits::SALUTATION),
        language: language(found, sent.language),
        birth_date: birth_date(found, sent.birth_date, known.now.date_naive()),
        job_title: found.text("contact.person.job_title", sent.job_title, limits::JOB_TITLE),
        contact_points: convert::contact_points(found, "contact.person.contact_points", sent.contact_points, points, known.region),
        addresses: convert::addresses(found, "contact.person.addresses", sent.addresses),
        notes: found.text("contact.person.notes", sent.notes, limits::NOTES),
    };
    if person.given_name.is_empty() && person.family_name.is_empty() && person.contact_points.is_empty() {
        found.add("contact.person", "needs a given name, a family name or a contact point");
    }
    person
}

fn language(found: &mut Violations, sent: String) -> String {
    let is_part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = sent.split('-').next().unwrap_or_default();
    let is_tag = sent.split('-').all(is_part) && (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !sent.is_empty() && (!is_tag || sent.len() > limits::SALUTATION) {
        found.add("contact.person.language", "must be a BCP 47 tag such as tr or fr-CH");
    }
    sent
}

fn birth_date(found: &mut Violations, sent: Option<Date>, today: NaiveDate) -> Option<BirthDate> {
    /// A leap year, so that 29 February is a birthday in an unknown year.
    const ANY_YEAR: i32 = 2000;
    let sent = sent?;
    let year = if sent.year == 0 { ANY_YEAR } else { sent.year };
    let day = convert::day(found, "contact.person.birth_date", Some(Date { year, ..sent }))?;
    if sent.year != 0 && day > today {
        found.add("contact.person.birth_date", "must not lie in the future");
    }
    Some(BirthDate { year: (sent.year != 0).then_some(sent.year), month: day.month(), day: day.day() })
}

fn accounts(found: &mut Violations, sent: Vec<pb::AccountRole>) -> Vec<AccountRole> {
    let sent = found.at_most("contact.accounts", sent, limits::ACCOUNT_ROLES);
    let mut roles: Vec<AccountRole> = Vec::with_capacity(sent.len());
    for (index, sent) in sent.into_iter().enumerate() {
        let field = format!("contact.accounts[{index}]");
        let Some(account) = found.reference(&format!("{field}.account"), "accounts", &sent.account) else {
            if sent.account.is_empty() {
                found.add(format!("{field}.account"), "is required");
            }
            continue;
        };
        let role = AccountRole {
            account,
            sole: false,
            role: found.text(&format!("{field}.role"), sent.role, limits::NAME),
            primary: sent.primary,
            start: convert::day(found, &format!("{field}.start_date"), sent.start_date),
            end: convert::day(found, &format!("{field}.end_date"), sent.end_date),
        };
        if role.start.zip(role.end).is_some_and(|(start, end)| end < start) {
            found.add(format!("{field}.end_date"), "must not lie before start_date");
        }
        if roles.iter().any(|other| other.overlaps(&role)) {
            found.add(format!("{field}.account"), "stands in the list twice for the same time");
        }
        if role.primary && roles.iter().any(|other| other.primary) {
            found.add(format!("{field}.primary"), "is marked on another account too; mark one at most");
        }
        roles.push(role);
    }
    if let (false, Some(first)) = (roles.iter().any(|role| role.primary), roles.first_mut()) {
        first.primary = true;
    }
    roles
}

impl AccountRole {
    fn overlaps(&self, other: &Self) -> bool {
        let begins_before_end = |start: Option<NaiveDate>, end: Option<NaiveDate>| start.zip(end).is_none_or(|(start, end)| start <= end);
        self.account == other.account && begins_before_end(self.start, other.end) && begins_before_end(other.start, self.end)
    }
}

/// A contact as it is stored, shown (after [`hide()`]) and published.
#[must_use]
pub fn to_proto(contact: &Contact) -> pb::Contact {
    let details = contact.details();
    pb::Contact {
        name: contact.name(),
        person: Some(person_to_proto(&details.person)),
        accounts: details.accounts.iter().map(role_to_proto).collect(),
        owner: details.owner.name(),
        external_ids: external_id::to_proto(&details.external_ids),
        tags: details.tags.clone(),
        etag: convert::etag(contact.version),
        create_time: Some(convert::timestamp(contact.created_at)),
        update_time: Some(convert::timestamp(contact.updated_at)),
        delete_time: contact.deleted_at.map(convert::timestamp),
    }
}

fn person_to_proto(person: &Person) -> pb::Person {
    let small = |part: u32| i32::try_from(part).unwrap_or_default();
    pb::Person {
        given_name: person.given_name.clone(),
        family_name: person.family_name.clone(),
        additional_name: person.additional_name.clone(),
        salutation: person.salutation.clone(),
        language: person.language.clone(),
        birth_date: person.birth_date.map(|date| Date { year: date.year.unwrap_or_default(), month: small(date.month), day: small(date.day) }),
        job_title: person.job_title.clone(),
        contact_points: person.contact_points.iter().map(convert::contact_point_to_proto).collect(),
        addresses: person.addresses.iter().map(convert::address_to_proto).collect(),
        notes: person.notes.clone(),
    }
}

fn role_to_proto(role: &AccountRole) -> pb::AccountRole {
    pb::AccountRole {
        account: name::format("accounts", role.account),
        role: role.role.clone(),
        primary: role.primary,
        start_date: role.start.map(convert::day_to_proto),
        end_date: role.end.map(convert::day_to_proto),
    }
}

/// Whether `sent` fills in one of [`PATHS`].
#[must_use]
pub fn is_populated(sent: &pb::Contact, path: &str) -> bool {
    let of_person = |is_set: fn(&pb::Person) -> bool| sent.person.as_ref().is_some_and(is_set);
    match path {
        "person.given_name" => of_person(|person| !person.given_name.is_empty()),
        "person.family_name" => of_person(|person| !person.family_name.is_empty()),
        "person.additional_name" => of_person(|person| !person.additional_name.is_empty()),
        "person.salutation" => of_person(|person| !person.salutation.is_empty()),
        "person.language" => of_person(|person| !person.language.is_empty()),
        "person.birth_date" => of_person(|person| person.birth_date.is_some()),
        "person.job_title" => of_person(|person| !person.job_title.is_empty()),
        "person.contact_points" => of_person(|person| !person.contact_points.is_empty()),
        "person.addresses" => of_person(|person| !person.addresses.is_empty()),
        "person.notes" => of_person(|person| !person.notes.is_empty()),
        "accounts" => !sent.accounts.is_empty(),
        "owner" => !sent.owner.is_empty(),
        "external_ids" => !sent.external_ids.is_empty(),
        "tags" => !sent.tags.is_empty(),
        _ => false,
    }
}

/// The contact as it is, with `paths` taken from `sent`.
#[must_use]
pub fn merge(contact: &Contact, sent: &pb::Contact, paths: &[&str]) -> pb::Contact {
    let mut merged = to_proto(contact);
    let none = pb::Person::default();
    let (sent, from) = (sent.clone(), sent.person.as_ref().unwrap_or(&none).clone());
    let person = merged.person.get_or_insert_default();
    for path in paths {
        match *path {
            "person.given_name" => person.given_name.clone_from(&from.given_name),
            "person.family_name" => person.family_name.clone_from(&from.family_name),
            "person.additional_name" => person.additional_name.clone_from(&from.additional_name),
            "person.salutation" => person.salutation.clone_from(&from.salutation),
            "person.language" => person.language.clone_from(&from.language),
            "person.birth_date" => person.birth_date = from.birth_date,
            "person.job_title" => person.job_title.clone_from(&from.job_title),
            "person.contact_points" => person.contact_points.clone_from(&from.contact_points),
            "person.addresses" => person.addresses.clone_from(&from.addresses),
            "person.notes" => person.notes.clone_from(&from.notes),
            "accounts" => merged.accounts.clone_from(&sent.accounts),
            // An empty owner leaves the record with the one it has: no record is nobody's.
            "owner" if !sent.owner.is_empty() => merged.owner.clone_from(&sent.owner),
            "external_ids" => merged.external_ids.clone_from(&sent.external_ids),
            "tags" => merged.tags.clone_from(&sent.tags),
            _ => {}
        }
    }
    merged
}

/// Takes away what the caller's field rules do not show.
pub fn hide(contact: &mut pb::Contact, rules: &FieldRules) {
    if rules.is_empty() {
        return;
    }
    if let Some(person) = &mut contact.person {
        hide::text(&mut person.given_name, rules.effect("person.given_name"));
        hide::text(&mut person.family_name, rules.effect("person.family_name"));
        hide::text(&mut person.additional_name, rules.effect("person.additional_name"));
        hide::text(&mut person.salutation, rules.effect("person.salutation"));
        hide::text(&mut person.language, rules.effect("person.language"));
        hide::value(&mut person.birth_date, rules.effect("person.birth_date"));
        hide::text(&mut person.job_title, rules.effect("person.job_title"));
        hide::contact_points(&mut person.contact_points, "person.contact_points", rules);
        hide::value(&mut person.addresses, rules.effect("person.addresses"));
        hide::text(&mut person.notes, rules.effect("person.notes"));
    }
    if rules.effect("person") == Some(Effect::Hidden) {
        contact.person = None;
    }
    hide::value(&mut contact.accounts, rules.effect("accounts"));
    hide::value(&mut contact.owner, rules.effect("owner"));
    hide::value(&mut contact.external_ids, rules.effect("external_ids"));
    hide::value(&mut contact.tags, rules.effect("tags"));
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rapport_kit::clock;
    use uuid::Uuid;

    use super::*;
    use crate::owner::Kind;

    fn known(details: Option<&Details>) -> Known<'_> {
        Known { details, owner: Owner { kind: Kind::User, id: Uuid::nil() }, region: Some(Region::FR), now: clock::now() }
    }

    fn named(given_name: &str) -> pb::Contact {
        pb::Contact { person: Some(pb::Person { given_name: given_name.to_owned(), ..Default::default() }), ..Default::default() }
    }

    pub(crate) fn details(given_name: &str) -> Details {
        parse(named(given_name), &known(None)).unwrap()
    }

    fn point(kind: pb::contact_point::Kind, value: &str) -> pb::ContactPoint {
        pb::ContactPoint { kind: kind.into(), value: value.to_owned(), ..Default::default() }
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        let mut sent = named(&"x".repeat(101));
        let person = sent.person.as_mut().unwrap();
        person.contact_points = vec![point(pb::contact_point::Kind::Email, "nobody"), point(pb::contact_point::Kind::Unspecified, "x")];
        person.birth_date = Some(Date { year: 2023, month: 2, day: 29 });
        sent.owner = "users/me".to_owned();
        let text = parse(sent, &known(None)).unwrap_err().text().to_owned();
        for field in ["person.given_name", "contact_points[0].value", "contact_points[1].kind", "person.birth_date", "contact.owner"] {
            assert!(text.contains(field), "{field} in {text}");
        }
    }

    #[test]
    fn a_person_without_name_and_contact_point_is_refused() {
        assert!(parse(pb::Contact::default(), &known(None)).is_err());
    }

    #[test]
    fn a_known_contact_point_keeps_its_status_unless_another_is_sent() {
        let mut sent = named("Ada");
        let mut first = point(pb::contact_point::Kind::Email, "ada@example.org");
        first.status = pb::contact_point::Status::Bouncing.into();
        sent.person.as_mut().unwrap().contact_points = vec![first];
        let before = parse(sent.clone(), &known(None)).unwrap();
        sent.person.as_mut().unwrap().contact_points = vec![point(pb::contact_point::Kind::Email, "ADA@example.org")];
        let after = parse(sent, &known(Some(&before))).unwrap();
        assert_eq!(after.person.contact_points[0].status, before.person.contact_points[0].status);
        assert!(after.person.contact_points[0].primary);
    }

    #[test]
    fn one_account_stands_twice_only_for_different_times() {
        let account = name::format("accounts", Uuid::nil());
        let day = |year| Some(Date { year, month: 1, day: 1 });
        let role = |start_date, end_date| pb::AccountRole { account: account.clone(), start_date, end_date, ..Default::default() };
        let with = |accounts| pb::Contact { accounts, ..named("Ada") };
        assert!(parse(with(vec![role(day(2001), day(2002)), role(day(2003), None)]), &known(None)).is_ok());
        assert!(parse(with(vec![role(day(2001), None), role(day(2003), None)]), &known(None)).is_err());
    }

    #[test]
    fn a_birthday_may_be_29_february_of_an_unknown_year() {
        let mut sent = named("Ada");
        sent.person.as_mut().unwrap().birth_date = Some(Date { year: 0, month: 2, day: 29 });
        assert_eq!(parse(sent, &known(None)).unwrap().person.birth_date, Some(BirthDate { year: None, month: 2, day: 29 }));
    }

    #[test]
    fn what_is_hidden_is_empty_and_what_is_masked_shows_its_first_letter() {
        let rules = FieldRules::new(vec![("person.given_name".to_owned(), Effect::Masked), ("tags".to_owned(), Effect::Hidden)]);
        let mut shown = pb::Contact { tags: vec!["vip".to_owned()], ..named("Ada") };
        hide(&mut shown, &rules);
        assert_eq!(shown.person.unwrap().given_name, "A…");
        assert!(shown.tags.is_empty());
    }

    #[test]
    fn a_hidden_person_is_absent_as_a_whole() {
        let mut shown = named("Ada");
        hide(&mut shown, &FieldRules::new(vec![("person".to_owned(), Effect::Hidden)]));
        assert_eq!(shown.person, None);
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same_details(
            given_name in "[\\p{L}]{1,20}",
            notes in "[\\p{L} ]{0,40}",
            tags in prop::collection::vec("[a-z]{1,10}", 0..5),
            emails in prop::collection::vec("[a-z]{1,8}@[a-z]{1,8}\\.org", 0..4),
            phones in prop::collection::vec("0[1-9]([0-9]{2}){4}", 0..4),
        ) {
            let mut sent = named(&given_name);
            sent.tags = tags;
            let person = sent.person.as_mut().unwrap();
            person.notes = notes;
            person.contact_points = emails.iter().map(|email| point(pb::contact_point::Kind::Email, email))
                .chain(phones.iter().map(|phone| point(pb::contact_point::Kind::Phone, phone))).collect();
            let details = parse(sent, &known(None)).unwrap();
            let (contact, _) = Contact::create(clock::new_id(), details.clone(), clock::now());
            prop_assert_eq!(parse(to_proto(&contact), &known(None)).unwrap(), details);
        }

        #[test]
        fn merging_every_path_of_another_contact_gives_that_contact(first in "[a-z]{1,9}", second in "[a-z]{1,9}") {
            let (contact, _) = Contact::create(clock::new_id(), details(&first), clock::now());
            let merged = parse(merge(&contact, &named(&second), PATHS), &known(None)).unwrap();
            prop_assert_eq!(merged, details(&second));
        }

        #[test]
        fn merging_no_path_changes_nothing(first in "[a-z]{1,9}", second in "[a-z]{1,9}") {
            let (contact, _) = Contact::create(clock::new_id(), details(&first), clock::now());
            prop_assert_eq!(merge(&contact, &named(&second), &[]), to_proto(&contact));
        }
    }
}
