//! What rows leave out, and what they cannot say.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::clock;

use super::by_id;
use super::desk::{Desk, counts, refusals, rules};

fn person(contact: &pb::Contact) -> &pb::Person {
    contact.person.as_ref().expect("a person")
}

async fn merge(desk: &Desk, survivor: &str, loser: &str) {
    let request = pb::MergeContactsRequest { survivor: survivor.to_owned(), loser: loser.to_owned(), ..pb::MergeContactsRequest::default() };
    desk.merges().merge_contacts(desk.clerk.request(request)).await.expect("two contacts are one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_part_says_nothing_of_what_else_there_is() {
    let desk = Desk::open().await;
    let full = ["Family name", "E-mail 1", "E-mail 2", "Address 1 - Street", "Address 1 - Country", "External id - erp"];
    let text = format!("{}\nKaya,a@x.org,b@x.org,1 rue,France,1\n", full.join(","));
    desk.import(text.as_bytes(), pb::ImportRules { columns: rules(&full).columns, ..by_id(ImportMode::Create) }).await;
    let parts = ["E-mail 1", "E-mail 1 - Label", "Address 1 - Street", "Address 1 - State", "External id - erp"];
    let text = format!("{}\na@x.org,,2 rue,,1\n", parts.join(","));
    let rules = pb::ImportRules { clear_empty: true, columns: rules(&parts).columns, ..by_id(ImportMode::Update) };
    let (_, report) = desk.import(text.as_bytes(), rules).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    let live = desk.live().await;
    let mailboxes: Vec<&str> = person(&live[0]).contact_points.iter().map(|point| point.value.as_str()).collect();
    assert_eq!(mailboxes, ["a@x.org", "b@x.org"]);
    let [address] = person(&live[0]).addresses.as_slice() else { panic!("one address: {live:?}") };
    let postal = address.postal_address.as_ref().expect("an address");
    assert_eq!((postal.address_lines.as_slice(), postal.region_code.as_str()), (["2 rue".to_owned()].as_slice(), "FR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_text_can_hold_or_that_names_nobody_is_refused_alone() {
    let desk = Desk::open().await;
    let (_, report) = desk.import(b"Family name\nKa\0ya\nEr\n", rules(&["Family name"])).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("TEXT_INVALID", 1)]));
    let by_name = pb::ImportMatch { by: By::Record.into(), ..pb::ImportMatch::default() };
    let rules = pb::ImportRules { mode: ImportMode::CreateOrUpdate.into(), r#match: Some(by_name), ..rules(&["Record", "Family name"]) };
    let text = format!("Record,Family name\ncontacts/{},Copy\n,New\n", clock::new_id());
    let (_, report) = desk.import(text.as_bytes(), rules).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("RECORD_UNKNOWN", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_that_leaves_cells_out_can_be_mended_and_imported_as_it_comes_back() {
    let desk = Desk::open().await;
    let (_, report) = desk.import(b"E-mail 1,Family name,Given name\nnobody,Kaya\n", rules(&["E-mail 1", "Family name", "Given name"])).await;
    assert_eq!(counts(&report), [0, 0, 0, 1]);
    let refused = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
    assert!(refused.lines().nth(1).is_some_and(|line| line.starts_with("nobody,Kaya,,\"2\",\"FIELD_INVALID\",")), "{refused}");
    let mended = refused.replace("nobody,", "kaya@x.org,");
    let (_, report) = desk.import(mended.as_bytes(), rules(&["E-mail 1", "Family name", "Given name"])).await;
    assert_eq!(counts(&report), [1, 0, 0, 0]);
    assert_eq!(person(&desk.live().await[0]).given_name, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_knows_of_no_merge_reaches_the_contact_that_goes_on() {
    let desk = Desk::open().await;
    let feed = "Family name,Given name,E-mail 1,Phone 1,External id - erp\nKaya,Ada,,,1\nKaya,Adah,,,2\n";
    let (job, _) = desk.import(feed.as_bytes(), by_id(ImportMode::Create)).await;
    let [first, second] = desk.live().await.try_into().expect("two people");
    merge(&desk, &first.name, &second.name).await;
    let update = "Family name,Given name,E-mail 1,Phone 1,External id - erp\nKaya,Adah,adah@x.org,,2\n";
    let (_, report) = desk.import(update.as_bytes(), by_id(ImportMode::CreateOrUpdate)).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    let live = desk.live().await;
    assert_eq!(live.len(), 1);
    assert_eq!((person(&live[0]).given_name.as_str(), &live[0].external_ids), ("Adah", &first.external_ids), "it keeps its own id");

    let undo = desk.undo(&job.name).await;
    let [file] = undo.output_files.as_slice() else { panic!("one file: {undo:?}") };
    let left = String::from_utf8(desk.download(file).await).expect("text");
    assert!(left.contains(&format!("{},RECORD_MERGED", second.name)), "{left}");
}
