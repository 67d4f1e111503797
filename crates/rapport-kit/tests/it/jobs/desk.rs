//! A service with one kind of job, which counts: each step writes three entries and names every fourth one as refused.

use futures_util::future::BoxFuture;
use prost::Message;
use rapport_kit::config::Config;
use rapport_kit::db::{Logins, PoolConfig};
use rapport_kit::files::{self, Files};
use rapport_kit::jobs::{self, Asked, Committed, Jobs, Kind, Run, Step};
use rapport_kit::journal::{self, Record};
use rapport_kit::policy::Policy;
use rapport_kit::process::Running;
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::{self, Identity, Infra, Subject, eventually};
use rapport_kit::{App, Ctx, Db, Fault, Service, SystemDb, clock};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::audit_service_server::{AuditService, AuditServiceServer};
use rapport_proto::common::v1::file_service_client::FileServiceClient;
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use secrecy::ExposeSecret;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::support::{SERVICE, gate, start_with, superuser};

/// Entries of one step.
const BATCH: i64 = 3;
/// What a counter must be permitted.
pub(super) const PERMISSION: &str = "delivery.deadletter.read";

static KINDS: [Kind; 1] =
    [Kind { name: "probe.count", permission: PERMISSION, step: |run| Box::pin(count(run)), undo: Some(|run| Box::pin(uncount(run))) }];

/// Counts up to the number that was asked for. After it may stand `wait:GATE`, where each step waits and then tells whether
/// it has what the one before worked out for it, `away:GATE`, where it finds something away then, `panic:ENTRY`, or
/// `fill:BYTES`, which each step writes besides.
async fn count(run: &Run) -> Result<Committed, Fault> {
    let request: String = run.request()?;
    let (total, how) = request.split_once(' ').unwrap_or((&request, ""));
    let total: i64 = total.parse().map_err(Fault::internal)?;
    let from: i64 = run.checkpoint()?;
    let to = (from + BATCH).min(total);
    match how.split_once(':') {
        Some(("wait", name)) => gate(name).pass().await,
        Some(("away", name)) => {
            gate(name).pass().await;
            return Err(Fault::unavailable("SERVICE_AWAY", "This step was asked to find it away."));
        }
        Some(("panic", entry)) => assert!(!(from..to).contains(&entry.parse().map_err(Fault::internal)?), "this step was asked to panic"),
        _ => {}
    }
    let batch = clock::new_id();
    let record = Record { collection: "effects", id: batch, version: 1 };
    let entry = journal::entry(run.ctx(), record, &pb::RecordShared::default(), Vec::new())?;
    let mut tx = run.begin().await?;
    for entry in from..to {
        sqlx::query("insert into effect (tenant_id, record_id, version, event_id) values ($1, $2, $3, $4)")
            .bind(run.ctx().tenant())
            .bind(batch)
            .bind(entry)
            .bind(run.id().to_string())
            .execute(tx.conn())
            .await?;
    }
    sqlx::query("select kit.record($1)").bind(entry).execute(tx.conn()).await?;
    let refused: Vec<String> = (from..to).filter(|entry| entry % 4 == 3).map(|entry| format!("{entry}\n")).collect();
    let mut output_files = Vec::new();
    let file = match run.output_files() {
        [file, ..] => *file,
        [] => {
            let file = run.files().create(&mut tx, run.ctx(), "refused.txt", "text/plain").await?;
            output_files.push(file);
            file
        }
    };
    run.files().append(&mut tx, run.ctx(), file, refused.concat().as_bytes()).await?;
    if let Some(("fill", bytes)) = how.split_once(':') {
        run.files().append(&mut tx, run.ctx(), file, &vec![b'.'; bytes.parse().map_err(Fault::internal)?]).await?;
    }
    let counted = i64::try_from(refused.len()).map_err(Fault::internal)?;
    let message = Some(format!("ahead: {:?}", run.take_ahead::<i64>()));
    let step = Step { done: to - from, refused: counted, total: Some(total), message, output_files, ended: to == total, ..Step::to(&to) };
    Ok(run.commit(tx, step).await?.with_ahead(Some(to)))
}

