//! What a job is, what is told of it and what its journal rows say.

use chrono::{DateTime, Utc};
use prost::Message;
use rapport_proto::Event;
use rapport_proto::common::v1 as pb;
use sqlx::FromRow;
use uuid::Uuid;

use crate::clock;
use crate::ctx::{Actor, Ctx};
use crate::fault::Fault;
use crate::files;
use crate::journal::{self, Entry, Record};
use crate::name;

pub(crate) const COLLECTION: &str = "jobs";
pub(crate) const RESOURCE: &str = "jobs.job";

/// A job as everybody sees it who may.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Job {
    pub(crate) tenant_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) kind: String,
    pub(crate) permission: String,
    pub(crate) undoes: Option<Uuid>,
    pub(crate) undoable: bool,
    pub(crate) state: i16,
    pub(crate) owner_id: Uuid,
    pub(crate) actor: String,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) input_ids: Vec<Uuid>,
    pub(crate) output_ids: Vec<Uuid>,
    pub(crate) done: i64,
    pub(crate) refused: i64,
    pub(crate) total: Option<i64>,
    pub(crate) message: String,
    pub(crate) error: Option<Vec<u8>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) cancelled_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// A job as the process that works on it knows it.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Work {
    #[sqlx(flatten)]
    pub(crate) job: Job,
    pub(crate) limits: Option<Vec<String>>,
    pub(crate) request: Vec<u8>,
    pub(crate) checkpoint: Vec<u8>,
    /// Which taking of the job this is; a step of an earlier one commits no more.
    pub(crate) fence: i64,
    /// Takings without a step, this one included.
    pub(crate) attempts: i32,
    /// Whether the last step is committed, so that only the end is left.
    pub(crate) all_done: bool,
}

impl Job {
    /// A job that the caller asks for now.
    pub(super) fn new(ctx: &Ctx, kind: &str, permission: &str, input_ids: Vec<Uuid>) -> Self {
        Self {
            tenant_id: ctx.tenant(),
            id: clock::new_id(),
            version: 1,
            kind: kind.to_owned(),
            permission: permission.to_owned(),
            undoes: None,
            undoable: false,
            state: number(pb::JobState::Pending),
            owner_id: ctx.subject(),
            actor: ctx.actor().name.clone(),
            on_behalf_of: ctx.actor().on_behalf_of.clone(),
            input_ids,
            output_ids: Vec::new(),
            done: 0,
            refused: 0,
            total: None,
            message: String::new(),
            error: None,
            created_at: ctx.now(),
            started_at: None,
            updated_at: ctx.now(),
            cancelled_at: None,
            ended_at: None,
        }
    }

    /// Who asked for it, and for whom.
    pub(super) fn asker(&self) -> Actor {
        Actor { name: self.actor.clone(), on_behalf_of: self.on_behalf_of.clone() }
    }

    pub(crate) fn state(&self) -> pb::JobState {
        pb::JobState::try_from(i32::from(self.state)).unwrap_or_default()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// The job as it is when somebody asks for its end: one that waits for its first turn ends at once.
    pub(crate) fn cancelled(mut self, now: DateTime<Utc>) -> Self {
        self.version += 1;
        (self.cancelled_at, self.updated_at) = (Some(now), now);
        if self.state() == pb::JobState::Pending {
            (self.state, self.ended_at) = (number(pb::JobState::Cancelled), Some(now));
        }
        self
    }

    /// Refuses a job whose work cannot be taken back, or not yet; `known` is whether this release has steps for it.
    pub(super) fn require_undoable(&self, service: &str, known: bool) -> Result<(), Fault> {
        let name = self.name(service);
        if !self.has_ended() {
            return Err(Fault::precondition("JOB_NOT_ENDED", "Cancel the job or wait for its end before you undo it.").with("name", name));
        }
        if self.state() == pb::JobState::Undone {
            return Err(undone(name));
        }
        if !self.undoable {
            return Err(Fault::precondition("JOB_NOT_UNDOABLE", "What a job of this kind does cannot be taken back.").with("name", name));
        }
        if !known {
            return Err(Fault::precondition("JOB_NOT_UNDOABLE", "This release does not know how to take back what a job of this kind does.")
                .with("name", name));
        }
        Ok(())
    }

    pub(crate) fn name(&self, service: &str) -> String {
        name::format_own(service, COLLECTION, self.id)
    }

    pub(crate) fn told(&self, service: &str) -> pb::Job {
        let files = |ids: &[Uuid]| ids.iter().map(|id| name::format_own(service, files::COLLECTION, *id)).collect();
        let time = |time: Option<DateTime<Utc>>| time.map(clock::timestamp);
        pb::Job {
            name: self.name(service),
            kind: self.kind.clone(),
            state: i32::from(self.state),
            owner: self.asker().subject().to_owned(),
            done_count: self.done,
            total_count: self.total,
            refused_count: self.refused,
            message: self.message.clone(),
            error: self.error.as_deref().and_then(|error| pb::JobError::decode(error).ok()),
            input_files: files(&self.input_ids),
            output_files: files(&self.output_ids),
            undoable: self.undoable,
            undoes: self.undoes.map(|id| name::format_own(service, COLLECTION, id)).unwrap_or_default(),
            create_time: time(Some(self.created_at)),
            start_time: time(self.started_at),
            update_time: time(Some(self.updated_at)),
            cancel_time: time(self.cancelled_at),
            end_time: time(self.ended_at),
        }
    }

    /// The journal entry of what happened to the job, which has the version after it.
    pub(crate) fn entry(&self, ctx: &Ctx, event: &impl Event) -> Result<Entry, Fault> {
        journal::entry(ctx, Record { collection: COLLECTION, id: self.id, version: self.version }, event, Vec::new())
    }
}

/// The stored number of a state, which is the proto's.
pub(super) fn number(state: pb::JobState) -> i16 {
    i16::try_from(i32::from(state)).unwrap_or_default()
}

/// The refusal of a second job that takes back the same work.
pub(super) fn undone(name: String) -> Fault {
    Fault::precondition("JOB_UNDONE", "The job is undone, or being undone right now.").with("name", name)
}
