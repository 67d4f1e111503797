//! Which cells of a row fill which fields.

use std::collections::{BTreeSet, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_kit::access::FieldRules;
use rapport_kit::{Ctx, Fault};

use crate::layout::{AddressPart, Cell, Column, PointPart, Resource, Single, cell};
use crate::violations::Violations;
use crate::{account, contact, limits};

/// What stands between several values in one cell of Google's exports.
const SEVERAL: &str = " ::: ";
/// Columns that may be further lines of a field.
const FURTHER: usize = 10;

/// Which cells fill which fields.
#[derive(Debug)]
pub struct Mapping {
    /// What rows become.
    pub resource: Resource,
    /// Positions of cells, from 0, with what they fill: one, or several that are lines of it.
    cells: Vec<(Vec<usize>, Column)>,
    constants: Vec<Cell>,
}

/// The fields that a row fills, and those that it is to empty.
#[derive(Debug, Default)]
pub struct Filled {
    /// What the row says.
    pub cells: Vec<Cell>,
    /// Columns whose cell is empty.
    pub empty: Vec<Column>,
    /// Whether the owner that it names is nobody here.
    pub unknown_owner: bool,
}

impl Mapping {
    /// The mapping that `rules` make of a file with this header.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID) with every field of `rules` at fault.
    pub fn parse(rules: &pb::ImportRules, header: &[String]) -> Result<Self, Fault> {
        let mut found = Violations::default();
        let resource = resource(&mut found, "collection", &rules.collection);
        // Cards say themselves what their values are.
        let least = usize::from(!header.is_empty());
        if !(least..=super::csv::WIDEST_ROW).contains(&rules.columns.len()) {
            found.add("columns", "is required, with at most 1,000 entries");
        }
        let mut mapping = Self { resource, cells: Vec::new(), constants: Vec::new() };
        let mut taken = HashSet::new();
        for (index, column) in rules.columns.iter().take(super::csv::WIDEST_ROW).enumerate() {
            let field = format!("columns[{index}]");
            let Some(target) = Column::parse(resource, &column.target) else {
                found.add(format!("{field}.target"), "must be the header of a field, such as Given name or E-mail 1");
                continue;
            };
            // The record and its number say which one is meant, and what is deleted in the source is passed over; what else
            // the service gives cannot be taken in.
            let says_which = matches!(target, Column::Single(Single::Record | Single::Number | Single::Deleted));
            let is_given = target.path(resource).is_none() && !says_which;
            if is_given {
                found.add(format!("{field}.target"), "is given by the service and cannot be imported");
            }
            if !taken.insert(target.clone()) {
                found.add(format!("{field}.target"), "stands in the list twice");
            }
            mapping.take(&mut found, &field, target, column, header);
        }
        found.finish().map(|()| mapping)
    }

    fn take(&mut self, found: &mut Violations, field: &str, target: Column, column: &pb::ImportColumn, header: &[String]) {
        let further = &column.further_headers;
        let has_lines = matches!(target, Column::Address(_, AddressPart::Street)) && !column.header.is_empty() && further.len() <= FURTHER;
        if !further.is_empty() && !has_lines {
            found.add(format!("{field}.further_headers"), "are lines of a street: at most 10, below a header");
        }
        match (column.header.as_str(), column.position, column.constant.as_str()) {
            ("", 0, constant) if !constant.is_empty() => self.constants.push((target, constant.to_owned())),
            ("", position, "") if position != 0 => match usize::try_from(position).ok().filter(|position| *position <= header.len()) {
                Some(position) => self.cells.push((vec![position - 1], target)),
                None => found.add(format!("{field}.position"), format!("must be 1 to {}, a column of the file", header.len())),
            },
            (name, 0, "") if !name.is_empty() => {
                let position = |name: &str| header.iter().position(|known| known.trim() == name.trim());
                match position(name) {
                    Some(index) => self.cells.push(([index].into_iter().chain(further.iter().filter_map(|name| position(name))).collect(), target)),
                    None => found.add(format!("{field}.header"), "must be the header of a column of the file"),
                }
                if further.iter().take(FURTHER).any(|name| position(name).is_none()) {
                    found.add(format!("{field}.further_headers"), "must be headers of columns of the file");
                }
            }
            _ => found.add(field, "needs one of header, position and constant"),
        }
    }

    /// Refuses a mapping to a field that the caller may not write.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_READ_ONLY) naming the field.
    pub fn require_writable(&self, ctx: &Ctx) -> Result<(), Fault> {
        let rules = rules_of(ctx, self.resource);
        self.paths().into_iter().try_for_each(|path| rules.require_writable(path))
    }

    /// Paths of an update that the mapping writes.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<&'static str> {
        self.columns().filter_map(|column| column.path(self.resource)).collect()
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        self.cells.iter().map(|(_, column)| column).chain(self.constants.iter().map(|(column, _)| column))
    }

    /// What a row fills.
    #[must_use]
    pub fn fill(&self, row: &[String]) -> Filled {
        let mut filled = Filled::default();
        for (indexes, column) in &self.cells {
            let text = |index: &usize| row.get(*index).map_or("", |text| cell::unguarded(text).trim());
            let text = match indexes.as_slice() {
                [index] => text(index).to_owned(),
                lines => cell::lines(lines.iter().map(text)),
            };
            if text.is_empty() {
                filled.empty.push(column.clone());
            } else {
                filled.cells.push((column.clone(), text));
            }
        }
        self.divide(&mut filled);
        self.add_constants(&mut filled);
        filled
    }

    /// What a card fills.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_READ_ONLY) naming the field.
    pub fn fill_card(&self, ctx: &Ctx, cells: Vec<Cell>) -> Result<Filled, Fault> {
        let rules = rules_of(ctx, self.resource);
        cells.iter().filter_map(|(column, _)| column.path(self.resource)).try_for_each(|path| rules.require_writable(path))?;
        let mut filled = Filled { cells, ..Filled::default() };
        self.add_constants(&mut filled);
        Ok(filled)
    }

    fn add_constants(&self, filled: &mut Filled) {
        for (column, text) in &self.constants {
            let is_filled = filled.cells.iter().any(|(other, _)| other == column);
            let is_wanted = is_alone(column) || filled.cells.iter().any(|(other, _)| is_of_one_group(column, other));
            if is_wanted && !is_filled {
                filled.cells.push((column.clone(), text.clone()));
            }
        }
    }

    /// Gives each of several contact points in one cell a number of its own.
    fn divide(&self, filled: &mut Filled) {
        let mut more = Vec::new();
        for (column, text) in &mut filled.cells {
            let Column::Point(channel, _, PointPart::Value) = column else { continue };
            let Some((first, rest)) = text.split_once(SEVERAL) else { continue };
            more.extend(rest.split(SEVERAL).take(limits::CONTACT_POINTS + 1).map(|text| (*channel, text.trim().to_owned())));
            *text = first.trim().to_owned();
            // More than a record may have: the row is refused for it, and the others need not be counted.
            if more.len() > limits::CONTACT_POINTS {
                break;
            }
        }
        for (channel, text) in more {
            let numbers = self.columns().chain(filled.cells.iter().map(|(column, _)| column));
            let last = numbers.filter_map(|column| if let Column::Point(of, number, _) = column { Some((of, number)) } else { None });
            let next = last.filter(|(of, _)| **of == channel).map(|(_, number)| *number).max().unwrap_or_default() + 1;
            filled.cells.push((Column::Point(channel, next, PointPart::Value), text));
        }
    }
}

