//! Writes `api.rs`: the generated modules, the rule table, the event table and the descriptors.

use std::fmt::Write;

use prost_reflect::FileDescriptor;

use crate::Api;
use crate::check::{Event, Method};

pub(crate) fn api(api: &Api<'_>, files: &[FileDescriptor], methods: &[Method], events: &[Event]) -> String {
    let types = api.types;
    let mut code = modules(files);
    code.push_str("\n/// Descriptors of this api and of everything it imports, custom options included.\n");
    code.push_str("pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/descriptor.bin\"));\n");
    let _ = writeln!(code, "\n/// Who may call each method and what repeating a call does.\npub static METHODS: &[{types}::MethodRule] = &[");
    for method in methods {
        let _ = writeln!(
            code,
            "    {types}::MethodRule {{ path: {:?}, request: {:?}, door: {types}::Door::{}, permission: {:?}, repeat: {types}::Repeat::{}, sensitive_read: {}, set_up: {}, streaming: {} }},",
            method.path, method.request, method.door, method.permission, method.repeat, method.sensitive_read, method.set_up, method.streaming
        );
    }
    let _ = writeln!(code, "];\n\n/// Every event that is published.\npub static EVENTS: &[{types}::EventMeta] = &[");
    for event in events {
        let _ = writeln!(code, "    {types}::EventMeta {{ key: {:?}, message: {:?} }},", event.key, event.message.full_name());
    }
    code.push_str("];\n");
    for event in events {
        let _ = writeln!(
            code,
            "\nimpl {types}::Event for {}::{} {{\n    const KEY: &'static str = {:?};\n    const MESSAGE: &'static str = {:?};\n}}",
            module(event.message.package_name()),
            event.message.name(),
            event.key,
            event.message.full_name()
        );
    }
    code
}

/// One nested module for each package: `rapport.contacts.v1` becomes `v1`, `google.type` becomes `google_type`.
fn modules(files: &[FileDescriptor]) -> String {
    let mut packages: Vec<&str> = files.iter().map(FileDescriptor::package_name).collect();
    packages.sort_unstable();
    packages.dedup();
    let mut code = String::new();
    for package in packages {
        let path = module(package);
        let names: Vec<&str> = path.split("::").collect();
        for name in &names {
            let _ = writeln!(code, "pub mod {name} {{");
        }
        let file = package.replace(".type", ".r#type");
        let _ = writeln!(code, "include!(concat!(env!(\"OUT_DIR\"), \"/{file}.rs\"));");
        code.push_str(&"}\n".repeat(names.len()));
    }
    code
}

fn module(package: &str) -> String {
    let parts: Vec<&str> = package.split('.').collect();
    match parts.as_slice() {
        ["rapport", "common", "v1"] => "common::v1".to_owned(),
        ["rapport", "options", "v1"] => "options::v1".to_owned(),
        ["rapport", _, version] => (*version).to_owned(),
        _ => parts.join("_"),
    }
}
