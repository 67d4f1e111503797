//! Answers that would be larger than callers take in.

use rapport_contacts_api::v1 as pb;
use rapport_proto::common::v1 as common;
use tonic::Code;

use crate::support::{Desk, named, refusal};

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
        let request = pb::BatchUpsertContactsRequest { contacts: (0..60).map(large).collect(), atomic: true, allow_duplicates: false };
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
    let request = pb::BatchGetContactsRequest { names: names.clone() };
    let status = desk.contacts().batch_get_contacts(desk.clerk.request(request)).await.expect_err("more than 4 MiB");
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));

    // A small request whose answer would not be taken in either.
    let tagged = |name: &String| pb::Contact { name: name.clone(), tags: vec!["large".to_owned()], ..pb::Contact::default() };
    let request = pb::BatchUpsertContactsRequest { contacts: names.iter().map(tagged).collect(), atomic: false, allow_duplicates: false };
    let status = desk.contacts().batch_upsert_contacts(desk.clerk.request(request)).await.expect_err("more than 4 MiB");
    assert_eq!(refusal(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    let request = pb::ListContactsRequest { filter: r#"tags = "large""#.to_owned(), ..pb::ListContactsRequest::default() };
    let page = desk.contacts().list_contacts(desk.clerk.request(request)).await.expect("a page").into_inner();
    assert_eq!(page.contacts.len(), 0, "what was refused is not written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_takes_more_as_text_than_it_does_stored_comes_in_pages_that_are_taken_in() {
    let desk = Desk::open().await;
    let name = desk.create(named("Celik")).await.unwrap().name;
    // Each quotation mark becomes two characters.
    let quoting = |number: i32| format!("{number:03}{}", "\"".repeat(9_900));
    for number in 0..110 {
        let person = pb::Person { notes: quoting(number), ..pb::Person::default() };
        let contact = pb::Contact { name: name.clone(), person: Some(person), ..pb::Contact::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["person.notes".to_owned()] });
        let request = pb::UpdateContactRequest { contact: Some(contact), update_mask, allow_duplicates: false };
        desk.contacts().update_contact(desk.clerk.request(request)).await.expect("a change");
    }
    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut request = common::ListChangesRequest { name, page_size: 200, ..common::ListChangesRequest::default() };
    loop {
        let page = desk.audit().list_changes(desk.clerk.request(request.clone())).await.expect("a page that is taken in").into_inner();
        seen.extend(page.changes.iter().map(|change| change.version));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, (1..=111).rev().collect::<Vec<i64>>());
    assert_eq!(pages, 2);
}
