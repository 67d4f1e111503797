//! Bulk changes. No role of a random organisation opens them, so that its administrator alone gets at any.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::bulk_change::Change;

use super::compare::{Comparison, Eye};
use super::model::Verdict;

const SERVICE: &str = "/rapport.contacts.v1.BulkService";

impl Comparison<'_> {
    /// Both methods on bulk changes, of records that there are none of.
    pub(super) async fn bulk(&self, eye: &Eye<'_>, expected: Verdict) {
        let tags = contacts::TagList { tags: vec!["compared".to_owned()] };
        let change = contacts::BulkChange {
            collection: "contacts".to_owned(),
            filter: "tags:nobody".to_owned(),
            change: Some(Change::AddTags(tags)),
            ..contacts::BulkChange::default()
        };
        let preview = contacts::PreviewBulkChangeRequest { change: Some(change.clone()) }.encode_to_vec();
        let answer = self.expect(eye, &format!("{SERVICE}/PreviewBulkChange"), "a preview", preview, expected).await;
        let told = answer.map(|answer| contacts::PreviewBulkChangeResponse::decode(answer.as_slice()).expect("the answer of a preview"));
        let preview_token = told.map(|told| told.preview_token).unwrap_or_default();
        let start = contacts::StartBulkChangeRequest { change: Some(change), preview_token }.encode_to_vec();
        self.expect(eye, &format!("{SERVICE}/StartBulkChange"), "a bulk change", start, expected).await;
    }
}
