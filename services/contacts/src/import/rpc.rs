//! The import service: what a file is, the start of its import, and what that did.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_service_server::ImportService;
use rapport_kit::command::{self, Done};
use rapport_kit::files::Files;
use rapport_kit::jobs::{Asked, Jobs};
use rapport_kit::{Ctx, Db, Fault, name};
use rapport_proto::common::v1::Job;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::order::{self, Looked, Order};
use super::{KIND, crosswalk, mapping, plan, report, suggest};
use crate::contact;
use crate::import_mapping;
use crate::layout::Resource;
use crate::violations::Violations;

/// Serves imports.
#[derive(Debug, Clone)]
pub struct Imports {
    db: Db,
    files: Files,
    jobs: Jobs,
}

#[tonic::async_trait]
impl ImportService for Imports {
    async fn inspect_import(&self, request: Request<pb::InspectImportRequest>) -> Result<Response<pb::InspectImportResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(self.inspect(&ctx, request.into_inner()).await?))
    }

    async fn start_import(&self, request: Request<pb::StartImportRequest>) -> Result<Response<Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let job = match self.start(&ctx, request.into_inner()).await {
            Ok(job) => job,
            // A repetition gets the first answer, whatever has become of the file.
            Err(refusal) => command::answer(&self.db, &ctx, Err::<Done<Job>, Fault>(refusal)).await?,
        };
        Ok(Response::new(job))
    }

    async fn get_import_report(&self, request: Request<pb::GetImportReportRequest>) -> Result<Response<pb::ImportReport>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = name::parse_own("contacts", "jobs", &request.get_ref().job, "job")?;
        let report = report::read(&self.db, &ctx, &ctx.scope(), id).await?;
        Ok(Response::new(report.ok_or_else(|| Fault::not_found(&request.get_ref().job))?))
    }
}

impl Imports {
    /// Imports into `db`, out of `files`.
    #[must_use]
    pub fn new(db: Db, files: Files, jobs: Jobs) -> Self {
        Self { db, files, jobs }
    }

    async fn inspect(&self, ctx: &Ctx, request: pb::InspectImportRequest) -> Result<pb::InspectImportResponse, Fault> {
        let mut found = Violations::default();
        let collection = if request.collection.is_empty() { contact::COLLECTION } else { &request.collection };
        let resource: Resource = mapping::resource(&mut found, "collection", collection);
        found.finish()?;
        let file = self.files.ready(ctx, &request.file, "file").await?;
        let looked = order::look(&self.files, ctx, &file, &request.source.unwrap_or_default()).await?;
        let layout = suggest::layout(resource, &looked.header);
        let crosswalk = crosswalk::of(layout, resource);
        let mappings = import_mapping::fitting(&self.db, ctx, resource, looked.format, &looked.header).await?;
        Ok(pb::InspectImportResponse {
            source: Some(source(&looked)),
            columns: if looked.format == pb::ImportFormat::Vcard { Vec::new() } else { suggest::columns(resource, layout, &looked.header) },
            layout: layout.into(),
            r#match: crosswalk.and_then(|crosswalk| crosswalk.record_match()),
            account_match: crosswalk.and_then(|crosswalk| crosswalk.account_match(&looked.header)),
            header: looked.header,
            rows: looked.rows.into_iter().map(|cells| pb::ImportRow { cells }).collect(),
            estimated_row_count: looked.estimated,
            sheets: looked.sheets,
            mappings,
        })
    }

    async fn start(&self, ctx: &Ctx, request: pb::StartImportRequest) -> Result<Job, Fault> {
        let rules = match (request.rules, request.mapping.as_str()) {
            (Some(rules), "") => rules,
            (None, "") => return Err(Fault::invalid("rules", "is required, unless a saved mapping is named")),
            (None, mapping) => import_mapping::rules(&self.db, ctx, mapping).await?,
            (Some(_), _) => return Err(Fault::invalid("mapping", "must be empty: there are rules")),
        };
        let (file, order) = ordered(&self.files, ctx, &request.file, request.source, rules, request.dry_run).await?;
        let request = prost::Message::encode_to_vec(&order);
        let job = self.jobs.start(ctx, Asked { kind: KIND, request, input_files: vec![file] }).await?;
        let id = name::parse_own("contacts", "jobs", &job.name, "job")?;
        report::begin(&mut self.db.for_tenant(ctx).await?, ctx, id, order.dry_run).await?;
        Ok(job)
    }
}

/// What is to be done with a file, and its id, after a look at it.
///
/// # Errors
/// Those of InspectImport and StartImport that are about the file and the rules.
pub async fn ordered(
    files: &Files,
    ctx: &Ctx,
    name: &str,
    source: Option<pb::ImportSource>,
    rules: pb::ImportRules,
    dry_run: bool,
) -> Result<(Uuid, Order), Fault> {
    let file = files.ready(ctx, name, "file").await?;
    let looked = order::look(files, ctx, &file, &source.unwrap_or_default()).await?;
    // Cards have no header: what a value is they say themselves.
    let header = if looked.format == pb::ImportFormat::Vcard { Vec::new() } else { looked.header };
    let (mapping, ..) = plan::checked(ctx, &rules, &header).map_err(|fault| fault.within("rules"))?;
    if looked.format == pb::ImportFormat::Vcard && mapping.resource == Resource::Account {
        return Err(Fault::invalid("rules.collection", "must be contacts: cards are of people"));
    }
    let order = Order {
        rules: Some(rules),
        encoding: looked.encoding.name().to_owned(),
        delimiter: looked.dialect.delimiter.into(),
        quote: looked.dialect.quote.into(),
        header,
        begin: looked.begin,
        line: looked.line,
        dry_run,
        file_name: file.display_name,
        format: looked.format.into(),
        sheet: looked.sheet,
        size: file.size.unwrap_or_default(),
    };
    Ok((file.id, order))
}

fn source(looked: &Looked) -> pb::ImportSource {
    let told = |is_told: bool, text: String| if is_told { text } else { String::new() };
    let is_lines = looked.format == pb::ImportFormat::Csv;
    pb::ImportSource {
        format: looked.format.into(),
        encoding: told(looked.format != pb::ImportFormat::Xlsx, looked.encoding.name().to_lowercase()),
        delimiter: told(is_lines, char::from(looked.dialect.delimiter).to_string()),
        quote: told(is_lines, char::from(looked.dialect.quote).to_string()),
        sheet: looked.sheet.clone(),
    }
}
