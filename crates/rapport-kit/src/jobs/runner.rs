//! Takes jobs and works on them, a step after the other.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::FutureExt;
use rapport_proto::common::v1 as pb;
use tonic::Code;

use super::job::Work;
use super::run::{Ahead, Committed, Run};
use super::{Jobs, Kind, StepFn, sql};
use crate::access::Access;
use crate::access_log::AccessLog;
use crate::clock;
use crate::ctx::{Admitted, Call, Ctx};
use crate::db::SystemDb;
use crate::fault::Fault;
use crate::lease::TERM;
use crate::metrics;
use crate::page::Sealer;
use crate::tasks::{Tasks, Window};

/// Between two looks for jobs that others asked for.
const POLL: Duration = Duration::from_secs(1);
/// A job is put back after this long, so that others get their turn.
const TURN: Duration = Duration::from_secs(5);
/// A step that lasts longer is broken off, and tried again.
const LONGEST_STEP: Duration = Duration::from_secs(60);
/// Takings without a step after which a job is given up.
const ATTEMPTS: i32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Wait for something that is away.
const AWAY: Duration = Duration::from_secs(2);
/// A job that has waited so long for it without a step is given up.
const PATIENCE: TimeDelta = TimeDelta::days(1);

/// One process that runs jobs, and what it works with.
pub(super) struct Worker {
    pub(super) system: SystemDb,
    pub(super) sealer: Sealer,
    pub(super) log: AccessLog,
    /// Name of this process among all.
    pub(super) holder: String,
    pub(super) tasks: Tasks,
}

struct Runner {
    jobs: Jobs,
    worker: Worker,
}

pub(super) fn run(jobs: &Jobs, worker: Worker, at_once: usize) {
    let tasks = worker.tasks.clone();
    let runner = Arc::new(Runner { jobs: jobs.clone(), worker });
    for _ in 0..at_once {
        tasks.spawn("jobs", Arc::clone(&runner).run());
    }
}

impl Runner {
    /// Works on one job at a time until the process stops.
    async fn run(self: Arc<Self>) {
        let kinds: Vec<&str> = self.jobs.kinds.iter().map(|kind| kind.name).collect();
        let stopping = self.worker.tasks.stopping();
        let mut warned = false;
        while !stopping.is_cancelled() {
            match sql::take(&self.worker.system, &kinds, &self.worker.holder).await {
                Ok(Some(work)) => {
                    self.worker.tasks.at(Window::JobTaken).await;
                    Box::pin(self.turn(work)).await;
                    warned = false;
                    continue;
                }
                Ok(None) => warned = false,
                Err(error) => {
                    if !warned {
                        tracing::warn!(%error, "jobs wait: they could not be looked for");
                    }
                    warned = true;
                }
            }
            tokio::select! {
                () = self.jobs.wake.notified() => {}
                go_on = self.worker.tasks.pause(POLL) => if !go_on { return },
            }
        }
    }

    /// Steps of one job, until it ends or others are to have their turn. What goes wrong here is mended by whoever
    /// takes the job next: it is as the last committed step left it.
    async fn turn(&self, mut work: Work) {
        let kind = self.jobs.kind(&work.job.kind);
        let begun = Instant::now();
        let stopping = self.worker.tasks.stopping();
        let mut ahead = None;
        loop {
            if work.all_done {
                return self.end(kind, &work, pb::JobState::Succeeded, None).await;
            }
            if work.job.cancelled_at.is_some() {
                return self.end(kind, &work, pb::JobState::Cancelled, None).await;
            }
            let stepped = match self.prepared(kind, &work, ahead.take()).await {
                Ok((kind, run)) => self.step(kind, &run).await.map(|committed| (committed, run)),
                Err(fault) => Err(fault),
            };
            match stepped {
                Ok((committed, run)) => {
                    work = committed.work;
                    ahead = committed.ahead.map(|ahead| (Arc::clone(run.ctx.shared_access()), ahead));
                }
                Err(fault) => return self.fail(kind, &work, fault).await,
            }
            if work.all_done {
                continue;
            }
            if begun.elapsed() > TURN || stopping.is_cancelled() {
                return self.put_back(&work, Duration::ZERO, work.attempts).await;
            }
        }
    }

