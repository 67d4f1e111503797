//! Imports and exports. No role of a random organisation opens them, so that its administrator alone gets at any.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;

use super::compare::{Comparison, Eye};
use super::model::Verdict;

const IMPORTS: &str = "/rapport.contacts.v1.ImportService";
const RECONCILIATIONS: &str = "/rapport.contacts.v1.ReconciliationService";
const EXPORTS: &str = "/rapport.contacts.v1.ExportService";

impl Comparison<'_> {
    /// Every method on files of records. Who is allowed exports what there is, and imports a file that there is not.
    pub(super) async fn files(&self, eye: &Eye<'_>, expected: Verdict) {
        let options = contacts::ExportOptions { format: contacts::ExportFormat::JsonLines.into(), ..contacts::ExportOptions::default() };
        let contacts_of = contacts::ExportContactsRequest { options: Some(options.clone()) }.encode_to_vec();
        let accounts_of = contacts::ExportAccountsRequest { options: Some(options.clone()) }.encode_to_vec();
        let job_of = contacts::StartExportRequest { collection: "contacts".to_owned(), options: Some(options) }.encode_to_vec();
        for (method, request) in [("ExportContacts", contacts_of), ("ExportAccounts", accounts_of), ("StartExport", job_of)] {
            self.expect(eye, &format!("{EXPORTS}/{method}"), "an export", request, expected).await;
        }

        let absent = if expected == Verdict::Allowed { Verdict::Absent } else { expected };
        let file = format!("services/contacts/files/{}", clock::new_id());
        let inspect = contacts::InspectImportRequest { file: file.clone(), ..contacts::InspectImportRequest::default() };
        let column = contacts::ImportColumn { target: "Family name".to_owned(), position: 1, ..contacts::ImportColumn::default() };
        let rules = contacts::ImportRules { collection: "contacts".to_owned(), columns: vec![column], ..contacts::ImportRules::default() };
        let start = contacts::StartImportRequest { file: file.clone(), rules: Some(rules), ..contacts::StartImportRequest::default() };
        let report = contacts::GetImportReportRequest { job: format!("services/contacts/jobs/{}", clock::new_id()) };
        for (method, request) in
            [("InspectImport", inspect.encode_to_vec()), ("StartImport", start.encode_to_vec()), ("GetImportReport", report.encode_to_vec())]
        {
            self.expect(eye, &format!("{IMPORTS}/{method}"), &file, request, absent).await;
        }
        let by = contacts::ImportMatch { by: contacts::import_match::By::ExternalId.into(), system: "erp".to_owned() };
        let rules = start.rules.map(|rules| contacts::ImportRules { r#match: Some(by), ..rules });
        let compare =
            contacts::StartReconciliationRequest { files: vec![contacts::ReconciliationSource { file: file.clone(), source: None, rules }] };
        let found = contacts::GetReconciliationRequest { job: report.job };
        for (method, request) in [("StartReconciliation", compare.encode_to_vec()), ("GetReconciliation", found.encode_to_vec())] {
            self.expect(eye, &format!("{RECONCILIATIONS}/{method}"), &file, request, absent).await;
        }
    }
}
