//! Exports of many records: each once, in order, and the same bytes whatever dies on the way.

use std::time::Duration;

use rapport_contacts::export::KIND;
use rapport_contacts_api::v1::ExportFormat;
use rapport_kit::config::Config;
use rapport_kit::db::PoolConfig;
use rapport_kit::files::Files;
use rapport_kit::jobs::{Jobs, Kind};
use rapport_kit::policy::Policy;
use rapport_kit::tasks::{Tasks, Window};
use rapport_kit::{Db, SystemDb};
use rapport_proto::common::v1::JobState;
use secrecy::ExposeSecret;

use super::{columns, contacts, ended, options, start, table, written};
use crate::support::{Desk, named};

static KINDS: [Kind; 1] = [KIND];
/// More than two pages of records so large, compressed too, that each page is a step.
const RECORDS: i64 = 2_500;

/// A desk whose service leaves jobs to others, with [`RECORDS`] contacts.
async fn crowded() -> Desk {
    let desk = Desk::configured(|config| config.jobs = 0).await;
    desk.create(named("Number 0")).await.expect("a contact");
    sqlx::query(
        "insert into contacts select r.* from contacts c, generate_series(1, $2 - 1) n,
           jsonb_populate_record(c, jsonb_build_object('id', gen_random_uuid(),
             'person', jsonb_build_object('family_name', 'Number ' || n, 'notes', (select string_agg(md5(n || '-' || i), ' ') from generate_series(1, 80) i)))) r
         where c.tenant_id = $1",
    )
    .bind(desk.tenant)
    .bind(RECORDS)
    .execute(&mut desk.superuser().await)
    .await
    .expect("copies of the contact");
    desk
}

/// Another process that works on one job at a time; it ends with its tasks.
pub(crate) fn worker(desk: &Desk, kinds: &'static [Kind]) -> Tasks {
    let tasks = Tasks::default();
    let db = Db::new(desk.service.logins.app.expose_secret(), PoolConfig::default()).expect("an address");
    let system = SystemDb::new(desk.service.logins.system.expose_secret(), PoolConfig::default()).expect("an address");
    let policy = Policy::new(db.clone(), system.clone());
    let files = Files::new("contacts", db.clone(), &Config::default());
    Jobs::new("contacts", kinds, db, policy, files).run_apart(&system, &tasks);
    tasks
}

/// Has a process die at `window` with a job under way; its lease ends at once.
pub(crate) async fn die_at(desk: &Desk, kinds: &'static [Kind], window: Window) {
    let process = worker(desk, kinds);
    process.die_at(window);
    tokio::time::timeout(Duration::from_secs(20), process.dead()).await.expect("the process dies with a job under way");
    let end_leases = sqlx::query("update kit.job set due_at = now() where due_at > now()");
    end_leases.execute(&mut desk.superuser().await).await.expect("leases end");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_records_is_exported_once_in_the_order_of_names() {
    let desk = crowded().await;
    let rows = table(&contacts(&desk, &desk.clerk, columns(&["Record", "Family name"])).await.unwrap());
    let names: Vec<&String> = rows[1..].iter().map(|row| &row[0]).collect();
    assert_eq!(names.len(), usize::try_from(RECORDS).unwrap());
    assert!(names.is_sorted_by(|one, next| one < next), "names are in order and none stands twice");
    let mut numbers: Vec<u32> = rows[1..].iter().map(|row| row[1].trim_start_matches("Number ").parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_process_dies_anywhere_is_the_same_file() {
    let desk = crowded().await;
    for format in [ExportFormat::Csv, ExportFormat::Xlsx] {
        let called = contacts(&desk, &desk.clerk, options(format)).await.unwrap();
        let job = start(&desk, &desk.clerk, options(format)).await.unwrap();
        for window in [Window::JobTaken, Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
            die_at(&desk, &KINDS, window).await;
        }
        let survivor = worker(&desk, &KINDS);
        let job = ended(&desk, &desk.clerk, &job.name).await;
        assert_eq!((job.state(), &job.error, job.done_count), (JobState::Succeeded, &None, RECORDS));
        assert!(written(&desk, &desk.clerk, &job).await == called, "{format:?}: the job wrote another file than the call answered");
        assert!(survivor.stop(Duration::from_secs(5)).await);
    }
}
