//! Accounts as the journal keeps them, read back into the model.
//!
//! What was written once is taken as it is: it is not checked against limits that may be others by now.

use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, name};
use uuid::Uuid;

use super::model::Profile;
use super::{COLLECTION, Details, Money, Relationship, sql};
use crate::convert;
use crate::external_id::ExternalId;
use crate::owner::Owner;

/// The details in a snapshot.
///
/// # Errors
/// INTERNAL if it is none that this service wrote.
pub fn details(state: pb::Account) -> Result<Details, Fault> {
    read(state).ok_or_else(|| Fault::internal("a snapshot of an account cannot be read"))
}

/// The same for several, with the accounts that go on in the place of parents that were merged since; but those in
/// `apart`, which are about to stand by themselves again, stay.
///
/// # Errors
/// As [`details`]; what the database answers.
pub async fn followed(conn: &mut Conn, ctx: &Ctx, states: Vec<pb::Account>, apart: &[Uuid]) -> Result<Vec<Details>, Fault> {
    let mut found = states.into_iter().map(details).collect::<Result<Vec<_>, Fault>>()?;
    let parents: Vec<Uuid> = found.iter().filter_map(|details| details.parent).filter(|parent| !apart.contains(parent)).collect();
    let merged = sql::merged(conn, ctx, &parents).await?;
    found.iter_mut().for_each(|details| details.follow_parent(&merged));
    Ok(found)
}

fn read(state: pb::Account) -> Option<Details> {
    let relationship = |number: i32| Relationship::from_number(i16::try_from(number).ok()?);
    let money = state.annual_revenue.map(|money| Money { currency: money.currency_code, units: money.units, nanos: money.nanos });
    let id = |collection: &str, text: &str| name::split(text).filter(|(found, _)| *found == collection).map(|(_, id)| id);
    Some(Details {
        display_name: state.display_name,
        relationships: state.relationships.into_iter().map(relationship).collect::<Option<_>>()?,
        legal_entity: id("legalEntities", &state.legal_entity),
        parent: id(COLLECTION, &state.parent),
        sector: state.sector,
        profile: Profile {
            website: state.website,
            employee_count: state.employee_count,
            annual_revenue: money,
            founded_year: state.founded_year,
            contact_points: state.contact_points.into_iter().map(convert::contact_point_of_snapshot).collect::<Option<_>>()?,
            addresses: state.addresses.into_iter().map(convert::address_of_snapshot).collect::<Option<_>>()?,
        },
        owner: Owner::named(&state.owner)?,
        external_ids: state.external_ids.into_iter().map(|pair| ExternalId { system: pair.system, id: pair.id }).collect(),
        tags: state.tags,
    })
}

#[cfg(test)]
mod tests {
    use rapport_kit::clock;
    use rapport_proto::common::v1 as common;
    use rapport_proto::google_type as google;

    use super::super::convert::tests::{known, named};
    use super::super::convert::{parse, to_proto};
    use super::super::{Account, Kind};
    use super::*;

    #[test]
    fn an_account_of_which_everything_is_known_comes_back_from_the_journal_as_it_was() {
        let postal = google::PostalAddress { region_code: "FR".to_owned(), address_lines: vec!["1 rue".to_owned()], ..Default::default() };
        let point = pb::ContactPoint { kind: pb::contact_point::Kind::Email.into(), value: "Info@Example.org".to_owned(), ..Default::default() };
        let sent = pb::Account {
            relationships: vec![1, 5],
            legal_entity: name::format("legalEntities", clock::new_id()),
            parent: name::format(COLLECTION, clock::new_id()),
            sector: "Steel".to_owned(),
            website: "https://example.org".to_owned(),
            employee_count: Some(0),
            annual_revenue: Some(google::Money { currency_code: "EUR".to_owned(), units: 7, nanos: 500_000_000 }),
            founded_year: Some(1900),
            contact_points: vec![point],
            addresses: vec![pb::Address { kind: pb::address::Kind::Work.into(), postal_address: Some(postal), primary: true }],
            external_ids: vec![common::ExternalId { system: "erp".to_owned(), id: " 7".to_owned() }],
            tags: vec!["vip".to_owned()],
            ..named("Acme")
        };
        let before = parse(sent, &known()).unwrap();
        let (account, _) = Account::create(clock::new_id(), Kind::Organisation, before.clone(), clock::now());
        assert_eq!(details(to_proto(account)).unwrap(), before);
    }
}
