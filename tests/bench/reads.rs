//! Reading contacts: one by one, by the page, in a small and a large table, and the slowest of many.

use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{GetContactRequest, ListContactsRequest};
use tonic::Status;

use crate::client::{Client, Page, Unread};
use crate::load::{measured, open};
use crate::pgbench::Script;
use crate::report::{Costs, Goal, Pairs, median, short};
use crate::stage::{Program, Stage, pick};
use crate::world::{Token, World, with};
use crate::{Outcome, meter, rows, trouble};

const CALLERS: u64 = 32;
const LISTERS: u64 = 8;
/// Tokens for places all over a list are collected by pages of this size.
const STRIDE: i32 = 1000;
const GET: &str = "/rapport.contacts.v1.ContactService/GetContact";
const LIST: &str = "/rapport.contacts.v1.ContactService/ListContacts";

pub(crate) type Call = std::pin::Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// A call that reads a contact chosen by a random number.
fn get(clients: Vec<Client>, token: Token, rows: u64) -> impl Fn(u64) -> Call + Clone + Send + 'static {
    move |random| {
        let (client, token) = (pick(&clients, random), token.clone());
        Box::pin(async move {
            let client = client.ok_or_else(|| Status::internal("no connection"))?;
            let name = format!("contacts/0190a000-0000-7000-8000-{:012x}", 1 + random % rows);
            client.call::<_, Unread>(GET, with(&token, GetContactRequest { name, as_of: None })).await
        })
    }
}

/// A call that reads a page of 50 behind a place chosen by a random number.
fn list(clients: Vec<Client>, token: Token, places: Vec<String>) -> impl Fn(u64) -> Call + Clone + Send + 'static {
    let places = std::sync::Arc::new(places);
    move |random| {
        let (client, token, page_token) = (pick(&clients, random), token.clone(), pick(&places, random << 7));
        Box::pin(async move {
            let client = client.ok_or_else(|| Status::internal("no connection"))?;
            let request = ListContactsRequest { page_size: 50, page_token: page_token.unwrap_or_default(), ..Default::default() };
            let page: Page = client.call(LIST, with(&token, request)).await?;
            if page.records.is_empty() { Err(Status::not_found("an empty page")) } else { Ok(()) }
        })
    }
}

/// Reads of single contacts against the same statement sent by pgbench.
pub(crate) async fn get_contact(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let replay = Script::of(include_str!("sql/get_contact.sql"), world, plan.contacts);
    let plain = Script::of(include_str!("sql/select_contact.sql"), world, plan.contacts);
    let (mut pairs, mut costs, mut plains, mut last) = (Pairs::default(), Costs::default(), Vec::new(), None);
    for _ in 0..plan.pairs {
        let ours = measured(contacts.pid()?, CALLERS, plan.length, get(contacts.clients().await?, world.token().await?, plan.contacts)).await?;
        let limit = replay.run(stage, world, contacts, CALLERS, plan.length).await?;
        plains.push(plain.run(stage, world, contacts, CALLERS, plan.length).await?.rate);
        pairs.push(ours.run.rate(), limit.rate);
        costs.push(&ours, &limit);
        last = Some((ours.run, limit));
    }
    let (run, limit) = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("get_contact", Goal::AtLeast(0.50)).with("unit", "1/s").with("rows", plan.contacts).with("c", CALLERS).with_run(&run);
    let figure = costs.tell(figure).with("limit_p50_us", limit.p50).with("limit_p99_us", limit.p99);
    figure.with("plain_select", short(median(plains))).tell();
    Ok(())
}

/// What a read costs the service against what the plain select costs the database.
pub(crate) async fn get_contact_cpu(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let plain = Script::of(include_str!("sql/select_contact.sql"), world, plan.contacts);
    let mut pairs = Pairs::default();
    for _ in 0..plan.pairs {
        let ours = measured(contacts.pid()?, CALLERS, plan.length, get(contacts.clients().await?, world.token().await?, plan.contacts)).await?;
        pairs.push(ours.service, plain.run(stage, world, contacts, CALLERS, plan.length).await?.cpu);
    }
    pairs.figure("get_contact_cpu", Goal::AtMost(0.7)).with("unit", "us").with("rows", plan.contacts).with("c", CALLERS).tell();
    Ok(())
}

/// The slowest reads at half the load that the service can take.
pub(crate) async fn tail(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let call = get(contacts.clients().await?, world.token().await?, plan.contacts);
    let peak = measured(contacts.pid()?, CALLERS, plan.length, call.clone()).await?.run.rate();
    let mut pairs = Pairs::default();
    let mut last = None;
    for _ in 0..plan.pairs {
        let run = open(peak / 2.0, plan.length, get(contacts.clients().await?, world.token().await?, plan.contacts)).await?;
        pairs.push(count(run.quantile(0.99)), count(run.quantile(0.5)));
        last = Some(run);
    }
    let run = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("tail", Goal::AtMost(4.0)).with("unit", "us").with("rows", plan.contacts).with("offered", short(peak / 2.0));
    figure.with("answered", short(run.rate())).with("p999_us", run.quantile(0.999)).tell();
    Ok(())
}

