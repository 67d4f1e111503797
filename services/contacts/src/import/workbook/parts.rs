//! What a workbook consists of: its sheets, and where they and what they need stand.

use rapport_kit::Fault;

use super::package::{Package, damaged, too_large};
use super::xml::{Mark, attribute, read_whole};
use crate::import::order::unreadable;

/// Sheets of a workbook.
const SHEETS: usize = 1_000;
/// Relations of a part.
const RELATIONS: usize = 10_000;

/// A workbook.
#[derive(Debug, Default)]
pub struct Book {
    /// In their order.
    pub sheets: Vec<Sheet>,
    /// Where the texts are that cells share.
    pub texts: Option<String>,
    /// Where it says how numbers look.
    pub styles: Option<String>,
    /// Whether days are counted from 1904.
    pub is_1904: bool,
}

/// A sheet with cells.
#[derive(Debug)]
pub struct Sheet {
    /// As people see it.
    pub name: String,
    /// Whether people do not see it.
    pub is_hidden: bool,
    /// The part that it is.
    pub path: String,
}

/// What a part says of another one.
struct Relation {
    id: String,
    /// The last word of its type, such as `worksheet`.
    kind: String,
    path: String,
}

/// Reads what the workbook says of itself.
///
/// # Errors
/// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE); NOT_FOUND (RECORD_NOT_FOUND); what the database answers.
pub async fn read(package: &Package<'_>) -> Result<Book, Fault> {
    let known = relations(package, "").await?;
    let main = known.into_iter().find(|relation| relation.kind == "officeDocument").map(|relation| relation.path);
    let Some(main) = main.filter(|main| main.to_lowercase().ends_with(".xml")) else { return Err(other(package)) };
    let relations = relations(package, &main).await?;
    let target = |kind: &str| relations.iter().find(|relation| relation.kind == kind).map(|relation| relation.path.clone());
    let mut book = Book { texts: target("sharedStrings"), styles: target("styles"), ..Book::default() };
    let mut is_workbook = false;
    let xml = package.small(&main).await?.ok_or_else(damaged)?;
    read_whole(&xml, |mark| {
        let Mark::Open(name, start) = mark else { return Ok(()) };
        match name {
            "workbook" => is_workbook = true,
            "workbookPr" => book.is_1904 = attribute(start, "date1904")?.is_some_and(|set| matches!(&*set, "1" | "true")),
            "sheet" => {
                let id = attribute(start, "id")?.unwrap_or_default();
                // Sheets that are one diagram have no cells.
                if let Some(relation) = relations.iter().find(|relation| relation.id == id && relation.kind == "worksheet") {
                    let is_hidden = attribute(start, "state")?.is_some_and(|state| state != "visible");
                    let name = attribute(start, "name")?.unwrap_or_default().into_owned();
                    book.sheets.push(Sheet { name, is_hidden, path: relation.path.clone() });
                }
            }
            _ => {}
        }
        if book.sheets.len() > SHEETS { Err(too_large("it has more than 1,000 sheets")) } else { Ok(()) }
    })?;
    match (is_workbook, book.sheets.is_empty()) {
        (false, _) => Err(other(package)),
        (true, true) => Err(crate::import::order::empty()),
        (true, false) => Ok(book),
    }
}

/// What a part says of others; the archive itself is called by nothing.
async fn relations(package: &Package<'_>, part: &str) -> Result<Vec<Relation>, Fault> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let place = if folder.is_empty() { format!("_rels/{name}.rels") } else { format!("{folder}/_rels/{name}.rels") };
    let mut relations = Vec::new();
    let Some(xml) = package.small(&place).await? else { return Ok(relations) };
    read_whole(&xml, |mark| {
        let Mark::Open("Relationship", start) = mark else { return Ok(()) };
        let text = |name: &str| attribute(start, name).map(Option::unwrap_or_default);
        if text("TargetMode")? == "External" {
            return Ok(());
        }
        let kind = text("Type")?.rsplit('/').next().unwrap_or_default().to_owned();
        relations.push(Relation { id: text("Id")?.into_owned(), kind, path: path(folder, &text("Target")?) });
        if relations.len() > RELATIONS { Err(too_large("its parts name more than 10,000 others")) } else { Ok(()) }
    })?;
    Ok(relations)
}

/// Where a part is that is named in another one of this folder.
fn path(folder: &str, target: &str) -> String {
    let mut steps: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.retain(|step| !step.is_empty());
    steps.join("/")
}

/// The refusal of an archive that is no such workbook.
fn other(package: &Package<'_>) -> Fault {
    if package.has("mimetype") && package.has("content.xml") {
        return unreadable("Save it as XLSX: this is an OpenDocument file.");
    }
    if package.has("xl/workbook.bin") {
        return unreadable("Save it as XLSX: this is a binary workbook.");
    }
    if package.has("word/document.xml") {
        return unreadable("Choose a workbook: this is a text document.");
    }
    damaged()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_from_where_it_is_named() {
        for (folder, target, expected) in [
            ("", "xl/workbook.xml", "xl/workbook.xml"),
            ("xl", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "/xl/styles.xml", "xl/styles.xml"),
            ("xl/a", "../b.xml", "xl/b.xml"),
            ("", "../../b.xml", "b.xml"),
        ] {
            assert_eq!(path(folder, target), expected);
        }
    }
}