/// Takes the last batch back that is still there.
async fn uncount(run: &Run) -> Result<Committed, Fault> {
    let undone = run.undoes().expect("the job takes another one back");
    let place: i64 = run.checkpoint()?;
    let written = journal::written_by(run.db(), run.ctx(), undone, "effects", (place > 0).then_some(place), 1).await?;
    let tx = run.begin().await?;
    let [last] = written.as_slice() else { return run.commit(tx, Step::last()).await };
    let mut tx = tx;
    let gone = sqlx::query("delete from effect where tenant_id = $1 and record_id = $2")
        .bind(run.ctx().tenant())
        .bind(last.record_id)
        .execute(tx.conn())
        .await?;
    let done = i64::try_from(gone.rows_affected()).map_err(Fault::internal)?;
    run.commit(tx, Step { done, ..Step::to(&last.id) }).await
}

fn start(app: &mut App) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        let files = files::serve(app, SERVICE.name);
        let jobs = jobs::serve(app, SERVICE.name, &KINDS, files);
        app.serve(AuditServiceServer::new(Counter { jobs }));
        Ok(())
    })
}

/// Starts a job for a request's name, and answers its name; for the name of a job, how far that one is.
struct Counter {
    jobs: Jobs,
}

#[tonic::async_trait]
impl AuditService for Counter {
    async fn list_changes(&self, request: Request<pb::ListChangesRequest>) -> Result<Response<pb::ListChangesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        if request.get_ref().name.starts_with("services/") {
            let (job, asked, place): (pb::Job, String, i64) = self.jobs.told(&ctx, &ctx.scope_of("jobs.job.read"), &request.get_ref().name).await?;
            let told = format!("{}: {place} of {asked}", job.state().as_str_name());
            return Ok(Response::new(pb::ListChangesResponse { next_page_token: told, ..pb::ListChangesResponse::default() }));
        }
        let asked = Asked { kind: "probe.count", request: request.get_ref().name.encode_to_vec(), input_files: Vec::new() };
        let job = self.jobs.start(&ctx, asked).await?;
        Ok(Response::new(pb::ListChangesResponse { next_page_token: job.name, ..pb::ListChangesResponse::default() }))
    }

    async fn verify_seal(&self, _: Request<pb::VerifySealRequest>) -> Result<Response<pb::VerifySealResponse>, Status> {
        Ok(Response::new(pb::VerifySealResponse::default()))
    }
}

pub(crate) struct Desk {
    pub(crate) identity: Identity,
    pub(crate) logins: Logins,
    pub(crate) administrator: Subject,
    /// May do everything in another tenant.
    pub(crate) foreigner: Subject,
    pub(super) running: Running,
    channel: Channel,
}

