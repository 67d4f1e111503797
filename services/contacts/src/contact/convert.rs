//! Contacts as they are shown, merging of updates, field rules. What is sent is read in [`super::parse`].

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::{Effect, FieldRules};
use rapport_kit::{clock, command, name};
use rapport_proto::google_type::Date;

use super::{AccountRole, COLLECTION, Contact, Person};
use crate::{convert, external_id, hide};

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

/// A contact as it is stored, shown (after [`hide()`]) and published.
#[must_use]
pub fn to_proto(contact: Contact) -> pb::Contact {
    let name = contact.name();
    let details = contact.details;
    pb::Contact {
        name,
        person: Some(person_to_proto(details.person)),
        accounts: details.accounts.into_iter().map(role_to_proto).collect(),
        owner: details.owner.name(),
        external_ids: external_id::to_proto(details.external_ids),
        tags: details.tags,
        etag: command::etag(contact.version),
        create_time: Some(clock::timestamp(contact.created_at)),
        update_time: Some(clock::timestamp(contact.updated_at)),
        delete_time: contact.deleted_at.map(clock::timestamp),
        merged_into: contact.merged_into.map(|id| name::format(COLLECTION, id)).unwrap_or_default(),
    }
}

fn person_to_proto(person: Person) -> pb::Person {
    let small = |part: u32| i32::try_from(part).unwrap_or_default();
    pb::Person {
        given_name: person.given_name,
        family_name: person.family_name,
        additional_name: person.additional_name,
        salutation: person.salutation,
        language: person.language,
        birth_date: person.birth_date.map(|date| Date { year: date.year.unwrap_or_default(), month: small(date.month), day: small(date.day) }),
        job_title: person.job_title,
        contact_points: person.contact_points.into_iter().map(convert::contact_point_to_proto).collect(),
        addresses: person.addresses.into_iter().map(convert::address_to_proto).collect(),
        notes: person.notes,
    }
}

fn role_to_proto(role: AccountRole) -> pb::AccountRole {
    pb::AccountRole {
        account: name::format("accounts", role.account),
        role: role.role,
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
    let mut merged = to_proto(contact.clone());
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

/// Those of [`PATHS`] in which `after` is another than `before`.
pub fn differing(before: &Contact, after: &Contact) -> impl Iterator<Item = &'static str> {
    let (stands, after) = (to_proto(before.clone()), to_proto(after.clone()));
    PATHS.iter().copied().filter(move |path| merge(before, &after, &[*path]) != stands)
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
        hide::value(&mut person.birth_date, rules.effect_on_whole("person.birth_date"));
        hide::text(&mut person.job_title, rules.effect("person.job_title"));
        hide::contact_points(&mut person.contact_points, "person.contact_points", rules);
        hide::value(&mut person.addresses, rules.effect_on_whole("person.addresses"));
        hide::text(&mut person.notes, rules.effect("person.notes"));
    }
    if rules.effect("person") == Some(Effect::Hidden) {
        contact.person = None;
    }
    hide::value(&mut contact.accounts, rules.effect_on_whole("accounts"));
    hide::value(&mut contact.owner, rules.effect_on_whole("owner"));
    hide::value(&mut contact.external_ids, rules.effect_on_whole("external_ids"));
    hide::value(&mut contact.tags, rules.effect_on_whole("tags"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rapport_proto::common::v1::ExternalId;

    use super::super::parse::parse;
    use super::super::parse::tests::{details, known, named, point};
    use super::*;

    #[test]
    fn what_is_hidden_is_empty_and_what_is_masked_shows_its_first_letter() {
        let rules = FieldRules::new(vec![("person.given_name".to_owned(), Effect::Masked), ("tags".to_owned(), Effect::Hidden)]);
        let mut shown = pb::Contact { tags: vec!["vip".to_owned()], ..named("Ada") };
        hide(&mut shown, &rules);
        assert_eq!(shown.person.unwrap().given_name, "A…");
        assert!(shown.tags.is_empty());
    }

    #[test]
    fn a_rule_on_a_part_hides_the_whole_that_is_not_shown_in_parts() {
        let id = ExternalId { system: "erp".to_owned(), id: "7".to_owned() };
        let mut shown = pb::Contact { accounts: vec![pb::AccountRole::default()], external_ids: vec![id], ..named("Ada") };
        let person = shown.person.get_or_insert_default();
        (person.birth_date, person.addresses) = (Some(Date { year: 1815, ..Date::default() }), vec![pb::Address::default()]);
        let paths = ["person.birth_date.year", "person.addresses.postal_address", "accounts.role", "external_ids.id"];
        hide(&mut shown, &FieldRules::new(paths.map(|path| (path.to_owned(), Effect::Hidden)).to_vec()));
        assert_eq!(shown, named("Ada"));
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
            prop_assert_eq!(parse(to_proto(contact), &known(None)).unwrap(), details);
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
            prop_assert_eq!(merge(&contact, &named(&second), &[]), to_proto(contact.clone()));
        }
    }
}
