//! The catalogue of reasons (`proto/ERRORS.md`) and the code that produces them say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::architecture::{files, root};

/// Section of the kit's reasons, which every service can give, and that of what callers are never told.
const EVERYONE: &str = "Every service";
const OPERATORS: &str = "Operators";

/// Constructors of a fault that take a reason, and the code that each gives.
const CONSTRUCTORS: [(&str, &str); 6] = [
    ("argument", "INVALID_ARGUMENT"),
    ("precondition", "FAILED_PRECONDITION"),
    ("exists", "ALREADY_EXISTS"),
    ("denied", "PERMISSION_DENIED"),
    ("exhausted", "RESOURCE_EXHAUSTED"),
    ("unavailable", "UNAVAILABLE"),
];

/// A reason with the code it comes with.
type Reason = (String, String);

#[test]
fn every_reason_that_the_code_gives_is_in_the_catalogue_and_no_other() {
    let catalogue = catalogue();
    let produced = produced();
    let mut problems = Vec::new();
    for (section, reasons) in &produced {
        for (reason, code) in reasons {
            let listed = [section.as_str(), EVERYONE, OPERATORS]
                .iter()
                .any(|section| catalogue.get(*section).is_some_and(|rows| rows.contains(&(reason.clone(), code.clone()))));
            if !listed {
                problems.push(format!("{section} gives {code} with {reason}, which proto/ERRORS.md does not say"));
            }
        }
    }
    for (section, rows) in &catalogue {
        for row in rows {
            let given = match section.as_str() {
                EVERYONE => produced.get(EVERYONE).is_some_and(|reasons| reasons.contains(row)),
                OPERATORS => produced.values().any(|reasons| reasons.contains(row)),
                service => produced.get(service).is_some_and(|reasons| reasons.contains(row)),
            };
            if !given {
                problems.push(format!("nothing gives {} with {}, which proto/ERRORS.md says under {section}", row.1, row.0));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_reason_that_a_proto_documents_is_in_the_catalogue() {
    let known: BTreeSet<String> = catalogue().into_values().flatten().map(|(reason, _)| reason).collect();
    let mut problems = Vec::new();
    let mut read = 0;
    for (path, text) in files(&root().join("proto/rapport"), "proto") {
        let comments: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("//")).collect();
        for told in comments.join(" ").split("reason ").skip(1) {
            let reason: String = told.trim_start().chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect();
            if reason.contains('_') {
                read += 1;
                if !known.contains(&reason) {
                    problems.push(format!("{}: {reason}", path.display()));
                }
            }
        }
    }
    assert!(read > 50, "only {read} reasons were read in the protos");
    assert!(problems.is_empty(), "proto/ERRORS.md does not have:\n{}", problems.join("\n"));
}

/// The rows of each section of the page; every cell must say something, and rows stand in order.
fn catalogue() -> BTreeMap<String, BTreeSet<Reason>> {
    let page = std::fs::read_to_string(root().join("proto/ERRORS.md")).expect("the catalogue can be read");
    let mut sections: BTreeMap<String, BTreeSet<Reason>> = BTreeMap::new();
    let mut section = String::new();
    let mut last = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
            last.clear();
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [reason, code, when, remedy] = cells.as_slice() else { panic!("a row of proto/ERRORS.md has {} cells: {line}", cells.len()) };
        assert!(!when.is_empty() && !remedy.is_empty(), "a row says nothing: {line}");
        assert!(last.as_str() < *reason, "{reason} stands behind {last} under {section}");
        last = (*reason).to_owned();
        sections.entry(section.clone()).or_default().insert(((*reason).to_owned(), (*code).to_owned()));
    }
    sections
}

/// What the kit and each service give, read from their code without its tests.
fn produced() -> BTreeMap<String, BTreeSet<Reason>> {
    let mut produced: BTreeMap<String, BTreeSet<Reason>> = BTreeMap::new();
    let kit = root().join("crates/rapport-kit/src");
    let services = root().join("services");
    for (path, text) in files(&kit, "rs").into_iter().chain(files(&services, "rs")) {
        let section = path
            .strip_prefix(&services)
            .ok()
            .and_then(|path| path.iter().next())
            .map_or(EVERYONE.to_owned(), |name| name.to_string_lossy().into_owned());
        let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        for reason in reasons(&path, code) {
            produced.entry(section.clone()).or_default().insert(reason);
        }
    }
    assert!(produced.get(EVERYONE).is_some_and(|reasons| reasons.len() > 20), "the kit's reasons were not found");
    produced
}

/// Reasons in calls of the constructors. A reason that is not written out there could be any: it fails.
fn reasons(path: &Path, code: &str) -> Vec<Reason> {
    let mut found = Vec::new();
    for (constructor, status) in CONSTRUCTORS {
        for owner in ["Fault", "Self"] {
            // `Self` is a fault where a fault is made of something else, and in the fault's own file.
            let is_fault = owner == "Fault" || code.contains("for Fault {") || path.ends_with("fault.rs");
            for call in code.split(&format!("{owner}::{constructor}(")).skip(1).filter(|_| is_fault) {
                let reason =
                    literal(call).unwrap_or_else(|| panic!("{}: {owner}::{constructor} takes a reason that is not written out", path.display()));
                found.push((reason, status.to_owned()));
            }
        }
    }
    if path.ends_with("fault.rs") {
        for call in code.split("Self::new(").skip(1) {
            let Some((status, rest)) = call.split_once(',') else { continue };
            let Some(reason) = literal(rest) else { continue };
            let status = status.trim().strip_prefix("Code::").map_or("any".to_owned(), upper_snake);
            found.push((reason, status));
        }
    }
    found
}

/// The text in quotes that the code begins with.
fn literal(code: &str) -> Option<String> {
    let text = code.trim_start().strip_prefix('"')?;
    text.split_once('"').map(|(reason, _)| reason.to_owned())
}

/// `NotFound` as `NOT_FOUND`.
fn upper_snake(name: &str) -> String {
    let mut spelled = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !spelled.is_empty() {
            spelled.push('_');
        }
        spelled.push(letter.to_ascii_uppercase());
    }
    spelled
}
