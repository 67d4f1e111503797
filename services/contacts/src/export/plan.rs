//! What an export is to hold and how it is written, parsed from a request.

use std::collections::{BTreeSet, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_kit::{Ctx, Fault, name};
use uuid::Uuid;

use crate::layout::{Column, Resource};
use crate::violations::Violations;
use crate::{account, contact, limits};

/// An export that can be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whose records.
    pub(super) resource: Resource,
    pub(super) format: Format,
    /// As in the collection's list.
    pub(super) filter: String,
    /// Of these records only; none means of all.
    pub(super) ids: Option<Vec<Uuid>>,
    /// The columns to write; empty for those that the records turn out to have.
    pub(super) columns: Vec<Column>,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv { byte_order_mark: bool },
    Xlsx,
    Vcard3,
    Vcard4,
    JsonLines,
}

impl Plan {
    /// Whether the columns are those that the records turn out to have.
    pub(super) fn has_columns_of_records(&self) -> bool {
        self.format.is_table() && self.columns.is_empty()
    }

    /// The paths that the columns are parts of, where nothing else is written of a record; none where all of it may be.
    pub(super) fn paths(&self) -> Option<BTreeSet<&'static str>> {
        let columns = self.columns.iter().filter_map(|column| column.path(self.resource));
        (!self.columns.is_empty()).then(|| columns.collect())
    }
}

impl Format {
    /// Whether it has columns.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Csv { .. } | Self::Xlsx)
    }

    /// The end of a file's name, and its media type.
    pub(super) fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Csv { .. } => ("csv", "text/csv; charset=utf-8"),
            Self::Xlsx => ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            Self::Vcard3 | Self::Vcard4 => ("vcf", "text/vcard; charset=utf-8"),
            Self::JsonLines => ("jsonl", "application/jsonl"),
        }
    }
}

/// The export that `options` ask for.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE).
pub(super) fn parse(resource: Resource, options: Option<pb::ExportOptions>) -> Result<Plan, Fault> {
    let options = options.ok_or_else(|| Fault::invalid("options", "is required"))?;
    let ids = if options.names.is_empty() { None } else { Some(name::parse_all(resource.collection(), &options.names, limits::BATCH_GET)?) };
    let mut found = Violations::default();
    let format = match options.format() {
        pb::ExportFormat::Csv => Some(Format::Csv { byte_order_mark: options.byte_order_mark }),
        pb::ExportFormat::Xlsx => Some(Format::Xlsx),
        pb::ExportFormat::Vcard3 => Some(Format::Vcard3),
        pb::ExportFormat::Vcard4 => Some(Format::Vcard4),
        pb::ExportFormat::JsonLines => Some(Format::JsonLines),
        pb::ExportFormat::Unspecified => {
            found.add("options.format", "is required");
            None
        }
    };
    let is_table = format.is_none_or(Format::is_table);
    if !is_table && !options.columns.is_empty() {
        found.add("options.columns", "must be empty for a format without columns");
    }
    if options.byte_order_mark && !matches!(format, None | Some(Format::Csv { .. })) {
        found.add("options.byte_order_mark", "is for CSV only");
    }
    let columns = columns(&mut found, resource, options.columns);
    found.finish()?;
    let format = format.ok_or_else(|| Fault::invalid("options.format", "is required"))?;
    Ok(Plan { resource, format, filter: options.filter, ids, columns })
}

fn columns(found: &mut Violations, resource: Resource, headers: Vec<String>) -> Vec<Column> {
    let headers = found.at_most("options.columns", headers, limits::EXPORT_COLUMNS);
    let mut seen = HashSet::with_capacity(headers.len());
    let mut columns = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        let field = format!("options.columns[{index}]");
        match Column::parse(resource, header) {
            Some(column) if seen.insert(column.clone()) => columns.push(column),
            Some(_) => found.add(field, "stands in the list twice"),
            None => found.add(field, "is no column of such records; name one such as Tags or E-mail 1"),
        }
    }
    columns
}

/// Refuses an export of records that the caller may not read, or by a filter that their list would not take.
///
/// # Errors
/// PERMISSION_DENIED (PERMISSION_MISSING, FIELD_HIDDEN); INVALID_ARGUMENT (FILTER_INVALID).
pub(super) fn check(ctx: &Ctx, plan: &Plan) -> Result<(), Fault> {
    let permission = plan.resource.read_permission();
    if !ctx.scope_of(permission).permits_anything() {
        return Err(Fault::denied("PERMISSION_MISSING", format!("Ask an administrator for a role with {permission}.")).with("permission", permission));
    }
    match plan.resource {
        Resource::Contact => contact::list::check(ctx, &plan.filter, ""),
        Resource::Account => account::list::check(ctx, &plan.filter, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(format: pb::ExportFormat, columns: &[&str]) -> Option<pb::ExportOptions> {
        let columns = columns.iter().map(|header| (*header).to_owned()).collect();
        Some(pb::ExportOptions { format: format.into(), columns, ..pb::ExportOptions::default() })
    }

    #[test]
    fn columns_stand_in_the_order_they_are_asked_for() {
        let plan = parse(Resource::Contact, options(pb::ExportFormat::Csv, &["E-mail 2", "family NAME", "External id - erp"])).unwrap();
        let headers: Vec<String> = plan.columns.iter().map(ToString::to_string).collect();
        assert_eq!(headers, ["E-mail 2", "Family name", "External id - erp"]);
    }

    #[test]
    fn what_makes_no_file_is_refused() {
        for (resource, asked) in [
            (Resource::Contact, None),
            (Resource::Contact, options(pb::ExportFormat::Unspecified, &[])),
            (Resource::Contact, options(pb::ExportFormat::Csv, &["Surname"])),
            (Resource::Contact, options(pb::ExportFormat::Csv, &["Tags", "tags"])),
            (Resource::Account, options(pb::ExportFormat::Xlsx, &["Family name"])),
            (Resource::Contact, options(pb::ExportFormat::Vcard4, &["Tags"])),
        ] {
            assert_eq!(parse(resource, asked.clone()).unwrap_err().reason(), "FIELD_INVALID", "{asked:?}");
        }
    }
}
