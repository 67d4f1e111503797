//! Long work: imports, exports, bulk changes. It goes on after the call that asked for it, and over the end of any
//! process.
//!
//! Guarantees: a job works in steps, each one transaction in which its effects, its checkpoint and its counts commit
//! together; a process that dies anywhere leaves a job that another one takes when the lease ends and that comes to the
//! same end. At most one process commits steps of a job, by a fence that grows with every taking. A job acts with the
//! rights that whoever asked for it has at each step. Starting, cancelling, undoing and ending stand in the journal.
//!
//! A process works on a bounded number of jobs at once and puts each back after a few seconds if it is not done; the
//! next one is of the tenant that has the fewest at work, so that no tenant waits for another's long job. A step that
//! fails for a passing reason is tried again with growing waits; one that fails, or kills its process, five times
//! without a step between ends the job, and so does one whose surroundings are away for a day. A job of a kind that this
//! release lacks waits a day for one that has it, says so meanwhile, and fails then; cancelled, it ends at once.
//!
//! Behind the last step the files that the job wrote are read through for their checksums, under the lease and outside
//! of any transaction; then its end and theirs commit together.
//!
//! What a service adds is a table of [`Kind`]s: for each a plain function that does one step ([`Run`]).
//!
//! ```text
//! PENDING → RUNNING → SUCCEEDED ┐
//!    │         ├────→ FAILED    ├→ UNDONE   by another job that takes the work back (UndoJob)
//!    └─────────┴────→ CANCELLED ┘
//! ```

mod job;
mod run;
mod runner;
mod sql;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use prost::Message;
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::job_service_server::JobServiceServer;
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) use job::{COLLECTION, Job, RESOURCE};
pub use run::{Committed, Run, Step};
pub(crate) use sql::{COLUMNS, FROM, TABLE, cancel, get};

use crate::access::Scope;
use crate::access_log::AccessLog;
use crate::clock;
use crate::command::{self, Done};
use crate::common;
use crate::ctx::Ctx;
use crate::db::{Conn, Db, SystemDb, Tx};
use crate::fault::Fault;
use crate::files::Files;
use crate::name;
use crate::page::Sealer;
use crate::policy::Policy;
use crate::process::App;
use crate::tasks::Tasks;

/// Jobs of one tenant that may wait or run in a service; asking for more is refused.
const LIVE: i64 = 100;
/// What is told of a job whose kind this release lacks.
const UNKNOWN: &str = "This release does not know this kind of work. The job waits a day for one that does, and fails then.";
/// Bytes of a request that a job keeps.
const REQUEST: usize = 256 * 1024;

/// Does one step of a job and commits it ([`Run::commit`]). Network calls come before the transaction, never inside.
pub type StepFn = for<'a> fn(&'a Run) -> BoxFuture<'a, Result<Committed, Fault>>;

/// A kind of job.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// `<service>.<work>`, such as `contacts.import`.
    pub name: &'static str,
    /// What whoever asks for it must be permitted, at each step, and whoever reads what it wrote.
    pub permission: &'static str,
    /// A step of the work.
    pub step: StepFn,
    /// A step of taking it back, in a job of its own ([`Run::undoes`]); none if that cannot be done.
    pub undo: Option<StepFn>,
}

/// A job to be started.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Name of a [`Kind`] of the service.
    pub kind: &'static str,
    /// What is to be done, as the kind's steps understand it; at most 256 KiB.
    pub request: Vec<u8>,
    /// Files that it reads, which the caller may read ([`Files::ready`]).
    pub input_files: Vec<Uuid>,
}

/// Jobs of one service.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub(crate) service: &'static str,
    kinds: &'static [Kind],
    pub(crate) db: Db,
    policy: Policy,
    files: Files,
    /// Somebody has asked for a job here.
    wake: Arc<Notify>,
}

/// Works on jobs of these kinds and serves JobService; answers what starts them.
pub fn serve(app: &mut App, service: &'static str, kinds: &'static [Kind], files: Files) -> Jobs {
    let jobs = Jobs::new(service, kinds, app.db.clone(), app.policy.clone(), files);
    app.serve(JobServiceServer::new(common::JobDesk { jobs: jobs.clone() }));
    app.jobs.push(jobs.clone());
    jobs
}

/// Whether some process works on a job of any tenant at this moment, for what can wait until the machine has time.
///
/// # Errors
/// What the database answers.
pub async fn is_any_running(conn: &mut Conn) -> Result<bool, Fault> {
    sql::is_any_running(conn).await
}

impl Jobs {
    /// Jobs of `kinds` in `db`.
    #[must_use]
    pub fn new(service: &'static str, kinds: &'static [Kind], db: Db, policy: Policy, files: Files) -> Self {
        Self { service, kinds, db, policy, files, wake: Arc::default() }
    }

    /// Starts a job in the name of the caller, once for each idempotency key.
    ///
    /// # Errors
    /// PERMISSION_DENIED (PERMISSION_MISSING); FAILED_PRECONDITION (TOO_MANY_JOBS); INVALID_ARGUMENT
    /// (RECORD_TOO_LARGE, IDEMPOTENCY_KEY_REUSED); INTERNAL for a kind that there is not.
    pub async fn start(&self, ctx: &Ctx, asked: Asked) -> Result<pb::Job, Fault> {
        let outcome = self.insert(ctx, asked).await;
        command::answer(&self.db, ctx, outcome).await
    }

