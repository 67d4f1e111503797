//! A service that imports, with somebody who may do everything, and processes beside it that can die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::export_service_client::ExportServiceClient;
use rapport_contacts_api::v1::import_service_client::ImportServiceClient;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_contacts_api::v1::reconciliation_service_client::ReconciliationServiceClient;
use rapport_kit::config::Config;
use rapport_kit::db::{Logins, PoolConfig};
use rapport_kit::files::Files;
use rapport_kit::jobs::Jobs;
use rapport_kit::policy::Policy;
use rapport_kit::process::{self, Running};
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::{self, Identity, Infra, Subject};
use rapport_kit::{Db, SystemDb};
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::file_service_client::FileServiceClient;
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

const SERVICE: &str = "services/contacts";

pub(crate) struct Desk {
    pub(crate) identity: Identity,
    pub(crate) tenant: Uuid,
    /// May do everything.
    pub(crate) clerk: Subject,
    pub(crate) channel: Channel,
    logins: Logins,
    _running: Arc<Running>,
}

impl Desk {
    /// A service that works on jobs by itself.
    pub(crate) async fn open() -> Self {
        Self::with_jobs(2).await
    }

    /// One that works on `at_once` jobs at a time.
    pub(crate) async fn with_jobs(at_once: usize) -> Self {
        let service = &rapport_contacts::SERVICE;
        let identity = Identity::start().await;
        let logins = Infra::from_environment().database(service).await;
        let config =
            Config { listen: "127.0.0.1:0".to_owned(), identity: identity.address.clone(), leave_seconds: 0, jobs: at_once, ..Config::default() };
        let running = process::start(service, config, testing::secrets(&logins, None)).await.expect("the service starts");
        let channel = testing::channel(&running);
        let tenant = identity.tenant();
        let clerk = identity.administrator(tenant);
        Self { identity, tenant, clerk, channel, logins, _running: Arc::new(running) }
    }

    /// Somebody who may do everything in another tenant of the same service.
    pub(crate) fn elsewhere(&self) -> Self {
        let tenant = self.identity.tenant();
        let (identity, logins, channel) = (self.identity.clone(), self.logins.clone(), self.channel.clone());
        let clerk = identity.administrator(tenant);
        Self { identity, tenant, clerk, channel, logins, _running: Arc::clone(&self._running) }
    }

    pub(crate) fn imports(&self) -> ImportServiceClient<Channel> {
        ImportServiceClient::new(self.channel.clone())
    }

    pub(crate) fn contacts(&self) -> ContactServiceClient<Channel> {
        ContactServiceClient::new(self.channel.clone())
    }

    pub(crate) fn exports(&self) -> ExportServiceClient<Channel> {
        ExportServiceClient::new(self.channel.clone())
    }

    pub(crate) fn reconciliations(&self) -> ReconciliationServiceClient<Channel> {
        ReconciliationServiceClient::new(self.channel.clone())
    }

