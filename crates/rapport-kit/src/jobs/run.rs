//! One step of a job, as the service's own function sees it.

use std::any::Any;
use std::sync::{Mutex, PoisonError};

use prost::Message;
use uuid::Uuid;

use super::job::Work;
use super::sql;
use crate::ctx::Ctx;
use crate::db::{Db, Tx};
use crate::fault::Fault;
use crate::files::Files;
use crate::policy::Policy;
use crate::tasks::{Tasks, Window};

/// A job at the beginning of a step: what was asked for, how far it is, and what a step needs.
#[derive(Debug)]
pub struct Run {
    pub(super) ctx: Ctx,
    pub(super) work: Work,
    pub(super) db: Db,
    pub(super) policy: Policy,
    pub(super) files: Files,
    pub(super) tasks: Tasks,
    pub(super) ahead: Mutex<Option<Ahead>>,
}

/// What a step works out for the one after it.
pub(super) type Ahead = Box<dyn Any + Send>;

/// What a step did and where the next one begins. Counts are those of the step alone.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Where the next step begins, as the kind's steps understand it.
    pub checkpoint: Vec<u8>,
    /// Entries worked on, refused ones among them.
    pub done: i64,
    /// Entries refused.
    pub refused: i64,
    /// How many entries the job has, once that is known.
    pub total: Option<i64>,
    /// What is told to people from now on, without field values; none leaves what was told before.
    pub message: Option<String>,
    /// Files that the step began.
    pub output_files: Vec<Uuid>,
    /// Whether the job is done with it.
    pub ended: bool,
}

/// A step that is stored; only [`Run::commit`] gives one.
#[derive(Debug)]
pub struct Committed {
    pub(super) work: Work,
    pub(super) ahead: Option<Ahead>,
}

impl Committed {
    /// Hands on what was worked out for the next step while this one was written ([`Run::take_ahead`]).
    #[must_use]
    pub fn with_ahead(self, ahead: Option<impl Any + Send>) -> Self {
        Self { ahead: ahead.map(|ahead| Box::new(ahead) as Ahead), ..self }
    }
}

impl Step {
    /// A step after which the next one begins at `checkpoint`.
    pub fn to(checkpoint: &impl Message) -> Self {
        Self { checkpoint: checkpoint.encode_to_vec(), ..Self::default() }
    }

    /// The last step.
    #[must_use]
    pub fn last() -> Self {
        Self { ended: true, ..Self::default() }
    }
}

impl Run {
    /// Whoever asked for the job, with the rights of this moment; what is journaled under it names the job.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The copy of identity's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The service's files.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Id of the job.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.work.job.id
    }

    /// The job that this one takes back; its journal rows say what that was ([`crate::journal::written_by`]).
    #[must_use]
    pub fn undoes(&self) -> Option<Uuid> {
        self.work.job.undoes
    }

    /// What was asked for.
    ///
    /// # Errors
    /// INTERNAL if it is no such message.
    pub fn request<M: Message + Default>(&self) -> Result<M, Fault> {
        M::decode(self.work.request.as_slice()).map_err(Fault::internal)
    }

    /// Where the step before left off; the empty message at the first step.
    ///
    /// # Errors
    /// INTERNAL if it is no such message.
    pub fn checkpoint<M: Message + Default>(&self) -> Result<M, Fault> {
        M::decode(self.work.checkpoint.as_slice()).map_err(Fault::internal)
    }

    /// Files that the job reads.
    #[must_use]
    pub fn input_files(&self) -> &[Uuid] {
        &self.work.job.input_ids
    }

    /// Files that the steps before began.
    #[must_use]
    pub fn output_files(&self) -> &[Uuid] {
        &self.work.job.output_ids
    }

    /// Entries worked on by the steps before, and how many of them were refused.
    #[must_use]
    pub fn counts(&self) -> (i64, i64) {
        (self.work.job.done, self.work.job.refused)
    }

    /// What the step before worked out for this one, if this process took that step a moment ago and whoever asked for the
    /// job has the same rights still. It may be missing at any step, which works it out itself then.
    #[must_use]
    pub fn take_ahead<T: 'static>(&self) -> Option<T> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        ahead.downcast().ok().map(|ahead| *ahead)
    }

    /// Begins the transaction of the step.
    ///
    /// # Errors
    /// As [`Db::begin`].
    pub async fn begin(&self) -> Result<Tx, Fault> {
        self.db.begin(&self.ctx).await
    }

    /// Makes what the step did durable, together with how far the job is.
    ///
    /// # Errors
    /// ABORTED (CONTENDED) if another process has taken the job meanwhile; what the database answers. Nothing of the
    /// step has happened then, unless the connection broke while the answer was on its way.
    pub async fn commit(&self, mut tx: Tx, step: Step) -> Result<Committed, Fault> {
        let work = sql::advance(&mut tx, &self.work, &step, self.ctx.now()).await?.ok_or_else(Fault::contended)?;
        self.tasks.at(Window::BeforeStepCommit).await;
        tx.commit().await?;
        self.tasks.at(Window::AfterStepCommit).await;
        Ok(Committed { work, ahead: None })
    }
}
