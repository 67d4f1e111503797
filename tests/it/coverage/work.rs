//! A valid request for each method that works on many records: imports, exports, bulk changes.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_proto::common::v1 as pb;

use super::contacts::{Noun, make};
use super::jobs;
use super::scene::{Scene, Valid};

pub(super) async fn inspect_import(scene: &Scene) -> Valid {
    let file = jobs::complete(scene).await;
    Valid::read(&contacts::InspectImportRequest { file, ..contacts::InspectImportRequest::default() }).about_a_record()
}

pub(super) async fn start_import(scene: &Scene) -> Valid {
    Valid::change(&import(jobs::complete(scene).await), 1).about_a_record()
}

pub(super) async fn import_report(scene: &Scene) -> Valid {
    let request = import(jobs::complete(scene).await).encode_to_vec();
    let answer = scene.send("/rapport.contacts.v1.ImportService/StartImport", request).await.expect("an administrator imports");
    let job = pb::Job::decode(answer.as_slice()).expect("a job").name;
    Valid::read(&contacts::GetImportReportRequest { job }).about_a_record()
}

pub(super) async fn start_reconciliation(scene: &Scene) -> Valid {
    Valid::change(&reconciliation_of(jobs::complete(scene).await), 1).about_a_record()
}

pub(super) async fn reconciliation(scene: &Scene) -> Valid {
    let request = reconciliation_of(jobs::complete(scene).await).encode_to_vec();
    let answer = scene.send("/rapport.contacts.v1.ReconciliationService/StartReconciliation", request).await.expect("an administrator compares");
    let job = pb::Job::decode(answer.as_slice()).expect("a job").name;
    Valid::read(&contacts::GetReconciliationRequest { job }).about_a_record()
}

/// A comparison of the one column that the file has.
fn reconciliation_of(file: String) -> contacts::StartReconciliationRequest {
    let by = contacts::ImportMatch { by: contacts::import_match::By::ExternalId.into(), system: "erp".to_owned() };
    let rules = contacts::ImportRules { r#match: Some(by), ..import(String::new()).rules.unwrap_or_default() };
    let source = contacts::ReconciliationSource { file, source: None, rules: Some(rules) };
    contacts::StartReconciliationRequest { files: vec![source] }
}

/// An import of the one column that the file has.
fn import(file: String) -> contacts::StartImportRequest {
    let column = contacts::ImportColumn { target: "Family name".to_owned(), position: 1, ..contacts::ImportColumn::default() };
    let rules = contacts::ImportRules { collection: "contacts".to_owned(), columns: vec![column], ..contacts::ImportRules::default() };
    contacts::StartImportRequest { file, rules: Some(rules), ..contacts::StartImportRequest::default() }
}

/// Sets a label of one contact.
async fn bulk_change(scene: &Scene) -> contacts::BulkChange {
    let tags = contacts::TagList { tags: vec!["bulk".to_owned()] };
    contacts::BulkChange {
        collection: "contacts".to_owned(),
        filter: String::new(),
        names: vec![make(scene, Noun::Contact).await.name],
        change: Some(contacts::bulk_change::Change::AddTags(tags)),
    }
}

pub(super) async fn preview_bulk_change(scene: &Scene) -> Valid {
    Valid::read(&contacts::PreviewBulkChangeRequest { change: Some(bulk_change(scene).await) })
}

pub(super) async fn start_bulk_change(scene: &Scene) -> Valid {
    let change = bulk_change(scene).await;
    let request = contacts::PreviewBulkChangeRequest { change: Some(change.clone()) };
    let answer = scene.send("/rapport.contacts.v1.BulkService/PreviewBulkChange", request.encode_to_vec()).await.expect("a preview");
    let preview_token = contacts::PreviewBulkChangeResponse::decode(answer.as_slice()).expect("the answer of a preview").preview_token;
    Valid::change(&contacts::StartBulkChangeRequest { change: Some(change), preview_token }, 1)
}

/// A table of a column, so that what is answered is one piece.
fn export_options() -> contacts::ExportOptions {
    contacts::ExportOptions { format: contacts::ExportFormat::Csv.into(), columns: vec!["Record".to_owned()], ..contacts::ExportOptions::default() }
}

pub(super) async fn export(scene: &Scene, noun: Noun) -> Valid {
    make(scene, noun).await;
    Valid::read(&contacts::ExportContactsRequest { options: Some(export_options()) })
}

pub(super) async fn start_export(scene: &Scene) -> Valid {
    make(scene, Noun::Contact).await;
    Valid::change(&contacts::StartExportRequest { collection: "contacts".to_owned(), options: Some(export_options()) }, 1)
}
