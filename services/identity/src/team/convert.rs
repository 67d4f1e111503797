//! Between teams and their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::mask::Mask;
use rapport_kit::{Fault, clock, name};

use super::Team;
use super::model::MOST;
use crate::parse::Problems;

pub(super) const KNOWN: &[&str] = &["display_name", "description", "members"];

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("t.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("t.created_at"), kind: Kind::Time, sort: true },
    Field {
        path: "members",
        column: Column::Within { before: "exists (select from unnest(t.members) m(id) where ", column: "m.id", after: ")" },
        kind: Kind::Uuid { collection: "users" },
        sort: false,
    },
];

/// `team` with the fields of the mask as the request says.
pub(super) fn change(mut team: Team, request: &pb::Team, mask: &Mask) -> Result<Team, Fault> {
    let mut problems = Problems::default();
    for field in mask.paths() {
        match *field {
            "display_name" => team.display_name = problems.text("team.display_name", &request.display_name, 1, 200),
            "description" => team.description = problems.text("team.description", &request.description, 0, 1000),
            _ => team.members = members(&request.members, &mut problems),
        }
    }
    problems.done()?;
    Ok(team)
}

fn members(asked: &[String], problems: &mut Problems) -> Vec<uuid::Uuid> {
    if asked.len() > MOST {
        problems.note("team.members", format!("must have at most {MOST} entries"));
        return Vec::new();
    }
    let mut members = Vec::with_capacity(asked.len());
    for (index, member) in asked.iter().enumerate() {
        match name::parse("users", member, "team.members") {
            Ok(id) => members.push(id),
            Err(_) => problems.note(&format!("team.members[{index}]"), "must look like users/{uuid}"),
        }
    }
    members.sort_unstable();
    members.dedup();
    members
}

pub(super) fn populated(team: &pb::Team, field: &str) -> bool {
    match field {
        "display_name" => !team.display_name.is_empty(),
        "description" => !team.description.is_empty(),
        _ => !team.members.is_empty(),
    }
}

impl From<&Team> for pb::Team {
    fn from(team: &Team) -> Self {
        Self {
            name: team.name(),
            display_name: team.display_name.clone(),
            description: team.description.clone(),
            members: team.members.iter().map(|id| name::format("users", *id)).collect(),
            etag: team.version.to_string(),
            create_time: Some(clock::timestamp(team.created_at)),
            update_time: Some(clock::timestamp(team.updated_at)),
        }
    }
}
