//! A saved mapping: how files of one kind are imported, for oneself or everybody.
//!
//! Invariants: whose mapping it is never changes; its rules are ones that an import of a file with its header would have
//! taken when they were set. What an import does with them is decided when it starts, under the rights of who starts it.

pub mod convert;
pub mod model;
pub mod rpc;
pub mod sql;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportFormat;
use rapport_kit::{Ctx, Db, Fault, name};

pub use model::{Details, Fact, Format, ImportMapping, Visibility};
pub use rpc::ImportMappings;

use crate::import::mapping::Mapping;
use crate::layout::Resource;

/// Collection of saved mappings in names.
pub const COLLECTION: &str = "importMappings";
const READ: &str = "contacts.import_mapping.read";
/// Mappings that are offered for a file.
const OFFERED: usize = 10;

/// The mappings that the caller sees and of which a file with this header has every column, those of most columns first.
///
/// # Errors
/// What the database answers.
pub async fn fitting(db: &Db, ctx: &Ctx, resource: Resource, format: ImportFormat, header: &[String]) -> Result<Vec<pb::FittingMapping>, Fault> {
    if !ctx.scope_of(READ).permits_anything() {
        return Ok(Vec::new());
    }
    let is_card = format == ImportFormat::Vcard;
    let known = sql::recent(&mut db.for_tenant(ctx).await?, ctx, resource.collection()).await?;
    let mut fitting: Vec<(usize, pb::FittingMapping)> = Vec::new();
    for mapping in known {
        let details = mapping.details();
        let rules = convert::rules(details);
        let fits = (details.format == Format::Vcard) == is_card && (is_card || fits(&details.header, &rules, header));
        if fits {
            let told = pb::FittingMapping { mapping: mapping.name(), display_name: details.display_name.clone() };
            fitting.push((rules.columns.len(), told));
        }
    }
    // Of as many columns, the one that was changed last stays first.
    fitting.sort_by_key(|(columns, _)| std::cmp::Reverse(*columns));
    Ok(fitting.into_iter().map(|(_, told)| told).take(OFFERED).collect())
}

/// The rules of the mapping of this name, for an import.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID); PERMISSION_DENIED (PERMISSION_MISSING); NOT_FOUND (RECORD_NOT_FOUND); what the
/// database answers.
pub async fn rules(db: &Db, ctx: &Ctx, name: &str) -> Result<pb::ImportRules, Fault> {
    let id = name::parse(COLLECTION, name, "mapping")?;
    if !ctx.scope_of(READ).permits_anything() {
        return Err(Fault::denied("PERMISSION_MISSING", format!("Ask an administrator for a role with {READ}.")).with("permission", READ));
    }
    let mapping = sql::get(&mut db.for_tenant(ctx).await?, ctx, None, id).await?;
    Ok(convert::rules(mapping.ok_or_else(|| Fault::not_found(name))?.details()))
}

/// Whether a file with `header` has every column of rules that were made for a file with the header `known`. One that is
/// told by its position is the same if it is called the same.
fn fits(known: &[String], rules: &pb::ImportRules, header: &[String]) -> bool {
    let called = |header: &[String], position: i32| {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        header.get(index).map(|name| name.trim().to_owned())
    };
    let is_same = |column: &pb::ImportColumn| column.position == 0 || called(known, column.position) == called(header, column.position);
    rules.columns.iter().all(is_same) && Mapping::parse(rules, header).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_fits_a_file_that_has_its_columns() {
        let texts = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let by_name = |header: &str, target: &str| pb::ImportColumn { header: header.to_owned(), target: target.to_owned(), ..Default::default() };
        let by_place = |position, target: &str| pb::ImportColumn { position, target: target.to_owned(), ..Default::default() };
        let rules = pb::ImportRules {
            collection: "contacts".to_owned(),
            columns: vec![by_name("Surname", "Family name"), by_place(2, "Tags")],
            ..Default::default()
        };
        let known = texts("Surname,Groups");
        for (header, expected) in
            [("Surname,Groups", true), ("Surname , Groups,More", true), ("Groups,Surname", false), ("Name,Groups", false), ("Surname", false)]
        {
            assert_eq!(fits(&known, &rules, &texts(header)), expected, "{header}");
        }
    }
}
