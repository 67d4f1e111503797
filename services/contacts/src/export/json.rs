//! Records as JSON lines: each the resource in the canonical JSON form of protocol buffers.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use rapport_kit::Fault;
use serde::Serialize;

use super::records::{Page, Record};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(rapport_contacts_api::DESCRIPTORS).ok());

/// The records of the page, a line each.
///
/// # Errors
/// INTERNAL if the descriptors do not fit the records.
pub(super) fn write(page: &Page) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    for record in &page.records {
        let (message, encoded) = match record {
            Record::Contact(contact) => ("rapport.contacts.v1.Contact", contact.encode_to_vec()),
            Record::Account(account) => ("rapport.contacts.v1.Account", account.encode_to_vec()),
        };
        let descriptor = POOL.as_ref().and_then(|pool| pool.get_message_by_name(message));
        let descriptor = descriptor.ok_or_else(|| Fault::internal("a record has no descriptor"))?;
        let told = DynamicMessage::decode(descriptor, encoded.as_slice()).map_err(Fault::internal)?;
        told.serialize(&mut serde_json::Serializer::new(&mut bytes)).map_err(Fault::internal)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