    pub(crate) fn merges(&self) -> MergeServiceClient<Channel> {
        MergeServiceClient::new(self.channel.clone())
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    pub(crate) fn files(&self) -> FileServiceClient<Channel> {
        FileServiceClient::new(self.channel.clone())
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    /// Uploads a file; answers its name.
    pub(crate) async fn upload(&self, display_name: &str, bytes: &[u8]) -> String {
        self.upload_as(&self.clerk, display_name, bytes).await
    }

    /// The same by somebody else.
    pub(crate) async fn upload_as(&self, who: &Subject, display_name: &str, bytes: &[u8]) -> String {
        let size_bytes = i64::try_from(bytes.len()).expect("a size");
        let file = common::File { display_name: display_name.to_owned(), size_bytes, ..common::File::default() };
        let request = common::CreateFileRequest { parent: SERVICE.to_owned(), file: Some(file) };
        let name = self.files().create_file(who.request(request)).await.expect("a file is begun").into_inner().name;
        for (index, data) in bytes.chunks(1024 * 1024).enumerate() {
            let offset = i64::try_from(index * 1024 * 1024).expect("an offset");
            let request = common::UploadChunkRequest { name: name.clone(), offset, data: data.to_vec() };
            self.files().upload_chunk(who.request(request)).await.expect("a chunk is stored");
        }
        let request = common::CompleteUploadRequest { name: name.clone(), sha256: hex::encode(digest(&SHA256, bytes)) };
        self.files().complete_upload(who.request(request)).await.expect("the file is complete");
        name
    }

    pub(crate) async fn inspect(&self, file: &str) -> Result<pb::InspectImportResponse, Status> {
        self.inspect_as("contacts", file).await
    }

    /// Looks at a file whose rows are to become records of `collection`.
    pub(crate) async fn inspect_as(&self, collection: &str, file: &str) -> Result<pb::InspectImportResponse, Status> {
        let collection = collection.to_owned();
        let request = pb::InspectImportRequest { file: file.to_owned(), collection, ..pb::InspectImportRequest::default() };
        Ok(self.imports().inspect_import(self.clerk.request(request)).await?.into_inner())
    }

    pub(crate) async fn start(&self, request: pb::StartImportRequest) -> Result<common::Job, Status> {
        Ok(self.imports().start_import(self.clerk.request(request)).await?.into_inner())
    }

    /// Uploads and imports a file as the rules say; answers the job when it has ended well, and its report.
    pub(crate) async fn import(&self, bytes: &[u8], rules: pb::ImportRules) -> (common::Job, pb::ImportReport) {
        let file = self.upload("people.csv", bytes).await;
        self.import_file(&file, rules, false).await
    }

    pub(crate) async fn import_file(&self, file: &str, rules: pb::ImportRules, dry_run: bool) -> (common::Job, pb::ImportReport) {
        let request = pb::StartImportRequest { file: file.to_owned(), rules: Some(rules), dry_run, ..pb::StartImportRequest::default() };
        let job = self.start(request).await.expect("the import is started");
        let job = self.succeeded(&job.name).await;
        let report = self.report(&job.name).await;
        assert_eq!((job.done_count, job.refused_count), (report.row_count, report.refused_count), "the job and its report count alike");
        (job, report)
    }

    pub(crate) async fn report(&self, job: &str) -> pb::ImportReport {
        let request = pb::GetImportReportRequest { job: job.to_owned() };
        self.imports().get_import_report(self.clerk.request(request)).await.expect("a report").into_inner()
    }

    /// The job when it has ended, however that was.
    pub(crate) async fn ended(&self, name: &str) -> common::Job {
        let begun = std::time::Instant::now();
        loop {
            let request = common::GetJobRequest { name: name.to_owned() };
            let job = self.jobs().get_job(self.clerk.request(request)).await.expect("the job is there").into_inner();
            if job.end_time.is_some() {
                return job;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain for the end of {job:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn succeeded(&self, name: &str) -> common::Job {
        let job = self.ended(name).await;
        assert_eq!(job.state(), common::JobState::Succeeded, "{job:?}");
        job
    }

    /// Takes a job back; answers the job that did.
    pub(crate) async fn undo(&self, name: &str) -> common::Job {
        let request = common::UndoJobRequest { name: name.to_owned() };
        let undo = self.jobs().undo_job(self.clerk.request(request)).await.expect("the job can be undone").into_inner();
        self.succeeded(&undo.name).await
    }

    /// What a file says.
    pub(crate) async fn download(&self, name: &str) -> Vec<u8> {
        let request = common::DownloadFileRequest { name: name.to_owned(), offset: 0 };
        let mut stream = self.files().download_file(self.clerk.request(request)).await.expect("a file").into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await.expect("a part") {
            bytes.extend(part.data);
        }
        bytes
    }

    /// An export of the contacts.
    pub(crate) async fn export(&self, format: pb::ExportFormat) -> Vec<u8> {
        let options = pb::ExportOptions { format: format.into(), ..pb::ExportOptions::default() };
        let request = self.clerk.request(pb::ExportContactsRequest { options: Some(options) });
        let mut stream = self.exports().export_contacts(request).await.expect("an export").into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.message().await.expect("a piece") {
            bytes.extend(piece.data);
        }
        bytes
    }

    /// Every live contact, without what changes with every change.
    pub(crate) async fn live(&self) -> Vec<pb::Contact> {
        let mut live = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListContactsRequest { page_size: 1000, page_token, ..pb::ListContactsRequest::default() };
            let page = self.contacts().list_contacts(self.clerk.request(request)).await.expect("a list").into_inner();
            live.extend(page.contacts.into_iter().map(|contact| pb::Contact { etag: String::new(), update_time: None, ..contact }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return live;
            }
        }
    }

    /// Another process that works on one job at a time; it ends with its tasks.
    pub(crate) fn worker(&self) -> Tasks {
        let tasks = Tasks::default();
        let db = Db::new(self.logins.app.expose_secret(), PoolConfig::default()).expect("an address");
        let system = SystemDb::new(self.logins.system.expose_secret(), PoolConfig::default()).expect("an address");
        let policy = Policy::new(db.clone(), system.clone());
        let files = Files::new("contacts", db.clone(), &Config::default());
        Jobs::new("contacts", &rapport_contacts::JOBS, db, policy, files).run_apart(&system, &tasks);
        tasks
    }

    /// Has a process die at `window` with a job under way.
    pub(crate) async fn die_at(&self, window: Window) {
        let process = self.worker();
        process.die_at(window);
        tokio::time::timeout(Duration::from_secs(30), process.dead()).await.expect("the process dies with a job under way");
    }

    /// The time of all leases and waits is over.
    pub(crate) async fn end_leases(&self) {
        let mut conn = self.superuser().await;
        sqlx::query("update kit.job set due_at = now() where due_at > now()").execute(&mut conn).await.expect("leases end");
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(query).fetch_one(&mut self.superuser().await).await.expect("a count")
    }

    /// Every live account by its name, without what changes with every change.
    pub(crate) async fn live_accounts(&self) -> BTreeMap<String, pb::Account> {
        let request = pb::ListAccountsRequest { page_size: 1000, ..pb::ListAccountsRequest::default() };
        let page = self.accounts().list_accounts(self.clerk.request(request)).await.expect("a list").into_inner();
        let told = |account: pb::Account| (account.display_name.clone(), pb::Account { etag: String::new(), update_time: None, ..account });
        page.accounts.into_iter().map(told).collect()
    }

    /// The database as the role that sees every tenant.
    pub(crate) fn system(&self) -> SystemDb {
        SystemDb::new(self.logins.system.expose_secret(), PoolConfig::default()).expect("an address")
    }

    pub(crate) async fn superuser(&self) -> PgConnection {
        let own: PgConnectOptions = self.logins.system.expose_secret().parse().expect("an address");
        let admin: PgConnectOptions = Infra::from_environment().postgres.expose_secret().parse().expect("an address");
        admin.database(own.get_database().expect("the address names a database")).connect().await.expect("the superuser may connect")
    }
}

/// Rules for contacts: each column of the file, called as the field that it fills.
pub(crate) fn rules(targets: &[&str]) -> pb::ImportRules {
    let column = |target: &&str| column(target, target);
    pb::ImportRules { collection: "contacts".to_owned(), columns: targets.iter().map(column).collect(), ..pb::ImportRules::default() }
}

pub(crate) fn column(target: &str, header: &str) -> pb::ImportColumn {
    pb::ImportColumn { target: target.to_owned(), header: header.to_owned(), ..pb::ImportColumn::default() }
}

/// Created, updated, unchanged and refused rows, in this order.
pub(crate) fn counts(report: &pb::ImportReport) -> [i64; 4] {
    assert_eq!(
        report.row_count,
        report.created_count + report.updated_count + report.unchanged_count + report.deleted_count + report.refused_count,
        "every row is counted once"
    );
    [report.created_count, report.updated_count, report.unchanged_count, report.refused_count]
}

/// Reasons of refusals, with how many there were.
pub(crate) fn refusals(report: &pb::ImportReport) -> Vec<(&str, i64)> {
    report.refusals.iter().map(|refusal| (refusal.reason.as_str(), refusal.count)).collect()
}
