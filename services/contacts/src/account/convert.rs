//! Accounts between proto and model: parsing with every violation at once, merging of updates, field rules.

use chrono::Datelike;
use rapport_contacts_api::v1 as pb;
use rapport_kit::access::FieldRules;
use rapport_kit::{Fault, clock, command, name};
use rapport_proto::google_type as google;

use super::model::Profile;
use super::{Account, Details, Kind, Money, Relationship};
use crate::convert::{self, Known};
use crate::owner::Owner;
use crate::violations::Violations;
use crate::{external_id, hide, limits, tag};

/// What an update can write, in its smallest parts.
pub const PATHS: &[&str] = &[
    "display_name",
    "relationships",
    "legal_entity",
    "parent",
    "sector",
    "website",
    "employee_count",
    "annual_revenue",
    "founded_year",
    "contact_points",
    "addresses",
    "owner",
    "external_ids",
    "tags",
];

/// The details in `sent`. Whether its parent exists is not known yet.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault.
pub fn parse(sent: pb::Account, known: &Known<'_, Details>) -> Result<Details, Fault> {
    let mut found = Violations::default();
    let points = known.details.map_or(&[][..], |details| &details.profile.contact_points);
    let details = Details {
        relationships: relationships(&mut found, sent.relationships),
        display_name: found.required("account.display_name", sent.display_name, limits::DISPLAY_NAME),
        legal_entity: found.reference("account.legal_entity", "legalEntities", &sent.legal_entity),
        parent: found.reference("account.parent", super::COLLECTION, &sent.parent),
        sector: found.text("account.sector", sent.sector, limits::NAME),
        profile: Profile {
            website: found.text("account.website", sent.website, limits::WEBSITE),
            employee_count: number(&mut found, "account.employee_count", sent.employee_count, 0, i32::MAX),
            annual_revenue: money(&mut found, "account.annual_revenue", sent.annual_revenue),
            founded_year: number(&mut found, "account.founded_year", sent.founded_year, 1, known.now.year()),
            contact_points: convert::contact_points(&mut found, "account.contact_points", sent.contact_points, points, known.region),
            addresses: convert::addresses(&mut found, "account.addresses", sent.addresses),
        },
        owner: Owner::parse(&mut found, "account.owner", &sent.owner, known.owner),
        external_ids: external_id::parse(&mut found, "account.external_ids", sent.external_ids),
        tags: tag::parse(&mut found, "account.tags", sent.tags),
    };
    found.finish().map(|()| details)
}

/// The kind of a new account.
#[must_use]
pub fn kind(sent: &pb::Account) -> Kind {
    match sent.kind() {
        pb::account::Kind::Organisation | pb::account::Kind::Unspecified => Kind::Organisation,
        pb::account::Kind::Person => Kind::Person,
        pb::account::Kind::Household => Kind::Household,
    }
}

fn relationships(found: &mut Violations, sent: Vec<i32>) -> Vec<Relationship> {
    let sent = found.at_most("account.relationships", sent, limits::TAGS);
    let mut relationships = Vec::new();
    for (index, number) in sent.into_iter().enumerate() {
        match i16::try_from(number).ok().and_then(Relationship::from_number) {
            Some(relationship) => relationships.push(relationship),
            None => found.add(format!("account.relationships[{index}]"), "must be a known relationship"),
        }
    }
    relationships.sort_unstable();
    relationships.dedup();
    relationships
}

fn number(found: &mut Violations, field: &str, sent: Option<i32>, min: i32, max: i32) -> Option<i32> {
    if sent.is_some_and(|number| !(min..=max).contains(&number)) {
        found.add(field, format!("must be a number from {min} to {max}"));
    }
    sent
}

fn money(found: &mut Violations, field: &str, sent: Option<google::Money>) -> Option<Money> {
    /// One unit of the fourth decimal.
    const SMALLEST: i32 = 100_000;
    let sent = sent?;
    if sent.currency_code.len() != 3 || !sent.currency_code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        found.add(format!("{field}.currency_code"), "must be an ISO 4217 currency such as EUR");
    }
    if sent.units < 0 {
        found.add(format!("{field}.units"), "must not be negative");
    }
    if !(0..1_000_000_000).contains(&sent.nanos) || sent.nanos % SMALLEST != 0 {
        found.add(format!("{field}.nanos"), "must not be negative and have at most 4 decimals");
    }
    Some(Money { currency: sent.currency_code, units: sent.units, nanos: sent.nanos })
}

