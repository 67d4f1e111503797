//! A sweep goes on behind its last step whoever dies, and leaves nothing that is not true.

use rapport_contacts::SERVICE;
use rapport_contacts::duplicate::sweep;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_pair::State;
use rapport_kit::config::Config;
use rapport_kit::db::{Db, PoolConfig, SystemDb};
use rapport_kit::files::Files;
use rapport_kit::jobs::{Jobs, Kind};
use rapport_kit::policy::Policy;
use rapport_kit::process::{self, Running};
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::testing::{self, eventually};
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{CancelJobRequest, GetJobRequest, JobState};
use secrecy::ExposeSecret;

use super::{client, compared, listed, person};
use crate::support::Desk;

static KINDS: [Kind; 1] = [sweep::KIND];

/// Has the service answer without working on jobs, so that only workers do.
async fn idle(desk: &mut Desk) -> Running {
    let config =
        Config { listen: "127.0.0.1:0".to_owned(), identity: desk.service.identity.address.clone(), leave_seconds: 0, jobs: 0, ..Config::default() };
    let running = process::start(&SERVICE, config, testing::secrets(&desk.service.logins, None)).await.expect("a second process starts");
    assert!(desk.service.stop().await, "the first process ends");
    desk.service.channel = testing::channel(&running);
    running
}

/// Another process that works on one job at a time; it ends with its tasks.
fn worker(desk: &Desk) -> Tasks {
    let tasks = Tasks::default();
    let logins = &desk.service.logins;
    let db = Db::new(logins.app.expose_secret(), PoolConfig::default()).expect("an address");
    let system = SystemDb::new(logins.system.expose_secret(), PoolConfig::default()).expect("an address");
    let policy = Policy::new(db.clone(), system.clone());
    let files = Files::new(SERVICE.name, db.clone(), &Config::default());
    Jobs::new(SERVICE.name, &KINDS, db, policy, files).run_apart(&system, &tasks);
    tasks
}

/// Has a process die at `window` with a sweep under way; the time of its lease is over then.
async fn die_at(desk: &Desk, window: Window) {
    let process = worker(desk);
    process.die_at(window);
    tokio::time::timeout(std::time::Duration::from_secs(20), process.dead()).await.expect("the process dies with a sweep under way");
    let ended = "update kit.job set due_at = now() where due_at > now()";
    sqlx::query(ended).execute(&mut desk.superuser().await).await.expect("leases end");
}

async fn start(desk: &Desk) -> String {
    client(desk).start_duplicate_sweep(desk.clerk.request(pb::StartDuplicateSweepRequest::default())).await.expect("a job").into_inner().name
}

async fn state(desk: &Desk, job: &str) -> JobState {
    let request = desk.clerk.request(GetJobRequest { name: job.to_owned() });
    JobServiceClient::new(desk.service.channel.clone()).get_job(request).await.expect("the job").into_inner().state()
}

/// Two people who stand there twice each, whose pairs nobody has found.
async fn unswept(desk: &Desk) {
    for contact in [person("Jean", "Dupont", (3, 4)), person("Giulia", "Rossi", (5, 6))] {
        for _ in 0..2 {
            desk.create(contact.clone()).await.expect("a contact");
        }
    }
    compared(desk).await;
    sqlx::query("delete from duplicate_pairs").execute(&mut desk.superuser().await).await.expect("no pairs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_whose_process_dies_comes_to_the_same_end() {
    let mut desk = Desk::open().await;
    let _running = idle(&mut desk).await;
    unswept(&desk).await;
    let job = start(&desk).await;
    die_at(&desk, Window::BeforeStepCommit).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await, [], "of a step that did not commit");
    die_at(&desk, Window::AfterStepCommit).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await.len(), 2);
    let _process = worker(&desk);
    eventually("the sweep succeeds", async || (state(&desk, &job).await == JobState::Succeeded).then_some(())).await;
    assert_eq!(listed(&desk, &desk.clerk, State::Open).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_cancelled_leaves_pairs_that_are_true() {
    let mut desk = Desk::open().await;
    let _running = idle(&mut desk).await;
    unswept(&desk).await;
    let job = start(&desk).await;
    die_at(&desk, Window::AfterStepCommit).await;
    let cancel = desk.clerk.request(CancelJobRequest { name: job.clone() });
    JobServiceClient::new(desk.service.channel.clone()).cancel_job(cancel).await.expect("it is cancelled");
    let _process = worker(&desk);
    eventually("the sweep ends", async || (state(&desk, &job).await == JobState::Cancelled).then_some(())).await;
    let pairs = listed(&desk, &desk.clerk, State::Open).await;
    assert_eq!(pairs.iter().map(|pair| pair.score).collect::<Vec<_>>(), [66, 66]);
}
