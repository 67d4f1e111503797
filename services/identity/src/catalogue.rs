//! What roles may name: the permissions and fields of all services, as their contracts state them.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use rapport_proto::MethodRule;

/// Permissions that are checked inside methods, not at their door.
const INNER: [&str; 3] = ["identity.session.read", "identity.session.revoke", "identity.access.explain"];

static CONTACTS: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(rapport_contacts_api::DESCRIPTORS).ok());

fn tables() -> [&'static [MethodRule]; 3] {
    [rapport_identity_api::METHODS, rapport_contacts_api::METHODS, rapport_proto::METHODS]
}

fn permissions() -> impl Iterator<Item = &'static str> {
    let at_doors = tables().into_iter().flatten().map(|rule| rule.permission).filter(|permission| !permission.is_empty());
    at_doors.chain(INNER)
}

/// Whether there is such a permission, or anything below one that ends in `*`.
pub(crate) fn has_permission(text: &str) -> bool {
    match text.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => prefix.ends_with('.') && permissions().any(|permission| permission.starts_with(prefix)),
        None => permissions().any(|permission| permission == text),
    }
}

/// Whether `resource` has a field at `path` that a rule can hide. Identity's own records have none.
pub(crate) fn has_field(resource: &str, path: &str) -> bool {
    let Some((service, record)) = resource.split_once('.') else { return false };
    // Messages that are no resource are shown inside of one, under its rules.
    if !has_permission(&format!("{resource}.*")) {
        return false;
    }
    let pool = match service {
        "contacts" => CONTACTS.as_ref(),
        _ => None,
    };
    let message = pool.and_then(|pool| pool.get_message_by_name(&format!("rapport.{service}.v1.{}", camel(record))));
    message.is_some_and(|message| reaches(message, path))
}

fn reaches(message: MessageDescriptor, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Some(field) = message.get_field_by_name(first).filter(|_| !is_always_shown(message.name(), first)) else { return false };
    match (rest, field.kind()) {
        (None, _) => true,
        (Some(rest), Kind::Message(inner)) => reaches(inner, rest),
        (Some(_), _) => false,
    }
}

/// What everybody sees of a record that they see: a rule on it would hide nothing.
fn is_always_shown(message: &str, field: &str) -> bool {
    match message {
        "Account" | "Contact" => matches!(field, "name" | "etag" | "create_time" | "update_time" | "delete_time"),
        "ContactPoint" => matches!(field, "kind" | "primary" | "status" | "region"),
        "View" | "ImportMapping" | "DuplicateRule" | "DuplicatePair" => true,
        _ => false,
    }
}

fn camel(snake: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    snake.split('_').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_of_contracts_exist_and_others_do_not() {
        for known in [
            "*",
            "delivery.deadletter.read",
            "delivery.deadletter.replay",
            "delivery.deadletter.discard",
            "identity.*",
            "identity.user.*",
            "identity.user.create",
            "contacts.contact.read",
            "identity.session.revoke",
        ] {
            assert!(has_permission(known), "{known}");
        }
        for unknown in ["", "identity", "identity.user", "identity.us*", "identity.user.fly", "nothing.*", ".*"] {
            assert!(!has_permission(unknown), "{unknown}");
        }
    }

    #[test]
    fn fields_of_contracts_exist_and_others_do_not() {
        for (resource, path) in
            [("contacts.contact", "person.birth_date.year"), ("contacts.contact", "person.contact_points.normalized"), ("contacts.account", "number")]
        {
            assert!(has_field(resource, path), "{resource} {path}");
        }
        for (resource, path) in [
            ("contacts.contact", "wings"),
            ("contacts.dragon", "name"),
            ("identity.user", "email"),
            ("contacts", "name"),
            ("contacts.contact_point", "value"),
            ("contacts.view", "filter"),
        ] {
            assert!(!has_field(resource, path), "{resource} {path}");
        }
    }

    #[test]
    fn no_rule_names_a_field_that_nothing_hides() {
        for (resource, path) in [
            ("contacts.contact", "name"),
            ("contacts.account", "etag"),
            ("contacts.account", "create_time.seconds"),
            ("contacts.contact", "person.contact_points.status"),
            ("contacts.account", "contact_points.kind"),
        ] {
            assert!(!has_field(resource, path), "{resource} {path}");
        }
    }
}
