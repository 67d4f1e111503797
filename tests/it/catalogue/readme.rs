//! The tables in the services' READMEs that say what is in the protos.
//!
//! They stand between `<!-- methods -->` and `<!-- /methods -->`, and between `<!-- events -->` and `<!-- /events -->`.

use std::collections::BTreeMap;
use std::fmt::Write;

use rapport_proto::{Door, EventMeta, MethodRule};

use super::compare;
use crate::architecture::root;

const SERVICES: [(&str, &[MethodRule], &[EventMeta]); 2] = [
    ("contacts", rapport_contacts_api::METHODS, rapport_contacts_api::EVENTS),
    ("identity", rapport_identity_api::METHODS, rapport_identity_api::EVENTS),
];

/// The parts that whoever runs or calls a service looks for, in this order.
const PARTS: [&str; 5] = ["\n## Owns\n", "\n## RPCs\n", "\n## Events\n", "\n## Configuration\n", "\n## If it pages you\n"];

#[test]
fn the_tables_of_a_services_readme_are_what_the_protos_say() {
    for (service, rules, events) in SERVICES {
        let file = format!("services/{service}/README.md");
        let text = std::fs::read_to_string(root().join(&file)).expect("a service has a README");
        let text = between(&text, "methods", &methods(rules));
        let text = between(&text, "events", &published(service, events));
        compare(&file, &text);
    }
}

#[test]
fn a_services_readme_has_the_parts_that_every_one_has() {
    for (service, _, _) in SERVICES {
        let text = std::fs::read_to_string(root().join("services").join(service).join("README.md")).expect("a service has a README");
        let places: Vec<Option<usize>> = PARTS.iter().map(|part| text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "services/{service}/README.md has not the parts {PARTS:?} in this order");
    }
}

/// The text with everything between the two marks replaced.
fn between(text: &str, mark: &str, table: &str) -> String {
    let (open, close) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let parts = text.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("the marks {open:?} and {close:?} stand in the README"));
    format!("{before}{open}{table}{close}{after}")
}

/// One row for each gRPC service and what its methods ask for.
fn methods(rules: &[MethodRule]) -> String {
    let mut table = "| service | asks for | methods |\n|---|---|---|\n".to_owned();
    let mut rows: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for rule in rules {
        let (service, method) = rule.path.rsplit_once('/').expect("a path has a service and a method");
        let service = service.rsplit('.').next().unwrap_or(service);
        rows.entry((service, asked(rule))).or_default().push(method);
    }
    let mut last = "";
    for ((service, asked), methods) in &rows {
        let shown = if *service == last { "" } else { service };
        last = service;
        let _ = writeln!(table, "| {shown} | {asked} | {} |", methods.join(", "));
    }
    table
}

fn asked(rule: &MethodRule) -> String {
    match rule.door {
        Door::Public => "no token".to_owned(),
        Door::Operator => "an operator's or a service's credential".to_owned(),
        Door::Authenticated => "any user's token".to_owned(),
        Door::Permission => format!("`{}`", rule.permission),
    }
}

/// One row for each resource with the facts that are published of it.
fn published(service: &str, events: &[EventMeta]) -> String {
    let mut table = "| published | facts |\n|---|---|\n".to_owned();
    let mut facts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events {
        let parts: Vec<&str> = event.key.split('.').collect();
        let [_, resource, fact, _] = parts.as_slice() else { panic!("the key {} has four parts", event.key) };
        facts.entry(resource).or_default().push(fact);
    }
    for (resource, facts) in facts {
        let facts: Vec<String> = facts.into_iter().map(|fact| format!("`{fact}`")).collect();
        let _ = writeln!(table, "| `{service}.{resource}.<fact>.v1` | {} |", facts.join(", "));
    }
    table
}
