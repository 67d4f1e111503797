//! Creating contacts: durable, with journal, event and look-up rows.

use std::time::Duration;

use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{Contact, ContactPoint, CreateContactRequest, Person, contact_point};
use sqlx::PgConnection;
use tonic::Status;
use tonic::transport::Channel;

use crate::load::{Random, closed};
use crate::pgbench::{Replay, Script};
use crate::report::{Goal, Pairs, median, note, short};
use crate::stage::{Stage, pick};
use crate::world::{Token, World, with};
use crate::{Outcome, meter, trouble};

const CALLERS: u64 = 32;
const WARM: Duration = Duration::from_millis(500);

fn contact(number: u64) -> Contact {
    let email = ContactPoint { kind: contact_point::Kind::Email.into(), value: format!("load{number}@bench.example"), ..ContactPoint::default() };
    let person = Person {
        given_name: "Bench".to_owned(),
        family_name: format!("Load{number}"),
        language: "en".to_owned(),
        job_title: "Head of purchasing".to_owned(),
        contact_points: vec![email],
        ..Person::default()
    };
    Contact { person: Some(person), ..Contact::default() }
}

async fn create(client: Option<ContactServiceClient<Channel>>, token: Token, number: u64) -> Result<Contact, Status> {
    let mut client = client.ok_or_else(|| Status::internal("no connection"))?;
    let request = CreateContactRequest { contact: Some(contact(number)) };
    client.create_contact(with(&token, request)).await.map(tonic::Response::into_inner)
}

/// Creations against the same statement sent by pgbench. The service stands still meanwhile, because its relay
/// would send the events that pgbench writes.
pub(crate) async fn create_contact(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let mut database = stage.superuser(contacts).await?;
    let written = written(stage, world, &mut database).await?;
    let replay = Script::of(include_str!("sql/create_contact.sql"), world, plan.contacts);
    let replay = replay.with("person", written.person.clone()).with("message", format!("\\x{}", written.message));
    let plain = Script::of(include_str!("sql/insert_contact.sql"), world, plan.contacts).with("person", written.person);
    let (mut pairs, mut cpus, mut plains, mut last) = (Pairs::default(), Vec::new(), Vec::new(), None);
    for pair in 0..plan.pairs {
        let clients: Vec<_> = contacts.channels().await?.into_iter().map(ContactServiceClient::new).collect();
        let token = world.token().await?;
        // Other names and addresses in each turn.
        let turn = Random::of(u64::try_from(pair)? + 77).next();
        let call = move |random: u64| create(pick(&clients, random), token.clone(), (random ^ turn) >> 12);
        let call = move |random: u64| {
            let answer = call(random);
            async move { answer.await.map(drop) }
        };
        closed(CALLERS, WARM, call.clone()).await?;
        let before = meter::cpu(contacts.pid()?)?;
        let run = closed(CALLERS, plan.length, call).await?;
        cpus.push((meter::cpu(contacts.pid()?)? - before) / run.calls());
        sent(&mut database).await?;
        let limit = halted(stage, world, &replay, &mut database).await?;
        plains.push(halted(stage, world, &plain, &mut database).await?.rate);
        pairs.push(run.rate(), limit.rate);
        last = Some((run, limit));
    }
    let (run, limit) = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("create_contact", Goal::AtLeast(0.70)).with("unit", "1/s").with("rows", plan.contacts).with("c", CALLERS);
    let figure = figure.with_run(&run).with("cpu_us", short(median(cpus))).with("limit_p50_us", limit.p50).with("limit_p99_us", limit.p99);
    figure.with("bytes", written.message.len() / 2).with("plain_insert", short(median(plains))).tell();
    Ok(())
}

/// What one creation leaves: the person as it is stored and the event.
struct Written {
    person: String,
    /// In hex.
    message: String,
}

async fn written(stage: &Stage, world: &World, database: &mut PgConnection) -> Outcome<Written> {
    let client = stage.contacts.channels().await?.into_iter().map(ContactServiceClient::new).next();
    let created = create(client, world.token().await?, 7).await?;
    let id = rapport_kit::name::split(&created.name).map(|(_, id)| id);
    let (person, message): (String, String) = sqlx::query_as(
        "select c.person::text, encode(j.message, 'hex') from contacts c join kit.journal j on j.tenant_id = c.tenant_id and j.record_id = c.id
         where c.id = $1",
    )
    .bind(id)
    .fetch_one(database)
    .await?;
    Ok(Written { person, message })
}

/// Runs a script while the service stands still, and takes away the events that it left.
async fn halted(stage: &Stage, world: &World, script: &Script, database: &mut PgConnection) -> Outcome<Replay> {
    stage.contacts.halt(true).await?;
    let replay = script.run(stage, world, &stage.contacts, CALLERS, stage.plan.length).await;
    let cleared = sqlx::query("delete from kit.outbox").execute(database).await;
    stage.contacts.halt(false).await?;
    cleared?;
    replay
}

/// Ready when the events of all creations have left.
pub(crate) async fn sent(database: &mut PgConnection) -> Outcome<()> {
    let begun = std::time::Instant::now();
    while sqlx::query_scalar("select exists (select from kit.outbox)").fetch_one(&mut *database).await? {
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(trouble("events do not leave"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if begun.elapsed() > Duration::from_secs(1) {
        note(&format!("events left {} s after the last write", short(begun.elapsed().as_secs_f64())));
    }
    Ok(())
}
