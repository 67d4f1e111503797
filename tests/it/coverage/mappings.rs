//! A valid request for each method on saved mappings of imports.

use prost::Message;
use rapport_contacts_api::v1 as contacts;

use super::contacts::Stored;
use super::scene::{Scene, Valid};

const CREATE: &str = "/rapport.contacts.v1.ImportMappingService/CreateImportMapping";

/// A mapping that everybody of the tenant sees.
fn mapping(scene: &Scene) -> contacts::ImportMapping {
    let column = |target: &str, header: &str| contacts::ImportColumn {
        target: target.to_owned(),
        header: header.to_owned(),
        ..contacts::ImportColumn::default()
    };
    let columns = vec![column("Family name", "Surname"), column("E-mail 1", "Mail")];
    contacts::ImportMapping {
        display_name: format!("mapping {}", scene.number()),
        format: contacts::ImportFormat::Xlsx.into(),
        header: vec!["Surname".to_owned(), "Mail".to_owned()],
        rules: Some(contacts::ImportRules { collection: "contacts".to_owned(), columns, ..contacts::ImportRules::default() }),
        visibility: contacts::import_mapping::Visibility::All.into(),
        ..contacts::ImportMapping::default()
    }
}

async fn make(scene: &Scene) -> Stored {
    let request = contacts::CreateImportMappingRequest { import_mapping: Some(mapping(scene)) }.encode_to_vec();
    let answer = scene.send(CREATE, request).await.expect("an administrator creates a mapping");
    Stored::decode(answer.as_slice()).expect("a mapping")
}

pub(super) async fn get(scene: &Scene) -> Valid {
    Valid::read(&contacts::GetImportMappingRequest { name: make(scene).await.name }).about_a_record()
}

pub(super) async fn list(scene: &Scene) -> Valid {
    for _ in 0..3 {
        make(scene).await;
    }
    Valid::read(&contacts::ListImportMappingsRequest::default())
}

pub(super) async fn create(scene: &Scene) -> Valid {
    Valid::change(&contacts::CreateImportMappingRequest { import_mapping: Some(mapping(scene)) }, 1)
}

pub(super) async fn update(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene).await;
    let header = vec!["Surname".to_owned(), "Mail".to_owned(), "Notes".to_owned()];
    let mapping = contacts::ImportMapping { name, etag, header, ..contacts::ImportMapping::default() };
    Valid::change(&contacts::UpdateImportMappingRequest { import_mapping: Some(mapping), update_mask: None }, 1).about_a_record()
}

pub(super) async fn delete(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene).await;
    Valid { removes: true, ..Valid::change(&contacts::DeleteImportMappingRequest { name, etag }, 1).about_a_record() }
}
