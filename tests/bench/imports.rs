//! Importing a file against the database's own way of taking in the same records.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::TryStreamExt;
use rapport_contacts_api::v1::import_service_client::ImportServiceClient;
use rapport_contacts_api::v1::{GetImportReportRequest, ImportColumn, ImportRules, StartImportRequest};
use rapport_proto::common::v1::file_service_client::FileServiceClient;
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{CompleteUploadRequest, CreateFileRequest, File, GetJobRequest, JobState, UploadChunkRequest};
use sqlx::{Executor, PgConnection};

use crate::load::letters;
use crate::report::{Goal, Pairs, median, short};
use crate::stage::Stage;
use crate::world::{Token, World, with};
use crate::{Outcome, duplicates, meter, trouble};

/// Rows of the largest file.
const MOST: u64 = 100_000;
/// Times that both sides are measured at most: each leaves its records in the table.
const ROUNDS: usize = 3;
const CHUNK: usize = 1024 * 1024;
const HEADERS: [&str; 4] = ["Given name", "Family name", "E-mail 1", "External id - bench"];
/// Longer than an import may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Rows a second of an import of new contacts, under the rule about duplicates that is shipped, against COPY of as many
/// into an empty table with the same indexes. Beside it the rate until the last of them was compared with others.
pub(crate) async fn import(stage: &Stage, world: &World) -> Outcome<()> {
    compared(stage, world, "import", Goal::AtLeast(0.2), 0).await
}

/// The same while no rule about duplicates holds.
pub(crate) async fn import_plain(stage: &Stage, world: &World) -> Outcome<()> {
    let rule = duplicates::set(stage, world, duplicates::leave_out).await?;
    let told = compared(stage, world, "import_plain", Goal::AtLeast(0.35), ROUNDS).await;
    duplicates::unset(stage, world, rule).await?;
    told
}

/// Rounds of imports; those of another figure begin `behind` them, so that every record is new.
async fn compared(stage: &Stage, world: &World, name: &'static str, goal: Goal, behind: usize) -> Outcome<()> {
    let rows = stage.plan.contacts.min(MOST);
    let (mut pairs, mut until_compared) = (Pairs::default(), Vec::new());
    let mut database = stage.superuser(&stage.contacts).await?;
    for round in 0..stage.plan.pairs.min(ROUNDS) {
        let token = world.token().await?;
        let file = upload(stage, &token, file(rows, behind + round).as_bytes()).await?;
        let begun = Instant::now();
        imported(stage, &token, file, rows).await?;
        let ours = meter::count(rows) / begun.elapsed().as_secs_f64();
        // What waits would be worked on beside the next measurement.
        duplicates::compared(&mut database).await?;
        until_compared.push(meter::count(rows) / begun.elapsed().as_secs_f64());
        pairs.push(ours, copied(stage, rows).await?);
    }
    let figure = pairs.figure(name, goal).with("unit", "1/s").with("rows", stage.plan.contacts).with("imported", rows);
    figure.with("compared", short(median(until_compared))).tell();
    Ok(())
}

fn file(rows: u64, round: usize) -> String {
    let mut text = HEADERS.join(",") + "\r\n";
    for row in 0..rows {
        // Every record of a single name would be compared with every other.
        let (given, family) = (letters(row * 7 + 1), letters(row * 31 + 5));
        let _ = write!(text, "{given},{family},{given}.{family}.{round}@example.org,{round}-{row}\r\n");
    }
    text
}

async fn upload(stage: &Stage, token: &Token, bytes: &[u8]) -> Outcome<String> {
    let mut files = FileServiceClient::new(stage.contacts.channel().await?);
    let file = File { display_name: "contacts.csv".to_owned(), size_bytes: i64::try_from(bytes.len())?, ..File::default() };
    let request = CreateFileRequest { parent: "services/contacts".to_owned(), file: Some(file) };
    let name = files.create_file(with(token, request)).await?.into_inner().name;
    for (index, data) in bytes.chunks(CHUNK).enumerate() {
        let request = UploadChunkRequest { name: name.clone(), offset: i64::try_from(index * CHUNK)?, data: data.to_vec() };
        files.upload_chunk(with(token, request)).await?;
    }
    let sha256 = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    files.complete_upload(with(token, CompleteUploadRequest { name: name.clone(), sha256 })).await?;
    Ok(name)
}

/// Waits until every row is a contact.
async fn imported(stage: &Stage, token: &Token, file: String, rows: u64) -> Outcome<()> {
    let mut imports = ImportServiceClient::new(stage.contacts.channel().await?);
    let mut jobs = JobServiceClient::new(stage.contacts.channel().await?);
    let column = |header: &str| ImportColumn { header: header.to_owned(), target: header.to_owned(), ..ImportColumn::default() };
    let rules = ImportRules { collection: "contacts".to_owned(), columns: HEADERS.map(column).to_vec(), ..ImportRules::default() };
    let request = StartImportRequest { file, rules: Some(rules), ..StartImportRequest::default() };
    let job = imports.start_import(with(token, request)).await?.into_inner().name;
    let begun = Instant::now();
    loop {
        let now = jobs.get_job(with(token, GetJobRequest { name: job.clone() })).await?.into_inner();
        match now.state() {
            JobState::Succeeded => break,
            JobState::Pending | JobState::Running if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
            state => return Err(trouble(format!("the import is {state:?}: {}", now.message))),
        }
    }
    let report = imports.get_import_report(with(token, GetImportReportRequest { job })).await?.into_inner();
    if u64::try_from(report.created_count)? == rows { Ok(()) } else { Err(trouble(format!("not every row is a contact: {report:?}"))) }
}

/// Rows a second of COPY into an empty table that is like the contacts'.
async fn copied(stage: &Stage, rows: u64) -> Outcome<f64> {
    let mut database = stage.superuser(&stage.contacts).await?;
    database
        .execute("create schema if not exists bench; drop table if exists bench.copied; create table bench.copied (like contacts including all)")
        .await?;
    let text = text(&mut database, rows).await?;
    let begun = Instant::now();
    let mut copy = database.copy_in_raw("copy bench.copied from stdin").await?;
    for piece in text.chunks(CHUNK) {
        copy.send(piece).await?;
    }
    let copied = copy.finish().await?;
    let rate = meter::count(rows) / begun.elapsed().as_secs_f64();
    if copied == rows { Ok(rate) } else { Err(trouble(format!("{copied} rows were copied"))) }
}

/// The contacts that were made last, as COPY writes them.
async fn text(database: &mut PgConnection, rows: u64) -> Outcome<Vec<u8>> {
    let statement = format!("copy (select * from contacts order by created_at desc limit {rows}) to stdout");
    let mut pieces = database.copy_out_raw(&statement).await?;
    let mut text = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        text.extend_from_slice(&piece);
    }
    Ok(text)
}
