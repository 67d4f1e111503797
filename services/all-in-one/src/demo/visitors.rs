//! Visitors of a fair come in from a file, with a dry run before and an undo after.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::duplicate_service_client::DuplicateServiceClient;
use rapport_contacts_api::v1::import_service_client::ImportServiceClient;
use rapport_contacts_api::v1::{
    GetImportReportRequest, ImportColumn, ImportMatch, ImportMode, ImportReport, ImportRules, InspectImportRequest, ListDuplicatePairsRequest,
    LookupContactRequest, StartImportRequest, import_match,
};
use rapport_proto::common::v1::file_service_client::FileServiceClient;
use rapport_proto::common::v1::{CompleteUploadRequest, CreateFileRequest, File, Job, UploadChunkRequest};

use super::clients::{Caller, Servers, Trouble, answered};
use super::load::Loaded;
use super::look;
use super::organisation::Organisation;
use super::story::Story;
use super::{SERVICE, jobs};

/// What the numbers on the badges are called.
const SYSTEM: &str = "fair";
const HEADER: &str = "First Name;Last Name;Birthday;E-mail;Badge";
/// Column of the file and field of the product.
const COLUMNS: [(&str, &str); 5] =
    [("First Name", "Given name"), ("Last Name", "Family name"), ("Birthday", "Birth date"), ("E-mail", "E-mail 1"), ("Badge", "External id - fair")];
/// Customers who visited the fair.
const KNOWN: usize = 12;
const STRANGERS: [[&str; 2]; 8] = [
    ["Éloïse", "Marchand"],
    ["Tuğçe", "Yıldız"],
    ["Giovanni", "D'Ambrosio"],
    ["Anna-Lena", "Größler"],
    ["Søren", "Kjær"],
    ["Zoë", "O'Connor"],
    ["Łukasz", "Wójcik"],
    ["José", "Muñoz"],
];
/// Rows that cannot be right: a day that never was, an address that is none, a badge that was there before.
const BROKEN: [&str; 3] = ["Max;Frühling;1980-02-31;;B-901", "Mia;Sommer;;not an address;B-902", "Leo;Herbst;;;B-001"];
const LARGE_PAGE: i32 = 1000;
/// Duplicates are told within a second, behind a large import once that has been compared; past this they are lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn come_in(story: &mut Story, servers: &Servers, organisation: &mut Organisation, loaded: &Loaded) -> Result<(), Trouble> {
    story.chapter(
        "Visitors of a fair",
        "The organisation was at a fair, and has a file of those who came to its stand: typed in a hurry, with semicolons between the cells. \
         Some are customers already. An import says first what it would do; then it does just that. Rows that cannot be right come back \
         in a file with the reason, and the whole import can be taken back.",
    );
    let known = known(loaded);
    let text = file(&known);
    let administrator = &mut organisation.administrator;
    let before = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    let name = upload(servers, administrator, "visitors.csv", text.as_bytes()).await?;
    inspect(story, servers, administrator, &name).await?;

    let (_, dry) = import(servers, administrator, &name, true).await?;
    let after_dry = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    story.equal("A dry run tells what would happen, and nothing has", &after_dry, &before);
    let (job, report) = import(servers, administrator, &name, false).await?;
    let row = |what: &str, of: fn(&ImportReport) -> i64| vec![what.to_owned(), of(&dry).to_string(), of(&report).to_string()];
    let rows = [
        row("Rows", |report| report.row_count),
        row("New people", |report| report.created_count),
        row("Changed people", |report| report.updated_count),
        row("People as they were", |report| report.unchanged_count),
        row("Refused rows", |report| report.refused_count),
    ];
    story.table("What the import said, and what it did", &["What", "Dry run", "Import"], &rows);
    story.check("The import did what the dry run had said", figures(&dry) == figures(&report), &format!("{:?}", figures(&report)));
    let reasons: Vec<String> = report.refusals.iter().map(|refusal| format!("{} {}", refusal.count, refusal.reason)).collect();
    story.check("Each row that cannot be right is refused with its reason", report.refused_count == 3, &reasons.join(", "));
    let now = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    story.equal("Every other row is a person", &now, &(before + KNOWN.min(known.len()) + STRANGERS.len()));

    recognise(story, servers, administrator, known.len()).await?;
    let (_, again) = import(servers, administrator, &name, false).await?;
    let same = again.created_count == 0 && again.updated_count == 0 && again.unchanged_count == report.created_count;
    story.check("The same file once more changes nothing", same, &format!("{:?}", figures(&again)));
    let undo = jobs::undo(servers, administrator, &job).await?;
    let undone = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    story.check("The import is taken back", jobs::succeeded(&undo) && undo.refused_count == 0, &undo.message);
    story.equal("As many people are there as before", &undone, &before);
    Ok(())
}

/// First name, last name and day of birth of customers, from all over the file.
fn known(loaded: &Loaded) -> Vec<[String; 3]> {
    let rows = loaded.prepared.people.rows.iter().zip(&loaded.people).filter(|(_, name)| name.is_some());
    let complete = rows.filter_map(|(row, _)| Some([row.given_name.clone()?, row.family_name.clone()?, row.birth_date.clone()?]));
    let complete: Vec<[String; 3]> = complete.collect();
    let step = (complete.len() / KNOWN).max(1);
    complete.into_iter().step_by(step).take(KNOWN).collect()
}

