//! Between roles and their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::clock;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::mask::Mask;
use rapport_proto::common::v1 as common;

use super::Role;
use super::model::{Effect, Rule};
use crate::catalogue;
use crate::parse::Problems;

pub(super) const KNOWN: &[&str] = &["display_name", "description", "permissions", "field_rules"];

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("r.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("r.created_at"), kind: Kind::Time, sort: true },
    Field { path: "shipped", column: Column::Plain("r.shipped"), kind: Kind::Bool, sort: false },
    Field {
        path: "permissions",
        column: Column::Within { before: "exists (select from unnest(r.permissions) p(name) where ", column: "p.name", after: ")" },
        kind: Kind::Text,
        sort: false,
    },
];

/// `role` with the fields of the mask as the request says.
pub(super) fn change(mut role: Role, request: &pb::Role, mask: &Mask, problems: &mut Problems) -> Role {
    for field in mask.paths() {
        match *field {
            "display_name" => role.display_name = problems.text("role.display_name", &request.display_name, 1, 100),
            "description" => role.description = problems.text("role.description", &request.description, 0, 1000),
            "permissions" => role.permissions = permissions("role.permissions", &request.permissions, 1000, problems),
            _ => role.rules = rules(&request.field_rules, problems),
        }
    }
    role
}

/// Permissions that exist, sorted and without doubles.
pub(crate) fn permissions(field: &str, asked: &[String], most: usize, problems: &mut Problems) -> Vec<String> {
    if asked.len() > most {
        problems.note(field, format!("must have at most {most} entries"));
        return Vec::new();
    }
    for (index, permission) in asked.iter().enumerate() {
        if !catalogue::has_permission(permission) {
            problems.note(&format!("{field}[{index}]"), "must be a permission of a service, such as contacts.contact.read or contacts.*");
        }
    }
    let mut permissions = asked.to_vec();
    permissions.sort_unstable();
    permissions.dedup();
    permissions
}

fn rules(asked: &[common::FieldRule], problems: &mut Problems) -> Vec<Rule> {
    if asked.len() > 200 {
        problems.note("role.field_rules", "must have at most 200 entries");
        return Vec::new();
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(asked.len());
    for (index, rule) in asked.iter().enumerate() {
        let at = |part: &str| format!("role.field_rules[{index}].{part}");
        if rule.resource.is_empty() {
            problems.note(&at("resource"), "must be given");
        } else if !catalogue::has_field(&rule.resource, &rule.field) {
            problems.note(&at("field"), "must be a field of the resource, such as person.birth_date of contacts.contact");
        }
        let effect = match rule.effect() {
            common::FieldEffect::Hidden => Effect::Hidden,
            common::FieldEffect::Masked => Effect::Masked,
            common::FieldEffect::ReadOnly => Effect::ReadOnly,
            common::FieldEffect::Unspecified => {
                problems.note(&at("effect"), "must be given");
                continue;
            }
        };
        if rules.iter().any(|other| other.resource == rule.resource && other.field == rule.field) {
            problems.note(&at("field"), "must not have two rules");
        }
        rules.push(Rule { resource: rule.resource.clone(), field: rule.field.clone(), effect });
    }
    rules
}

/// The rules as messages.
fn rules_of(role: &Role) -> Vec<common::FieldRule> {
    let effect = |effect| match effect {
        Effect::Hidden => common::FieldEffect::Hidden,
        Effect::Masked => common::FieldEffect::Masked,
        Effect::ReadOnly => common::FieldEffect::ReadOnly,
    };
    let rule = |rule: &Rule| common::FieldRule { resource: rule.resource.clone(), field: rule.field.clone(), effect: effect(rule.effect).into() };
    role.rules.iter().map(rule).collect()
}

impl From<&Role> for pb::Role {
    fn from(role: &Role) -> Self {
        Self {
            name: role.name(),
            display_name: role.display_name.clone(),
            description: role.description.clone(),
            shipped: role.shipped,
            permissions: role.permissions.clone(),
            field_rules: rules_of(role),
            etag: role.version.to_string(),
            create_time: Some(clock::timestamp(role.created_at)),
            update_time: Some(clock::timestamp(role.updated_at)),
        }
    }
}