/// An account as it is stored, shown (after [`hide()`]) and published.
#[must_use]
pub fn to_proto(account: Account) -> pb::Account {
    let name = account.name();
    let details = account.details;
    let profile = details.profile;
    let kind = match account.kind {
        Kind::Organisation => pb::account::Kind::Organisation,
        Kind::Person => pb::account::Kind::Person,
        Kind::Household => pb::account::Kind::Household,
    };
    pb::Account {
        name,
        display_name: details.display_name,
        kind: kind.into(),
        relationships: details.relationships.iter().map(|relationship| i32::from(relationship.number())).collect(),
        number: account.number,
        legal_entity: details.legal_entity.map_or_else(String::new, |id| name::format("legalEntities", id)),
        parent: details.parent.map_or_else(String::new, |id| name::format(super::COLLECTION, id)),
        sector: details.sector,
        website: profile.website,
        employee_count: profile.employee_count,
        annual_revenue: profile.annual_revenue.map(money_to_proto),
        founded_year: profile.founded_year,
        contact_points: profile.contact_points.into_iter().map(convert::contact_point_to_proto).collect(),
        addresses: profile.addresses.into_iter().map(convert::address_to_proto).collect(),
        owner: details.owner.name(),
        external_ids: external_id::to_proto(details.external_ids),
        tags: details.tags,
        etag: command::etag(account.version),
        create_time: Some(clock::timestamp(account.created_at)),
        update_time: Some(clock::timestamp(account.updated_at)),
        delete_time: account.deleted_at.map(clock::timestamp),
        merged_into: account.merged_into.map_or_else(String::new, |id| name::format(super::COLLECTION, id)),
    }
}

fn money_to_proto(money: Money) -> google::Money {
    google::Money { currency_code: money.currency, units: money.units, nanos: money.nanos }
}

/// Whether `sent` fills in one of [`PATHS`].
#[must_use]
pub fn is_populated(sent: &pb::Account, path: &str) -> bool {
    match path {
        "display_name" => !sent.display_name.is_empty(),
        "relationships" => !sent.relationships.is_empty(),
        "legal_entity" => !sent.legal_entity.is_empty(),
        "parent" => !sent.parent.is_empty(),
        "sector" => !sent.sector.is_empty(),
        "website" => !sent.website.is_empty(),
        "employee_count" => sent.employee_count.is_some(),
        "annual_revenue" => sent.annual_revenue.is_some(),
        "founded_year" => sent.founded_year.is_some(),
        "contact_points" => !sent.contact_points.is_empty(),
        "addresses" => !sent.addresses.is_empty(),
        "owner" => !sent.owner.is_empty(),
        "external_ids" => !sent.external_ids.is_empty(),
        "tags" => !sent.tags.is_empty(),
        _ => false,
    }
}