fn file(known: &[[String; 3]]) -> String {
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let badge = |number: usize| format!("B-{:03}", number + 1);
    let customers =
        known.iter().enumerate().map(|(number, [given, family, birth])| format!("{};{};{birth};;{}", quoted(given), quoted(family), badge(number)));
    let strangers = STRANGERS.iter().enumerate().map(|(number, [given, family])| format!("{given};{family};;;{}", badge(number + KNOWN)));
    let rows: Vec<String> = [HEADER.to_owned()].into_iter().chain(customers).chain(strangers).chain(BROKEN.map(str::to_owned)).collect();
    rows.join("\r\n") + "\r\n"
}

pub(super) async fn upload(servers: &Servers, caller: &mut Caller, display_name: &str, bytes: &[u8]) -> Result<String, Trouble> {
    let mut files = FileServiceClient::new(servers.contacts.clone());
    let size_bytes = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let file = File { display_name: display_name.to_owned(), media_type: "text/csv".to_owned(), size_bytes, ..Default::default() };
    let request = caller.request(CreateFileRequest { parent: SERVICE.to_owned(), file: Some(file) }).await?;
    let name = answered("beginning an upload", files.create_file(request).await)?.name;
    let request = caller.request(UploadChunkRequest { name: name.clone(), offset: 0, data: bytes.to_vec() }).await?;
    answered("uploading a file", files.upload_chunk(request).await)?;
    let sha256 = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = caller.request(CompleteUploadRequest { name: name.clone(), sha256 }).await?;
    answered("completing an upload", files.complete_upload(request).await)?;
    Ok(name)
}

async fn inspect(story: &mut Story, servers: &Servers, caller: &mut Caller, file: &str) -> Result<(), Trouble> {
    let mut imports = ImportServiceClient::new(servers.contacts.clone());
    let request = caller.request(InspectImportRequest { file: file.to_owned(), ..Default::default() }).await?;
    let told = answered("looking at the file", imports.inspect_import(request).await)?;
    let source = told.source.unwrap_or_default();
    let holds = source.delimiter == ";" && told.header.join(";") == HEADER;
    story.check("How the file is written is found out", holds, &format!("{}, cells parted by {}", source.encoding, source.delimiter));
    Ok(())
}

async fn import(servers: &Servers, caller: &mut Caller, file: &str, dry_run: bool) -> Result<(Job, ImportReport), Trouble> {
    let mut imports = ImportServiceClient::new(servers.contacts.clone());
    let column = |(header, target): (&str, &str)| ImportColumn { header: header.to_owned(), target: target.to_owned(), ..Default::default() };
    let rules = ImportRules {
        collection: "contacts".to_owned(),
        columns: COLUMNS.into_iter().map(column).collect(),
        mode: ImportMode::CreateOrUpdate.into(),
        r#match: Some(ImportMatch { by: import_match::By::ExternalId.into(), system: SYSTEM.to_owned() }),
        ..Default::default()
    };
    let request = caller.request(StartImportRequest { file: file.to_owned(), rules: Some(rules), dry_run, ..Default::default() }).await?;
    let job = answered("starting an import", imports.start_import(request).await)?;
    let job = jobs::ended(servers, caller, job).await?;
    if !jobs::succeeded(&job) {
        return Err(Trouble::new("importing the visitors", job.error.map(|error| error.message).unwrap_or(job.message)));
    }
    let request = caller.request(GetImportReportRequest { job: job.name.clone() }).await?;
    let report = answered("reading what the import did", imports.get_import_report(request).await)?;
    Ok((job, report))
}

fn figures(report: &ImportReport) -> [i64; 5] {
    [report.row_count, report.created_count, report.updated_count, report.unchanged_count, report.refused_count]
}

/// Waits until those who were customers already are told as duplicates.
async fn recognise(story: &mut Story, servers: &Servers, caller: &mut Caller, known: usize) -> Result<(), Trouble> {
    let mut contacts = ContactServiceClient::new(servers.contacts.clone());
    let mut duplicates = DuplicateServiceClient::new(servers.contacts.clone());
    let begun = Instant::now();
    let mut found = 0;
    for number in 0..known {
        let request = caller.request(LookupContactRequest { system: SYSTEM.to_owned(), id: format!("B-{:03}", number + 1) }).await?;
        let visitor = answered("looking a visitor up by the badge", contacts.lookup_contact(request).await)?;
        loop {
            let list = ListDuplicatePairsRequest { collection: "contacts".to_owned(), record: visitor.name.clone(), ..Default::default() };
            let request = caller.request(list).await?;
            let pairs = answered("listing the duplicates of a visitor", duplicates.list_duplicate_pairs(request).await)?.duplicate_pairs;
            if !pairs.is_empty() {
                found += 1;
                break;
            }
            if begun.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    story.equal("Every visitor who is a customer already is listed as a likely duplicate", &found, &known);
    Ok(())
}
