//! Imports: every row loaded or reported, once, whatever dies on the way, and taken back.

mod accounts;
mod cards;
mod cells;
mod compared;
pub(crate) mod desk;
mod edges;
mod migration;
mod published;
mod rounds;
mod workbooks;
mod zip;

use std::time::Duration;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::tasks::Window;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel, JobState};
use tonic::Code;

use self::desk::{Desk, column, counts, refusals, rules};
use crate::support::refusal;

const PEOPLE: &str = "Family name,Given name,E-mail 1,Phone 1,External id - erp\r\n\
    Kaya,Ayşe,ayse@example.org,'+905321234567,1\r\n\
    Şahin,\"Ali, Can\",ali@example.org,,2\r\n\
    Öz,Deniz,nobody,,3\r\n\
    \"Er,Can,can@example.org,,5\"\r\n\
    Kaya,Ayşe,other@example.org,,1\r\n\
    ,,,,4\r\n";
const COLUMNS: [&str; 5] = ["Family name", "Given name", "E-mail 1", "Phone 1", "External id - erp"];

/// Rules that match by the id in `erp`.
fn by_id(mode: ImportMode) -> pb::ImportRules {
    let by = pb::ImportMatch { by: By::ExternalId.into(), system: "erp".to_owned() };
    pb::ImportRules { mode: mode.into(), r#match: Some(by), ..rules(&COLUMNS) }
}

/// People with ids from 1 on, in rows of about a hundred bytes.
fn many(count: usize) -> String {
    let row = |number: usize| format!("Family {number},Given {number},person{number}@example.org,,{number}\n");
    format!("{}\n{}", COLUMNS.join(","), (1..=count).map(row).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_becomes_a_contact_or_comes_back_with_its_reason() {
    let desk = Desk::open().await;
    let (job, report) = desk.import(PEOPLE.as_bytes(), by_id(ImportMode::Create)).await;
    assert_eq!(counts(&report), [2, 0, 0, 4]);
    assert_eq!(refusals(&report), [("FIELD_INVALID", 2), ("ROW_REPEATED", 1), ("ROW_UNEVEN", 1)]);
    let live = desk.live().await;
    let people: Vec<&pb::Person> = live.iter().filter_map(|contact| contact.person.as_ref()).collect();
    assert_eq!(people.iter().map(|person| person.given_name.as_str()).collect::<Vec<_>>(), ["Ayşe", "Ali, Can"]);
    assert_eq!(people[0].contact_points.iter().map(|point| point.value.as_str()).collect::<Vec<_>>(), ["ayse@example.org", "+905321234567"]);
    assert_eq!(live[0].owner, desk.clerk.name());
    assert_eq!(job.output_files, std::slice::from_ref(&report.refused_file));
    let refused = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines.len(), 5, "{refused}");
    assert!(lines[0].ends_with("\"Line\",\"Reason\",\"Message\""), "{refused}");
    assert!(lines[1].starts_with("Öz,Deniz,nobody,,3,\"4\",\"FIELD_INVALID\",\""), "{refused}");
    assert!(lines[2].starts_with("\"Er,Can,can@example.org,,5\",,,,,\"5\",\"ROW_UNEVEN\",\""), "{refused}");
    assert!(lines[3].starts_with("Kaya,Ayşe,other@example.org,,1,\"6\",\"ROW_REPEATED\",\"Line 2 "), "{refused}");
    assert!(lines[4].starts_with(",,,,4,\"7\",\"FIELD_INVALID\",\""), "{refused}");
    assert_eq!(desk.count("import_keys").await, 0, "what was remembered of rows is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_changes_nothing_and_what_is_new_is_added() {
    let desk = Desk::open().await;
    desk.import(PEOPLE.as_bytes(), by_id(ImportMode::CreateOrUpdate)).await;
    let before = desk.live().await;
    let (_, report) = desk.import(PEOPLE.as_bytes(), by_id(ImportMode::CreateOrUpdate)).await;
    assert_eq!(counts(&report), [0, 0, 2, 4]);
    assert_eq!(desk.live().await, before);
    let changed = "Family name,Given name,E-mail 1,Phone 1,External id - erp\nYıldız,,ayse@work.example,,1\nNew,One,,,9\n";
    let (_, report) = desk.import(changed.as_bytes(), by_id(ImportMode::Update)).await;
    assert_eq!((counts(&report), refusals(&report)), ([0, 1, 0, 1], vec![("RECORD_UNKNOWN", 1)]));
    let live = desk.live().await;
    let person = live.iter().filter_map(|contact| contact.person.as_ref()).find(|person| person.family_name == "Yıldız").expect("she is renamed");
    assert_eq!((person.given_name.as_str(), person.contact_points.len()), ("Ayşe", 3), "an empty cell erases nothing");
    let (_, report) = desk.import(changed.as_bytes(), by_id(ImportMode::Create)).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("RECORD_KNOWN", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cell_empties_the_field_if_that_is_asked_for() {
    let desk = Desk::open().await;
    desk.import(PEOPLE.as_bytes(), by_id(ImportMode::Create)).await;
    let emptied = "Family name,Given name,E-mail 1,Phone 1,External id - erp\nKaya,,,'+905321234567,1\n";
    let rules = pb::ImportRules { clear_empty: true, ..by_id(ImportMode::Update) };
    let (_, report) = desk.import(emptied.as_bytes(), rules).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    let person = desk.live().await.remove(0).person.expect("a person");
    let points: Vec<&str> = person.contact_points.iter().map(|point| point.value.as_str()).collect();
    assert_eq!((person.given_name.as_str(), points), ("", vec!["+905321234567"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reports_what_the_real_run_does_and_keeps_nothing() {
    let desk = Desk::open().await;
    let first = "Family name,Given name,E-mail 1,Phone 1,External id - erp\nKara,Ayşe,,,1\n";
    desk.import(first.as_bytes(), by_id(ImportMode::Create)).await;
    let before = desk.live().await;
    let text = [PEOPLE, &many(1200).lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()].concat();
    let file = desk.upload("people.csv", text.as_bytes()).await;
    let (_, dry) = desk.import_file(&file, by_id(ImportMode::CreateOrUpdate), true).await;
    assert_eq!(desk.live().await, before);
    let (_, real) = desk.import_file(&file, by_id(ImportMode::CreateOrUpdate), false).await;
    assert_eq!((counts(&dry), refusals(&dry)), (counts(&real), refusals(&real)));
    assert_eq!((dry.dry_run, real.dry_run), (true, false));
    assert_eq!(desk.download(&dry.refused_file).await, desk.download(&real.refused_file).await);
    assert_eq!(counts(&real), [1199, 1, 0, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_process_dies_anywhere_comes_to_the_same_end() {
    let desk = Desk::with_jobs(0).await;
    let text = [many(1200), PEOPLE.lines().skip(1).map(|line| format!("{line}\n")).collect()].concat();
    let file = desk.upload("people.csv", text.as_bytes()).await;
    let request = pb::StartImportRequest { file, rules: Some(by_id(ImportMode::Create)), ..pb::StartImportRequest::default() };
    let job = desk.start(request).await.expect("the import is started").name;
    for window in [Window::JobTaken, Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
    }
    let survivor = desk.worker();
    desk.succeeded(&job).await;
    assert!(survivor.stop(Duration::from_secs(5)).await);
    let report = desk.report(&job).await;
    assert_eq!((counts(&report), refusals(&report)), ([1200, 0, 0, 6], vec![("ROW_REPEATED", 5), ("ROW_UNEVEN", 1)]));
    assert_eq!(desk.live().await.len(), 1200);
    let refused = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
    assert_eq!(refused.lines().count(), 7, "{refused}");

    let undo = rapport_proto::common::v1::UndoJobRequest { name: job.clone() };
    let undo = desk.jobs().undo_job(desk.clerk.request(undo)).await.expect("it can be undone").into_inner().name;
    for window in [Window::BeforeStepCommit, Window::AfterStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
    }
    let _survivor = desk.worker();
    desk.succeeded(&undo).await;
    assert!(desk.live().await.is_empty());
    assert_eq!(desk.ended(&job).await.state(), JobState::Undone);
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_an_import_brings_everything_back_but_what_was_edited_since() {
    let desk = Desk::open().await;
    desk.import(many(3).as_bytes(), by_id(ImportMode::Create)).await;
    let before = desk.live().await;
    let update = "Family name,Given name,E-mail 1,Phone 1,External id - erp\n\
        Changed,,new@example.org,0532 123 45 67,1\nFamily 2,Given 2,,,2\nChanged,,,,3\nNew,,,,4\nEdited,,,,5\n";
    let (job, report) = desk.import(update.as_bytes(), by_id(ImportMode::CreateOrUpdate)).await;
    assert_eq!(counts(&report), [2, 2, 1, 0]);
    let edited = desk.live().await.into_iter().find(|contact| contact.person.as_ref().is_some_and(|person| person.family_name == "Edited"));
    let edited = pb::Contact { tags: vec!["vip".to_owned()], ..edited.expect("it was imported") };
    let request = pb::UpdateContactRequest { contact: Some(edited.clone()), update_mask: None, ..Default::default() };
    desk.contacts().update_contact(desk.clerk.request(request)).await.expect("it is edited");
    let undo = desk.undo(&job.name).await;
    assert_eq!((undo.done_count, undo.refused_count), (4, 1));
    let [file] = undo.output_files.as_slice() else { panic!("one file: {undo:?}") };
    let left = String::from_utf8(desk.download(file).await).expect("text");
    assert_eq!(left, format!("Name,Reason\r\n{},EDITED_SINCE\r\n", edited.name));
    let (kept, after): (Vec<pb::Contact>, Vec<pb::Contact>) = desk.live().await.into_iter().partition(|contact| contact.name == edited.name);
    assert_eq!((kept.len(), after), (1, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_does_no_more_than_who_asked_for_it_may() {
    let desk = Desk::open().await;
    let file = desk.upload("people.csv", PEOPLE.as_bytes()).await;
    let rule =
        |field: &str, effect: FieldEffect| FieldRule { resource: "contacts.contact".to_owned(), field: field.to_owned(), effect: effect.into() };
    for (permissions, field_rules, expected) in [
        (vec!["contacts.contact.*", "files.*"], vec![], "PERMISSION_MISSING"),
        (vec!["contacts.*", "files.*"], vec![rule("person.given_name", FieldEffect::ReadOnly)], "FIELD_READ_ONLY"),
        (vec!["contacts.*", "files.*"], vec![rule("external_ids", FieldEffect::Hidden)], "FIELD_READ_ONLY"),
    ] {
        let who = desk.identity.user(desk.tenant, None, desk.identity.role(desk.tenant, &permissions, field_rules), GrantLevel::All);
        let request = pb::StartImportRequest { file: file.clone(), rules: Some(by_id(ImportMode::Create)), ..pb::StartImportRequest::default() };
        let refused = desk.imports().start_import(who.request(request)).await.expect_err(expected);
        assert_eq!(refusal(&refused), (Code::PermissionDenied, expected.to_owned()));
    }
    let reader = desk.identity.role(desk.tenant, &["contacts.import.*", "contacts.contact.read", "files.*", "jobs.*"], Vec::new());
    let reader = desk.identity.user(desk.tenant, None, reader, GrantLevel::All);
    let request = pb::StartImportRequest { file, rules: Some(by_id(ImportMode::Create)), ..pb::StartImportRequest::default() };
    let job = desk.imports().start_import(reader.request(request)).await.expect("the import is started").into_inner();
    desk.ended(&job.name).await;
    let report = desk.report(&job.name).await;
    assert_eq!((counts(&report)[0], refusals(&report)), (0, vec![("PERMISSION_MISSING", 5), ("ROW_UNEVEN", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_tells_what_it_is_and_how_it_may_be_mapped() {
    let desk = Desk::open().await;
    let (text, _, _) =
        encoding_rs::WINDOWS_1254.encode("First Name;Last Name;Email;Shoe size\r\nAyşe;Yılmaz;a@x.org;38\r\nIşıl;Çağrı;i@x.org;39\r\n");
    let file = desk.upload("people.csv", &text).await;
    let told = desk.inspect(&file).await.expect("it is told");
    let source = told.source.expect("a source");
    assert_eq!((source.encoding.as_str(), source.delimiter.as_str(), source.quote.as_str()), ("windows-1254", ";", "\""));
    assert_eq!(told.header, ["First Name", "Last Name", "Email", "Shoe size"]);
    assert_eq!(told.columns, [column("Given name", "First Name"), column("Family name", "Last Name"), column("E-mail 1", "Email")]);
    assert_eq!((told.rows.len(), told.rows[0].cells[1].as_str(), told.estimated_row_count), (2, "Yılmaz", 2));
    let rules = pb::ImportRules { collection: "contacts".to_owned(), columns: told.columns, ..pb::ImportRules::default() };
    let (_, report) = desk.import_file(&file, rules, false).await;
    assert_eq!(counts(&report), [2, 0, 0, 0]);
    for (bytes, expected) in [(b"\n\n".as_slice(), "FILE_EMPTY"), (b"PK\x03\x04".as_slice(), "FILE_UNREADABLE")] {
        let file = desk.upload("people.csv", bytes).await;
        let refused = desk.inspect(&file).await.expect_err(expected);
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, expected.to_owned()));
    }
    let file = desk.upload("people.csv", b"Family name\n").await;
    assert_eq!(counts(&desk.import_file(&file, desk::rules(&["Family name"]), false).await.1), [0, 0, 0, 0], "a header alone is no row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_under_the_reader_ends_its_import() {
    let desk = Desk::with_jobs(0).await;
    let file = desk.upload("people.csv", many(1200).as_bytes()).await;
    let request = pb::StartImportRequest { file: file.clone(), rules: Some(by_id(ImportMode::Create)), ..pb::StartImportRequest::default() };
    let job = desk.start(request).await.expect("the import is started").name;
    desk.die_at(Window::AfterStepCommit).await;
    let delete = rapport_proto::common::v1::DeleteFileRequest { name: file };
    desk.files().delete_file(desk.clerk.request(delete)).await.expect("the file is deleted");
    desk.end_leases().await;
    let _survivor = desk.worker();
    let ended = desk.ended(&job).await;
    assert_eq!((ended.state(), ended.error.map(|error| error.reason)), (JobState::Failed, Some("RECORD_NOT_FOUND".to_owned())));
    assert_eq!(counts(&desk.report(&job).await), [500, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_text_or_too_long_is_reported_and_the_others_are_loaded() {
    let desk = Desk::open().await;
    let mut text = b"Family name,Notes\nKaya,x\nbad,\xff\nwide".to_vec();
    text.extend(vec![b','; 1_000_000]);
    text.extend(b"\nlong,".iter().chain(&vec![b'x'; 3 * 1024 * 1024]));
    text.extend(b"\nOpen,\"never closed\nDemir,y\n");
    let padded = format!("Row,{}\n", "x".repeat(6000));
    text.extend(padded.as_bytes().repeat(200));
    let rules = pb::ImportRules { columns: vec![column("Family name", "Family name")], ..desk::rules(&["Family name"]) };
    let source = pb::ImportSource { encoding: "utf-8".to_owned(), delimiter: ",".to_owned(), ..pb::ImportSource::default() };
    let file = desk.upload("people.csv", &text).await;
    let request = pb::StartImportRequest { file, rules: Some(rules), source: Some(source), dry_run: true, ..pb::StartImportRequest::default() };
    let job = desk.start(request).await.expect("the import is started").name;
    desk.succeeded(&job).await;
    let report = desk.report(&job).await;
    let expected = vec![("ROW_TOO_LONG", 2), ("ROW_TOO_WIDE", 1), ("TEXT_UNREADABLE", 1)];
    assert_eq!((counts(&report)[0], refusals(&report)), (202, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_are_no_rows_however_many_there_are() {
    let desk = Desk::open().await;
    let text = ["Family name\r\nKaya\r\n", &"\r\n".repeat(3 * 1024 * 1024), "Er"].concat();
    let (_, report) = desk.import(text.as_bytes(), rules(&["Family name"])).await;
    assert_eq!(counts(&report), [2, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_and_given_back_in_its_own_encoding() {
    let desk = Desk::open().await;
    let text = "\u{feff}Family name;Given name;E-mail 1\r\nYılmaz;Ayşe 🎈;ayse@example.org\r\nŞahin;Işıl;nobody\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, encoding) in [(text.as_bytes().to_vec(), "utf-8"), (little, "utf-16le"), (big, "utf-16be")] {
        let file = desk.upload("people.csv", &bytes).await;
        let source = desk.inspect(&file).await.expect("it is told").source.expect("a source");
        assert_eq!((source.encoding.as_str(), source.delimiter.as_str()), (encoding, ";"));
        let (_, report) = desk.import_file(&file, rules(&["Family name", "Given name", "E-mail 1"]), false).await;
        assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("FIELD_INVALID", 1)]), "{encoding}");
        let refused = desk.download(&report.refused_file).await;
        let (told, read_as, _) = encoding_rs::UTF_8.decode(&refused);
        assert_eq!(read_as.name().to_lowercase(), encoding);
        assert!(told.contains("\r\nŞahin;Işıl;nobody;\"3\";\"FIELD_INVALID\";\""), "{told}");
    }
    let given: Vec<String> = desk.live().await.into_iter().filter_map(|contact| Some(contact.person?.given_name)).collect();
    assert_eq!(given, ["Ayşe 🎈"; 3]);
}
