//! Creating contacts: durable, with journal, event and look-up rows.

use std::time::Duration;

use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{Contact, ContactPoint, CreateContactRequest, Person, contact_point};
use sqlx::PgConnection;
use tonic::Status;

use crate::client::{Client, Unread};
use crate::load::{Measured, Random, letters, measured};
use crate::pgbench::Script;
use crate::report::{Costs, Figure, Goal, Pairs, median, note, short};
use crate::stage::{Stage, pick};
use crate::world::{Token, World, with};
use crate::{Outcome, trouble};

const CALLERS: u64 = 32;
const CREATE: &str = "/rapport.contacts.v1.ContactService/CreateContact";

fn contact(number: u64) -> Contact {
    let (given_name, family_name) = (letters(number), letters(number ^ 0x5DEE_CE66));
    let email =
        ContactPoint { kind: contact_point::Kind::Email.into(), value: format!("{given_name}{number}@bench.example"), ..ContactPoint::default() };
    let person = Person {
        given_name,
        family_name,
        language: "en".to_owned(),
        job_title: "Head of purchasing".to_owned(),
        contact_points: vec![email],
        ..Person::default()
    };
    Contact { person: Some(person), ..Contact::default() }
}

async fn create(client: Option<Client>, token: Token, number: u64) -> Result<(), Status> {
    let client = client.ok_or_else(|| Status::internal("no connection"))?;
    client.call::<_, Unread>(CREATE, with(&token, CreateContactRequest { contact: Some(contact(number)), allow_duplicates: false })).await
}

/// Creations against the same statement sent by pgbench. The relay stands still on both sides, because pgbench
/// sends no events; what creations reach while it works is told beside.
pub(crate) async fn create_contact(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let mut database = stage.superuser(contacts).await?;
    let written = written(stage, world, &mut database).await?;
    let replay = Script::of(include_str!("sql/create_contact.sql"), world, plan.contacts);
    let replay = replay.with("person", written.person.clone()).with("message", format!("\\x{}", written.message));
    let plain = Script::of(include_str!("sql/insert_contact.sql"), world, plan.contacts).with("person", written.person);
    halt_relay(&mut database).await?;
    let measured = compared(stage, world, &mut database, [&replay, &plain]).await;
    // Whatever became of it, the other figures need the relay.
    sqlx::query("delete from kit.lease where holder = 'bench'").execute(&mut database).await?;
    let figure = measured?.with("bytes", written.message.len() / 2);
    let relayed = creations(stage, world, u64::try_from(plan.pairs)?).await?;
    sent(&mut database).await?;
    figure.with("with_relay", short(relayed.run.rate())).with("with_relay_cpu_us", short(relayed.service)).tell();
    Ok(())
}

/// Creations and the two scripts in turns, while the relay stands still.
async fn compared(stage: &Stage, world: &World, database: &mut PgConnection, [replay, plain]: [&Script; 2]) -> Outcome<Figure> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let (mut pairs, mut costs, mut plains, mut last) = (Pairs::default(), Costs::default(), Vec::new(), None);
    for pair in 0..plan.pairs {
        let ours = creations(stage, world, u64::try_from(pair)?).await?;
        forget_events(database).await?;
        let limit = replay.run(stage, world, contacts, CALLERS, plan.length).await?;
        forget_events(database).await?;
        plains.push(plain.run(stage, world, contacts, CALLERS, plan.length).await?.rate);
        pairs.push(ours.run.rate(), limit.rate);
        costs.push(&ours, &limit);
        last = Some((ours.run, limit));
    }
    let (run, limit) = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("create_contact", Goal::AtLeast(0.70)).with("unit", "1/s").with("rows", plan.contacts).with("c", CALLERS);
    let figure = costs.tell(figure.with_run(&run)).with("limit_p50_us", limit.p50).with("limit_p99_us", limit.p99);
    Ok(figure.with("plain_insert", short(median(plains))))
}

/// Creations by many callers.
pub(crate) async fn creations(stage: &Stage, world: &World, turn: u64) -> Outcome<Measured> {
    let (clients, token) = (stage.contacts.clients().await?, world.token().await?);
    // Other names and addresses in each turn.
    let turn = Random::of(turn + 77).next();
    let call = move |random: u64| create(pick(&clients, random), token.clone(), (random ^ turn) >> 12);
    measured(stage.contacts.pid()?, CALLERS, stage.plan.length, call).await
}

/// Holds the leases under which the service's relay works, until they are deleted.
async fn halt_relay(database: &mut PgConnection) -> Outcome<()> {
    sent(database).await?;
    // The relay renews its leases before they end, and finds then that they are gone.
    let their_end: f64 =
        sqlx::query_scalar("select coalesce(max(extract(epoch from expires_at)), 0)::float8 from kit.lease where name like 'relay/%'")
            .fetch_one(&mut *database)
            .await?;
    sqlx::query(
        "insert into kit.lease (name, holder, expires_at)
         select 'relay/' || shard, 'bench', now() + interval '1 hour' from generate_series(0, 7) shard
         on conflict (name) do update set holder = 'bench', expires_at = excluded.expires_at",
    )
    .execute(&mut *database)
    .await?;
    while sqlx::query_scalar("select now() < to_timestamp($1)").bind(their_end).fetch_one(&mut *database).await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Takes away the events that nobody sends.
async fn forget_events(database: &mut PgConnection) -> Outcome<()> {
    sqlx::query("delete from kit.outbox").execute(database).await?;
    Ok(())
}

/// What one creation leaves: the person as it is stored and the event.
struct Written {
    person: String,
    /// In hex.
    message: String,
}

async fn written(stage: &Stage, world: &World, database: &mut PgConnection) -> Outcome<Written> {
    let request = with(&world.token().await?, CreateContactRequest { contact: Some(contact(7)), allow_duplicates: false });
    let created = ContactServiceClient::new(stage.contacts.channel().await?).create_contact(request).await?.into_inner();
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
