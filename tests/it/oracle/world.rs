//! A random organisation, told to the stand-in for identity and built up through the public API.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::testing::{Identity, Subject};
use rapport_proto::common::v1 as pb;
use rapport_proto::google_type::Date;
use uuid::Uuid;

use super::model::{Effect, Level, Organisation, Record, Role, User};
use crate::coverage::wire::{Caller, Wire};

pub(super) const CONTACT: &str = "contacts.contact";
pub(super) const ACCOUNT: &str = "contacts.account";
pub(super) const DEAD_LETTER: &str = "delivery.deadletter";
/// System of the external ids that all records have.
pub(super) const SYSTEM: &str = "oracle";

/// Fields that rules are made for, each with bytes that stand in its value on every contact and nowhere else.
pub(super) const FIELDS: &[(&str, &[u8])] = &[
    ("person.given_name", b"qzname"),
    ("person.notes", b"qznotes"),
    ("person.contact_points", b"qzmail"),
    // The date 1907-03, as it is encoded.
    ("person.birth_date", &[0x08, 0xf3, 0x0e, 0x10, 0x03, 0x18]),
];

/// How many of what a tenant has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) units: usize,
    pub(super) teams: usize,
    pub(super) roles: usize,
    pub(super) users: usize,
    pub(super) contacts: usize,
    pub(super) accounts: usize,
}

/// Random numbers that a seed gives again (xorshift64*).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll()).unwrap_or_default() % end.max(1)
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.get(self.below(from.len())).expect("there is something to pick from").clone()
    }
}

/// A tenant with its model and the tokens of its people.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: Uuid,
    pub(super) model: Organisation,
    pub(super) administrator: Subject,
    pub(super) subjects: BTreeMap<Uuid, Subject>,
}

impl Tenant {
    /// People, units, teams and roles; no record yet.
    pub(super) fn found(identity: &Identity, dice: &mut Dice, size: Size) -> Self {
        let id = identity.tenant();
        let administrator = identity.administrator(id);
        let mut tenant = Self { id, model: Organisation::default(), administrator, subjects: BTreeMap::new() };
        for _ in 0..size.units {
            let above: Vec<Uuid> = tenant.model.units.keys().copied().collect();
            let parent = if above.is_empty() || dice.chance(15) { None } else { Some(dice.pick(&above)) };
            tenant.model.units.insert(identity.unit(id, parent), parent);
        }
        for _ in 0..size.roles {
            let role = random_role(dice);
            let permissions: Vec<&str> = role.permissions.iter().map(String::as_str).collect();
            tenant.model.roles.insert(identity.role(id, &permissions, told_rules(&role)), role);
        }
        for _ in 0..size.users {
            let user = random_user(dice, &tenant.model);
            let grants: Vec<(Uuid, pb::GrantLevel)> = user.grants.iter().map(|(role, level)| (*role, told_level(*level))).collect();
            let subject = identity.user_with(id, user.unit, &grants);
            tenant.model.users.insert(subject.id, user);
            tenant.subjects.insert(subject.id, subject);
        }
        let users: Vec<Uuid> = tenant.subjects.keys().copied().collect();
        for _ in 0..size.teams {
            let members: BTreeSet<Uuid> = (0..2 + dice.below(4)).map(|_| dice.pick(&users)).collect();
            let team = identity.team(id, &members.iter().copied().collect::<Vec<_>>());
            tenant.model.teams.insert(team, members);
        }
        tenant
    }

    /// Records with random owners and some shares, made by the administrator.
    pub(super) async fn fill(&mut self, wire: &Wire, dice: &mut Dice, size: Size) {
        let contacts = (0..size.contacts).map(|number| (CONTACT, number));
        let plans: Vec<Plan> =
            contacts.chain((0..size.accounts).map(|number| (ACCOUNT, number))).map(|(resource, number)| self.plan(dice, resource, number)).collect();
        let administrator = &self.administrator;
        let made = stream::iter(plans).map(|plan| async move { (create(wire, administrator, &plan).await, plan.record) });
        self.model.records = made.buffer_unordered(8).collect().await;
    }

    fn plan(&self, dice: &mut Dice, resource: &'static str, number: usize) -> Plan {
        let users: Vec<Uuid> = self.model.users.keys().copied().collect();
        let teams: Vec<Uuid> = self.model.teams.keys().copied().collect();
        let owner = if dice.chance(30) { dice.pick(&teams) } else { dice.pick(&users) };
        let units: Vec<Uuid> = self.model.units.keys().copied().collect();
        let mut shares = BTreeMap::new();
        if dice.chance(35) {
            for _ in 0..=dice.below(3) {
                let subject = match dice.below(3) {
                    0 => dice.pick(&users),
                    1 => dice.pick(&teams),
                    _ => dice.pick(&units),
                };
                shares.insert(subject, dice.chance(50));
            }
        }
        let named = |id: Uuid| self.subject_name(id);
        let told_shares = shares.iter().map(|(subject, can_write)| (named(*subject), *can_write)).collect();
        let external_id = format!("{resource}-{number:03}");
        Plan { number, owner: named(owner), shares: told_shares, record: Record { resource, owner, external_id, shares } }
    }

    /// The name of a user, team or unit of the tenant.
    pub(super) fn subject_name(&self, id: Uuid) -> String {
        let collection = if self.model.teams.contains_key(&id) {
            "teams"
        } else if self.model.units.contains_key(&id) {
            "businessUnits"
        } else {
            "users"
        };
        format!("{collection}/{id}")
    }

