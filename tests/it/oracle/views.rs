//! Saved views. No role of a random organisation opens them, so that its administrator alone gets at any.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;

use super::compare::{Comparison, Eye};
use super::model::Verdict;

const SERVICE: &str = "/rapport.contacts.v1.ViewService";

impl Comparison<'_> {
    /// Every method on views.
    pub(super) async fn views(&self, eye: &Eye<'_>, expected: Verdict) {
        let view = contacts::View {
            display_name: "Compared".to_owned(),
            collection: "contacts".to_owned(),
            visibility: contacts::view::Visibility::All.into(),
            ..contacts::View::default()
        };
        let create = contacts::CreateViewRequest { view: Some(view.clone()) }.encode_to_vec();
        let answer = self.expect(eye, &format!("{SERVICE}/CreateView"), "a view", create, expected).await;
        let made = answer.map(|answer| contacts::View::decode(answer.as_slice()).expect("a view").name);
        let name = made.unwrap_or_else(|| format!("contactsViews/{}", clock::new_id()));
        let changed = contacts::View { name: name.clone(), filter: "tags:vip".to_owned(), ..view };
        for (method, request) in [
            ("GetView", contacts::GetViewRequest { name: name.clone() }.encode_to_vec()),
            ("ListViews", contacts::ListViewsRequest::default().encode_to_vec()),
            ("UpdateView", contacts::UpdateViewRequest { view: Some(changed), update_mask: None }.encode_to_vec()),
            ("DeleteView", contacts::DeleteViewRequest { name: name.clone(), etag: String::new() }.encode_to_vec()),
        ] {
            self.expect(eye, &format!("{SERVICE}/{method}"), &name, request, expected).await;
        }
    }
}