/// What `collection` names; contacts if it is empty or nothing that can be imported, which is noted.
pub fn resource(found: &mut Violations, field: &str, collection: &str) -> Resource {
    match collection {
        contact::COLLECTION => Resource::Contact,
        account::COLLECTION => Resource::Account,
        _ => {
            found.add(field, "must be contacts or accounts");
            Resource::Contact
        }
    }
}

/// The caller's rules about the fields of `resource`.
#[must_use]
pub fn rules_of(ctx: &Ctx, resource: Resource) -> &FieldRules {
    ctx.fields(match resource {
        Resource::Contact => contact::RESOURCE,
        Resource::Account => account::RESOURCE,
    })
}

/// Whether two columns say something of one contact point, address or account.
fn is_of_one_group(column: &Column, other: &Column) -> bool {
    match (column, other) {
        (Column::Point(channel, number, _), Column::Point(of, as_well, _)) => channel == of && number == as_well,
        (Column::Address(number, _), Column::Address(as_well, _)) | (Column::Account(number, _), Column::Account(as_well, _)) => number == as_well,
        _ => false,
    }
}

/// Whether a constant means something without a cell of the same group.
fn is_alone(column: &Column) -> bool {
    match column {
        Column::Single(_) | Column::ExternalId(_) => true,
        Column::Account(_, part) => *part == crate::layout::RolePart::Account,
        Column::Point(..) | Column::Address(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(columns: &[(&str, &str, i32, &str)]) -> pb::ImportRules {
        let column = |(target, header, position, constant): &(&str, &str, i32, &str)| pb::ImportColumn {
            target: (*target).to_owned(),
            header: (*header).to_owned(),
            position: *position,
            constant: (*constant).to_owned(),
            further_headers: Vec::new(),
        };
        pb::ImportRules { collection: "contacts".to_owned(), columns: columns.iter().map(column).collect(), ..Default::default() }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn told(filled: &Filled) -> Vec<(String, &str)> {
        filled.cells.iter().map(|(column, text)| (column.to_string(), text.as_str())).collect()
    }

    #[test]
    fn cells_and_constants_fill_fields() {
        let rules = rules(&[
            ("Family name", "Surname", 0, ""),
            ("E-mail 1", "", 2, ""),
            ("E-mail 1 - Label", "", 0, "work"),
            ("Tags", "", 0, "fair"),
            ("Address 1 - Country", "", 0, "TR"),
        ]);
        let mapping = Mapping::parse(&rules, &texts(&["Surname", "Mail"])).unwrap();
        let filled = mapping.fill(&texts(&["Kaya", "a@x.org ::: b@x.org"]));
        let expected = [("Family name", "Kaya"), ("E-mail 1", "a@x.org"), ("E-mail 2", "b@x.org"), ("E-mail 1 - Label", "work"), ("Tags", "fair")];
        assert_eq!(told(&filled), expected.map(|(column, text)| (column.to_owned(), text)));
        let filled = mapping.fill(&texts(&["'+Kaya", " "]));
        assert_eq!(told(&filled), [("Family name".to_owned(), "+Kaya"), ("Tags".to_owned(), "fair")]);
        assert_eq!(filled.empty.iter().map(Column::to_string).collect::<Vec<_>>(), ["E-mail 1"]);
    }

    #[test]
    fn a_mapping_that_makes_no_sense_is_refused_as_a_whole() {
        let wrong = rules(&[
            ("Shoe size", "Surname", 0, ""),
            ("Given name", "Forename", 0, ""),
            ("Notes", "", 9, ""),
            ("Tags", "", 0, ""),
            ("Created", "Surname", 0, ""),
            ("Salutation", "Surname", 1, ""),
        ]);
        let told = Mapping::parse(&wrong, &texts(&["Surname"])).unwrap_err().text().to_owned();
        for field in ["[0].target", "[1].header", "[2].position", "columns[3]", "[4].target", "columns[5]"] {
            assert!(told.contains(field), "{field} in {told}");
        }
        let twice = rules(&[("Tags", "Surname", 0, ""), ("Tags", "", 0, "x")]);
        assert!(Mapping::parse(&twice, &texts(&["Surname"])).is_err());
    }
}
