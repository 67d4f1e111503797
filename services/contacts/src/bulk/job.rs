//! The job that makes a bulk change, a piece of its records in each step.

use csv::{Terminator, WriterBuilder};
use rapport_contacts_api::v1 as pb;
use rapport_kit::jobs::{Committed, Kind, Run, Step};
use rapport_kit::{Ctx, Fault, Tx, name};
use sqlx::Executor;
use uuid::Uuid;

use super::change::{self, Change};
use super::decide::{self, Decision};
use super::set;
use crate::{account, in_bulk, undo};

/// The kind of job. What it did is taken back record by record, but for those that were edited since.
pub const KIND: Kind =
    Kind { name: "contacts.bulk", permission: super::PERMISSION, step: |run| Box::pin(step(run)), undo: Some(|run| Box::pin(undo::step(run))) };

const HEADER: [&str; 3] = ["Record", "Reason", "Message"];

/// What a step has come to.
#[derive(Debug, Default)]
struct Made {
    refused: Vec<(Uuid, Fault)>,
    /// Others changed these at the same moment: they are decided about again.
    again: Vec<Uuid>,
}

async fn step(run: &Run) -> Result<Committed, Fault> {
    let ctx = run.ctx();
    let request: pb::StartBulkChangeRequest = run.request()?;
    let change = change::parse(request.change)?;
    change.check(ctx)?;
    let left = set::left(&mut run.db().for_tenant(ctx).await?, ctx, run.id()).await?;
    let decisions = decide::decide(run.db(), run.policy(), ctx, &change, &left.ids).await?;
    let mut tx = run.begin().await?;
    let made = make(&mut tx, ctx, decisions).await?;
    if !left.ids.is_empty() && made.again.len() == left.ids.len() {
        // Not a step forward: the kit tries again after a while, and gives up in the end.
        return Err(Fault::contended());
    }
    let output_files = write_refused(run, &mut tx, &change, &made.refused).await?;
    set::keep(&mut tx, ctx, run.id(), left.place, &made.again).await?;
    let count = |records: usize| i64::try_from(records).map_err(Fault::internal);
    let done = count(left.ids.len() - made.again.len())?;
    let (done_before, _) = run.counts();
    let step = Step {
        done,
        refused: count(made.refused.len())?,
        total: Some(done_before + left.count),
        output_files,
        ended: done == left.count,
        ..Step::default()
    };
    run.commit(tx, step).await
}

/// Writes what was decided, each record for itself: one that is refused takes nothing of the others with it.
async fn make(tx: &mut Tx, ctx: &Ctx, decisions: Vec<(Uuid, Decision)>) -> Result<Made, Fault> {
    let mut made = Made::default();
    in_bulk::wait_behind_people(tx).await?;
    if decisions.iter().any(|(_, decision)| matches!(decision, Decision::Account { decided, .. } if decided.moves)) {
        account::tree::lock(tx, ctx).await?;
    }
    for (id, decision) in decisions {
        let written = match decision {
            Decision::Refuse(fault) => Err(fault),
            Decision::KeepContact(_) | Decision::KeepAccount(_) => continue,
            decision => {
                tx.conn().execute("savepoint record").await?;
                let written = decide::write(tx, ctx, &decision).await;
                if written.is_err() {
                    tx.conn().execute("rollback to savepoint record").await?;
                }
                tx.conn().execute("release savepoint record").await?;
                written
            }
        };
        match written {
            Ok(true) => {}
            Ok(false) => made.again.push(id),
            Err(fault) if decide::is_of_record(&fault) => made.refused.push((id, fault)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(made)
}

/// Appends refusals to the job's output file, which begins with the first one; answers the file if it did.
async fn write_refused(run: &Run, tx: &mut Tx, change: &Change, refused: &[(Uuid, Fault)]) -> Result<Vec<Uuid>, Fault> {
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let mut begun = Vec::new();
    let file = match run.output_files() {
        [file, ..] => *file,
        [] => {
            let file = run.files().create(tx, run.ctx(), "refused.csv", "text/csv; charset=utf-8").await?;
            writer.write_record(HEADER).map_err(Fault::internal)?;
            begun.push(file);
            file
        }
    };
    for (id, fault) in refused {
        let record = name::format(change.resource.collection(), *id);
        writer.write_record([record.as_str(), fault.reason(), fault.text()]).map_err(Fault::internal)?;
    }
    let bytes = writer.into_inner().map_err(|error| Fault::internal(error.to_string()))?;
    run.files().append(tx, run.ctx(), file, &bytes).await?;
    Ok(begun)
}
