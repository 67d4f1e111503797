//! The pages that are made from the protos: which events there are, which fields hold personal data, the
//! data dictionary, and the tables in the services' READMEs.
//!
//! `RAPPORT_WRITE=1 scripts/test -p rapport-tests -- catalogue` writes them anew; otherwise a stale page fails.

mod dictionary;
mod readme;

use std::fmt::Write;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, Value};

use crate::architecture::root;

const SERVICES: [(&str, &[u8], &[rapport_proto::EventMeta]); 3] = [
    ("common", rapport_proto::DESCRIPTORS, rapport_proto::EVENTS),
    ("contacts", rapport_contacts_api::DESCRIPTORS, rapport_contacts_api::EVENTS),
    ("identity", rapport_identity_api::DESCRIPTORS, rapport_identity_api::EVENTS),
];

#[test]
fn the_event_catalogue_is_what_the_protos_say() {
    let mut page = "# Events\n\nMade from the protos by a test; do not edit. The routing key is the key and a partition, \
        `.p00` to `.p07`. Field 1 of an event that carries state is the record as it is after the fact.\n\n\
        To listen, declare a durable queue and bind it to the topic exchange `rapport.events` (behind the prefix of the installation, \
        if it has one) with `<key>.*` for each key. The body is the protobuf message that the header `cloudEvents:dataschema` names; \
        `cloudEvents:id` is the event's own, `cloudEvents:subject` the record's name, `rapport-tenant` the tenant's id and \
        `rapport-version` the record's version after the fact. An event comes at least once: one that takes effect twice does harm, \
        so remember ids, or compare versions. Acknowledge what is done; a queue that takes no more holds its events up at the \
        publisher. What was recorded before any queue asked for its key comes too, up to a week back; a later queue begins with what \
        is recorded from then on, and whoever needs the records of before reads their lists.\n"
        .to_owned();
    for (service, descriptors, events) in SERVICES {
        let pool = DescriptorPool::decode(descriptors).expect("descriptors can be read");
        let _ = writeln!(page, "\n## {service}\n| key | message | carries |\n|---|---|---|");
        for event in events {
            let message = pool.get_message_by_name(event.message).expect("an event is a message");
            let fields: Vec<String> = message.fields().map(|field| format!("`{}`", field.name())).collect();
            let _ = writeln!(page, "| `{}` | `{}` | {} |", event.key, event.message, fields.join(", "));
        }
    }
    compare("proto/EVENTS.md", &page);
}

#[test]
fn the_page_of_personal_data_names_every_field_that_holds_some() {
    let mut page = "# Personal data\n\nMade from the protos by a test; do not edit. Every field that holds data about a person, with its class; \
        what is not listed holds none.\n"
        .to_owned();
    for (service, descriptors, _) in SERVICES {
        let pool = DescriptorPool::decode(descriptors).expect("descriptors can be read");
        let package = format!("rapport.{service}.v1");
        let mut rows: Vec<String> =
            pool.all_messages().filter(|message| message.package_name() == package).flat_map(|message| personal(&message)).collect();
        rows.sort();
        let _ = writeln!(page, "\n## {service}\n| field | type | class |\n|---|---|---|\n{}", rows.join("\n"));
    }
    compare("proto/PERSONAL_DATA.md", &page);
}

fn personal(message: &MessageDescriptor) -> Vec<String> {
    message.fields().filter_map(|field| Some(format!("| `{}` | {} | {} |", field.full_name(), kind(&field), class(&field)?))).collect()
}

fn kind(field: &FieldDescriptor) -> String {
    let kind = format!("{:?}", field.kind()).to_lowercase();
    let name = match field.kind() {
        prost_reflect::Kind::Message(message) => format!("`{}`", message.full_name()),
        prost_reflect::Kind::Enum(choice) => format!("`{}`", choice.full_name()),
        _ => kind,
    };
    if field.is_list() { format!("list of {name}") } else { name }
}

/// The class in words; none if the field is not marked.
fn class(field: &FieldDescriptor) -> Option<String> {
    let extension = field.parent_pool().get_extension_by_name("rapport.options.v1.personal")?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let Value::EnumNumber(number) = *options.get_extension(&extension) else { return None };
    let name = extension.kind().as_enum()?.get_value(number)?.name().to_owned();
    Some(name.trim_start_matches("PERSONAL_DATA_").to_lowercase().replace('_', " "))
}

/// Compares a page with what it should be, or writes it where that is asked for. `file` is seen from the repository.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
fn compare(file: &str, page: &str) {
    let path = root().join(file);
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    if stored == page {
        return;
    }
    if std::env::var("RAPPORT_WRITE").is_ok() {
        std::fs::write(&path, page).expect("the page is written");
        return;
    }
    let differs = |(is, should_be): &(&str, &str)| is != should_be;
    let (is, should_be) = stored.lines().chain([""]).zip(page.lines().chain([""])).find(differs).unwrap_or_default();
    panic!("{file} is stale: RAPPORT_WRITE=1 scripts/test -p rapport-tests -- catalogue\n       is: {is}\nshould be: {should_be}");
}
