//! Rules of the code that a reviewer would otherwise have to repeat.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Past this length a file must be split.
const LONGEST_FILE: usize = 700;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_path_buf()
}

pub(crate) fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !matches!(name, "target" | "node_modules" | "third_party") && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                found.push((path, text));
            }
        }
    }
    found
}

fn services() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("services"))
        .expect("there are services")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "all-in-one")
        .collect();
    names.sort();
    names
}

/// Lines of code that mention one of `words`, as `file:line`; comments do not count.
fn mentions(path: &Path, text: &str, words: &[&str]) -> Vec<String> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let bad = text.lines().enumerate().filter(|(_, line)| words.iter().any(|word| code(line).contains(word)));
    bad.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())).collect()
}

pub(crate) fn assert_none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn names_of_a_service_agree_everywhere() {
    for service in services() {
        let segment = service.replace('-', "_");
        let manifest = std::fs::read_to_string(root().join("services").join(&service).join("Cargo.toml")).expect("a service has a manifest");
        assert!(manifest.contains(&format!("name = \"rapport-{service}\"")), "package of services/{service}");
        assert!(root().join("proto/rapport").join(&segment).is_dir(), "protos of {service} lie under proto/rapport/{segment}");
        assert!(root().join("services").join(&service).join("api/Cargo.toml").exists(), "services/{service}/api is its api crate");
        assert!(root().join("services").join(&service).join("README.md").exists(), "services/{service}/README.md says what it owns");
    }
}

#[test]
fn a_service_depends_on_no_other_service() {
    let services = services();
    for service in &services {
        let manifest = std::fs::read_to_string(root().join("services").join(service).join("Cargo.toml")).expect("a service has a manifest");
        for other in services.iter().filter(|other| *other != service) {
            let depends =
                manifest.lines().any(|line| line.starts_with(&format!("rapport-{other}.")) || line.starts_with(&format!("rapport-{other} ")));
            assert!(!depends, "services/{service} depends on the service {other}; only its api crate is allowed");
        }
    }
}

#[test]
fn the_kit_knows_no_noun_of_the_field_and_no_service() {
    let manifest = std::fs::read_to_string(root().join("crates/rapport-kit/Cargo.toml")).expect("the kit has a manifest");
    assert!(!manifest.contains("-api"), "the kit imports a service's api crate");
    let nouns = ["contact", "opportunity", "campaign", "work_order", "Contact", "Opportunity"];
    let found =
        files(&root().join("crates/rapport-kit/src"), "rs").iter().flat_map(|(path, text)| mentions(path, &without_text(text), &nouns)).collect();
    assert_none(found, "the kit names something of one service");
}

/// The code without its string literals, which may give examples.
fn without_text(code: &str) -> String {
    code.lines().map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")).collect::<Vec<_>>().join("\n")
}

#[test]
fn models_are_pure() {
    let bad = ["sqlx", "tonic", "prost", "now()", "new_id()"];
    let models = files(&root().join("services"), "rs").into_iter().filter(|(path, _)| path.ends_with("model.rs"));
    let code = |text: &str| text.split("\n#[cfg(test)]\n").next().unwrap_or_default().to_owned();
    assert_none(models.flat_map(|(path, text)| mentions(&path, &code(&text), &bad)).collect(), "a model does input or output, or asks the clock");
}

#[test]
fn statements_stand_in_sql_files_only() {
    let words = ["sqlx::query", "QueryBuilder", "select ", "insert into", "update ", "delete from"];
    let handlers = files(&root().join("services"), "rs").into_iter().filter(|(path, _)| path.ends_with("rpc.rs"));
    assert_none(handlers.flat_map(|(path, text)| mentions(&path, &text, &words)).collect(), "a handler holds SQL");
}

#[test]
fn lapin_and_the_server_are_touched_in_the_kit_alone() {
    let code = files(&root().join("services"), "rs");
    let found = code.iter().flat_map(|(path, text)| mentions(path, text, &["lapin::", "tonic::transport::Server", "PgPool"])).collect();
    assert_none(found, "a service goes past the kit");
}

#[test]
fn every_module_opens_with_its_purpose() {
    let code = files(&root().join("crates"), "rs").into_iter().chain(files(&root().join("services"), "rs"));
    let silent = code.filter(|(path, text)| !path.ends_with("build.rs") && !text.starts_with("//!")).map(|(path, _)| path.display().to_string());
    assert_none(silent.collect(), "a file does not say what it is for");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let code = files(&root(), "rs");
    let long = code.iter().filter(|(_, text)| text.lines().count() > LONGEST_FILE).map(|(path, _)| path.display().to_string());
    assert_none(long.collect(), "a file wants splitting");
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    let manifests = files(&root(), "toml").into_iter().filter(|(path, _)| path.ends_with("Cargo.toml") && path.parent() != Some(root().as_path()));
    let without = manifests.filter(|(_, text)| !text.contains("[lints]\nworkspace = true")).map(|(path, _)| path.display().to_string());
    assert_none(without.collect(), "a crate goes without the lints");
}

#[test]
fn collections_and_event_keys_are_unique_over_all_services() {
    let mut keys = BTreeSet::new();
    for event in rapport_identity_api::EVENTS.iter().chain(rapport_contacts_api::EVENTS).chain(rapport_proto::EVENTS) {
        assert!(keys.insert(event.key), "the event key {} stands twice", event.key);
    }
    let mut patterns = BTreeSet::new();
    for (path, text) in files(&root().join("proto/rapport"), "proto") {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("plural: ")) {
            assert!(patterns.insert(line.to_owned()), "{}: the collection {line} stands twice", path.display());
        }
    }
}
