//! An import whose process is killed in the middle, and comes to the end that the dry run told.

use std::time::{Duration, Instant};

use rapport_contacts_api::v1::import_service_client::ImportServiceClient;
use rapport_contacts_api::v1::{
    GetImportReportRequest, ImportColumn, ImportMatch, ImportMode, ImportReport, ImportRules, StartImportRequest, import_match,
};
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{GetJobRequest, Job};

use super::clients::{Caller, Servers, Trouble, answered};
use super::organisation::Organisation;
use super::story::Story;
use super::{jobs, look, visitors};
use crate::apart::Apart;

/// What the numbers of subscribers are called.
const SYSTEM: &str = "newsletter";
const COLUMNS: [(&str, &str); 4] =
    [("First Name", "Given name"), ("Last Name", "Family name"), ("E-mail", "E-mail 1"), ("Number", "External id - newsletter")];
const ROWS: usize = 3000;
/// Every so many rows one cannot be right.
const BROKEN: usize = 500;
const LARGE_PAGE: i32 = 1000;
/// The import is at work long before.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn survive(story: &mut Story, servers: &Servers, organisation: &mut Organisation, contacts: &mut Apart) -> Result<(), Trouble> {
    story.say(
        "People also come from elsewhere: a newsletter has its subscribers in a file. While they are imported the process of the contacts \
         service is killed, as a machine that breaks would do it, and started again. Nobody tells the import to go on.",
    );
    let administrator = &mut organisation.administrator;
    let before = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    let file = visitors::upload(servers, administrator, "subscribers.csv", table().as_bytes()).await?;
    let dry = start(servers, administrator, &file, true).await?;
    let dry = jobs::ended(servers, administrator, dry).await?;
    let dry = report(servers, administrator, &dry).await?;

    let import = start(servers, administrator, &file, false).await?;
    let interrupted = at_work(servers, administrator, &import).await?;
    let trouble = |problem: String| Trouble::new("killing the contacts service and starting it again", problem);
    contacts.kill().map_err(trouble)?;
    let is_away = look::contacts(servers, administrator, "", LARGE_PAGE).await.is_err();
    contacts.restart().await.map_err(trouble)?;
    let rows = usize::try_from(interrupted.done_count).unwrap_or_default();
    let killed = interrupted.end_time.is_none() && rows < ROWS && is_away;
    story.check("The process is killed in the middle of the import", killed, &format!("when {rows} of {ROWS} rows were committed"));

    let ended = jobs::ended(servers, administrator, import).await?;
    story.check("Started again, the service goes on with the import by itself", jobs::succeeded(&ended), &ended.message);
    let real = report(servers, administrator, &ended).await?;
    let row = |what: &str, of: fn(&ImportReport) -> i64| vec![what.to_owned(), of(&dry).to_string(), of(&real).to_string()];
    let rows = [
        row("Rows", |report| report.row_count),
        row("New people", |report| report.created_count),
        row("Refused rows", |report| report.refused_count),
    ];
    story.table("What the dry run said, and what was done over the kill", &["What", "Dry run", "Import"], &rows);
    let same = figures(&dry) == figures(&real) && dry.refusals == real.refusals;
    story.check("No row is lost and none is there twice: the report is that of the dry run", same, &format!("{:?}", figures(&real)));
    let now = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    story.equal("As many people are there as the report says", &now, &(before + ROWS - ROWS / BROKEN));
    let undo = jobs::undo(servers, administrator, &ended).await?;
    let undone = look::contacts(servers, administrator, "", LARGE_PAGE).await?.len();
    let taken_back = jobs::succeeded(&undo) && undo.refused_count == 0 && undone == before;
    story.check("The import is taken back as a whole, what was written before the kill and after it", taken_back, &format!("{undone} people"));
    Ok(())
}

fn table() -> String {
    let row = |number: usize| {
        let mailbox = if number.is_multiple_of(BROKEN) { "no address".to_owned() } else { format!("subscriber{number}@newsletter.example") };
        format!("{number};Reader {number};Of {};{mailbox}\r\n", number % 97)
    };
    format!("Number;First Name;Last Name;E-mail\r\n{}", (1..=ROWS).map(row).collect::<String>())
}

async fn start(servers: &Servers, caller: &mut Caller, file: &str, dry_run: bool) -> Result<Job, Trouble> {
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
    answered("starting an import", imports.start_import(request).await)
}

/// The import when it has committed rows.
async fn at_work(servers: &Servers, caller: &mut Caller, import: &Job) -> Result<Job, Trouble> {
    let mut client = JobServiceClient::new(servers.contacts.clone());
    let begun = Instant::now();
    loop {
        let request = caller.request(GetJobRequest { name: import.name.clone() }).await?;
        let now = answered("looking at the import", client.get_job(request).await)?;
        if now.done_count > 0 || now.end_time.is_some() {
            return Ok(now);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Trouble::new("waiting for the import to begin", now.message));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn report(servers: &Servers, caller: &mut Caller, job: &Job) -> Result<ImportReport, Trouble> {
    let mut imports = ImportServiceClient::new(servers.contacts.clone());
    let request = caller.request(GetImportReportRequest { job: job.name.clone() }).await?;
    answered("reading what the import did", imports.get_import_report(request).await)
}

fn figures(report: &ImportReport) -> [i64; 5] {
    [report.row_count, report.created_count, report.updated_count, report.unchanged_count, report.refused_count]
}
