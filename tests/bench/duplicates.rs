//! What looking for duplicates costs: before a contact is written, and over all of them.

use std::time::{Duration, Instant};

use rapport_contacts_api::v1::duplicate_rule_service_client::DuplicateRuleServiceClient;
use rapport_contacts_api::v1::duplicate_service_client::DuplicateServiceClient;
use rapport_contacts_api::v1::{
    CreateDuplicateRuleRequest, DeleteDuplicateRuleRequest, DuplicateRule, ListDuplicateRulesRequest, StartDuplicateSweepRequest, duplicate_rule,
};
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{GetJobRequest, JobState};
use sqlx::PgConnection;

use crate::report::{Figure, Goal, Pairs, note, short};
use crate::stage::Stage;
use crate::world::{World, with};
use crate::{Outcome, meter, trouble, writes};

/// A change of rules holds within this time, as they promise.
const HEARD: Duration = Duration::from_secs(1);
/// Longer than a table of a million takes.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Creations under a rule that refuses duplicates, against creations under none.
pub(crate) async fn create_blocked(stage: &Stage, world: &World) -> Outcome<()> {
    let mut database = stage.superuser(&stage.contacts).await?;
    let mut pairs = Pairs::default();
    for pair in 0..stage.plan.pairs {
        let mut rates = Vec::new();
        for (turn, change) in [refuse as fn(&mut DuplicateRule), leave_out].into_iter().enumerate() {
            let rule = set(stage, world, change).await?;
            let turn = u64::try_from(pair * 2 + turn)? + 1_000;
            let created = writes::creations(stage, world, turn).await;
            unset(stage, world, rule).await?;
            rates.push(created?.run.rate());
            writes::sent(&mut database).await?;
        }
        if let [refusing, none] = rates.as_slice() {
            pairs.push(*refusing, *none);
        }
    }
    pairs.figure("create_blocked", Goal::AtLeast(0.6)).with("unit", "1/s").with("rows", stage.plan.contacts).tell();
    Ok(())
}

/// Seconds of a sweep over every contact of the table, those of imports among them.
pub(crate) async fn sweep(stage: &Stage, world: &World) -> Outcome<()> {
    let mut database = stage.superuser(&stage.contacts).await?;
    // Records that were copied into the table have no keys yet.
    sqlx::query(
        "insert into duplicate_queue (tenant_id, kind, record_id)
         select c.tenant_id, 2, c.id from contacts c
         where not exists (select from duplicate_keys k where k.tenant_id = c.tenant_id and k.record_id = c.id)",
    )
    .execute(&mut database)
    .await?;
    let begun = Instant::now();
    compared(&mut database).await?;
    note(&format!("what waited to be compared was after {} s", begun.elapsed().as_secs()));
    let (contacts, keys): (i64, i64) =
        sqlx::query_as("select (select count(*) from contacts), (select count(*) from duplicate_keys)").fetch_one(&mut database).await?;
    let begun = Instant::now();
    swept(stage, world).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let pairs: i64 = sqlx::query_scalar("select count(*) from duplicate_pairs").fetch_one(&mut database).await?;
    let figure = Figure::alone("sweep", seconds, Goal::AtMost(300.0)).with("unit", "s").with("contacts", contacts).with("keys", keys);
    figure.with("pairs", pairs).with("rate", short(meter::count(contacts.unsigned_abs()) / seconds)).tell();
    Ok(())
}

/// Ready when no record waits to be compared.
pub(crate) async fn compared(database: &mut PgConnection) -> Outcome<()> {
    let begun = Instant::now();
    while sqlx::query_scalar("select exists (select from duplicate_queue) or exists (select from duplicate_bulk)").fetch_one(&mut *database).await? {
        if begun.elapsed() > PATIENCE {
            return Err(trouble("records are not compared"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn swept(stage: &Stage, world: &World) -> Outcome<()> {
    let request = with(&world.administrator().await?, StartDuplicateSweepRequest::default());
    let job = DuplicateServiceClient::new(stage.contacts.channel().await?).start_duplicate_sweep(request).await?.into_inner().name;
    let mut jobs = JobServiceClient::new(stage.contacts.channel().await?);
    let begun = Instant::now();
    let mut token = world.administrator().await?;
    loop {
        let now = jobs.get_job(with(&token, GetJobRequest { name: job.clone() })).await?.into_inner();
        match now.state() {
            JobState::Succeeded => return Ok(()),
            JobState::Pending | JobState::Running if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            state => return Err(trouble(format!("the sweep is {state:?}: {}", now.message))),
        }
        // A token is good for five minutes.
        if begun.elapsed().as_secs() % 120 == 119 {
            token = world.administrator().await?;
        }
    }
}

/// Refuses what is taken for another record.
pub(crate) fn refuse(rule: &mut DuplicateRule) {
    rule.action = duplicate_rule::Action::Block.into();
}

/// Looks for no duplicates.
pub(crate) fn leave_out(rule: &mut DuplicateRule) {
    rule.disabled = true;
}

/// Puts the shipped rule about contacts with a change in its place; answers its name.
pub(crate) async fn set(stage: &Stage, world: &World, change: fn(&mut DuplicateRule)) -> Outcome<String> {
    let token = world.administrator().await?;
    let mut rules = DuplicateRuleServiceClient::new(stage.contacts.channel().await?);
    let known = rules.list_duplicate_rules(with(&token, ListDuplicateRulesRequest::default())).await?.into_inner();
    let shipped = known.shipped_rules.into_iter().find(|rule| rule.collection == "contacts");
    let mut rule = shipped.ok_or_else(|| trouble("no rule is shipped"))?;
    change(&mut rule);
    let request = CreateDuplicateRuleRequest { duplicate_rule: Some(rule) };
    let name = rules.create_duplicate_rule(with(&token, request)).await?.into_inner().name;
    tokio::time::sleep(HEARD).await;
    Ok(name)
}

/// Takes it away again.
pub(crate) async fn unset(stage: &Stage, world: &World, name: String) -> Outcome<()> {
    let request = with(&world.administrator().await?, DeleteDuplicateRuleRequest { name, ..DeleteDuplicateRuleRequest::default() });
    DuplicateRuleServiceClient::new(stage.contacts.channel().await?).delete_duplicate_rule(request).await?;
    tokio::time::sleep(HEARD).await;
    Ok(())
}
