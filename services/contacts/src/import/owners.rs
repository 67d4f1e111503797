//! Whom the owners in the source of an import are here.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_kit::name;

use crate::owner::{Kind, Owner};
use crate::violations::Violations;

/// Owners that rules may name.
const MOST: usize = 2000;

/// The owners of the source, and who each is here.
#[derive(Debug)]
pub struct OwnerTable<'a> {
    known: HashMap<&'a str, &'a str>,
}

/// Who a cell says owns the record.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Whoever has this name, or what stands in the place of one.
    Name(String),
    /// Somebody in the source whom nobody knows here.
    Unknown,
}

impl<'a> OwnerTable<'a> {
    /// The table in `rules`.
    pub fn parse(found: &mut Violations, rules: &'a pb::ImportRules) -> Self {
        if rules.owners.len() > MOST {
            found.add("owners", "may have at most 2,000 entries");
        }
        let mut known = HashMap::new();
        for (index, entry) in rules.owners.iter().take(MOST).enumerate() {
            let (source, field) = (entry.source.trim(), format!("owners[{index}]"));
            if source.is_empty() {
                found.add(format!("{field}.source"), "is required");
            }
            if Owner::named(&entry.owner).is_none_or(|owner| owner.kind == Kind::ServiceAccount) {
                found.add(format!("{field}.owner"), "must look like users/{uuid} or teams/{uuid}");
            }
            if known.insert(source, entry.owner.as_str()).is_some() {
                found.add(format!("{field}.source"), "stands in the list twice");
            }
        }
        Self { known }
    }

    /// Who `cell` means. What looks like a name of ours is one, right or wrong: nobody guesses at it.
    #[must_use]
    pub fn told(&self, cell: &str) -> Told {
        match self.known.get(cell) {
            Some(owner) => Told::Name((*owner).to_owned()),
            None if name::split(cell).is_some() || cell.contains('/') => Told::Name(cell.to_owned()),
            None => Told::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(owners: &[(&str, &str)]) -> pb::ImportRules {
        let owners = owners.iter().map(|(source, owner)| pb::ImportOwner { source: (*source).to_owned(), owner: (*owner).to_owned() });
        pb::ImportRules { owners: owners.collect(), ..pb::ImportRules::default() }
    }

    #[test]
    fn an_owner_of_the_source_is_whom_the_table_says() {
        let ada = "users/01890a5d-ac96-774b-bcce-b302099a8057";
        let rules = rules(&[("005A", ada), ("Sales/EMEA", ada)]);
        let mut found = Violations::default();
        let table = OwnerTable::parse(&mut found, &rules);
        found.finish().expect("the table is sound");
        for (cell, told) in [
            ("005A", Told::Name(ada.to_owned())),
            ("Sales/EMEA", Told::Name(ada.to_owned())),
            ("005B", Told::Unknown),
            (ada, Told::Name(ada.to_owned())),
            ("users/nobody", Told::Name("users/nobody".to_owned())),
        ] {
            assert_eq!(table.told(cell), told, "{cell}");
        }
    }

    #[test]
    fn a_table_that_names_nobody_or_one_twice_is_refused_as_a_whole() {
        let ada = "users/01890a5d-ac96-774b-bcce-b302099a8057";
        let rules = rules(&[("005A", "Ada"), ("", ada), ("005B", ada), ("005B", ada)]);
        let mut found = Violations::default();
        OwnerTable::parse(&mut found, &rules);
        let told = found.finish().unwrap_err().text().to_owned();
        for field in ["[0].owner", "[1].source", "[3].source"] {
            assert!(told.contains(field), "{field} in {told}");
        }
    }
}
