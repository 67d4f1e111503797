//! Requests and answers as their descriptors see them, so that a walker needs to know no message by name.

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MethodDescriptor, ReflectMessage, Value};

/// `google.api.FieldBehavior.REQUIRED`.
const REQUIRED: i32 = 2;

/// The descriptor of the method at `path`.
pub(super) fn method(path: &str) -> MethodDescriptor {
    let (service, name) = path.trim_start_matches('/').split_once('/').expect("a path names a service and a method");
    let pools = [rapport_contacts_api::DESCRIPTORS, rapport_identity_api::DESCRIPTORS, rapport_proto::DESCRIPTORS];
    let services = pools.iter().filter_map(|pool| DescriptorPool::decode(*pool).expect("descriptors can be read").get_service_by_name(service));
    let method = services.flat_map(|service| service.methods().collect::<Vec<_>>()).find(|method| method.name() == name);
    method.unwrap_or_else(|| panic!("no descriptor of {path}"))
}

/// The request of the method, decoded.
pub(super) fn request(path: &str, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(method(path).input(), bytes).expect("a request of the method")
}

/// The answer of the method, decoded.
pub(super) fn answer(path: &str, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(method(path).output(), bytes).expect("an answer of the method")
}

/// The message as bytes.
pub(super) fn encoded(message: &DynamicMessage) -> Vec<u8> {
    prost::Message::encode_to_vec(message)
}

/// The message with one field set.
pub(super) fn with(message: &DynamicMessage, field: &str, value: Value) -> Vec<u8> {
    let mut message = message.clone();
    message.set_field_by_name(field, value);
    encoded(&message)
}

/// Whether the request says which version of the record it is for.
pub(super) fn has_etag(message: &DynamicMessage) -> bool {
    let own = message.get_field_by_name("etag").is_some_and(|etag| etag.as_str().is_some_and(|etag| !etag.is_empty()));
    own || message.fields().any(|(_, value)| value.as_message().is_some_and(has_etag))
}

/// Whether the method's requests can say which version of the record they are for. What creates a record ignores
/// an etag in it.
pub(super) fn takes_etag(path: &str) -> bool {
    let method = method(path);
    let input = method.input();
    let inside =
        |field: FieldDescriptor| !field.is_list() && field.kind().as_message().is_some_and(|message| message.get_field_by_name("etag").is_some());
    input.get_field_by_name("etag").is_some() || !method.name().starts_with("Create") && input.fields().any(inside)
}

/// Entries of a list's answer, each encoded, and the token of the next page.
pub(super) fn entries(path: &str, bytes: &[u8]) -> (Vec<Vec<u8>>, String) {
    let answer = answer(path, bytes);
    let list = answer.fields().find_map(|(_, value)| value.as_list().map(<[Value]>::to_vec)).unwrap_or_default();
    let token = answer.get_field_by_name("next_page_token").and_then(|token| token.as_str().map(str::to_owned));
    (list.iter().filter_map(Value::as_message).map(encoded).collect(), token.unwrap_or_default())
}

/// The bytes of a text field of the method's answer; empty if there is no such field.
pub(super) fn text(path: &str, bytes: &[u8], field: &str) -> Vec<u8> {
    answer(path, bytes).get_field_by_name(field).and_then(|value| value.as_str().map(|text| text.as_bytes().to_vec())).unwrap_or_default()
}

/// The request without each of its required fields, one at a time, by path. Parts of a record are required
/// when it is made (`whole`); a change may leave them out.
pub(super) fn gaps(message: &DynamicMessage, whole: bool) -> Vec<(String, DynamicMessage)> {
    let mut gaps = Vec::new();
    for field in message.descriptor().fields() {
        let name = field.name().to_owned();
        if is_required(&field) {
            let mut without = message.clone();
            without.clear_field(&field);
            gaps.push((name.clone(), without));
        }
        if !whole || !message.has_field(&field) {
            continue;
        }
        match message.get_field(&field).as_ref() {
            Value::Message(inner) => {
                for (path, changed) in self::gaps(inner, whole) {
                    gaps.push((format!("{name}.{path}"), replaced(message, &field, Value::Message(changed))));
                }
            }
            Value::List(list) => {
                let Some(Value::Message(first)) = list.first() else { continue };
                for (path, changed) in self::gaps(first, whole) {
                    let rest = list.iter().skip(1).cloned();
                    let list = std::iter::once(Value::Message(changed)).chain(rest).collect();
                    gaps.push((format!("{name}[0].{path}"), replaced(message, &field, Value::List(list))));
                }
            }
            _ => {}
        }
    }
    gaps
}

fn replaced(message: &DynamicMessage, field: &FieldDescriptor, value: Value) -> DynamicMessage {
    let mut message = message.clone();
    message.set_field(field, value);
    message
}

fn is_required(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let Some(behavior) = field.parent_pool().get_extension_by_name("google.api.field_behavior") else { return false };
    options.get_extension(&behavior).as_list().is_some_and(|list| list.iter().any(|value| value.as_enum_number() == Some(REQUIRED)))
}
