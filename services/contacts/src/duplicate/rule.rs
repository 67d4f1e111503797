//! What a rule is, what it says about two records, and what can happen to it.

use chrono::{DateTime, Utc};
use rapport_kit::access::FieldRules;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::compare::{Closeness, compare};
use super::profile::Profile;
use crate::search::Kind;

/// A rule of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) details: Details,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// What callers say of a rule; made by [`super::rule_convert::parse`] and [`super::shipped`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What people call it.
    pub display_name: String,
    /// What it compares; stays.
    pub kind: Kind,
    /// Each field once.
    pub comparisons: Vec<Comparison>,
    /// The least score, 1 to 100.
    pub threshold: i32,
    /// Whether duplicates are refused.
    pub blocks: bool,
    /// Whether it is left out.
    pub disabled: bool,
}

/// How a field is compared and what that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What.
    pub field: Field,
    /// How.
    pub method: Method,
    /// Points if equal.
    pub weight: i32,
    /// Points taken away if different.
    #[serde(default)]
    pub penalty: i32,
    /// Issuer of an external id; empty for each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
}

/// What is compared. The numbers are those of the proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Given name of a contact.
    GivenName = 1,
    /// Family name of a contact.
    FamilyName = 2,
    /// Date of birth of a contact.
    BirthDate = 3,
    /// E-mail addresses.
    Email = 4,
    /// Telephone numbers.
    Phone = 5,
    /// Lines of addresses without numbers.
    Street = 6,
    /// Numbers in lines of addresses.
    StreetNumber = 7,
    /// Postal codes.
    PostalCode = 8,
    /// Cities.
    Locality = 9,
    /// Ids of other systems.
    ExternalId = 10,
    /// Name of an account.
    DisplayName = 11,
    /// Hosts of an account.
    Domain = 12,
}

/// How it is compared. The numbers are those of the proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Equal or not.
    Exact = 1,
    /// As names of people.
    Name = 2,
    /// With slips.
    Slip = 3,
    /// By sound.
    Phonetic = 4,
    /// As days.
    Date = 5,
    /// As numbers and codes.
    Digits = 6,
}

/// What one comparison said about two records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What was compared.
    pub field: Field,
    /// The issuer of an external id, if the rule names one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// How close they are.
    pub closeness: Closeness,
    /// What that counts.
    pub points: i32,
}

/// What a rule says about two records that it takes for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The sum of the points, at most 100.
    pub score: i32,
    /// Every comparison that could be made.
    pub reasons: Vec<Reason>,
}