impl Desk {
    /// A service that works on `at_once` jobs.
    pub(crate) async fn open(at_once: usize) -> Self {
        Self::configured(|config| config.jobs = at_once).await
    }

    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let identity = Identity::start().await;
        let logins = Infra::from_environment().database(&SERVICE).await;
        let running = start_with(&Service { start, ..SERVICE }, &logins, &identity.address, change).await.expect("the service starts");
        let (tenant, other) = (identity.tenant(), identity.tenant());
        let (administrator, foreigner) = (identity.administrator(tenant), identity.administrator(other));
        let channel = testing::channel(&running);
        Self { identity, logins, administrator, foreigner, running, channel }
    }

    /// Another connection.
    pub(crate) fn connect(&self) -> Channel {
        testing::channel(&self.running)
    }

    /// Ends the service as at SIGTERM; answers whether every call came to its end.
    pub(crate) async fn stop(self) -> bool {
        self.running.stop().await
    }

    pub(crate) fn files(&self) -> FileServiceClient<Channel> {
        FileServiceClient::new(self.channel.clone())
    }

    pub(super) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    /// Another process that works on one job at a time; it ends with its tasks.
    pub(super) fn worker(&self) -> Tasks {
        let tasks = Tasks::default();
        let db = Db::new(self.logins.app.expose_secret(), PoolConfig::default()).expect("an address");
        let system = SystemDb::new(self.logins.system.expose_secret(), PoolConfig::default()).expect("an address");
        let policy = Policy::new(db.clone(), system.clone());
        let files = Files::new(SERVICE.name, db.clone(), &Config::default());
        Jobs::new(SERVICE.name, &KINDS, db, policy, files).run_apart(&system, &tasks);
        tasks
    }

    /// Has a process die at `window` with a job under way.
    pub(super) async fn die_at(&self, window: Window) {
        let process = self.worker();
        process.die_at(window);
        tokio::time::timeout(std::time::Duration::from_secs(20), process.dead()).await.expect("the process dies with a job under way");
    }

    /// The time of all leases and waits is over.
    pub(super) async fn end_leases(&self) {
        let mut conn = superuser(&self.logins).await;
        sqlx::query("update kit.job set due_at = now() where due_at > now()").execute(&mut conn).await.expect("leases end");
    }

    /// Takes the job from whoever works on it, as a process would that takes the first one for dead.
    pub(super) async fn take_away(&self, name: &str) {
        let mut conn = superuser(&self.logins).await;
        let taken = "update kit.job set fence = fence + 1, due_at = now() where id = $1";
        sqlx::query(taken).bind(id(name)).execute(&mut conn).await.expect("the job is taken");
    }

    /// Changes the job behind everybody's back.
    pub(super) async fn write(&self, statement: &'static str, name: &str) {
        let done = sqlx::query(statement).bind(id(name)).execute(&mut superuser(&self.logins).await).await.expect("a change");
        assert_eq!(done.rows_affected(), 1);
    }

    /// Asks for a job; answers its name.
    pub(super) async fn start(&self, request: &str) -> String {
        self.try_start(&self.administrator, request, None).await.expect("a job is started")
    }

    pub(super) async fn try_start(&self, caller: &Subject, request: &str, key: Option<&str>) -> Result<String, Status> {
        let request = pb::ListChangesRequest { name: request.to_owned(), ..pb::ListChangesRequest::default() };
        let request = match key {
            Some(key) => caller.keyed(request, key),
            None => caller.request(request),
        };
        let answer = AuditServiceClient::new(self.channel.clone()).list_changes(request).await?;
        Ok(answer.into_inner().next_page_token)
    }

    pub(super) async fn get(&self, caller: &Subject, name: &str) -> Result<pb::Job, Status> {
        self.jobs().get_job(caller.request(pb::GetJobRequest { name: name.to_owned() })).await.map(Response::into_inner)
    }

    pub(super) async fn list(&self, caller: &Subject, filter: &str) -> Vec<String> {
        let parent = format!("services/{}", SERVICE.name);
        let request = pb::ListJobsRequest { parent, filter: filter.to_owned(), ..pb::ListJobsRequest::default() };
        let answer = self.jobs().list_jobs(caller.request(request)).await.expect("a list").into_inner();
        answer.jobs.into_iter().map(|job| job.name).collect()
    }

    pub(super) async fn cancel(&self, name: &str) -> Result<pb::Job, Status> {
        let request = self.administrator.request(pb::CancelJobRequest { name: name.to_owned() });
        self.jobs().cancel_job(request).await.map(Response::into_inner)
    }

    pub(super) async fn undo(&self, name: &str) -> Result<pb::Job, Status> {
        let request = self.administrator.request(pb::UndoJobRequest { name: name.to_owned() });
        self.jobs().undo_job(request).await.map(Response::into_inner)
    }

    /// The job once it has ended.
    pub(super) async fn ended(&self, name: &str) -> pb::Job {
        eventually(&format!("an end of {name}"), async || {
            let job = self.get(&self.administrator, name).await.expect("the job is there");
            job.end_time.is_some().then_some(job)
        })
        .await
    }

    /// Entries that the job has written, in order.
    pub(super) async fn effects(&self, name: &str) -> Vec<i64> {
        let mut conn = superuser(&self.logins).await;
        sqlx::query_scalar("select version from effect where event_id = $1 order by version")
            .bind(id(name).to_string())
            .fetch_all(&mut conn)
            .await
            .expect("effects")
    }

    /// Facts about the job, in order.
    pub(super) async fn facts(&self, name: &str) -> Vec<String> {
        let mut conn = superuser(&self.logins).await;
        sqlx::query_scalar("select fact from kit.journal where record_type = 'jobs' and record_id = $1 order by version, ordinal")
            .bind(id(name))
            .fetch_all(&mut conn)
            .await
            .expect("facts")
    }

    /// Everything that the file has from `offset` on.
    pub(crate) async fn download(&self, caller: &Subject, name: &str, offset: i64) -> Result<Vec<u8>, Status> {
        let request = caller.request(pb::DownloadFileRequest { name: name.to_owned(), offset });
        let mut stream = self.files().download_file(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await? {
            assert_eq!(usize::try_from(part.offset - offset).expect("an offset"), bytes.len(), "a part is out of order");
            bytes.extend(part.data);
        }
        Ok(bytes)
    }
}

fn id(name: &str) -> Uuid {
    name.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok()).expect("a name ends in an id")
}
