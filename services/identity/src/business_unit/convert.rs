//! Between business units and their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::mask::Mask;
use rapport_kit::{Fault, clock, name};

use super::BusinessUnit;
use crate::parse::Problems;

pub(super) const KNOWN: &[&str] = &["display_name", "parent", "legal_entity"];

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("b.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("b.created_at"), kind: Kind::Time, sort: true },
    Field { path: "parent", column: Column::Plain("b.parent_id"), kind: Kind::Uuid { collection: "businessUnits" }, sort: false },
    Field { path: "legal_entity", column: Column::Plain("b.legal_entity_id"), kind: Kind::Uuid { collection: "legalEntities" }, sort: false },
];

/// `unit` with the fields of the mask as the request says.
pub(super) fn change(mut unit: BusinessUnit, request: &pb::BusinessUnit, mask: &Mask) -> Result<BusinessUnit, Fault> {
    let mut problems = Problems::default();
    for field in mask.paths() {
        match *field {
            "display_name" => unit.display_name = problems.text("business_unit.display_name", &request.display_name, 1, 200),
            "parent" => unit.parent = problems.optional_name("businessUnits", &request.parent, "business_unit.parent"),
            _ => unit.legal_entity = problems.optional_name("legalEntities", &request.legal_entity, "business_unit.legal_entity"),
        }
    }
    problems.done()?;
    Ok(unit)
}

pub(super) fn populated(unit: &pb::BusinessUnit, field: &str) -> bool {
    match field {
        "display_name" => !unit.display_name.is_empty(),
        "parent" => !unit.parent.is_empty(),
        _ => !unit.legal_entity.is_empty(),
    }
}

impl From<&BusinessUnit> for pb::BusinessUnit {
    fn from(unit: &BusinessUnit) -> Self {
        Self {
            name: unit.name(),
            display_name: unit.display_name.clone(),
            parent: unit.parent.map(|id| name::format("businessUnits", id)).unwrap_or_default(),
            legal_entity: unit.legal_entity.map(|id| name::format("legalEntities", id)).unwrap_or_default(),
            etag: unit.version.to_string(),
            create_time: Some(clock::timestamp(unit.created_at)),
            update_time: Some(clock::timestamp(unit.updated_at)),
        }
    }
}
