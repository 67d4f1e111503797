//! Exports that take longer than a call: a job whose steps append to a file.

use rapport_contacts_api::v1 as pb;
use rapport_kit::jobs::{Committed, Kind, Run, Step};
use rapport_kit::{Ctx, Fault, name};

use super::plan::{self, Plan};
use super::progress::{self, Progress};
use crate::layout::Resource;

/// The kind of job; nothing is changed that could be taken back.
pub const KIND: Kind = Kind { name: "contacts.export", permission: super::PERMISSION, step: |run| Box::pin(step(run)), undo: None };

/// Pages that a step reads at most.
const PAGES: usize = 8;
/// Bytes after which a step reads no further page.
const BYTES: usize = 1 << 20;

/// The export that a request asks for.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE).
pub(super) fn parse(request: pb::StartExportRequest) -> Result<Plan, Fault> {
    let resource = Resource::of(&request.collection).ok_or_else(|| Fault::invalid("collection", "must be accounts or contacts"))?;
    plan::parse(resource, request.options)
}

/// What the access log says was taken out.
pub(super) fn logged(plan: &Plan) -> Vec<String> {
    let collection = plan.resource.collection();
    match &plan.ids {
        Some(ids) => ids.iter().map(|id| name::format(collection, *id)).collect(),
        None => vec![collection.to_owned()],
    }
}

async fn step(run: &Run) -> Result<Committed, Fault> {
    let ctx = run.ctx();
    let plan = parse(run.request()?)?;
    plan::check(ctx, &plan)?;
    let mut progress: Progress = run.checkpoint()?;
    let (mut bytes, mut records) = (Vec::new(), 0);
    for _ in 0..PAGES {
        let piece = progress::advance(run.db(), ctx, &plan, &mut progress).await?;
        bytes.extend(piece.bytes);
        records += piece.records;
        if progress.is_done || bytes.len() >= BYTES {
            break;
        }
    }
    let mut tx = run.begin().await?;
    let mut output_files = Vec::new();
    let file = match run.output_files() {
        [file, ..] => *file,
        [] => {
            ctx.log_export(tx.conn(), &logged(&plan)).await?;
            let (ending, media_type) = plan.format.kind();
            let file = run.files().create(&mut tx, ctx, &file_name(ctx, &plan, ending), media_type).await?;
            output_files.push(file);
            file
        }
    };
    run.files().append(&mut tx, ctx, file, &bytes).await?;
    let done = i64::try_from(records).map_err(Fault::internal)?;
    run.commit(tx, Step { done, output_files, ended: progress.is_done, ..Step::to(&progress) }).await
}

/// Such as `contacts-2026-11-22.csv`.
fn file_name(ctx: &Ctx, plan: &Plan, ending: &str) -> String {
    format!("{}-{}.{ending}", plan.resource.collection(), ctx.now().format("%Y-%m-%d"))
}