/// Pages of 50 against the same statement sent by pgbench.
pub(crate) async fn list_contacts(stage: &Stage, world: &World) -> Outcome<()> {
    let (plan, contacts) = (&stage.plan, &stage.contacts);
    let replay = Script::of(include_str!("sql/list_contacts.sql"), world, plan.contacts);
    let plain = Script::of(include_str!("sql/page_contacts.sql"), world, plan.contacts);
    let places = places(contacts, &world.token().await?).await?;
    let (mut pairs, mut costs, mut plains, mut last) = (Pairs::default(), Costs::default(), Vec::new(), None);
    for _ in 0..plan.pairs {
        let call = list(contacts.clients().await?, world.token().await?, places.clone());
        let ours = measured(contacts.pid()?, LISTERS, plan.length, call).await?;
        let limit = replay.run(stage, world, contacts, LISTERS, plan.length).await?;
        plains.push(plain.run(stage, world, contacts, LISTERS, plan.length).await?.rate);
        pairs.push(ours.run.rate(), limit.rate);
        costs.push(&ours, &limit);
        last = Some((ours.run, limit));
    }
    let (run, limit) = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("list_contacts", Goal::AtLeast(0.6)).with("unit", "1/s").with("rows", plan.contacts).with("c", LISTERS).with_run(&run);
    let figure = costs.tell(figure).with("limit_p50_us", limit.p50).with("limit_p99_us", limit.p99);
    figure.with("plain_page", short(median(plains))).tell();
    Ok(())
}

/// Pages of a large table against those of a small one.
pub(crate) async fn list_flat(stage: &mut Stage, world: &World) -> Outcome<()> {
    let few = take_few(stage, world).await?;
    let plan = &stage.plan;
    let token = world.token().await?;
    let (many_places, few_places) = (places(&stage.contacts, &token).await?, places(&few, &token).await?);
    let mut pairs = Pairs::default();
    for _ in 0..plan.pairs {
        let mut p50 = Vec::new();
        for (program, places) in [(&stage.contacts, &many_places), (&few, &few_places)] {
            let call = list(program.clients().await?, world.token().await?, places.clone());
            p50.push(count(measured(program.pid()?, LISTERS, plan.length, call).await?.run.quantile(0.5)));
        }
        if let [many, few] = p50.as_slice() {
            pairs.push(*many, *few);
        }
    }
    let figure = pairs.figure("list_flat", Goal::AtMost(1.3)).with("unit", "us").with("rows", plan.contacts).with("few_rows", plan.few_contacts);
    figure.with("c", LISTERS).tell();
    stage.few = Some(few);
    Ok(())
}

/// Lists as people keep them in views, of a large table against a small one; the view that grows most counts.
pub(crate) async fn view_flat(stage: &mut Stage, world: &World) -> Outcome<()> {
    let few = take_few(stage, world).await?;
    let plan = &stage.plan;
    let owner = world.owners.first().map(|owner| format!("owner = \"users/{owner}\"")).unwrap_or_default();
    let views = [(owner.as_str(), ""), ("", "update_time desc"), ("person.language = \"en-GB\"", ""), ("tags:\"newsletter\"", "create_time desc")];
    let (mut worst, mut told) = (Pairs::default(), Vec::new());
    for (filter, order_by) in views {
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs {
            let mut p50 = Vec::new();
            for program in [&stage.contacts, &few] {
                let call = view(program.clients().await?, world.token().await?, filter.to_owned(), order_by.to_owned());
                p50.push(count(measured(program.pid()?, LISTERS, plan.length / 2, call).await?.run.quantile(0.5)));
            }
            if let [many, few] = p50.as_slice() {
                pairs.push(*many, *few);
            }
        }
        told.push(short(pairs.ratio()));
        if pairs.ratio() > worst.ratio() {
            worst = pairs;
        }
    }
    let figure = worst.figure("view_flat", Goal::AtMost(1.5)).with("unit", "us").with("rows", plan.contacts).with("few_rows", plan.few_contacts);
    figure.with("c", LISTERS).with("each", told.join(",")).tell();
    stage.few = Some(few);
    Ok(())
}

/// A call that reads the first page of a view.
fn view(clients: Vec<Client>, token: Token, filter: String, order_by: String) -> impl Fn(u64) -> Call + Clone + Send + 'static {
    move |random| {
        let (client, token, filter, order_by) = (pick(&clients, random), token.clone(), filter.clone(), order_by.clone());
        Box::pin(async move {
            let client = client.ok_or_else(|| Status::internal("no connection"))?;
            let page: Page = client.call(LIST, with(&token, ListContactsRequest { page_size: 50, filter, order_by, ..Default::default() })).await?;
            if page.records.is_empty() { Err(Status::not_found("an empty view")) } else { Ok(()) }
        })
    }
}

/// Contacts over a small table, filled once.
async fn take_few(stage: &mut Stage, world: &World) -> Outcome<Program> {
    if let Some(few) = stage.few.take() {
        return Ok(few);
    }
    let few = stage.start_few().await?;
    world.known_to(stage, &few).await?;
    let is_filled = stage.plan.kept && places(&few, &world.token().await?).await?.len() > 1;
    if !is_filled {
        rows::fill(stage, world, &few, stage.plan.few_contacts, stage.plan.few_contacts / 5).await?;
    }
    Ok(few)
}

/// Page tokens of places all over the list, the beginning among them; the last one has a page behind it.
async fn places(program: &Program, token: &Token) -> Outcome<Vec<String>> {
    let mut client = ContactServiceClient::new(program.channel().await?);
    let mut places = vec![String::new()];
    while let Some(page_token) = places.last().cloned() {
        // A small table gets several places too.
        let page_size = if places.len() < 10 { 100 } else { STRIDE };
        let page = client.list_contacts(with(token, ListContactsRequest { page_size, page_token, ..Default::default() })).await?.into_inner();
        if page.next_page_token.is_empty() {
            break;
        }
        places.push(page.next_page_token);
    }
    Ok(places)
}

fn count(value: u64) -> f64 {
    meter::count(value)
}
