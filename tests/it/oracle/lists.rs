//! Lists, batches and searches of one user, beside what the model says.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FieldMask;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::search_result;
use rapport_kit::testing::eventually;

use super::compare::{Comparison, Eye, method};
use super::model::{Action, Verdict};
use super::world::{ACCOUNT, CONTACT, FIELDS, Tenant};

const SEARCH: &str = "/rapport.contacts.v1.SearchService/SearchRecords";

/// Any record, as far as its name.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// The answer of any list of records.
#[derive(Clone, PartialEq, Message)]
struct Page {
    #[prost(message, repeated, tag = "1")]
    records: Vec<Named>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

/// The answer of any batch read.
#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    records: Vec<Named>,
    #[prost(string, repeated, tag = "2")]
    missing_names: Vec<String>,
}

impl Comparison<'_> {
    /// Lists and batches of one resource.
    pub(super) async fn many(&self, eye: &Eye<'_>, other: &Tenant, resource: &'static str) {
        let visible = eye.tenant.model.visible(eye.subject.id, resource);
        let permitted = eye.tenant.model.verdict(eye.subject.id, Action::Read, resource, "") != Verdict::Denied;
        let expected = if permitted { Verdict::Allowed } else { Verdict::Denied };
        if let Some(listed) = self.walk(eye, resource, "", "", expected).await {
            self.same(eye, "List", resource, &visible, &listed);
        }
        let names: Vec<String> = eye.tenant.model.records.keys().chain(other.model.records.keys()).cloned().collect();
        let names: Vec<String> = names.into_iter().filter(|name| name.starts_with(collection(resource))).collect();
        let request = contacts::BatchGetContactsRequest { names: names.clone() };
        let answer = self.expect(eye, &method(resource, "BatchGet", "s"), resource, request.encode_to_vec(), expected).await;
        if let Some(answer) = answer {
            let batch = Batch::decode(answer.as_slice()).expect("the answer of a batch read");
            let found: Vec<String> = batch.records.into_iter().map(|record| record.name).collect();
            self.same(eye, "BatchGet", resource, &visible, &found);
            let missing: BTreeSet<String> = names.into_iter().filter(|name| !visible.contains(name)).collect();
            self.same(eye, "BatchGet missing_names", resource, &missing, &batch.missing_names);
        }
    }

    /// Everything that a search finds by words that all contacts have, and all accounts.
    pub(super) async fn search(&self, eye: &Eye<'_>) {
        let model = &eye.tenant.model;
        let permitted = model.verdict(eye.subject.id, Action::Read, CONTACT, "") != Verdict::Denied;
        let expected = if permitted { Verdict::Allowed } else { Verdict::Denied };
        let sought = [(CONTACT, "person.given_name", "qzname"), (CONTACT, "person.contact_points", "qzmail"), (ACCOUNT, "", "account")];
        for (resource, field, query) in sought {
            let Some(found) = self.find(eye, query, expected).await else { continue };
            let hidden = resource == CONTACT && model.hides(eye.subject.id, field);
            let may_find = if hidden { BTreeSet::new() } else { model.visible(eye.subject.id, resource) };
            let extra: Vec<String> = found.into_iter().filter(|name| !may_find.contains(name)).collect();
            self.same(eye, &format!("Search for {query}"), resource, &BTreeSet::new(), &extra);
            // What was written a moment ago may be on its way into the index.
            eventually(&format!("{} finds all that it may by {query}", eye.subject.name()), async || {
                let found = self.find(eye, query, expected).await?;
                may_find.iter().all(|name| found.contains(name)).then_some(())
            })
            .await;
        }
    }

    /// The names on all pages of a search; none if it was refused.
    async fn find(&self, eye: &Eye<'_>, query: &str, expected: Verdict) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                contacts::SearchRecordsRequest { query: query.to_owned(), page_size: 7, page_token, ..contacts::SearchRecordsRequest::default() };
            let answer = self.expect(eye, SEARCH, query, request.encode_to_vec(), expected).await?;
            let page = contacts::SearchRecordsResponse::decode(answer.as_slice()).expect("the answer of a search");
            names.extend(page.results.into_iter().filter_map(|result| match result.record? {
                search_result::Record::Account(account) => Some(account.name),
                search_result::Record::Contact(contact) => Some(contact.name),
            }));
            if page.next_page_token.is_empty() {
                return Some(names);
            }
            page_token = page.next_page_token;
        }
    }

    /// Filters, orders, searches and updates by fields that have a rule.
    pub(super) async fn hidden_fields(&self, eye: &Eye<'_>) {
        let visible = eye.tenant.model.visible(eye.subject.id, CONTACT);
        if eye.tenant.model.verdict(eye.subject.id, Action::Read, CONTACT, "") == Verdict::Denied {
            return;
        }
        let (sought, number) = eye
            .tenant
            .model
            .records
            .iter()
            .find_map(|(name, record)| Some((name, record.external_id.strip_prefix("contacts.contact-")?)))
            .expect("a contact");
        let found: BTreeSet<String> = visible.iter().filter(|name| *name == sought).cloned().collect();
        let asked = [
            ("person.given_name", format!("person.given_name = \"qzname{number}\"")),
            ("person.contact_points", format!("person.contact_points.normalized = \"qzmail{number}@example.com\"")),
        ];
        for (field, filter) in asked {
            let expected = if eye.tenant.model.hides(eye.subject.id, field) { Verdict::Denied } else { Verdict::Allowed };
            if let Some(listed) = self.walk(eye, CONTACT, &filter, "", expected).await {
                self.same(eye, &filter, CONTACT, &found, &listed);
            }
        }
        let expected = if eye.tenant.model.hides(eye.subject.id, "person.given_name") { Verdict::Denied } else { Verdict::Allowed };
        if let Some(listed) = self.walk(eye, CONTACT, "", "person.given_name desc", expected).await {
            self.same(eye, "List by given name", CONTACT, &visible, &listed);
        }
        // A bare word must not find by what the caller may not read, nor anything that does not hold it.
        for (field, word) in [("person.given_name", format!("qzname{number}")), ("person.contact_points", format!("qzmail{number}"))] {
            let Some(listed) = self.walk(eye, CONTACT, &word, "", Verdict::Allowed).await else { continue };
            let may_find = if eye.tenant.model.hides(eye.subject.id, field) { BTreeSet::new() } else { found.clone() };
            let extra: Vec<String> = listed.into_iter().filter(|name| !may_find.contains(name)).collect();
            self.same(eye, &format!("search for {word}"), CONTACT, &BTreeSet::new(), &extra);
        }
        let model = &eye.tenant.model;
        let may_change = |name: &&String| model.verdict(eye.subject.id, Action::Update, CONTACT, name) == Verdict::Allowed;
        let own = model.records.iter().filter(|(_, record)| record.resource == CONTACT);
        let Some(changeable) = own.map(|(name, _)| name).find(may_change) else { return };
        for (field, _) in FIELDS.iter().filter(|(field, _)| model.effect(eye.subject.id, field).is_some()) {
            let contact = contacts::Contact { name: changeable.clone(), person: Some(contacts::Person::default()), ..contacts::Contact::default() };
            let mask = FieldMask { paths: vec![(*field).to_owned()] };
            let request = contacts::UpdateContactRequest { contact: Some(contact), update_mask: Some(mask), allow_duplicates: false };
            self.expect(eye, &method(CONTACT, "Update", ""), changeable, request.encode_to_vec(), Verdict::Denied).await;
        }
    }

    /// The names on all pages of a list; none if it was refused.
    async fn walk(&self, eye: &Eye<'_>, resource: &'static str, filter: &str, order_by: &str, expected: Verdict) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = contacts::ListContactsRequest {
                page_size: 7,
                page_token,
                filter: filter.to_owned(),
                order_by: order_by.to_owned(),
                show_deleted: false,
            };
            let called = format!("{resource} {filter}{order_by}");
            let answer = self.expect(eye, &method(resource, "List", "s"), &called, request.encode_to_vec(), expected).await?;
            let page = Page::decode(answer.as_slice()).expect("the answer of a list");
            names.extend(page.records.into_iter().map(|record| record.name));
            if page.next_page_token.is_empty() {
                return Some(names);
            }
            page_token = page.next_page_token;
        }
    }
}

fn collection(resource: &str) -> &'static str {
    if resource == CONTACT { "contacts/" } else { "accounts/" }
}