    /// Starts a job with what else the caller's transaction stores for it; answers its id too. There is neither before the
    /// transaction is committed. An earlier answer to the same idempotency key is the caller's to give
    /// ([`command::answer`]).
    ///
    /// # Errors
    /// As [`Jobs::start`].
    pub async fn start_in(&self, tx: &mut Tx, ctx: &Ctx, asked: Asked) -> Result<(Uuid, pb::Job), Fault> {
        let (job, request) = self.asked(ctx, asked)?;
        let told = self.store(tx.conn(), ctx, &job, &request).await?;
        Ok((job.id, told))
    }

    async fn insert(&self, ctx: &Ctx, asked: Asked) -> Result<Done<pb::Job>, Fault> {
        let (job, request) = self.asked(ctx, asked)?;
        self.store(&mut self.db.for_tenant(ctx).await?, ctx, &job, &request).await.map(Done::Written)
    }

    /// The job that is asked for, and what its steps are to know.
    fn asked(&self, ctx: &Ctx, asked: Asked) -> Result<(Job, Vec<u8>), Fault> {
        let kind = self.kind(asked.kind).ok_or_else(|| Fault::internal(format!("there is no kind of job {}", asked.kind)))?;
        if asked.request.len() > REQUEST {
            return Err(Fault::argument("RECORD_TOO_LARGE", "Ask for less at once: a job's request may take at most 256 KiB.")
                .with("bytes", asked.request.len().to_string()));
        }
        let job = Job::new(ctx, kind.name, kind.permission, asked.input_files);
        Ok((Job { undoable: kind.undo.is_some(), ..job }, asked.request))
    }

    /// Starts the job that takes back what `job` did.
    pub(crate) async fn undo(&self, ctx: &Ctx, job: &Job) -> Result<Done<pb::Job>, Fault> {
        job.require_undoable(self.service, self.undoes(&job.kind))?;
        let undo = Job { undoes: Some(job.id), ..Job::new(ctx, &job.kind, &job.permission, job.input_ids.clone()) };
        let clash = |fault: Fault| if fault.constraint() == Some("job_undo") { job::undone(job.name(self.service)) } else { fault };
        self.store(&mut self.db.for_tenant(ctx).await?, ctx, &undo, &[]).await.map(Done::Written).map_err(clash)
    }

    async fn store(&self, conn: &mut Conn, ctx: &Ctx, job: &Job, request: &[u8]) -> Result<pb::Job, Fault> {
        ctx.require(&job.permission)?;
        let told = job.told(self.service);
        let entry = job.entry(ctx, &pb::JobStarted { job: Some(told.clone()) })?;
        sql::insert(conn, ctx, job, request, entry).await?;
        self.wake.notify_one();
        Ok(told)
    }

    /// The job of this name with what was asked for and where its last committed step left off (the empty message before
    /// the first one), for a report of the service's own, if it is in `scope`. The caller looks at its `kind`: jobs of
    /// other kinds keep other messages, one that undoes keeps no request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID); NOT_FOUND (RECORD_NOT_FOUND), for a job that keeps other messages too.
    pub async fn told<R, C>(&self, ctx: &Ctx, scope: &Scope, name: &str) -> Result<(pb::Job, R, C), Fault>
    where
        R: Message + Default,
        C: Message + Default,
    {
        let id = name::parse_own(self.service, COLLECTION, name, "name")?;
        let work = sql::get_work(&mut self.db.for_tenant(ctx).await?, ctx, scope, id).await?;
        let work = work.ok_or_else(|| Fault::not_found(name))?;
        match (R::decode(work.request.as_slice()), C::decode(work.checkpoint.as_slice())) {
            (Ok(request), Ok(checkpoint)) => Ok((self.shown(&work.job), request, checkpoint)),
            _ => Err(Fault::not_found(name)),
        }
    }

    /// The job as callers see it: one that nobody here knows how to do says so.
    pub(crate) fn shown(&self, job: &Job) -> pb::Job {
        let mut told = job.told(self.service);
        told.undoable &= self.undoes(&job.kind);
        if !job.has_ended() && self.kind(&job.kind).is_none() {
            told.message = UNKNOWN.to_owned();
        }
        told
    }

    /// Whether work of this kind can be taken back by this release.
    fn undoes(&self, kind: &str) -> bool {
        self.kind(kind).is_some_and(|kind| kind.undo.is_some())
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// Works on `at_once` jobs at a time until the process stops.
    pub(crate) fn run(&self, system: &SystemDb, sealer: &Sealer, log: &AccessLog, at_once: usize, tasks: &Tasks) {
        let holder = format!("{}-{}", self.service, clock::new_id().simple());
        runner::run(self, runner::Worker { system: system.clone(), sealer: sealer.clone(), log: log.clone(), holder, tasks: tasks.clone() }, at_once);
    }

    /// The same for one job at a time, as another process would that a test can end.
    #[cfg(feature = "testing")]
    pub fn run_apart(&self, system: &SystemDb, tasks: &Tasks) {
        self.run(system, &Sealer::random(), &AccessLog::default(), 1, tasks);
    }
}
