//! Exports: who gets what in them, in which form, and that a job writes the same as a call.

mod columns;
pub(crate) mod death;
pub(crate) mod readers;

use std::collections::BTreeSet;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ExportFormat;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_contacts_api::v1::export_service_client::ExportServiceClient;
use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::file_service_client::FileServiceClient;
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{self as common, DownloadFileRequest, FieldEffect, FieldRule, GetJobRequest, GrantLevel, Job};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{Desk, named, reading, refusal, violation};

const EVERYTHING: &[&str] = &["contacts.*", "jobs.*", "files.*"];

fn client(desk: &Desk) -> ExportServiceClient<Channel> {
    ExportServiceClient::new(desk.service.channel.clone())
}

fn options(format: ExportFormat) -> pb::ExportOptions {
    pb::ExportOptions { format: format.into(), ..pb::ExportOptions::default() }
}

fn columns(headers: &[&str]) -> pb::ExportOptions {
    pb::ExportOptions { columns: headers.iter().map(|header| (*header).to_owned()).collect(), ..options(ExportFormat::Csv) }
}

/// The file of contacts that somebody gets in one call.
async fn contacts(desk: &Desk, who: &Subject, options: pb::ExportOptions) -> Result<Vec<u8>, Status> {
    let mut stream = client(desk).export_contacts(who.request(pb::ExportContactsRequest { options: Some(options) })).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await? {
        assert!((1..=1 << 20).contains(&piece.data.len()), "a piece of {} bytes", piece.data.len());
        bytes.extend(piece.data);
    }
    Ok(bytes)
}

async fn accounts(desk: &Desk, who: &Subject, options: pb::ExportOptions) -> Result<Vec<u8>, Status> {
    let mut stream = client(desk).export_accounts(who.request(pb::ExportAccountsRequest { options: Some(options) })).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await? {
        bytes.extend(piece.data);
    }
    Ok(bytes)
}

async fn start(desk: &Desk, who: &Subject, options: pb::ExportOptions) -> Result<Job, Status> {
    let request = pb::StartExportRequest { collection: "contacts".to_owned(), options: Some(options) };
    Ok(client(desk).start_export(who.request(request)).await?.into_inner())
}

/// The job once it has ended.
pub(crate) async fn ended(desk: &Desk, who: &Subject, name: &str) -> Job {
    let jobs = JobServiceClient::new(desk.service.channel.clone());
    eventually(&format!("an end of {name}"), async || {
        let job = jobs.clone().get_job(who.request(GetJobRequest { name: name.to_owned() })).await.expect("the job is there").into_inner();
        job.end_time.is_some().then_some(job)
    })
    .await
}

/// What the job wrote.
pub(crate) async fn written(desk: &Desk, who: &Subject, job: &Job) -> Vec<u8> {
    let [file] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    let request = DownloadFileRequest { name: file.clone(), offset: 0 };
    let mut stream = FileServiceClient::new(desk.service.channel.clone()).download_file(who.request(request)).await.expect("a file").into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.expect("a piece") {
        bytes.extend(piece.data);
    }
    bytes
}

/// Header and rows as another program reads them.
pub(crate) fn table(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
}

fn texts(rows: &[&[&str]]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
}

fn person(given_name: &str, family_name: &str, phones: &[&str]) -> pb::Contact {
    let point = |value: &&str| pb::ContactPoint { kind: Kind::Phone.into(), value: (*value).to_owned(), ..pb::ContactPoint::default() };
    let person = pb::Person {
        given_name: given_name.to_owned(),
        family_name: family_name.to_owned(),
        contact_points: phones.iter().map(point).collect(),
        ..pb::Person::default()
    };
    pb::Contact { person: Some(person), ..pb::Contact::default() }
}

/// Somebody with these permissions, at this level.
fn somebody(desk: &Desk, permissions: &[&str], rules: Vec<FieldRule>, level: GrantLevel) -> Subject {
    let identity = &desk.service.identity;
    identity.user(desk.tenant, None, identity.role(desk.tenant, permissions, rules), level)
}