    /// Ids that nobody of another tenant may learn of.
    pub(super) fn ids(&self) -> BTreeSet<Uuid> {
        let model = &self.model;
        let people = model.users.keys().chain(model.teams.keys()).chain(model.units.keys()).chain(model.roles.keys()).copied();
        let records = model.records.keys().filter_map(|name| Uuid::try_parse(name.rsplit('/').next()?).ok());
        people.chain(records).chain([self.id, self.administrator.id]).collect()
    }
}

/// A record to be made.
struct Plan {
    number: usize,
    owner: String,
    shares: Vec<(String, bool)>,
    record: Record,
}

async fn create(wire: &Wire, administrator: &Subject, plan: &Plan) -> String {
    let number = plan.number;
    let external_ids = vec![pb::ExternalId { system: SYSTEM.to_owned(), id: plan.record.external_id.clone() }];
    let caller = Caller::of(administrator);
    let name = if plan.record.resource == CONTACT {
        let contact = contacts::Contact { person: Some(person(number)), owner: plan.owner.clone(), external_ids, ..contacts::Contact::default() };
        let request = contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }.encode_to_vec();
        let answer =
            wire.send("/rapport.contacts.v1.ContactService/CreateContact", &caller, request).await.expect("an administrator creates a contact");
        contacts::Contact::decode(answer.as_slice()).expect("a contact").name
    } else {
        let display_name = format!("Account {number:03}");
        let account = contacts::Account { display_name, owner: plan.owner.clone(), external_ids, ..contacts::Account::default() };
        let request = contacts::CreateAccountRequest { account: Some(account) }.encode_to_vec();
        let answer =
            wire.send("/rapport.contacts.v1.AccountService/CreateAccount", &caller, request).await.expect("an administrator creates an account");
        contacts::Account::decode(answer.as_slice()).expect("an account").name
    };
    for (subject, can_write) in &plan.shares {
        let access_level = if *can_write { pb::AccessLevel::Write } else { pb::AccessLevel::Read }.into();
        let request = pb::ShareRecordRequest { name: name.clone(), subject: subject.clone(), access_level, role: String::new() };
        wire.send("/rapport.common.v1.AccessService/ShareRecord", &caller, request.encode_to_vec()).await.expect("an administrator shares a record");
    }
    name
}

/// A person whose every governed field carries its mark.
fn person(number: usize) -> contacts::Person {
    let email = contacts::ContactPoint {
        kind: contacts::contact_point::Kind::Email.into(),
        value: format!("qzmail{number:03}@example.com"),
        ..contacts::ContactPoint::default()
    };
    contacts::Person {
        given_name: format!("qzname{number:03}"),
        family_name: format!("Family {number:03}"),
        birth_date: Some(Date { year: 1907, month: 3, day: 1 + i32::try_from(number % 28).unwrap_or_default() }),
        notes: format!("qznotes{number:03}"),
        contact_points: vec![email],
        ..contacts::Person::default()
    }
}

fn random_role(dice: &mut Dice) -> Role {
    let mut role = Role::default();
    for resource in [CONTACT, ACCOUNT] {
        if dice.chance(15) {
            role.permissions.insert(format!("{resource}.*"));
            continue;
        }
        for (action, percent) in [("read", 75), ("create", 30), ("update", 50), ("delete", 35)] {
            if dice.chance(percent) {
                role.permissions.insert(format!("{resource}.{action}"));
            }
        }
    }
    for action in ["read", "replay", "discard"] {
        if dice.chance(25) {
            role.permissions.insert(format!("{DEAD_LETTER}.{action}"));
        }
    }
    for (field, _) in FIELDS {
        if dice.chance(50) {
            role.rules.insert(field, dice.pick(&[Effect::Hidden, Effect::Hidden, Effect::Masked, Effect::ReadOnly]));
        }
    }
    role
}

fn random_user(dice: &mut Dice, model: &Organisation) -> User {
    let units: Vec<Uuid> = model.units.keys().copied().collect();
    let roles: Vec<Uuid> = model.roles.keys().copied().collect();
    let mut grants = BTreeMap::new();
    for _ in 0..1 + dice.below(2) {
        grants.insert(dice.pick(&roles), dice.pick(&[Level::Own, Level::Team, Level::Team, Level::Subtree, Level::Subtree, Level::All]));
    }
    User { unit: dice.chance(85).then(|| dice.pick(&units)), grants: grants.into_iter().collect() }
}

pub(super) fn told_level(level: Level) -> pb::GrantLevel {
    match level {
        Level::Own => pb::GrantLevel::Own,
        Level::Team => pb::GrantLevel::Team,
        Level::Subtree => pb::GrantLevel::BusinessUnitSubtree,
        Level::All => pb::GrantLevel::All,
    }
}

pub(super) fn told_rules(role: &Role) -> Vec<pb::FieldRule> {
    let effect = |effect: Effect| match effect {
        Effect::ReadOnly => pb::FieldEffect::ReadOnly,
        Effect::Masked => pb::FieldEffect::Masked,
        Effect::Hidden => pb::FieldEffect::Hidden,
    };
    let rules = role.rules.iter();
    rules.map(|(field, rule)| pb::FieldRule { resource: CONTACT.to_owned(), field: (*field).to_owned(), effect: effect(*rule).into() }).collect()
}
