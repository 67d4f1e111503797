//! What is sent of a contact, read into the model: every violation at once.

use chrono::{Datelike, NaiveDate};
use rapport_contacts_api::v1 as pb;
use rapport_kit::Fault;
use rapport_proto::google_type::Date;

use super::{AccountRole, BirthDate, Details, Person};
use crate::convert::{self, Known};
use crate::owner::Owner;
use crate::violations::Violations;
use crate::{external_id, limits, tag};

/// The details in `sent`. Whether its accounts exist is not known yet.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault.
pub fn parse(sent: pb::Contact, known: &Known<'_, Details>) -> Result<Details, Fault> {
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

fn person(found: &mut Violations, sent: pb::Person, known: &Known<'_, Details>) -> Person {
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
    let Some(day) = convert::day_in(if sent.year == 0 { ANY_YEAR } else { sent.year }, sent) else {
        found.add("contact.person.birth_date", convert::no_such_day(sent));
        return None;
    };
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

#[cfg(test)]
pub(crate) mod tests {
    use rapport_kit::{clock, name};
    use rlibphonenumber::Region;
    use uuid::Uuid;

    use super::*;
    use crate::owner::Kind;

    pub(crate) fn known(details: Option<&Details>) -> Known<'_, Details> {
        Known { details, owner: Owner { kind: Kind::User, id: Uuid::nil() }, region: Some(Region::FR), now: clock::now() }
    }

    pub(crate) fn named(given_name: &str) -> pb::Contact {
        pb::Contact { person: Some(pb::Person { given_name: given_name.to_owned(), ..Default::default() }), ..Default::default() }
    }

    pub(crate) fn details(given_name: &str) -> Details {
        parse(named(given_name), &known(None)).unwrap()
    }

    pub(crate) fn point(kind: pb::contact_point::Kind, value: &str) -> pb::ContactPoint {
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
    fn a_day_that_the_calendar_does_not_have_is_told_with_its_field() {
        for (year, text) in [(2024, "2024-02-30"), (0, "0000-02-30")] {
            let mut sent = named("Ada");
            sent.person.as_mut().unwrap().birth_date = Some(Date { year, month: 2, day: 30 });
            let told = parse(sent, &known(None)).unwrap_err().text().to_owned();
            assert!(told.contains("contact.person.birth_date") && told.contains(text), "{told}");
        }
    }

    #[test]
    fn a_birthday_may_be_29_february_of_an_unknown_year() {
        let mut sent = named("Ada");
        sent.person.as_mut().unwrap().birth_date = Some(Date { year: 0, month: 2, day: 29 });
        assert_eq!(parse(sent, &known(None)).unwrap().person.birth_date, Some(BirthDate { year: None, month: 2, day: 29 }));
    }
}
