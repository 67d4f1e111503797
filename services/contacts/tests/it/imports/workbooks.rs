//! Workbooks: every row of a sheet loaded or reported as people see it, and nothing taken in that would take too much.

use std::io::{Cursor, Write};
use std::time::Duration;

use calamine::{Data, Reader, Xlsx};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::{ImportFormat, ImportMode};
use rapport_kit::tasks::Window;
use rapport_proto::common::v1::JobState;
use tonic::Code;

use super::by_id;
use super::desk::{Desk, column, counts, refusals, rules};
use super::zip::{Told, Zip};
use crate::exports::readers::python;
use crate::support::{refusal, violation};

const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
/// Styles: a number, a day, four digits at least.
const STYLES: &[u8] = b"<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"0000\"/></numFmts><cellXfs><xf/><xf numFmtId=\"14\"/>\
    <xf numFmtId=\"164\"/></cellXfs></styleSheet>";
const BOOK: &[u8] = b"<workbook xmlns:r=\"r\"><sheets><sheet name=\"Lists\" sheetId=\"1\" state=\"hidden\" r:id=\"rId1\"/>\
    <sheet name=\"People\" sheetId=\"2\" r:id=\"rId2\"/></sheets></workbook>";
const OTHER: &[u8] = b"<worksheet><sheetData><row><c t=\"inlineStr\"><is><t>Other</t></is></c></row></sheetData></worksheet>";
const SHEET: &str = "xl/worksheets/sheet2.xml";

/// A workbook without its second sheet, which is called People; the first one is hidden.
fn frame(texts: &[&str]) -> Zip {
    let mut zip = Zip::default();
    let relation = |id: &str, kind: &str, target: &str| format!("<Relationship Id=\"{id}\" Type=\"{RELATIONS}/{kind}\" Target=\"{target}\"/>");
    let relations = |all: &[String]| format!("<Relationships>{}</Relationships>", all.concat());
    let parts = [
        relation("rId1", "worksheet", "worksheets/sheet1.xml"),
        relation("rId2", "worksheet", "/xl/worksheets/sheet2.xml"),
        relation("rId3", "sharedStrings", "sharedStrings.xml"),
        relation("rId4", "styles", "styles.xml"),
    ];
    let texts: String = texts.iter().map(|text| format!("<si><t xml:space=\"preserve\">{text}</t></si>")).collect();
    zip.add("_rels/.rels", relations(&[relation("rId1", "officeDocument", "xl/workbook.xml")]).as_bytes());
    zip.add("xl/workbook.xml", BOOK);
    zip.add("xl/_rels/workbook.xml.rels", relations(&parts).as_bytes());
    zip.add("xl/styles.xml", STYLES);
    zip.add("xl/sharedStrings.xml", format!("<sst>{texts}</sst>").as_bytes());
    zip.add("xl/worksheets/sheet1.xml", OTHER);
    zip
}

/// A workbook with these rows in its sheet People.
fn workbook(texts: &[&str], rows: &str) -> Vec<u8> {
    let mut zip = frame(texts);
    zip.add(SHEET, format!("<worksheet><sheetData>{rows}</sheetData></worksheet>").as_bytes());
    zip.end()
}

/// A row on this line, each cell with its column: the number of a text, or as it stands.
fn row(line: usize, cells: &[(char, &str)]) -> String {
    let cell = |(column, content): &(char, &str)| match content.parse::<usize>() {
        Ok(text) => format!("<c r=\"{column}{line}\" t=\"s\"><v>{text}</v></c>"),
        Err(_) => format!("<c r=\"{column}{line}\" {content}</c>"),
    };
    format!("<row r=\"{line}\">{}</row>", cells.iter().map(cell).collect::<String>())
}

/// People with ids from 1 on, below the header in the first row.
fn many(count: usize) -> Vec<u8> {
    let person = |number: usize| row(number + 1, &[('A', "2"), ('B', &format!("><v>{number}</v>"))]);
    let rows: String = [row(1, &[('A', "0"), ('B', "1")])].into_iter().chain((1..=count).map(person)).collect();
    workbook(&["Family name", "External id - erp", "Kaya"], &rows)
}

