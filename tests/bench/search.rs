//! Search against what the machine's own index for parts of words allows.

use std::time::{Duration, Instant};

use rapport_contacts_api::v1::SearchRecordsRequest;
use sqlx::Executor;
use tonic::Status;

use crate::client::Page;
use crate::load::measured;
use crate::pgbench::Script;
use crate::reads::Call;
use crate::report::{Costs, Goal, Pairs, note, short};
use crate::stage::{Stage, pick};
use crate::world::{World, with};
use crate::{Outcome, meter, trouble};

/// Somebody who types.
const CALLERS: u64 = 1;
/// Callers who keep the machine busy; how they fare is told beside.
const MANY: u64 = 8;
const PATH: &str = "/rapport.contacts.v1.SearchService/SearchRecords";
/// A large table takes a while.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Six digits that stand somewhere in an e-mail address, against the same sought by PostgreSQL's trigrams in a table of
/// names and addresses alone.
pub(crate) async fn search(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    if !plan.kept {
        index(stage).await?;
    }
    let plain = Script::of(include_str!("sql/search_names.sql"), world, plan.contacts);
    let (mut pairs, mut crowds, mut costs, mut last) = (Pairs::default(), Pairs::default(), Costs::default(), None);
    for _ in 0..plan.pairs {
        let (clients, token, rows) = (contacts.clients().await?, world.token().await?, plan.contacts);
        let call = move |random: u64| -> Call {
            let (client, token) = (pick(&clients, random), token.clone());
            Box::pin(async move {
                let client = client.ok_or_else(|| Status::internal("no connection"))?;
                let query = format!("{:06}", random % rows.min(100_000));
                let page: Page = client.call(PATH, with(&token, SearchRecordsRequest { query, page_size: 20, ..Default::default() })).await?;
                if page.records.is_empty() { Err(Status::not_found("nothing was found")) } else { Ok(()) }
            })
        };
        let ours = measured(contacts.pid()?, CALLERS, plan.length, call.clone()).await?;
        let limit = plain.run(stage, world, contacts, CALLERS, plan.length).await?;
        let crowd = measured(contacts.pid()?, MANY, plan.length / 2, call).await?.run.rate();
        crowds.push(crowd, plain.run(stage, world, contacts, MANY, plan.length / 2).await?.rate);
        pairs.push(meter::count(ours.run.quantile(0.5)), meter::count(limit.p50));
        costs.push(&ours, &limit);
        last = Some((ours.run, limit));
    }
    let (run, limit) = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("search", Goal::AtMost(1.6)).with("unit", "us").with("rows", plan.contacts).with("c", CALLERS).with_run(&run);
    let figure = costs.tell(figure).with("limit_p99_us", limit.p99);
    figure.with("rate_of_many", short(crowds.ours())).with("limit_rate_of_many", short(crowds.limit())).tell();
    Ok(())
}

/// Has the service index every contact, and makes the table that it is compared with.
async fn index(stage: &Stage) -> Outcome<()> {
    let mut database = stage.superuser(&stage.contacts).await?;
    database.execute("insert into search_queue (tenant_id, collection, record_id) select tenant_id, 'contacts', id from contacts").await?;
    database
        .execute(
            "create extension if not exists pg_trgm;
             create schema bench;
             create table bench.names as
               select c.tenant_id, c.id, c.person ->> 'given_name' as given_name, c.person ->> 'family_name' as family_name, k.normalized as email,
                 lower((c.person ->> 'given_name') || ' ' || (c.person ->> 'family_name') || ' ' || k.normalized) as text
               from contacts c join contact_point_keys k on k.tenant_id = c.tenant_id and k.record_id = c.id and k.kind = 1;
             create index on bench.names using gin (text gin_trgm_ops);
             grant usage on schema bench to rapport_app;
             grant select on bench.names to rapport_app",
        )
        .await?;
    let begun = Instant::now();
    while sqlx::query_scalar("select exists (select from search_queue) or exists (select from search_bulk)").fetch_one(&mut database).await? {
        if begun.elapsed() > PATIENCE {
            return Err(trouble("the index does not come to its end"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    note(&format!("{} contacts were indexed in {} s", stage.plan.contacts, begun.elapsed().as_secs()));
    for table in ["search_doc", "bench.names"] {
        database.execute(sqlx::AssertSqlSafe(format!("vacuum analyze {table}"))).await?;
    }
    database.execute("checkpoint").await?;
    Ok(())
}
