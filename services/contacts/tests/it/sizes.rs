//! Answers that would be larger than callers take in.

use rapport_contacts_api::v1 as pb;
use tonic::Code;

use crate::support::{Desk, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn large_records_come_in_short_pages_and_too_many_at_once_are_refused() {
    let desk = Desk::open().await;
    let mut names = Vec::new();
    for batch in 0..2 {
        let large = |number| pb::Contact {
            external_ids: vec![rapport_proto::common::v1::ExternalId { system: "erp".to_owned(), id: format!("{batch}-{number}") }],
            person: Some(pb::Person { family_name: "Celik".to_owned(), notes: "😀".repeat(10_000), ..pb::Person::default() }),
            ..pb::Contact::default()
        };
        let request = pb::BatchUpsertContactsRequest { contacts: (0..60).map(large).collect(), atomic: true };
        desk.contacts().batch_upsert_contacts(desk.clerk.request(request)).await.expect("a batch below 4 MiB");
    }
    let mut pages = 0;
    let mut request = pb::ListContactsRequest { page_size: 1000, ..pb::ListContactsRequest::default() };
    loop {
        let page = desk.contacts().list_contacts(desk.clerk.request(request.clone())).await.expect("a page that is taken in").into_inner();
        names.extend(page.contacts.into_iter().map(|contact| contact.name));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    names.sort();
    names.dedup();
    assert_eq!((names.len(), pages), (120, 2));
    let request = pb::BatchGetContactsRequest { names };
    let status = desk.contacts().batch_get_contacts(desk.clerk.request(request)).await.expect_err("more than 4 MiB");
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
}