/// The texts of the sheet with the refused rows, as another program reads them.
async fn refused(desk: &Desk, report: &pb::ImportReport) -> Vec<Vec<String>> {
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(desk.download(&report.refused_file).await)).expect("a workbook");
    assert_eq!(workbook.sheet_names().len(), 1);
    let range = workbook.worksheet_range_at(0).expect("a sheet").expect("a range");
    let text = |cell: &Data| if let Data::String(text) = cell { text.clone() } else { String::new() };
    range.rows().map(|row| row.iter().map(text).collect()).collect()
}

fn by_erp() -> pb::ImportRules {
    pb::ImportRules { columns: rules(&["Family name", "External id - erp"]).columns, ..by_id(ImportMode::Create) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_is_imported_as_people_see_it() {
    let desk = Desk::open().await;
    let texts = ["Last Name", "E-mail 1", "Birthday", "Id", "Kaya, Ayşe", "a@x.org", "nobody", "Er &amp; Can"];
    let rows = [
        row(3, &[('B', "0"), ('C', "1"), ('D', "2"), ('E', "3")]),
        row(5, &[('B', "4"), ('C', "5"), ('D', "s=\"1\"><v>29221</v>"), ('E', "><v>9.05321234567E11</v>")]),
        row(6, &[('B', "s=\"1\">")]),
        row(9, &[('B', "7"), ('C', "6")]),
        row(10, &[('B', "7"), ('E', "s=\"2\"><v>7</v>")]),
    ];
    let file = desk.upload("people.xlsx", &workbook(&texts, &rows.concat())).await;
    let told = desk.inspect(&file).await.expect("it is told");
    let source = told.source.expect("a source");
    assert_eq!((source.format(), source.sheet.as_str(), source.encoding.as_str(), source.delimiter.as_str()), (ImportFormat::Xlsx, "People", "", ""));
    assert_eq!(told.sheets, ["Lists", "People"]);
    assert_eq!(told.header, ["", "Last Name", "E-mail 1", "Birthday", "Id"]);
    assert_eq!((told.rows.len(), told.estimated_row_count), (3, 3));
    assert_eq!(told.rows[0].cells, ["", "Kaya, Ayşe", "a@x.org", "1980-01-01", "905321234567"]);
    let mut rules = pb::ImportRules { columns: told.columns, ..rules(&[]) };
    rules.columns.push(column("External id - erp", "Id"));
    let (job, report) = desk.import_file(&file, rules, false).await;
    assert_eq!((counts(&report), refusals(&report)), ([2, 0, 0, 1], vec![("FIELD_INVALID", 1)]));
    assert_eq!((job.total_count, desk.count("import_pieces").await), (Some(3), 0));
    // By name.
    let live = desk.live().await;
    let person = |number: usize| live[number].person.clone().expect("a person");
    let birth = person(1).birth_date.map(|date| (date.year, date.month, date.day));
    let id = |number: usize| live[number].external_ids[0].id.as_str();
    assert_eq!((person(1).family_name.as_str(), birth, id(1)), ("Kaya, Ayşe", Some((1980, 1, 1)), "905321234567"));
    assert_eq!((person(0).family_name.as_str(), id(0)), ("Er & Can", "0007"));
    assert_eq!(job.output_files, std::slice::from_ref(&report.refused_file));
    let sheet = refused(&desk, &report).await;
    // This program leaves the first column out, which is empty.
    assert_eq!(sheet[0], ["Last Name", "E-mail 1", "Birthday", "Id", "Line", "Reason", "Message"]);
    assert_eq!((sheet.len(), &sheet[1][..6]), (2, &["Er & Can", "nobody", "", "", "9", "FIELD_INVALID"].map(str::to_owned)[..]));
    assert_eq!(desk.inspect(&report.refused_file).await.expect("it is a workbook").header[..2], ["", "Last Name"]);
    let request = rapport_proto::common::v1::GetFileRequest { name: report.refused_file };
    let file = desk.files().get_file(desk.clerk.request(request)).await.expect("it is there").into_inner();
    assert_eq!(file.display_name, "people (refused).xlsx");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sheet_that_is_named_is_read() {
    let desk = Desk::open().await;
    let file = desk.upload("people.xlsx", &many(1)).await;
    let inspect = async |sheet: &str| {
        let source = Some(pb::ImportSource { sheet: sheet.to_owned(), ..pb::ImportSource::default() });
        let request = pb::InspectImportRequest { file: file.clone(), source, ..pb::InspectImportRequest::default() };
        desk.imports().inspect_import(desk.clerk.request(request)).await.map(tonic::Response::into_inner)
    };
    assert_eq!(inspect("Lists").await.expect("it is there").header, ["Other"]);
    assert_eq!(inspect("").await.expect("there are two").header, ["Family name", "External id - erp"]);
    assert_eq!(violation(&inspect("Animals").await.expect_err("there is none")).0, "source.sheet");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_a_workbook_whose_process_dies_comes_to_the_same_end_and_is_undone() {
    let desk = Desk::with_jobs(0).await;
    let file = desk.upload("people.xlsx", &many(1200)).await;
    let request = pb::StartImportRequest { file: file.clone(), rules: Some(by_erp()), ..pb::StartImportRequest::default() };
    let job = desk.start(request.clone()).await.expect("the import is started").name;
    // The first step unpacks, the second one writes.
    for window in [Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
        desk.die_at(window).await;
        assert_eq!((desk.count("import_pieces").await, desk.count("contacts").await), (3, 0), "{window:?}");
        desk.end_leases().await;
    }
    let _survivor = desk.worker();
    desk.succeeded(&job).await;
    let report = desk.report(&job).await;
    assert_eq!((counts(&report), desk.live().await.len(), desk.count("import_pieces").await), ([1200, 0, 0, 0], 1200, 0));
    let dry = desk.start(pb::StartImportRequest { dry_run: true, ..request }).await.expect("the import is started").name;
    desk.succeeded(&dry).await;
    assert_eq!(refusals(&desk.report(&dry).await), [("RECORD_KNOWN", 1200)]);
    desk.undo(&job).await;
    assert!(desk.live().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_one_workbook_whatever_dies_and_can_be_imported_again() {
    let desk = Desk::with_jobs(0).await;
    // Every fifth row has no name; one would be a formula.
    let texts = ["Family name", "Notes", "Kaya", "=1+1", "E-mail 1", "nobody"];
    let person = |number: usize| match number % 5 {
        0 => row(number + 1, &[('B', "3"), ('C', "5")]),
        _ => row(number + 1, &[('A', "2"), ('B', "3")]),
    };
    let rows: String = [row(1, &[('A', "0"), ('B', "1"), ('C', "4")])].into_iter().chain((1..=1200).map(person)).collect();
    let file = desk.upload("people.xlsx", &workbook(&texts, &rows)).await;
    let rules = rules(&["Family name", "Notes", "E-mail 1"]);
    let request = pb::StartImportRequest { file, rules: Some(rules.clone()), ..pb::StartImportRequest::default() };
    let job = desk.start(request.clone()).await.expect("the import is started").name;
    for window in [Window::AfterStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
        assert_eq!(desk.report(&job).await.refused_file, "", "a part of a workbook is none");
    }
    let survivor = desk.worker();
    desk.succeeded(&job).await;
    assert!(survivor.stop(Duration::from_secs(5)).await);
    let report = desk.report(&job).await;
    assert_eq!((counts(&report), refusals(&report)), ([960, 0, 0, 240], vec![("FIELD_INVALID", 240)]));
    let sheet = refused(&desk, &report).await;
    let lines: Vec<usize> = sheet[1..].iter().map(|cells| cells[3].parse().expect("a line")).collect();
    assert_eq!(lines, (1..=240).map(|nth| nth * 5 + 1).collect::<Vec<_>>());
    assert!(sheet[1..].iter().all(|cells| cells[..3] == ["", "'=1+1", "nobody"]), "{:?}", sheet[1]);

    let cancelled = desk.start(request).await.expect("the import is started").name;
    for window in [Window::AfterStepCommit, Window::AfterStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
    }
    let cancel = rapport_proto::common::v1::CancelJobRequest { name: cancelled.clone() };
    desk.jobs().cancel_job(desk.clerk.request(cancel)).await.expect("it is cancelled");
    let _survivor = desk.worker();
    assert_eq!(desk.ended(&cancelled).await.output_files, Vec::<String>::new());
    let told_of_it = desk.report(&cancelled).await;
    assert_eq!((told_of_it.refused_file.as_str(), refusals(&told_of_it)), ("", vec![("FIELD_INVALID", 100)]));

    let told = desk.inspect(&report.refused_file).await.expect("it is a workbook");
    assert_eq!((told.header.len(), told.rows[0].cells[1].as_str()), (6, "'=1+1"));
    let mended = pb::ImportRules { columns: vec![column("Family name", "Line"), column("Notes", "Notes")], ..rules };
    let (_, again) = desk.import_file(&report.refused_file, mended, false).await;
    assert_eq!(counts(&again), [240, 0, 0, 0]);
    let people: Vec<pb::Person> = desk.live().await.into_iter().filter_map(|contact| contact.person).collect();
    assert!(people.iter().all(|person| person.notes == "=1+1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_of_another_program_is_imported() {
    let program = "import datetime, io, openpyxl\nbook = openpyxl.Workbook()\nsheet = book.active\nsheet.title = 'Ki\\u015filer'\n\
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904\n\
        sheet.append(['Family name', 'Birth date', 'External id - erp', 'Notes'])\n\
        sheet.append(['Y\\u0131lmaz', datetime.date(1980, 1, 31), 905321234567, 'a\\nb'])\n\
        sheet.append([])\nsheet.append([True, datetime.datetime(1980, 1, 31), 1.5, '=1+1'])\n\
        out = io.BytesIO()\nbook.save(out)\nprint(out.getvalue().hex())";
    let Some(hex) = python("openpyxl", program, b"") else { return };
    let desk = Desk::open().await;
    let file = desk.upload("people.xlsx", &hex::decode(hex.trim()).expect("bytes")).await;
    let told = desk.inspect(&file).await.expect("it is told");
    assert_eq!(told.sheets, ["Kişiler"]);
    let rows: Vec<Vec<String>> = told.rows.into_iter().map(|row| row.cells).collect();
    assert_eq!(rows, [vec!["Yılmaz", "1980-01-31", "905321234567", "a\nb"], vec!["TRUE", "1980-01-31", "1.5"]]);
    let (_, report) = desk.import_file(&file, pb::ImportRules { columns: told.columns, ..super::desk::rules(&[]) }, false).await;
    assert_eq!(counts(&report), [2, 0, 0, 0], "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_are_refused_alone() {
    let desk = Desk::open().await;
    let long = "x".repeat(600_000);
    let rows = format!(
        "{}<row r=\"2\"><c r=\"A2\" t=\"s\"><v>0</v></c><c r=\"AMK2\"><v>1</v></c></row>{}{}",
        row(1, &[('A', "0")]),
        row(3, &[('A', "1"), ('B', "1")]),
        row(4, &[('A', "0")])
    );
    let file = desk.upload("people.xlsx", &workbook(&["Family name", &long], &rows)).await;
    let (_, report) = desk.import_file(&file, rules(&["Family name"]), false).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 2], vec![("ROW_TOO_LONG", 1), ("ROW_TOO_WIDE", 1)]));
}

/// A deflated stream of ten GiB of spaces, in some ten megabytes.
fn spaces() -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 1 << 20]).and_then(|()| encoder.flush()).expect("memory takes it");
    // It refers to nothing before itself, and ends on a whole byte.
    encoder.get_ref().repeat(10 * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_take_too_much_is_refused_before_it_is_unpacked() {
    let desk = Desk::open().await;
    let spaces = spaces();
    let sheet = b"<worksheet><sheetData><row><c t=\"inlineStr\"><is><t>Family name</t></is></c></row></sheetData></worksheet>";
    let (size, checksum) = (u64::try_from(sheet.len()).expect("a length"), crc32fast::hash(sheet));
    let honest = Told { name: SHEET, packed: sheet, size, checksum, method: 0, is_encrypted: false };
    let with = |told: Told<'_>| {
        let mut zip = frame(&["Family name"]);
        zip.tell(&told);
        zip.end()
    };
    let crowd = {
        let mut zip = frame(&[]);
        for number in 0..100_000 {
            zip.tell(&Told { name: &number.to_string(), packed: b"", size: 0, checksum: 0, ..honest });
        }
        zip.end()
    };
    let sound = with(honest);
    let entity = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><row><c><v>&b;</v></c></row>";
    for (what, bytes, expected) in [
        ("ten GiB", with(Told { packed: &spaces, size: 10 << 30, method: 8, ..honest }), "WORKBOOK_TOO_LARGE"),
        ("ten GiB that are said to be one MiB", with(Told { packed: &spaces, size: 1 << 20, method: 8, ..honest }), "FILE_UNREADABLE"),
        ("a crowd", crowd, "WORKBOOK_TOO_LARGE"),
        ("another checksum", with(Told { checksum: 7, ..honest }), "FILE_UNREADABLE"),
        ("less than it says", with(Told { size: size + 1, ..honest }), "FILE_UNREADABLE"),
        ("protected", with(Told { is_encrypted: true, ..honest }), "FILE_UNREADABLE"),
        ("names of texts", workbook(&[], entity), "FILE_UNREADABLE"),
        ("rows in rows", workbook(&[], &"<row>".repeat(1000)), "FILE_EMPTY"),
        ("quotes in quotes", workbook(&[], &format!("<row a=\"{}", "'\" \"'".repeat(500_000))), "WORKBOOK_TOO_LARGE"),
        ("cut off", sound[..sound.len() - 30].to_vec(), "FILE_UNREADABLE"),
        ("an old workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "FILE_UNREADABLE"),
    ] {
        let file = desk.upload("people.xlsx", &bytes).await;
        let refused = desk.inspect(&file).await.expect_err(what);
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, expected.to_owned()), "{what}");
    }
    assert!(desk.inspect(&desk.upload("people.xlsx", &sound).await).await.is_ok());
    for (names, told) in [(["mimetype", "content.xml"], "OpenDocument"), (["_rels/.rels", "word/document.xml"], "text document")] {
        let mut zip = Zip::default();
        names.iter().for_each(|name| zip.add(name, b"<a/>"));
        let refused = desk.inspect(&desk.upload("people.xlsx", &zip.end()).await).await.expect_err(told);
        assert!(refused.message().contains(told), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_further_down_ends_the_import_before_a_row_is_written() {
    let desk = Desk::open().await;
    // The last row has a text that is not there.
    let rows: String = (1..2000).map(|line| row(line, &[('A', "0")])).chain([row(2000, &[('A', "9")])]).collect();
    let file = desk.upload("people.xlsx", &workbook(&["Family name"], &rows)).await;
    let request = pb::StartImportRequest { file, rules: Some(super::desk::rules(&["Family name"])), ..pb::StartImportRequest::default() };
    let job = desk.start(request).await.expect("its beginning is sound").name;
    let job = desk.ended(&job).await;
    assert_eq!((job.state(), job.error.expect("an error").reason.as_str()), (JobState::Failed, "FILE_UNREADABLE"));
    assert!(desk.live().await.is_empty());
}