    /// What does the step, and its surroundings under the rights that whoever asked for the job has now. What the step before
    /// worked out is dropped if those have changed.
    async fn prepared<'a>(&self, kind: Option<&'a Kind>, work: &Work, ahead: Option<(Arc<Access>, Ahead)>) -> Result<(&'a Kind, Run), Fault> {
        let kind = kind.ok_or_else(|| {
            Fault::precondition("JOB_KIND_UNKNOWN", "Ask for the job anew: the release that runs now does not know this kind of work.")
                .with("kind", &work.job.kind)
        })?;
        if work.attempts > ATTEMPTS {
            // Whatever it was, it took the process with it, or this job's step did not end.
            return Err(Fault::precondition("JOB_GIVEN_UP", "The job was begun again too often without a step forward; ask for less at once.")
                .with("attempts", ATTEMPTS.to_string()));
        }
        let access = self.jobs.policy.access(work.job.tenant_id, work.job.owner_id).await?;
        let access = access.ok_or_else(|| Fault::denied("JOB_OWNER_GONE", "Ask for the job anew: who asked for it takes no part any more."))?;
        let ahead = ahead.filter(|(with, _)| Arc::ptr_eq(with, &access)).map(|(_, ahead)| ahead);
        let ctx = self.ctx(Some(kind), work, access);
        ctx.require(kind.permission)?;
        let Jobs { db, policy, files, .. } = self.jobs.clone();
        Ok((kind, Run { ctx, work: work.clone(), db, policy, files, tasks: self.worker.tasks.clone(), ahead: Mutex::new(ahead) }))
    }

    fn ctx(&self, kind: Option<&Kind>, work: &Work, access: Arc<Access>) -> Ctx {
        let job = &work.job;
        let (name, permission) = kind.map_or(("jobs.end", ""), |kind| (kind.name, kind.permission));
        let deadline = Instant::now() + LONGEST_STEP;
        let call = Call::new(name, job.id.to_string(), deadline, self.worker.sealer.clone(), self.worker.log.clone());
        let admitted = Admitted {
            call: Arc::new(call),
            tenant: job.tenant_id,
            actor: job.asker(),
            subject: job.owner_id,
            session: None,
            access,
            permission,
            limits: work.limits.clone(),
        };
        Ctx::of_job(admitted, job.id)
    }

    /// One step, while the lease is renewed.
    async fn step(&self, kind: &Kind, run: &Run) -> Result<Committed, Fault> {
        let step: Option<StepFn> = if run.undoes().is_some() { kind.undo } else { Some(kind.step) };
        let step = step.ok_or_else(|| Fault::precondition("JOB_NOT_UNDOABLE", "What a job of this kind does cannot be taken back."))?;
        let stepping = tokio::time::timeout(LONGEST_STEP, AssertUnwindSafe(step(run)).catch_unwind());
        tokio::select! {
            stepped = stepping => match stepped {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    metrics::panics().inc();
                    Err(Fault::internal("a step of a job panicked"))
                }
                Err(_) => Err(Fault::deadline()),
            },
            lost = self.keep(&run.work) => Err(lost),
        }
    }

    /// Renews the lease until another process has taken the job all the same.
    async fn keep(&self, work: &Work) -> Fault {
        loop {
            tokio::time::sleep(TERM / 3).await;
            match sql::renew(&self.worker.system, work).await {
                Ok(true) => {}
                Ok(false) => return Fault::contended(),
                Err(error) => tracing::warn!(%error, job = %work.job.id, "the lease of a job could not be renewed"),
            }
        }
    }

    /// Tries again later if that can help, else ends the job.
    async fn fail(&self, kind: Option<&Kind>, work: &Work, fault: Fault) {
        let waits = clock::now() - work.job.updated_at < PATIENCE;
        let away = waits && matches!(fault.code(), Code::Unavailable | Code::ResourceExhausted);
        let passes = away || passes(&fault) && work.attempts < ATTEMPTS;
        if passes {
            tracing::warn!(job = %work.job.id, kind = work.job.kind, %fault, cause = fault.cause(), "a step of a job did not succeed; it is tried again");
            // Whatever is away is not the job's doing.
            let (wait, attempts) = if away { (AWAY, work.attempts - 1) } else { (FIRST_WAIT * (1_u32 << work.attempts.clamp(0, 6)), work.attempts) };
            return self.put_back(work, wait, attempts).await;
        }
        tracing::warn!(job = %work.job.id, kind = work.job.kind, %fault, cause = fault.cause(), "a job failed");
        metrics::failed_jobs().inc();
        let error = pb::JobError { reason: fault.reason().to_owned(), message: fault.text().to_owned() };
        self.end(kind, work, pb::JobState::Failed, Some(error)).await;
    }

    /// Ends a job, unless another process has taken it since. The files that it wrote are complete then: they are read
    /// through before the transaction, while the lease is renewed.
    async fn end(&self, kind: Option<&Kind>, work: &Work, state: pb::JobState, error: Option<pb::JobError>) {
        let (ctx, files) = (self.ctx(kind, work, Arc::default()), &self.jobs.files);
        let stopping = self.worker.tasks.stopping();
        let reading = async {
            // What cannot be read does not keep its job from ending: it goes away with the uploads that nobody completed.
            let read: &[_] = if work.attempts > 2 * ATTEMPTS { &[] } else { &work.job.output_ids };
            let mut complete = Vec::new();
            for id in read {
                complete.extend(files.hashed(&ctx, *id).await?);
            }
            Ok::<_, Fault>(complete)
        };
        let ending = async {
            let complete = tokio::select! {
                complete = reading => complete?,
                // Another process reads them from the beginning; that this one stops is no fault of theirs.
                () = stopping.cancelled() => {
                    self.put_back(work, Duration::ZERO, work.attempts - 1).await;
                    return Ok(());
                }
            };
            // Files before the job, as a step locks them.
            let mut tx = self.jobs.db.begin(&ctx).await?;
            for file in &complete {
                files.finish(&mut tx, &ctx, file).await?;
            }
            sql::end(&mut tx, &ctx, self.jobs.service, work, state, error).await?.ok_or_else(Fault::contended)?;
            tx.commit().await
        };
        let ended = tokio::select! {
            ended = ending => ended,
            lost = self.keep(work) => Err(lost),
        };
        let Err(error) = ended else { return };
        tracing::warn!(%error, job = %work.job.id, "the end of a job could not be stored; whoever takes it next does");
        // What passes does not count: of what cannot be read too often, the files are given up.
        if matches!(error.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded) {
            self.put_back(work, AWAY, work.attempts - 1).await;
        }
    }

    async fn put_back(&self, work: &Work, wait: Duration, attempts: i32) {
        if let Err(error) = sql::put_back(&self.worker.system, work, wait.as_secs_f64(), attempts.max(0)).await {
            tracing::warn!(%error, job = %work.job.id, "a job could not be put back; it is taken again when its lease ends");
        }
    }
}

/// Whether it may help to try again.
fn passes(fault: &Fault) -> bool {
    matches!(fault.code(), Code::Aborted | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::ResourceExhausted)
}
