//! Saved mappings as they are sent and shown: parsing, merging of updates.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportFormat;
use rapport_contacts_api::v1::import_mapping::Visibility as Sent;
use rapport_kit::{Ctx, Fault, clock, command};

use super::{Details, Format, ImportMapping, Visibility};
use crate::import::{csv, plan};
use crate::layout::Resource;
use crate::limits;
use crate::violations::Violations;

/// What an update can write.
pub const PATHS: &[&str] = &["display_name", "format", "header", "rules", "visibility"];

/// A mapping as it is shown and published.
#[must_use]
pub fn to_proto(mapping: &ImportMapping) -> pb::ImportMapping {
    let details = &mapping.details;
    let format = match details.format {
        Format::Csv => ImportFormat::Csv,
        Format::Vcard => ImportFormat::Vcard,
        Format::Xlsx => ImportFormat::Xlsx,
    };
    let visibility = match details.visibility {
        Visibility::Private => Sent::Private,
        Visibility::All => Sent::All,
    };
    pb::ImportMapping {
        name: mapping.name(),
        display_name: details.display_name.clone(),
        format: format.into(),
        header: details.header.clone(),
        rules: Some(rules(details)),
        visibility: visibility.into(),
        owner: mapping.owner.name(),
        etag: command::etag(mapping.version),
        create_time: Some(clock::timestamp(mapping.created_at)),
        update_time: Some(clock::timestamp(mapping.updated_at)),
    }
}

/// What becomes of the rows.
#[must_use]
pub fn rules(details: &Details) -> pb::ImportRules {
    // They were encoded by us, and fields are only ever added.
    pb::ImportRules::decode(details.rules.as_slice()).unwrap_or_default()
}

/// Whether `sent` fills in one of [`PATHS`].
#[must_use]
pub fn is_populated(sent: &pb::ImportMapping, path: &str) -> bool {
    match path {
        "display_name" => !sent.display_name.is_empty(),
        "format" => sent.format() != ImportFormat::Unspecified,
        "header" => !sent.header.is_empty(),
        "rules" => sent.rules.is_some(),
        "visibility" => sent.visibility() != Sent::Unspecified,
        _ => false,
    }
}

/// The mapping as it is, with `paths` taken from `sent`.
#[must_use]
pub fn merge(mapping: &ImportMapping, sent: &pb::ImportMapping, paths: &[&str]) -> pb::ImportMapping {
    let mut merged = to_proto(mapping);
    for path in paths {
        match *path {
            "display_name" => merged.display_name.clone_from(&sent.display_name),
            "format" => merged.format = sent.format,
            "header" => merged.header.clone_from(&sent.header),
            "rules" => merged.rules.clone_from(&sent.rules),
            "visibility" => merged.visibility = sent.visibility,
            _ => {}
        }
    }
    merged
}

/// The details in `sent`, of a mapping that is stored as `known` if it is.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault; PERMISSION_DENIED (FIELD_READ_ONLY, FIELD_HIDDEN).
pub fn parse(ctx: &Ctx, sent: pb::ImportMapping, known: Option<&Details>) -> Result<Details, Fault> {
    let mut found = Violations::default();
    let format = match ImportFormat::try_from(sent.format) {
        Ok(ImportFormat::Csv | ImportFormat::Unspecified) => Format::Csv,
        Ok(ImportFormat::Vcard) => Format::Vcard,
        Ok(ImportFormat::Xlsx) => Format::Xlsx,
        Err(_) => {
            found.add("format", "must be a format that is known");
            Format::Csv
        }
    };
    let visibility = match Sent::try_from(sent.visibility) {
        Ok(Sent::Private | Sent::Unspecified) => Visibility::Private,
        Ok(Sent::All) => Visibility::All,
        Err(_) => {
            found.add("visibility", "must be private or all");
            Visibility::Private
        }
    };
    let display_name = found.required("display_name", sent.display_name, limits::NAME);
    let header = found.at_most("header", sent.header, csv::WIDEST_ROW);
    let cell = |(index, cell)| found.text(&format!("header[{index}]"), cell, limits::HEADER);
    let header: Vec<String> = header.into_iter().enumerate().map(cell).collect();
    match (format, header.is_empty()) {
        (Format::Vcard, false) => found.add("header", "must be empty: cards have none"),
        (Format::Csv | Format::Xlsx, true) => found.add("header", "is required: the header of the files"),
        _ => {}
    }
    let rules = sent.rules.unwrap_or_else(|| {
        found.add("rules", "is required");
        pb::ImportRules::default()
    });
    found.finish()?;
    let details = Details { display_name, collection: rules.collection.clone(), format, header, rules: rules.encode_to_vec(), visibility };
    // What stays was taken when it was set; its fields may be hidden from whoever changes the name.
    let is_same = |known: &Details| (known.format, &known.header, &known.rules) == (details.format, &details.header, &details.rules);
    if !known.is_some_and(is_same) {
        let (mapping, ..) = plan::checked(ctx, &rules, &details.header).map_err(|fault| fault.within("rules"))?;
        if format == Format::Vcard && mapping.resource == Resource::Account {
            return Err(Fault::invalid("rules.collection", "must be contacts: cards are of people"));
        }
    }
    Ok(details)
}
