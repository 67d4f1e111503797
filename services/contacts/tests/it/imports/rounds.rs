//! What was exported is imported to the same data, in every format that goes both ways.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ExportFormat;

use super::desk::{Desk, counts, rules};

const COLUMNS: [&str; 9] =
    ["Family name", "Given name", "E-mail 1", "E-mail 1 - Label", "Phone 1", "Birth date", "Tags", "Notes", "External id - erp"];
const PEOPLE: &str = "Kaya,Ayşe,a@x.org,work,'+905321234567,1980-01-31,\"vip, \"\"a, b\"\"\",\"two\nlines & <signs>; _x000D_\",0007\n\
    '=Er,'-1,,,,,,'tis,8\n";

/// A desk with people, and another tenant.
async fn two() -> (Desk, Desk) {
    let desk = Desk::open().await;
    let (_, report) = desk.import(format!("{}\n{PEOPLE}", COLUMNS.join(",")).as_bytes(), rules(&COLUMNS)).await;
    assert_eq!(counts(&report), [2, 0, 0, 0], "{report:?}");
    let elsewhere = desk.elsewhere();
    (desk, elsewhere)
}

/// What is said of people, in the order in which they came.
fn told(live: Vec<pb::Contact>) -> Vec<(Option<pb::Person>, Vec<String>, Vec<String>)> {
    let ids = |contact: &pb::Contact| contact.external_ids.iter().filter(|pair| pair.system == "erp").map(|pair| pair.id.clone()).collect();
    live.into_iter().map(|contact| (contact.person.clone(), contact.tags.clone(), ids(&contact))).collect()
}

/// Imports what was exported as it suggests itself, but for whose it is: nobody there knows them.
async fn take(desk: &Desk, name: &str, bytes: &[u8]) {
    let file = desk.upload(name, bytes).await;
    let told = desk.inspect(&file).await.expect("it is told");
    let columns = told.columns.into_iter().filter(|column| column.target != "Owner").collect();
    let (_, report) = desk.import_file(&file, pb::ImportRules { columns, ..rules(&[]) }, false).await;
    assert_eq!(counts(&report), [2, 0, 0, 0], "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_workbooks_are_taken_in_as_they_were_given_out() {
    for (format, name) in [(ExportFormat::Csv, "contacts.csv"), (ExportFormat::Xlsx, "contacts.xlsx")] {
        let (desk, elsewhere) = two().await;
        take(&elsewhere, name, &desk.export(format).await).await;
        assert_eq!(told(elsewhere.live().await), told(desk.live().await), "{format:?}");
        // JSON lines hold everything but names, owners and times that a record has here and there.
        assert_eq!(lines(&elsewhere).await, lines(&desk).await, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_are_taken_in_with_what_cards_can_say() {
    for format in [ExportFormat::Vcard3, ExportFormat::Vcard4] {
        let (desk, elsewhere) = two().await;
        take(&elsewhere, "contacts.vcf", &desk.export(format).await).await;
        let people = |live: Vec<pb::Contact>| -> Vec<(Option<pb::Person>, Vec<String>)> {
            told(live).into_iter().map(|(person, tags, _)| (person, tags)).collect()
        };
        assert_eq!(people(elsewhere.live().await), people(desk.live().await), "{format:?}");
    }
}

/// The lines of an export as JSON without what differs between two tenants.
async fn lines(desk: &Desk) -> Vec<serde_json::Value> {
    let bytes = desk.export(ExportFormat::JsonLines).await;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_slice(line).expect("a line of JSON");
            let fields = line.as_object_mut().expect("a record");
            fields.retain(|field, _| !matches!(field.as_str(), "name" | "owner" | "etag" | "createTime" | "updateTime"));
            line
        })
        .collect()
}
