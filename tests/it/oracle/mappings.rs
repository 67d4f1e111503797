//! Saved mappings. No role of a random organisation opens them, so that its administrator alone gets at any.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;

use super::compare::{Comparison, Eye};
use super::model::Verdict;

const SERVICE: &str = "/rapport.contacts.v1.ImportMappingService";

impl Comparison<'_> {
    /// Every method on saved mappings.
    pub(super) async fn mappings(&self, eye: &Eye<'_>, expected: Verdict) {
        let column = contacts::ImportColumn { target: "Family name".to_owned(), header: "Surname".to_owned(), ..contacts::ImportColumn::default() };
        let mapping = contacts::ImportMapping {
            display_name: "Compared".to_owned(),
            header: vec!["Surname".to_owned()],
            rules: Some(contacts::ImportRules { collection: "contacts".to_owned(), columns: vec![column], ..contacts::ImportRules::default() }),
            visibility: contacts::import_mapping::Visibility::All.into(),
            ..contacts::ImportMapping::default()
        };
        let create = contacts::CreateImportMappingRequest { import_mapping: Some(mapping.clone()) }.encode_to_vec();
        let answer = self.expect(eye, &format!("{SERVICE}/CreateImportMapping"), "a mapping", create, expected).await;
        let made = answer.map(|answer| contacts::ImportMapping::decode(answer.as_slice()).expect("a mapping").name);
        let name = made.unwrap_or_else(|| format!("importMappings/{}", clock::new_id()));
        let changed = contacts::ImportMapping { name: name.clone(), display_name: "Changed".to_owned(), ..mapping };
        let update = contacts::UpdateImportMappingRequest { import_mapping: Some(changed), update_mask: None };
        for (method, request) in [
            ("GetImportMapping", contacts::GetImportMappingRequest { name: name.clone() }.encode_to_vec()),
            ("ListImportMappings", contacts::ListImportMappingsRequest::default().encode_to_vec()),
            ("UpdateImportMapping", update.encode_to_vec()),
            ("DeleteImportMapping", contacts::DeleteImportMappingRequest { name: name.clone(), etag: String::new() }.encode_to_vec()),
        ] {
            self.expect(eye, &format!("{SERVICE}/{method}"), &name, request, expected).await;
        }
    }
}
