//! Reads the rules of methods and the keys of events, and refuses what is incomplete.

use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor, MethodDescriptor, ReflectMessage, Value};

/// A method with its rule, as it goes into the generated table.
pub(crate) struct Method {
    pub(crate) path: String,
    pub(crate) request: String,
    pub(crate) door: String,
    pub(crate) permission: String,
    pub(crate) repeat: String,
    pub(crate) sensitive_read: bool,
    pub(crate) set_up: bool,
    pub(crate) streaming: bool,
}

/// A message that is published.
pub(crate) struct Event {
    pub(crate) key: String,
    pub(crate) message: MessageDescriptor,
}

/// The rules of every method of the files.
pub(crate) fn methods(files: &[FileDescriptor], permission_prefix: Option<&str>) -> Result<Vec<Method>, String> {
    let mut methods = Vec::new();
    for service in files.iter().flat_map(FileDescriptor::services) {
        for method in service.methods() {
            methods.push(rule(&method, permission_prefix)?);
        }
    }
    Ok(methods)
}

/// The events of the files.
pub(crate) fn events(files: &[FileDescriptor]) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    for message in files.iter().flat_map(FileDescriptor::messages) {
        let Some(option) = option(&message.options(), "rapport.options.v1.event") else { continue };
        let key = text(&option, "key");
        if key.split('.').count() != 4 || !key.ends_with(".v1") {
            return Err(format!("{}: event key {key:?} is not <service>.<resource>.<fact>.v1", message.full_name()));
        }
        events.push(Event { key, message });
    }
    Ok(events)
}

fn rule(method: &MethodDescriptor, permission_prefix: Option<&str>) -> Result<Method, String> {
    let name = method.full_name();
    let rule = option(&method.options(), "rapport.options.v1.rule")
        .ok_or_else(|| format!("{name}: no (rapport.options.v1.rule); every method says who may call it"))?;
    let door = choice(&rule, "door").ok_or_else(|| format!("{name}: its rule names no door"))?;
    let repeat = choice(&rule, "repeat").ok_or_else(|| format!("{name}: its rule does not say what repeating the call does"))?;
    let permission = text(&rule, "permission");
    if (door == "Permission") == permission.is_empty() {
        return Err(format!("{name}: a permission stands exactly where the door is DOOR_PERMISSION"));
    }
    if let Some(prefix) = permission_prefix
        && !permission.is_empty()
        && !permission.starts_with(&format!("{prefix}."))
    {
        return Err(format!("{name}: permission {permission:?} does not begin with {prefix:?}"));
    }
    Ok(Method {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        request: method.input().full_name().to_owned(),
        door,
        permission,
        repeat,
        sensitive_read: matches!(field(&rule, "sensitive_read"), Some(Value::Bool(true))),
        set_up: matches!(field(&rule, "set_up"), Some(Value::Bool(true))),
        streaming: method.is_client_streaming() || method.is_server_streaming(),
    })
}

/// A custom option, by its full name, if it was set.
fn option(options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let extension = options.descriptor().parent_pool().get_extension_by_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn field(message: &DynamicMessage, name: &str) -> Option<Value> {
    message.get_field_by_name(name).map(std::borrow::Cow::into_owned)
}

fn text(message: &DynamicMessage, name: &str) -> String {
    field(message, name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// An enum value as its Rust name (`DOOR_PUBLIC` → `Public`); none while unspecified.
fn choice(message: &DynamicMessage, name: &str) -> Option<String> {
    let number = field(message, name)?.as_enum_number()?;
    let descriptor = message.descriptor().get_field_by_name(name)?;
    let kind = descriptor.kind();
    let value = kind.as_enum()?.get_value(number)?.name().to_owned();
    let word = value.split('_').skip(1).collect::<String>().to_lowercase();
    if number == 0 {
        return None;
    }
    let mut letters = word.chars();
    let first = letters.next()?;
    Some(first.to_uppercase().chain(letters).collect())
}