fn rule(field: &str, effect: FieldEffect) -> FieldRule {
    FieldRule { resource: "contacts.contact".to_owned(), field: field.to_owned(), effect: effect.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_the_live_records_and_the_columns_that_they_need() {
    let desk = Desk::open().await;
    let ada = desk.create(person("Ada", "Lovelace", &["+44 20 7183 8750"])).await.unwrap();
    let formula =
        desk.create(pb::Contact { tags: vec!["vip".to_owned()], ..person("=HYPERLINK(\"x\")", "Two\nlines, \"here\"", &[]) }).await.unwrap();
    let gone = desk.create(named("Gone")).await.unwrap();
    let request = pb::DeleteContactRequest { name: gone.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(request)).await.unwrap();

    let all = table(&contacts(&desk, &desk.clerk, options(ExportFormat::Csv)).await.unwrap());
    let headers = &all[0];
    for header in ["Record", "Given name", "Family name", "Phone 1", "Tags", "Owner", "Created"] {
        assert!(headers.iter().any(|known| known == header), "{header} is missing in {headers:?}");
    }
    assert!(!headers.iter().any(|header| header == "Phone 2" || header == "Deleted"), "{headers:?}");
    assert_eq!(all.len(), 3);

    let some = columns(&["Family name", "Given name", "Phone 1", "Record"]);
    let expected = texts(&[
        &["Family name", "Given name", "Phone 1", "Record"],
        &["Lovelace", "Ada", "'+44 20 7183 8750", &ada.name],
        &["Two\nlines, \"here\"", "'=HYPERLINK(\"x\")", "", &formula.name],
    ]);
    assert_eq!(table(&contacts(&desk, &desk.clerk, some.clone()).await.unwrap()), expected);
    let marked = contacts(&desk, &desk.clerk, pb::ExportOptions { byte_order_mark: true, ..some.clone() }).await.unwrap();
    assert!(marked.starts_with(b"\xef\xbb\xbfFamily name,"));
    let tagged = pb::ExportOptions { filter: "tags:vip".to_owned(), ..some.clone() };
    assert_eq!(table(&contacts(&desk, &desk.clerk, tagged).await.unwrap())[1..], expected[2..]);
    let chosen = pb::ExportOptions { names: vec![gone.name, ada.name], ..some };
    assert_eq!(table(&contacts(&desk, &desk.clerk, chosen).await.unwrap())[1..], expected[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_records_has_a_header() {
    let desk = Desk::open().await;
    let empty = table(&contacts(&desk, &desk.clerk, options(ExportFormat::Csv)).await.unwrap());
    assert_eq!(empty.len(), 1);
    assert!(empty[0].iter().any(|header| header == "Family name"), "{empty:?}");
    for format in [ExportFormat::Vcard3, ExportFormat::JsonLines] {
        assert!(accounts(&desk, &desk.clerk, options(format)).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_shows_no_more_of_a_record_than_reading_it_does() {
    let desk = Desk::open().await;
    let made = desk.create(pb::Contact { tags: vec!["vip".to_owned()], ..person("Ada", "Lovelace", &["+44 20 7183 8750"]) }).await.unwrap();
    let rules =
        vec![rule("person.given_name", FieldEffect::Masked), rule("tags", FieldEffect::Hidden), rule("person.contact_points", FieldEffect::Hidden)];
    let bound = somebody(&desk, EVERYTHING, rules, GrantLevel::All);
    let asked = columns(&["Given name", "Family name", "Tags", "Phone 1"]);
    let shown = table(&contacts(&desk, &bound, asked).await.unwrap());
    assert_eq!(shown[1..], texts(&[&["A…", "Lovelace", "", ""]]));

    let read = desk.contacts().get_contact(bound.request(pb::GetContactRequest { name: made.name, as_of: None })).await.unwrap().into_inner();
    let lines = contacts(&desk, &bound, options(ExportFormat::JsonLines)).await.unwrap();
    let line: serde_json::Value = serde_json::from_slice(&lines).expect("one line of JSON");
    assert_eq!(line["name"], read.name.as_str());
    assert_eq!(line["person"]["givenName"], "A…");
    assert_eq!((line.get("tags"), line["person"].get("contactPoints")), (None, None));
    for format in [ExportFormat::Csv, ExportFormat::Vcard3, ExportFormat::Vcard4, ExportFormat::JsonLines] {
        let file = String::from_utf8(contacts(&desk, &bound, options(format)).await.unwrap()).unwrap();
        for hidden in ["vip", "7183", "Ada"] {
            assert!(!file.contains(hidden), "{format:?} tells {hidden}: {file}");
        }
    }
    let filtered = pb::ExportOptions { filter: "tags:vip".to_owned(), ..options(ExportFormat::Csv) };
    for refused in [contacts(&desk, &bound, filtered.clone()).await.map(drop), start(&desk, &bound, filtered).await.map(drop)] {
        assert_eq!(refusal(&refused.expect_err("a filter by what is hidden")), (Code::PermissionDenied, "FIELD_HIDDEN".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_records_that_may_be_read_and_exported() {
    let desk = Desk::open().await;
    let own = somebody(&desk, EVERYTHING, Vec::new(), GrantLevel::Own);
    let identity = &desk.service.identity;
    let (reads, exports) =
        (identity.role(desk.tenant, &["contacts.contact.read"], Vec::new()), identity.role(desk.tenant, &["contacts.export.create"], Vec::new()));
    let sees_all = identity.user_with(desk.tenant, None, &[(reads, GrantLevel::All), (exports, GrantLevel::Own)]);
    let sees_none = identity.user(desk.tenant, None, exports, GrantLevel::All);
    let only_reads = identity.user(desk.tenant, None, reads, GrantLevel::All);
    let stranger = identity.administrator(identity.tenant());
    for (family_name, owner) in [("Hers", &own), ("Theirs", &sees_all), ("Whose", &desk.clerk)] {
        desk.create(pb::Contact { owner: owner.name(), ..named(family_name) }).await.unwrap();
    }
    let shared = desk.create(named("Shared")).await.unwrap();
    desk.share(reading(&shared.name, &own.name()), None).await.unwrap();
    for (who, expected) in
        [(&desk.clerk, vec!["Hers", "Theirs", "Whose", "Shared"]), (&own, vec!["Hers", "Shared"]), (&sees_all, vec!["Theirs"]), (&stranger, vec![])]
    {
        let rows = table(&contacts(&desk, who, columns(&["Family name"])).await.unwrap());
        assert_eq!(rows[1..].concat(), expected);
    }
    for who in [&sees_none, &only_reads] {
        for refused in
            [contacts(&desk, who, options(ExportFormat::Csv)).await.map(drop), start(&desk, who, options(ExportFormat::Csv)).await.map(drop)]
        {
            assert_eq!(refusal(&refused.expect_err("a permission is missing")), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_export_is_refused_before_it_begins() {
    let desk = Desk::open().await;
    for (spoilt, field) in [
        (options(ExportFormat::Unspecified), "options.format"),
        (columns(&["Surname"]), "options.columns[0]"),
        (pb::ExportOptions { columns: vec!["Tags".to_owned()], ..options(ExportFormat::Vcard3) }, "options.columns"),
        (pb::ExportOptions { byte_order_mark: true, ..options(ExportFormat::Xlsx) }, "options.byte_order_mark"),
        (pb::ExportOptions { names: vec!["accounts/1".to_owned()], ..options(ExportFormat::Csv) }, "names[0]"),
    ] {
        assert_eq!(violation(&contacts(&desk, &desk.clerk, spoilt.clone()).await.expect_err(field)).0, field);
        assert_eq!(violation(&start(&desk, &desk.clerk, spoilt).await.expect_err(field)).0, field);
    }
    let request = pb::StartExportRequest { collection: "orders".to_owned(), options: Some(options(ExportFormat::Csv)) };
    assert_eq!(violation(&client(&desk).start_export(desk.clerk.request(request)).await.expect_err("no collection")).0, "collection");
    let unknown = pb::ExportOptions { filter: "surname = x".to_owned(), ..options(ExportFormat::Csv) };
    let status = contacts(&desk, &desk.clerk, unknown).await.expect_err("no such field");
    assert_eq!(refusal(&status), (Code::InvalidArgument, "FILTER_INVALID".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_the_access_log_says_so() {
    let desk = Desk::open().await;
    let made = desk.create(named("Lovelace")).await.unwrap();
    let request = pb::ExportContactsRequest { options: Some(pb::ExportOptions { names: vec![made.name.clone()], ..options(ExportFormat::Vcard4) }) };
    // Nothing of the stream is read.
    let stream = client(&desk).export_contacts(desk.clerk.request(request)).await.unwrap();
    let logged = async || -> Vec<(String, String, Vec<String>)> {
        let rows = sqlx::query_as("select subject, method, names from kit.access_log where tenant_id = $1 and kind = 'read' order by id");
        rows.bind(desk.tenant).fetch_all(&mut desk.database().await).await.expect("rows")
    };
    let first = (desk.clerk.name(), "/rapport.contacts.v1.ExportService/ExportContacts".to_owned(), vec![made.name]);
    assert_eq!(logged().await, std::slice::from_ref(&first));
    drop(stream);
    let job = start(&desk, &desk.clerk, options(ExportFormat::Csv)).await.unwrap();
    ended(&desk, &desk.clerk, &job.name).await;
    assert_eq!(logged().await, [first, (desk.clerk.name(), "contacts.export".to_owned(), vec!["contacts".to_owned()])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_writes_what_a_call_answers() {
    let desk = Desk::open().await;
    for family_name in ["Celik", "Demir"] {
        desk.create(named(family_name)).await.unwrap();
    }
    let formats = [ExportFormat::Csv, ExportFormat::Xlsx, ExportFormat::Vcard3, ExportFormat::Vcard4, ExportFormat::JsonLines];
    let mut names = BTreeSet::new();
    for format in formats {
        let called = contacts(&desk, &desk.clerk, options(format)).await.unwrap();
        let job = start(&desk, &desk.clerk, options(format)).await.unwrap();
        assert_eq!((job.kind.as_str(), job.undoable), ("contacts.export", false));
        let job = ended(&desk, &desk.clerk, &job.name).await;
        assert_eq!((job.state(), &job.error, job.done_count), (common::JobState::Succeeded, &None, 2));
        assert_eq!(written(&desk, &desk.clerk, &job).await, called, "{format:?}");
        let request = desk.clerk.request(common::GetFileRequest { name: job.output_files[0].clone() });
        let file = FileServiceClient::new(desk.service.channel.clone()).get_file(request).await.unwrap().into_inner();
        names.insert(file.display_name.rsplit('.').next().expect("an ending").to_owned());
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["csv", "jsonl", "vcf", "xlsx"]);
}
