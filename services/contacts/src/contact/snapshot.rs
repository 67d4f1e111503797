//! Contacts as the journal keeps them, read back into the model.
//!
//! What was written once is taken as it is: it is not checked against limits that may be others by now.

use std::collections::HashSet;

use chrono::NaiveDate;
use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, name};
use rapport_proto::google_type::Date;
use uuid::Uuid;

use super::{AccountRole, BirthDate, Details, Person};
use crate::external_id::ExternalId;
use crate::owner::Owner;
use crate::{account, convert};

/// The details in snapshots, with the accounts that go on in the place of those that were merged since; but those in
/// `apart`, which are about to stand by themselves again, stay.
///
/// # Errors
/// INTERNAL if one is none that this service wrote; what the database answers.
pub async fn followed(conn: &mut Conn, ctx: &Ctx, states: Vec<pb::Contact>, apart: &[Uuid]) -> Result<Vec<Details>, Fault> {
    let roles = states.iter().flat_map(|state| &state.accounts);
    let accounts: Vec<Uuid> = roles.filter_map(|role| account_id(&role.account)).collect();
    let private = account::sql::private(conn, ctx, &accounts).await?.into_iter().collect();
    let mut found = states.into_iter().map(|state| details(state, &private)).collect::<Result<Vec<_>, Fault>>()?;
    let others: Vec<Uuid> = accounts.into_iter().filter(|account| !apart.contains(account)).collect();
    let merged = account::sql::merged(conn, ctx, &others).await?;
    found.iter_mut().for_each(|details| details.follow_accounts(&merged));
    Ok(found)
}

/// The details in a snapshot; `private` are those of its accounts that are private customers, which it does not say.
fn details(state: pb::Contact, private: &HashSet<Uuid>) -> Result<Details, Fault> {
    read(state, private).ok_or_else(|| Fault::internal("a snapshot of a contact cannot be read"))
}

fn read(state: pb::Contact, private: &HashSet<Uuid>) -> Option<Details> {
    let person = state.person.unwrap_or_default();
    let role = |role: pb::AccountRole| {
        let account = account_id(&role.account)?;
        let (start, end) = (role.start_date.and_then(day), role.end_date.and_then(day));
        Some(AccountRole { account, sole: private.contains(&account), role: role.role, primary: role.primary, start, end })
    };
    Some(Details {
        person: Person {
            given_name: person.given_name,
            family_name: person.family_name,
            additional_name: person.additional_name,
            salutation: person.salutation,
            language: person.language,
            birth_date: person.birth_date.map(birth_date).transpose().ok()?,
            job_title: person.job_title,
            contact_points: person.contact_points.into_iter().map(convert::contact_point_of_snapshot).collect::<Option<_>>()?,
            addresses: person.addresses.into_iter().map(convert::address_of_snapshot).collect::<Option<_>>()?,
            notes: person.notes,
        },
        accounts: state.accounts.into_iter().map(role).collect::<Option<_>>()?,
        owner: Owner::named(&state.owner)?,
        external_ids: state.external_ids.into_iter().map(|pair| ExternalId { system: pair.system, id: pair.id }).collect(),
        tags: state.tags,
    })
}

fn birth_date(date: Date) -> Result<BirthDate, std::num::TryFromIntError> {
    Ok(BirthDate { year: (date.year != 0).then_some(date.year), month: date.month.try_into()?, day: date.day.try_into()? })
}

fn day(date: Date) -> Option<NaiveDate> {
    convert::day_in(date.year, date)
}

fn account_id(text: &str) -> Option<Uuid> {
    name::split(text).filter(|(collection, _)| *collection == account::COLLECTION).map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use rapport_kit::clock;
    use rapport_proto::common::v1 as common;
    use rapport_proto::google_type::PostalAddress;

    use super::super::parse::tests::{known, named, point};
    use super::super::{Contact, convert, parse};
    use super::*;

    #[test]
    fn a_contact_of_which_everything_is_known_comes_back_from_the_journal_as_it_was() {
        let (work, home) = (clock::new_id(), clock::new_id());
        let date = |year| Some(Date { year, month: 2, day: 28 });
        let mut sent = named("Ada");
        let person = sent.person.as_mut().unwrap();
        person.birth_date = Some(Date { year: 0, month: 2, day: 29 });
        person.notes = "Line one\nline two".to_owned();
        person.contact_points = vec![
            point(pb::contact_point::Kind::Email, "Ada@Example.org"),
            point(pb::contact_point::Kind::Phone, "ask Anna"),
            pb::ContactPoint { status: pb::contact_point::Status::Bouncing.into(), ..point(pb::contact_point::Kind::Phone, "01 40 20 50 50") },
        ];
        let postal = PostalAddress { region_code: "FR".to_owned(), address_lines: vec!["1 rue".to_owned()], ..PostalAddress::default() };
        person.addresses = vec![pb::Address { kind: pb::address::Kind::Home.into(), postal_address: Some(postal), primary: true }];
        let role = |account, start_date| pb::AccountRole { account: name::format("accounts", account), start_date, ..pb::AccountRole::default() };
        sent.accounts = vec![role(work, date(2001)), role(home, None)];
        sent.external_ids = vec![common::ExternalId { system: "erp".to_owned(), id: " 7".to_owned() }];
        sent.tags = vec!["vip".to_owned()];
        let mut before = parse::parse(sent, &known(None)).unwrap();
        before.accounts[1].sole = true;
        let (contact, _) = Contact::create(clock::new_id(), before.clone(), clock::now());
        assert_eq!(details(convert::to_proto(contact), &HashSet::from([home])).unwrap(), before);
    }
}
