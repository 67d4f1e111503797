//! Exporting a table in one call against the database's own way of doing it.

use std::time::Instant;

use futures_util::TryStreamExt;
use rapport_contacts_api::v1::export_service_client::ExportServiceClient;
use rapport_contacts_api::v1::{ExportContactsRequest, ExportFormat, ExportOptions};
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::report::{Figure, Goal, Pairs, short};
use crate::stage::Stage;
use crate::world::{World, with};
use crate::{Outcome, meter, trouble};

/// The cells of a line, in the columns that [`copy`] selects.
const COLUMNS: [&str; 6] = ["Record", "Given name", "Family name", "E-mail 1", "Tags", "Owner"];

/// Rows a second of the CSV that a call answers, against COPY of the same rows by the application's role.
pub(crate) async fn export(stage: &Stage, world: &World) -> Outcome<()> {
    let plan = &stage.plan;
    let (mut pairs, mut rows) = (Pairs::default(), 0);
    for _ in 0..plan.pairs {
        let (ours, read) = called(stage, world).await?;
        pairs.push(ours, copied(stage, world, read).await?);
        rows = read;
    }
    pairs.figure("export", Goal::AtLeast(0.4)).with("unit", "1/s").with("rows", plan.contacts).with("exported", rows).tell();
    Ok(())
}

/// By how much the memory of the service grows while it streams the table.
pub(crate) async fn growth(stage: &Stage, world: &World) -> Outcome<()> {
    let service = stage.contacts.pid()?;
    // Once before, so that what every call needs once is there.
    called(stage, world).await?;
    let before = meter::memory(service)?;
    meter::forget_peak(service)?;
    let (rate, rows) = called(stage, world).await?;
    let growth = meter::peak(service)? - before;
    let figure = Figure::alone("export_growth", growth, Goal::AtMost(16.0)).with("unit", "MiB").with("exported", rows);
    figure.with("rate", short(rate)).with("before", short(before)).tell();
    Ok(())
}

/// Rows a second of a stream that is left after the length of a measurement, or at its end; and how many there were.
async fn called(stage: &Stage, world: &World) -> Outcome<(f64, u64)> {
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let options = ExportOptions { format: ExportFormat::Csv.into(), columns, ..ExportOptions::default() };
    let mut client = ExportServiceClient::new(stage.contacts.channel().await?);
    let request = with(&world.token().await?, ExportContactsRequest { options: Some(options) });
    let begun = Instant::now();
    let mut stream = client.export_contacts(request).await?.into_inner();
    let mut lines = 0;
    while let Some(piece) = stream.message().await? {
        lines += piece.data.iter().filter(|byte| **byte == b'\n').count();
        if begun.elapsed() > stage.plan.length {
            break;
        }
    }
    let rows = u64::try_from(lines.saturating_sub(1))?;
    if rows == 0 {
        return Err(trouble("an empty export"));
    }
    Ok((meter::count(rows) / begun.elapsed().as_secs_f64(), rows))
}

/// Rows a second of COPY of as many rows.
async fn copied(stage: &Stage, world: &World, rows: u64) -> Outcome<f64> {
    let login: PgConnectOptions = stage.contacts.logins.app.expose_secret().parse()?;
    let mut database = login.options([("rapport.tenant", world.tenant)]).disable_statement_logging().connect().await?;
    let begun = Instant::now();
    let lines = copy(&mut database, world.caller, world.unit, rows).await?;
    if u64::try_from(lines)? != rows {
        return Err(trouble(format!("{lines} rows were copied, {rows} were exported")));
    }
    Ok(meter::count(rows) / begun.elapsed().as_secs_f64())
}

/// Lines of what the caller may see, in the order of ids: the same rows and cells as the export's.
async fn copy(database: &mut PgConnection, caller: Uuid, unit: Uuid, rows: u64) -> Outcome<usize> {
    let statement = format!(
        "copy (select 'contacts/' || c.id, c.person ->> 'given_name', c.person ->> 'family_name',
             jsonb_path_query_first(c.person, '$.contact_points[*] ? (@.kind == \"email\").value') #>> '{{}}',
             array_to_string(c.tags, ', '), 'users/' || c.owner_id
           from contacts c
           where c.deleted_at is null
             and (c.owner_id = '{caller}' or exists (select from kit.policy_subject holder join kit.unit_ancestor above
               on above.tenant_id = holder.tenant_id and above.unit_id = holder.unit_id
               where holder.tenant_id = c.tenant_id and holder.id = c.owner_id and above.ancestor_id = '{unit}'))
           order by c.tenant_id, c.id limit {rows}) to stdout with (format csv)"
    );
    let mut copied = database.copy_out_raw(&statement).await?;
    let mut lines = 0;
    while let Some(piece) = copied.try_next().await? {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(lines)
}
