//! Dead letters of the caller's tenant: seen, handed over again, given up.
//!
//! Guarantees: a decision and its journal rows commit together, once for each idempotency key. What is handed
//! over again is handled by the consumers (`inbox/held.rs`), never here.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::dead_letter_service_server::DeadLetterService;
use sqlx::FromRow;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::ctx::Ctx;
use crate::db::{Db, Tx};
use crate::fault::Fault;
use crate::filter::{Column, Field, Kind};
use crate::inbox;
use crate::journal::{self, Earlier, Entry, Record};
use crate::list::{self, Asked, Listing};
use crate::{clock, command, name};

/// Names in one request at most.
const BATCH: usize = 1000;
/// Letters of a reason at most.
const REASON: usize = 500;
const RESOURCE: &str = "delivery.deadletter";
const COLLECTION: &str = "deadLetters";
/// What the list can be filtered by.
const FIELDS: &[Field] = &[
    Field { path: "fact", column: Column::Plain("d.fact"), kind: Kind::Text, sort: false },
    Field { path: "subject", column: Column::Plain("d.subject"), kind: Kind::Text, sort: false },
    Field { path: "consumer", column: Column::Plain("d.consumer"), kind: Kind::Text, sort: false },
    Field { path: "first_failure_time", column: Column::Plain("d.first_failed_at"), kind: Kind::Time, sort: true },
    Field { path: "last_failure_time", column: Column::Plain("d.last_failed_at"), kind: Kind::Time, sort: false },
];
const COLUMNS: &str = "d.id, d.version, d.event_id, d.fact, d.subject, d.subject_version, d.consumer, d.reason, d.attempts,
    coalesce(d.headers ->> 'traceparent', '') as trace_id, d.first_failed_at, d.last_failed_at,
    (select count(*)::integer from (select from kit.dead_letter w where w.tenant_id = d.tenant_id and w.consumer = d.consumer
       and w.subject = d.subject and w.seq > d.seq limit 10000) behind) as waiting";
const LISTING: Listing = Listing {
    columns: COLUMNS,
    from: " from kit.dead_letter d where d.state = 'dead' and d.tenant_id = ",
    id: "d.id",
    fields: FIELDS,
    search: None,
    order: "first_failure_time",
};

/// The dead letters of one service.
#[derive(Debug, Clone)]
pub(super) struct DeadLetters {
    pub(super) service: &'static str,
    pub(super) db: Db,
}

#[derive(Debug, FromRow)]
struct Row {
    id: Uuid,
    version: i64,
    event_id: String,
    fact: String,
    subject: String,
    subject_version: i64,
    consumer: String,
    reason: String,
    attempts: i32,
    trace_id: String,
    first_failed_at: DateTime<Utc>,
    last_failed_at: DateTime<Utc>,
    waiting: i32,
}

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy)]
enum Decision<'a> {
    Replay,
    Discard { reason: &'a str },
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(&self, request: Request<pb::ListDeadLettersRequest>) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(self.list(&ctx, &request.into_inner()).await?))
    }

    async fn replay_dead_letters(&self, request: Request<pb::ReplayDeadLettersRequest>) -> Result<Response<pb::ReplayDeadLettersResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let ids = self.ids(&request.parent, &request.names)?;
        let (replayed_names, missing_names) = self.decide(&ctx, &ids, Decision::Replay).await?;
        Ok(Response::new(pb::ReplayDeadLettersResponse { replayed_names, missing_names }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<pb::DiscardDeadLettersRequest>,
    ) -> Result<Response<pb::DiscardDeadLettersResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let ids = self.ids(&request.parent, &request.names)?;
        let reason = request.reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON {
            return Err(Fault::invalid("reason", format!("is required, with at most {REASON} characters")).into());
        }
        let (discarded_names, missing_names) = self.decide(&ctx, &ids, Decision::Discard { reason }).await?;
        Ok(Response::new(pb::DiscardDeadLettersResponse { discarded_names, missing_names }))
    }
}

impl DeadLetters {
    async fn list(&self, ctx: &Ctx, request: &pb::ListDeadLettersRequest) -> Result<pb::ListDeadLettersResponse, Fault> {
        let pb::ListDeadLettersRequest { parent, page_size, page_token, filter } = request;
        name::require_parent(self.service, parent)?;
        let asked = Asked { page_size: *page_size, page_token, filter, order_by: "", others: &[("parent", parent)] };
        let (rows, next_page_token) = list::page(&self.db, ctx, &LISTING, asked, ctx.fields(RESOURCE), |_| {}).await?;
        let letters = rows.iter().map(Row::from_row).collect::<Result<Vec<Row>, sqlx::Error>>()?;
        Ok(pb::ListDeadLettersResponse { dead_letters: letters.iter().map(|letter| self.told(letter)).collect(), next_page_token })
    }