/// The account as it is, with `paths` taken from `sent`.
#[must_use]
pub fn merge(account: &Account, sent: &pb::Account, paths: &[&str]) -> pb::Account {
    let mut merged = to_proto(account.clone());
    for path in paths {
        match *path {
            "display_name" => merged.display_name.clone_from(&sent.display_name),
            "relationships" => merged.relationships.clone_from(&sent.relationships),
            "legal_entity" => merged.legal_entity.clone_from(&sent.legal_entity),
            "parent" => merged.parent.clone_from(&sent.parent),
            "sector" => merged.sector.clone_from(&sent.sector),
            "website" => merged.website.clone_from(&sent.website),
            "employee_count" => merged.employee_count = sent.employee_count,
            "annual_revenue" => merged.annual_revenue.clone_from(&sent.annual_revenue),
            "founded_year" => merged.founded_year = sent.founded_year,
            "contact_points" => merged.contact_points.clone_from(&sent.contact_points),
            "addresses" => merged.addresses.clone_from(&sent.addresses),
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
pub fn differing(before: &Account, after: &Account) -> impl Iterator<Item = &'static str> {
    let (stands, after) = (to_proto(before.clone()), to_proto(after.clone()));
    PATHS.iter().copied().filter(move |path| merge(before, &after, &[*path]) != stands)
}

/// Takes away what the caller's field rules do not show.
pub fn hide(account: &mut pb::Account, rules: &FieldRules) {
    if rules.is_empty() {
        return;
    }
    hide::text(&mut account.display_name, rules.effect("display_name"));
    hide::value(&mut account.kind, rules.effect_on_whole("kind"));
    hide::value(&mut account.relationships, rules.effect_on_whole("relationships"));
    hide::text(&mut account.number, rules.effect("number"));
    hide::value(&mut account.legal_entity, rules.effect_on_whole("legal_entity"));
    hide::value(&mut account.parent, rules.effect_on_whole("parent"));
    hide::text(&mut account.sector, rules.effect("sector"));
    hide::text(&mut account.website, rules.effect("website"));
    hide::value(&mut account.employee_count, rules.effect_on_whole("employee_count"));
    hide::value(&mut account.annual_revenue, rules.effect_on_whole("annual_revenue"));
    hide::value(&mut account.founded_year, rules.effect_on_whole("founded_year"));
    hide::contact_points(&mut account.contact_points, "contact_points", rules);
    hide::value(&mut account.addresses, rules.effect_on_whole("addresses"));
    hide::value(&mut account.owner, rules.effect_on_whole("owner"));
    hide::value(&mut account.external_ids, rules.effect_on_whole("external_ids"));
    hide::value(&mut account.tags, rules.effect_on_whole("tags"));
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use rapport_kit::access::Effect;

    use super::*;
    use crate::account::Refusal;

    pub(in super::super) fn known() -> Known<'static, Details> {
        Known { details: None, owner: Owner { kind: crate::owner::Kind::User, id: Uuid::nil() }, region: None, now: clock::now() }
    }

    pub(in super::super) fn named(display_name: &str) -> pb::Account {
        pb::Account { display_name: display_name.to_owned(), ..Default::default() }
    }

    fn stored(sent: pb::Account) -> Account {
        Account::create(clock::new_id(), Kind::Organisation, parse(sent, &known()).unwrap(), clock::now()).0
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        let sent = pb::Account {
            relationships: vec![99],
            employee_count: Some(-1),
            founded_year: Some(99_999),
            parent: "accounts/x".to_owned(),
            annual_revenue: Some(google::Money { currency_code: "eur".to_owned(), units: -1, nanos: 1 }),
            ..Default::default()
        };
        let text = parse(sent, &known()).unwrap_err().text().to_owned();
        for field in ["display_name", "relationships[0]", "employee_count", "founded_year", "parent", "currency_code", "units", "nanos"] {
            assert!(text.contains(field), "{field} in {text}");
        }
    }

    #[test]
    fn relationships_are_refused_past_their_limit_and_not_cut() {
        let sent = |count| pb::Account { relationships: vec![1; count], ..named("Acme") };
        assert!(parse(sent(limits::TAGS), &known()).is_ok());
        assert!(parse(sent(limits::TAGS + 1), &known()).unwrap_err().text().contains("account.relationships"));
    }

    #[test]
    fn a_rule_on_a_part_hides_the_whole_that_is_not_shown_in_parts() {
        let mut shown = pb::Account { annual_revenue: Some(google::Money { units: 7, ..Default::default() }), ..named("Acme") };
        hide(&mut shown, &FieldRules::new(vec![("annual_revenue.units".to_owned(), Effect::Hidden)]));
        assert_eq!(shown, named("Acme"));
    }

    #[test]
    fn a_legal_entity_can_be_set_once() {
        let with =
            |id: u128| parse(pb::Account { legal_entity: name::format("legalEntities", Uuid::from_u128(id)), ..named("Acme") }, &known()).unwrap();
        let mut account = stored(named("Acme"));
        assert!(account.change(with(1), clock::now()).is_ok());
        assert_eq!(account.change(with(2), clock::now()), Err(Refusal::LegalEntityFixed));
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same_details(
            display_name in "\\PC{0,20}[a-z]",
            relationships in prop::collection::vec(1_i32..=5, 0..6),
            units in 0_i64..1_000_000,
            tags in prop::collection::vec("[a-z]{1,10}", 0..5),
        ) {
            let annual_revenue = Some(google::Money { currency_code: "EUR".to_owned(), units, nanos: 500_000_000 });
            let account = stored(pb::Account { relationships, annual_revenue, tags, ..named(&display_name) });
            prop_assert_eq!(&parse(to_proto(account.clone()), &known()).unwrap(), account.details());
        }

        #[test]
        fn merging_no_path_changes_nothing_and_every_path_everything(first in "[a-z]{1,9}", second in "[a-z]{1,9}") {
            let account = stored(named(&first));
            prop_assert_eq!(merge(&account, &named(&second), &[]), to_proto(account.clone()));
            let merged = parse(merge(&account, &named(&second), PATHS), &known()).unwrap();
            let other = stored(named(&second));
            prop_assert_eq!(&merged, other.details());
        }
    }
}
