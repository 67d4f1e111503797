//! Access, compared with a model: random organisations, every user against every record, before and after the
//! organisation changes. `RAPPORT_ORACLE_SEED` repeats a run.

mod bulk;
mod compare;
mod duplicates;
mod files;
mod identity;
mod lists;
mod mappings;
mod merges;
mod model;
mod views;
mod world;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;
use rapport_kit::testing::{TestService, eventually};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_change::State;
use uuid::Uuid;

use self::compare::Comparison;
use self::model::Organisation;
use self::world::{CONTACT, Dice, FIELDS, Size, Tenant, told_level, told_rules};
use crate::coverage::wire::{Caller, Wire, contains};

const LARGE: Size = Size { units: 8, teams: 4, roles: 6, users: 14, contacts: 60, accounts: 20 };
const SMALL: Size = Size { units: 3, teams: 2, roles: 3, users: 4, contacts: 10, accounts: 4 };
/// Mismatches that are told in full.
const TOLD: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn every_user_sees_and_changes_exactly_what_the_model_says() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let service = TestService::start(&rapport_contacts::SERVICE).await;
    let wire = Wire::new(service.channel.clone());
    let mut large = Tenant::found(&service.identity, &mut dice, LARGE);
    let mut small = Tenant::found(&service.identity, &mut dice, SMALL);
    large.fill(&wire, &mut dice, LARGE).await;
    small.fill(&wire, &mut dice, SMALL).await;

    let now = clock::now();
    let as_of = prost_types::Timestamp { seconds: now.timestamp(), nanos: i32::try_from(now.timestamp_subsec_nanos()).unwrap_or_default() };
    let mut comparison = Comparison { wire: &wire, when: "at first", as_of, called: Mutex::default(), mismatches: Mutex::default() };
    comparison.of(&large, &small).await;
    comparison.of(&small, &large).await;
    comparison.of_administrator(&large, &small).await;

    change(&service, &wire, &mut large, &mut dice).await;
    comparison.when = "after the changes";
    comparison.of(&large, &small).await;
    comparison.of(&small, &large).await;

    nothing_was_wiped(&wire, &large).await;
    let called = comparison.called.into_inner().unwrap_or_else(PoisonError::into_inner);
    let of_records = ["/rapport.common.v1.AccessService/", "/rapport.common.v1.AuditService/", "/rapport.common.v1.DeadLetterService/"];
    let shared = rapport_proto::METHODS.iter().filter(|rule| of_records.iter().any(|service| rule.path.starts_with(service)));
    let methods = rapport_contacts_api::METHODS.iter().chain(shared).map(|rule| rule.path);
    let missed: BTreeSet<&str> = methods.filter(|path| !called.contains(*path)).collect();
    assert!(missed.is_empty(), "the oracle compares nothing of: {missed:?}");
    let mismatches = comparison.mismatches.into_inner().unwrap_or_else(PoisonError::into_inner);
    let told = mismatches.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(mismatches.is_empty(), "seed {seed}: {} mismatches\n{told}", mismatches.len());
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration file")]
fn seed() -> u64 {
    let asked = std::env::var("RAPPORT_ORACLE_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| u64::try_from(clock::now().timestamp_micros()).unwrap_or_default())
}

/// Moves a user, removes a team member, takes a share back and cuts a role, and waits until the last of it is
/// in force: what identity tells is applied in order.
async fn change(service: &TestService, wire: &Wire, tenant: &mut Tenant, dice: &mut Dice) {
    let at_first = tenant.model.clone();
    move_user(service, tenant, dice);
    remove_member(service, tenant);
    unshare(wire, tenant).await;
    let (user, name) = cut_role(service, tenant, &at_first);
    let subject = tenant.subjects.get(&user).expect("a user has a token").clone();
    let request = contacts::GetContactRequest { name: name.clone(), as_of: None }.encode_to_vec();
    eventually(&format!("{} to lose sight of {name}", subject.name()), || {
        let request = request.clone();
        let caller = Caller::of(&subject);
        async move { wire.send("/rapport.contacts.v1.ContactService/GetContact", &caller, request).await.err() }
    })
    .await;
}

fn move_user(service: &TestService, tenant: &mut Tenant, dice: &mut Dice) {
    let units: Vec<Uuid> = tenant.model.units.keys().copied().collect();
    let (id, user) = tenant.model.users.iter_mut().find(|(_, user)| user.unit.is_some()).expect("somebody stands in a unit");
    let others: Vec<Uuid> = units.into_iter().filter(|unit| Some(*unit) != user.unit).collect();
    user.unit = Some(dice.pick(&others));
    let grants: Vec<_> = user.grants.iter().map(|(role, level)| (*role, told_level(*level))).collect();
    service.identity.grant(tenant.id, *id, 2, user.unit, &grants);
}

fn remove_member(service: &TestService, tenant: &mut Tenant) {
    let (team, members) = tenant.model.teams.iter_mut().next().expect("there is a team");
    members.pop_first();
    let state = pb::PolicyTeam { members: members.iter().map(|member| format!("users/{member}")).collect() };
    service.identity.tell(tenant.id, format!("teams/{team}"), 2, Some(State::Team(state)));
}

async fn unshare(wire: &Wire, tenant: &mut Tenant) {
    let shared = tenant.model.records.iter().find_map(|(name, record)| Some((name.clone(), *record.shares.keys().next()?)));
    let (name, subject) = shared.expect("something is shared");
    let request = pb::UnshareRecordRequest { name: name.clone(), subject: tenant.subject_name(subject) };
    let caller = Caller::of(&tenant.administrator);
    wire.send("/rapport.common.v1.AccessService/UnshareRecord", &caller, request.encode_to_vec()).await.expect("a share is taken back");
    let record = tenant.model.records.get_mut(&name).expect("the record is known");
    record.shares.remove(&subject);
}

/// Takes reading from the first role whose loss somebody feels; answers who no longer sees what. It is something
/// that was seen all the time until then, so that losing sight of it means that all changes are in force.
fn cut_role(service: &TestService, tenant: &mut Tenant, at_first: &Organisation) -> (Uuid, String) {
    let before = tenant.model.clone();
    let roles: Vec<Uuid> = before.roles.keys().copied().collect();
    for id in roles {
        let mut after = before.clone();
        let role = after.roles.get_mut(&id).expect("the role is known");
        role.permissions.retain(|permission| permission != "contacts.contact.read" && permission != "contacts.contact.*");
        role.rules.insert("person.notes", model::Effect::Hidden);
        let role = role.clone();
        let lost = before.users.keys().find_map(|user| {
            let (then, now): (BTreeSet<String>, BTreeSet<String>) = (before.visible(*user, CONTACT), after.visible(*user, CONTACT));
            let lost = then.difference(&now).find(|name| at_first.sees(*user, CONTACT, name))?;
            Some((*user, lost.clone()))
        });
        let Some(lost) = lost else { continue };
        let permissions = role.permissions.iter().cloned().collect();
        let state = pb::PolicyRole { display_name: "cut".to_owned(), permissions, field_rules: told_rules(&role) };
        service.identity.tell(tenant.id, format!("roles/{id}"), 2, Some(State::Role(state)));
        tenant.model = after;
        return lost;
    }
    panic!("no role lets anybody see anything");
}

/// Changes by people with field rules have left the fields they do not see as they were.
async fn nothing_was_wiped(wire: &Wire, tenant: &Tenant) {
    for name in tenant.model.records.iter().filter(|(_, record)| record.resource == CONTACT).map(|(name, _)| name) {
        let request = contacts::GetContactRequest { name: name.clone(), as_of: None }.encode_to_vec();
        let caller = Caller::of(&tenant.administrator);
        let answer = wire.send("/rapport.contacts.v1.ContactService/GetContact", &caller, request).await.expect("an administrator reads a contact");
        for (field, mark) in FIELDS {
            assert!(contains(&answer, mark), "{name} has lost {field}");
        }
    }
}