/// What happened to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It came to be.
    Created,
    /// It is another one now.
    Updated,
    /// It is gone.
    Deleted,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 12] = [
        Self::GivenName,
        Self::FamilyName,
        Self::BirthDate,
        Self::Email,
        Self::Phone,
        Self::Street,
        Self::StreetNumber,
        Self::PostalCode,
        Self::Locality,
        Self::ExternalId,
        Self::DisplayName,
        Self::Domain,
    ];

    /// How it can be compared; nothing for a field that records of the kind do not have.
    #[must_use]
    pub fn methods(self, kind: Kind) -> &'static [Method] {
        match (self, kind) {
            (Self::GivenName | Self::FamilyName, Kind::Contact) => &[Method::Exact, Method::Name, Method::Slip, Method::Phonetic],
            (Self::BirthDate, Kind::Contact) => &[Method::Exact, Method::Date],
            (Self::DisplayName, Kind::Account) | (Self::Street | Self::Locality, _) => &[Method::Exact, Method::Slip, Method::Phonetic],
            (Self::Domain, Kind::Account) => &[Method::Exact],
            (Self::Email, _) => &[Method::Exact, Method::Slip],
            (Self::Phone | Self::PostalCode | Self::ExternalId, _) => &[Method::Exact, Method::Digits],
            (Self::StreetNumber, _) => &[Method::Exact],
            (Self::GivenName | Self::FamilyName | Self::BirthDate, Kind::Account) | (Self::DisplayName | Self::Domain, Kind::Contact) => &[],
        }
    }

    /// Paths whose rules hold for what comparing the field tells. Names of people are compared crosswise.
    fn paths(self, kind: Kind) -> &'static [&'static str] {
        match (self, kind) {
            (Self::GivenName | Self::FamilyName, _) => &["person.given_name", "person.family_name"],
            (Self::BirthDate, _) => &["person.birth_date"],
            (Self::Email | Self::Phone, Kind::Contact) => &["person.contact_points.value", "person.contact_points.normalized"],
            (Self::Email | Self::Phone, Kind::Account) => &["contact_points.value", "contact_points.normalized"],
            (Self::Street | Self::StreetNumber | Self::PostalCode | Self::Locality, Kind::Contact) => &["person.addresses"],
            (Self::Street | Self::StreetNumber | Self::PostalCode | Self::Locality, Kind::Account) => &["addresses"],
            (Self::ExternalId, _) => &["external_ids"],
            (Self::DisplayName, _) => &["display_name"],
            (Self::Domain, _) => &["website", "contact_points.value", "contact_points.normalized"],
        }
    }

    /// Whether the caller may not learn what stands in it.
    #[must_use]
    pub fn is_hidden(self, kind: Kind, rules: &FieldRules) -> bool {
        self.paths(kind).iter().any(|path| rules.require_readable(path).is_err())
    }

    /// Whether the caller may not learn of any field that records of the kind are compared by.
    #[must_use]
    pub fn is_any_hidden(kind: Kind, rules: &FieldRules) -> bool {
        !rules.is_empty() && Self::ALL.iter().any(|field| !field.methods(kind).is_empty() && field.is_hidden(kind, rules))
    }
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] = [Self::Exact, Self::Name, Self::Slip, Self::Phonetic, Self::Date, Self::Digits];
}

impl Details {
    /// What the rule says about two records; none if it does not take them for the same.
    #[must_use]
    pub fn matches(&self, one: &Profile, other: &Profile) -> Option<Match> {
        let said = || self.comparisons.iter().filter_map(|comparison| Some((comparison, compare(comparison, one, other)?)));
        let sum: i32 = said().map(|(comparison, closeness)| closeness.points(comparison)).sum();
        if sum < self.threshold {
            return None;
        }
        let reason = |(comparison, closeness): (&Comparison, Closeness)| Reason {
            field: comparison.field,
            system: comparison.system.clone(),
            closeness,
            points: closeness.points(comparison),
        };
        Some(Match { score: sum.min(100), reasons: said().map(reason).collect() })
    }
}

/// What the rules say about two records: the highest score, and why.
#[must_use]
pub fn matches<'a>(rules: impl IntoIterator<Item = &'a Details>, one: &Profile, other: &Profile) -> Option<Match> {
    rules.into_iter().filter_map(|rule| rule.matches(one, other)).max_by_key(|found| found.score)
}

impl Rule {
    /// A new rule.
    #[must_use]
    pub fn create(id: Uuid, details: Details, now: DateTime<Utc>) -> (Self, Fact) {
        (Self { id, version: 1, details, created_at: now, updated_at: now }, Fact::Created)
    }

    /// Takes new details; nothing happens if they are the same.
    pub fn change(&mut self, details: Details, now: DateTime<Utc>) -> Option<Fact> {
        if self.details == details {
            return None;
        }
        self.details = details;
        self.version += 1;
        self.updated_at = now;
        Some(Fact::Updated)
    }

    /// Is gone.
    pub fn delete(&mut self) -> Fact {
        self.version += 1;
        Fact::Deleted
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What callers say of it.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Such as `duplicateRules/{uuid}`.
    #[must_use]
    pub fn name(&self) -> String {
        rapport_kit::name::format(super::RULES, self.id)
    }
}