    /// Carries the decision out; answers the names it was carried out for, and those that were not there.
    async fn decide(&self, ctx: &Ctx, ids: &[Uuid], decision: Decision<'_>) -> Result<(Vec<String>, Vec<String>), Fault> {
        let done = match self.carry_out(ctx, ids, decision).await {
            Ok(done) if done.len() == ids.len() => done,
            // The key may have been used, at this very moment too: then the answer is what the first request did.
            other => match Earlier::find(&self.db, ctx).await? {
                Some(earlier) => earlier.written.into_iter().map(|(_, id, _)| id).collect(),
                None => other?,
            },
        };
        let (done, missing): (Vec<Uuid>, Vec<Uuid>) = ids.iter().copied().partition(|id| done.contains(id));
        let names = |ids: Vec<Uuid>| -> Vec<String> { ids.into_iter().map(|id| self.name(id)).collect() };
        Ok((names(done), names(missing)))
    }

    /// The decision and its journal rows, in one transaction.
    async fn carry_out(&self, ctx: &Ctx, ids: &[Uuid], decision: Decision<'_>) -> Result<HashSet<Uuid>, Fault> {
        let mut tx = self.db.begin(ctx).await?;
        let letters = lock(&mut tx, ctx, ids).await?;
        if letters.is_empty() {
            // A request that finds nothing uses its key up too; if it was used before, that answer is looked up.
            Earlier::keep(tx.conn(), ctx, &[]).await?;
            tx.commit().await?;
            return Ok(HashSet::new());
        }
        let entries = letters.iter().map(|letter| self.entry(ctx, letter, decision)).collect::<Result<Vec<Entry>, Fault>>()?;
        match decision {
            Decision::Replay => hand_over(&mut tx, ctx, &letters).await?,
            Decision::Discard { .. } => give_up(&mut tx, ctx, &letters).await?,
        }
        sqlx::query("select kit.record_all($1)").bind(entries).execute(tx.conn()).await?;
        tx.commit().await?;
        Ok(letters.into_iter().map(|letter| letter.id).collect())
    }

    fn entry(&self, ctx: &Ctx, letter: &Row, decision: Decision<'_>) -> Result<Entry, Fault> {
        let record = Record { collection: COLLECTION, id: letter.id, version: letter.version + 1 };
        let dead_letter = Some(self.told(letter));
        match decision {
            Decision::Replay => journal::entry(ctx, record, &pb::DeadLetterReplayed { dead_letter }, Vec::new()),
            Decision::Discard { reason } => {
                journal::entry(ctx, record, &pb::DeadLetterDiscarded { dead_letter, reason: reason.to_owned() }, Vec::new())
            }
        }
    }

    /// The ids in `names`, each once, in the order of the request.
    fn ids(&self, parent: &str, names: &[String]) -> Result<Vec<Uuid>, Fault> {
        name::require_parent(self.service, parent)?;
        if names.is_empty() {
            return Err(Fault::invalid("names", "is required"));
        }
        command::require_size(names.len(), BATCH)?;
        let mut ids = Vec::with_capacity(names.len());
        let mut seen = HashSet::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let own = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
            let looks = || Fault::invalid(format!("names[{index}]"), format!("must look like {parent}/{COLLECTION}/{{uuid}}"));
            let id = own.and_then(name::split).filter(|(collection, _)| *collection == COLLECTION).ok_or_else(looks)?.1;
            if seen.insert(id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn name(&self, id: Uuid) -> String {
        name::format_own(self.service, COLLECTION, id)
    }

    fn told(&self, row: &Row) -> pb::DeadLetter {
        pb::DeadLetter {
            name: self.name(row.id),
            event_id: row.event_id.clone(),
            fact: row.fact.clone(),
            subject: row.subject.clone(),
            subject_version: row.subject_version,
            consumer: row.consumer.clone(),
            error: row.reason.clone(),
            attempt_count: row.attempts,
            waiting_count: row.waiting,
            first_failure_time: Some(clock::timestamp(row.first_failed_at)),
            last_failure_time: Some(clock::timestamp(row.last_failed_at)),
            trace_id: row.trace_id.clone(),
        }
    }
}

/// Those that are still dead, for this transaction alone; in one order, so that two requests do not wait for
/// each other in a circle.
async fn lock(tx: &mut Tx, ctx: &Ctx, ids: &[Uuid]) -> Result<Vec<Row>, Fault> {
    let statement = format!(
        "select {COLUMNS} from kit.dead_letter d where d.tenant_id = $1 and d.id = any($2) and d.state = 'dead' order by d.id for update of d"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(ctx.tenant()).bind(ids).fetch_all(tx.conn()).await?)
}

/// They are tried as often as new ones.
async fn hand_over(tx: &mut Tx, ctx: &Ctx, letters: &[Row]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    sqlx::query("update kit.dead_letter set state = 'due', attempts = 0, version = version + 1 where tenant_id = $1 and id = any($2)")
        .bind(ctx.tenant())
        .bind(ids)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The inbox keeps knowing the events, so that a delivery that comes again brings none of them back.
async fn give_up(tx: &mut Tx, ctx: &Ctx, letters: &[Row]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    sqlx::query("delete from kit.dead_letter where tenant_id = $1 and id = any($2)").bind(ctx.tenant()).bind(ids).execute(tx.conn()).await?;
    let (consumers, subjects): (Vec<String>, Vec<String>) = letters.iter().map(|letter| (letter.consumer.clone(), letter.subject.clone())).unzip();
    inbox::go_on(tx, ctx.tenant(), &consumers, &subjects).await
}
