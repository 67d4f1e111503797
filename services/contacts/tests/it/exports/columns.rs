//! Columns that are asked for by name.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ExportFormat;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::{Date, PostalAddress};

use super::{columns, contacts, options, table};
use crate::support::Desk;

/// Somebody of whom everything is known.
async fn known(desk: &Desk) {
    let request = pb::CreateAccountRequest { account: Some(pb::Account { display_name: "Analytical".to_owned(), ..pb::Account::default() }) };
    let account = desk.accounts().create_account(desk.clerk.request(request)).await.expect("an account").into_inner().name;
    let day = |year| Some(Date { year, month: 12, day: 10 });
    let point = |kind: Kind, value: &str| pb::ContactPoint {
        kind: kind.into(),
        value: value.to_owned(),
        label: "work".to_owned(),
        ..pb::ContactPoint::default()
    };
    let postal_address = PostalAddress {
        region_code: "GB".to_owned(),
        locality: "London".to_owned(),
        address_lines: vec!["12 St James's Square".to_owned()],
        ..PostalAddress::default()
    };
    let person = pb::Person {
        given_name: "Ada".to_owned(),
        family_name: "Lovelace".to_owned(),
        additional_name: "Augusta".to_owned(),
        salutation: "Countess".to_owned(),
        language: "en-GB".to_owned(),
        birth_date: day(1815),
        job_title: "Analyst".to_owned(),
        contact_points: vec![point(Kind::Email, "ada@example.org"), point(Kind::Phone, "+44 20 7183 8750")],
        addresses: vec![pb::Address { postal_address: Some(postal_address), ..pb::Address::default() }],
        notes: "Said \"=1\"\nand left".to_owned(),
    };
    let role = pb::AccountRole { account, role: "buyer".to_owned(), primary: true, start_date: day(1833), end_date: day(1843) };
    let contact = pb::Contact {
        person: Some(person),
        accounts: vec![role],
        external_ids: vec![ExternalId { system: "erp".to_owned(), id: "7".to_owned() }],
        tags: vec!["vip".to_owned()],
        ..pb::Contact::default()
    };
    desk.create(contact).await.expect("a contact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_shows_alone_what_it_shows_among_all() {
    let desk = Desk::open().await;
    known(&desk).await;
    let all = table(&contacts(&desk, &desk.clerk, options(ExportFormat::Csv)).await.unwrap());
    let [headers, cells] = all.as_slice() else { panic!("a header and a row: {all:?}") };
    for header in ["Birth date", "Notes", "E-mail 1", "Phone 1 - Label", "Address 1 - City", "Account 1 - Role", "External id - erp"] {
        assert!(headers.iter().any(|known| known == header), "{header} is missing in {headers:?}");
    }
    for (header, cell) in headers.iter().zip(cells) {
        let alone = table(&contacts(&desk, &desk.clerk, columns(&[header])).await.unwrap());
        assert_eq!(alone, [[header.clone()], [cell.clone()]]);
    }
}
