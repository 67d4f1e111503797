//! Long work: done once to its end whatever dies on the way, followed, cancelled, taken back.

pub(crate) mod desk;
mod ends;

use rapport_kit::tasks::Window;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::policy_change::State;
use rapport_proto::common::v1::{self as pb, GrantLevel, JobState};
use tonic::Code;

use self::desk::{Desk, PERMISSION};
use crate::support::{gate, refusal};

/// Entries of most jobs; refused are 3 and 7.
const ENTRIES: i64 = 10;

/// Asserts that the job did all of its work, each entry once, and left its file.
async fn assert_done_once(desk: &Desk, name: &str) {
    let job = desk.ended(name).await;
    assert_eq!((job.state(), &job.error), (JobState::Succeeded, &None));
    assert_eq!((job.done_count, job.total_count, job.refused_count), (ENTRIES, Some(ENTRIES), 2));
    assert_eq!(desk.effects(name).await, (0..ENTRIES).collect::<Vec<_>>());
    let [file] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    assert_eq!(desk.download(&desk.administrator, file, 0).await.expect("the file is complete"), b"3\n7\n");
}

/// The reason for which the job failed.
fn reason(job: &pb::Job) -> &str {
    job.error.as_ref().map(|error| error.reason.as_str()).unwrap_or_default()
}

#[tokio::test]
async fn a_job_does_all_of_its_work_once_and_tells_how_far_it_is() {
    let desk = Desk::open(2).await;
    let name = desk.start("10 wait:progress").await;
    let gate = gate("progress");
    gate.let_pass(2);
    gate.reached_by(3).await;
    let job = desk.get(&desk.administrator, &name).await.expect("the job is there");
    assert_eq!((job.state(), job.done_count, job.total_count, job.end_time), (JobState::Running, 6, Some(10), None));
    assert_eq!((job.owner, job.kind.as_str(), job.undoable), (desk.administrator.name(), "probe.count", true));
    gate.let_pass(2);
    assert_done_once(&desk, &name).await;
    assert_eq!(desk.facts(&name).await, ["common.job.started.v1", "common.job.ended.v1"]);
}

#[tokio::test]
async fn a_job_that_is_asked_for_again_under_its_key_is_the_same_job() {
    let desk = Desk::open(1).await;
    let first = desk.try_start(&desk.administrator, "10", Some("key")).await.expect("a job is started");
    assert_done_once(&desk, &first).await;
    let again = desk.try_start(&desk.administrator, "10", Some("key")).await.expect("the answer is given again");
    assert_eq!(again, first);
    assert_eq!(desk.list(&desk.administrator, "kind = \"probe.count\" AND state = SUCCEEDED").await, [first]);
}

#[tokio::test]
async fn a_job_whose_process_dies_anywhere_comes_to_the_same_end() {
    let desk = Desk::open(0).await;
    for window in [Window::JobTaken, Window::BeforeStepCommit, Window::AfterStepCommit] {
        let name = desk.start("10").await;
        for _ in 0..3 {
            desk.die_at(window).await;
            desk.end_leases().await;
        }
        let survivor = desk.worker();
        assert_done_once(&desk, &name).await;
        assert!(survivor.stop(std::time::Duration::from_secs(5)).await);
    }
}

#[tokio::test]
async fn a_dead_processs_job_is_taken_over_when_its_lease_ends() {
    let desk = Desk::open(0).await;
    let name = desk.start("10").await;
    desk.die_at(Window::AfterStepCommit).await;
    let _survivor = desk.worker();
    assert_done_once(&desk, &name).await;
}

#[tokio::test]
async fn a_process_that_lost_a_job_commits_no_step_of_it() {
    let desk = Desk::open(0).await;
    let name = desk.start("10 wait:lost").await;
    let gate = gate("lost");
    let _worker = desk.worker();
    for _ in 0..2 {
        gate.reached_by(1).await;
        desk.take_away(&name).await;
        gate.let_pass(1);
    }
    // Here it stands before the first step for the third time.
    gate.reached_by(1).await;
    assert!(desk.effects(&name).await.is_empty(), "a step was committed by who had lost the job");
    gate.let_pass(100);
    assert_done_once(&desk, &name).await;
}

#[tokio::test]
async fn a_cancelled_job_ends_between_two_steps_and_keeps_what_it_did() {
    let desk = Desk::open(1).await;
    let name = desk.start("10 wait:cancelled").await;
    let gate = gate("cancelled");
    gate.let_pass(1);
    gate.reached_by(2).await;
    let asked = desk.cancel(&name).await.expect("a running job can be cancelled");
    assert_eq!(asked.state(), JobState::Running);
    assert_eq!(desk.cancel(&name).await.expect("asking again changes nothing").cancel_time, asked.cancel_time);
    gate.let_pass(1);
    let job = desk.ended(&name).await;
    assert_eq!((job.state(), job.done_count), (JobState::Cancelled, 6));
    assert_eq!(desk.effects(&name).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(desk.facts(&name).await, ["common.job.started.v1", "common.job.cancelled.v1", "common.job.ended.v1"]);
    let [file] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    assert_eq!(desk.download(&desk.administrator, file, 0).await.expect("the file is complete"), b"3\n");
    let refused = desk.cancel(&name).await.expect_err("it has ended");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_ENDED".to_owned()));
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let desk = Desk::open(0).await;
    let name = desk.start("10").await;
    let job = desk.cancel(&name).await.expect("a waiting job can be cancelled");
    assert_eq!(job.state(), JobState::Cancelled);
    assert!(job.end_time.is_some());
    assert_eq!(desk.facts(&name).await, ["common.job.started.v1", "common.job.ended.v1"]);
}

#[tokio::test]
async fn what_a_job_did_is_taken_back_by_another_one_whatever_dies_on_the_way() {
    let desk = Desk::open(0).await;
    let name = desk.start("10").await;
    let refused = desk.undo(&name).await.expect_err("it has not ended");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_NOT_ENDED".to_owned()));
    let worker = desk.worker();
    assert_done_once(&desk, &name).await;
    assert!(worker.stop(std::time::Duration::from_secs(5)).await);

    let undo = desk.undo(&name).await.expect("the job can be undone");
    assert_eq!((undo.undoes.as_str(), undo.undoable, undo.state()), (name.as_str(), false, JobState::Pending));
    let refused = desk.undo(&name).await.expect_err("it is being undone");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_UNDONE".to_owned()));
    for window in [Window::BeforeStepCommit, Window::AfterStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
    }
    let _worker = desk.worker();
    assert_eq!(desk.ended(&undo.name).await.state(), JobState::Succeeded);
    assert!(desk.effects(&name).await.is_empty());
    let job = desk.get(&desk.administrator, &name).await.expect("the job is there");
    assert_eq!(job.state(), JobState::Undone);
    assert_eq!(desk.facts(&name).await, ["common.job.started.v1", "common.job.ended.v1", "common.job.undone.v1"]);
    let refused = desk.undo(&name).await.expect_err("it is undone");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_UNDONE".to_owned()));
    let refused = desk.undo(&undo.name).await.expect_err("an undoing job is not undone");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_NOT_UNDOABLE".to_owned()));
}

#[tokio::test]
async fn a_step_that_never_succeeds_ends_its_job_and_no_other() {
    let desk = Desk::open(1).await;
    let (spoilt, sound) = (desk.start("10 panic:4").await, desk.start("10").await);
    assert_done_once(&desk, &sound).await;
    let job = eventually("an end of the spoilt job", async || {
        desk.end_leases().await;
        let job = desk.get(&desk.administrator, &spoilt).await.expect("the job is there");
        job.end_time.is_some().then_some(job)
    })
    .await;
    assert_eq!((job.state(), reason(&job), job.done_count), (JobState::Failed, "INTERNAL", 3));
    assert_eq!(desk.effects(&spoilt).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_job_that_kills_every_process_is_given_up() {
    let desk = Desk::open(0).await;
    let name = desk.start("10").await;
    for _ in 0..5 {
        desk.die_at(Window::BeforeStepCommit).await;
        desk.end_leases().await;
    }
    let _survivor = desk.worker();
    let job = desk.ended(&name).await;
    assert_eq!((job.state(), reason(&job)), (JobState::Failed, "JOB_GIVEN_UP"));
    assert!(desk.effects(&name).await.is_empty());
}

#[tokio::test]
async fn a_job_stops_when_whoever_asked_for_it_may_do_it_no_more() {
    let desk = Desk::open(2).await;
    let tenant = desk.administrator.tenant;
    let role = desk.identity.role(tenant, &[PERMISSION, "jobs.*"], Vec::new());
    let (demoted, gone) = (desk.identity.user(tenant, None, role, GrantLevel::All), desk.identity.user(tenant, None, role, GrantLevel::All));
    let mut jobs = Vec::new();
    for subject in [&demoted, &gone] {
        jobs.push(desk.try_start(subject, &format!("10 wait:{}", subject.id), None).await.expect("a job is started"));
        gate(&subject.id.to_string()).reached_by(1).await;
    }
    desk.identity.tell(tenant, demoted.name(), 2, Some(State::Subject(pb::PolicySubject { active: true, ..pb::PolicySubject::default() })));
    desk.identity.tell(tenant, gone.name(), 2, None);
    for subject in [&demoted, &gone] {
        eventually("the news of the subject", async || desk.get(subject, &jobs[0]).await.err()).await;
        gate(&subject.id.to_string()).let_pass(100);
    }
    for (name, expected) in jobs.iter().zip(["PERMISSION_MISSING", "JOB_OWNER_GONE"]) {
        let job = desk.ended(name).await;
        assert_eq!((job.state(), reason(&job), job.done_count), (JobState::Failed, expected, 3));
    }
}

#[tokio::test]
async fn what_a_step_works_out_for_the_next_one_holds_while_rights_are_the_same() {
    let desk = Desk::open(1).await;
    let tenant = desk.administrator.tenant;
    let (all, less) = (desk.identity.role(tenant, &[PERMISSION, "jobs.*"], Vec::new()), desk.identity.role(tenant, &[PERMISSION], Vec::new()));
    let user = desk.identity.user(tenant, None, all, GrantLevel::All);
    let name = desk.try_start(&user, "10 wait:ahead", None).await.expect("a job is started");
    let gate = gate("ahead");
    let told = async || desk.get(&desk.administrator, &name).await.expect("the job is there").message;
    for (step, expected) in ["", "ahead: None", "ahead: Some(3)"].into_iter().enumerate() {
        gate.reached_by(1).await;
        assert_eq!(told().await, expected);
        if step < 2 {
            gate.let_pass(1);
        }
    }
    desk.identity.grant(tenant, user.id, 2, None, &[(less, GrantLevel::All)]);
    eventually("the news of the user", async || desk.get(&user, &name).await.err()).await;
    gate.let_pass(100);
    assert_done_once(&desk, &name).await;
    assert_eq!(told().await, "ahead: None");
}

#[tokio::test]
async fn nobody_starts_what_they_may_not_do() {
    let desk = Desk::open(0).await;
    let role = desk.identity.role(desk.administrator.tenant, &["jobs.*"], Vec::new());
    let lacking = desk.identity.user(desk.administrator.tenant, None, role, GrantLevel::All);
    let refused = desk.try_start(&lacking, "10", None).await.expect_err("the permission is missing");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
}

#[tokio::test]
async fn a_tenant_does_not_wait_for_another_ones_jobs() {
    let desk = Desk::open(0).await;
    let long = [desk.start("10 wait:long").await, desk.start("10 wait:long").await];
    let other = desk.try_start(&desk.foreigner, "10", None).await.expect("a job is started");
    let first = desk.worker();
    gate("long").reached_by(1).await;
    let second = desk.worker();
    eventually("the other tenant's job is done", async || {
        let job = desk.get(&desk.foreigner, &other).await.expect("the job is there");
        (job.state() == JobState::Succeeded).then_some(())
    })
    .await;
    gate("long").let_pass(100);
    for name in long {
        assert_done_once(&desk, &name).await;
    }
    for worker in [first, second] {
        assert!(worker.stop(std::time::Duration::from_secs(5)).await);
    }
}

#[tokio::test]
async fn jobs_are_seen_by_those_whose_roles_reach_them() {
    let desk = Desk::open(0).await;
    let tenant = desk.administrator.tenant;
    let role = desk.identity.role(tenant, &[PERMISSION, "jobs.*"], Vec::new());
    let colleague = desk.identity.user(tenant, None, role, GrantLevel::Own);
    let (first, own) = (desk.start("10").await, desk.try_start(&colleague, "10", None).await.expect("a job is started"));
    assert_eq!(desk.list(&desk.administrator, "").await, [own.clone(), first.clone()]);
    assert_eq!(desk.list(&desk.administrator, &format!("owner = \"{}\"", colleague.name())).await, std::slice::from_ref(&own));
    assert_eq!(desk.list(&colleague, "").await, [own]);
    assert!(desk.list(&desk.foreigner, "").await.is_empty());
    for stranger in [&colleague, &desk.foreigner] {
        let refused = desk.get(stranger, &first).await.expect_err("it is not theirs to see");
        assert_eq!(refusal(&refused), (Code::NotFound, "RECORD_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn a_service_reports_of_a_job_to_those_who_may_see_it() {
    let desk = Desk::open(1).await;
    let tenant = desk.administrator.tenant;
    let role = |permissions: &[&str]| desk.identity.role(tenant, permissions, Vec::new());
    let elsewhere = desk.identity.user(tenant, None, role(&[PERMISSION, "jobs.*"]), GrantLevel::Own);
    let lacking = desk.identity.user(tenant, None, role(&[PERMISSION, "jobs.job.cancel"]), GrantLevel::All);
    let name = desk.start("10 wait:report").await;
    gate("report").reached_by(1).await;
    let report = async |caller| desk.try_start(caller, &name, None).await;
    assert_eq!(report(&desk.administrator).await.expect("a report"), "JOB_STATE_RUNNING: 0 of 10 wait:report");
    gate("report").let_pass(1);
    gate("report").reached_by(1).await;
    assert_eq!(report(&desk.administrator).await.expect("a report"), "JOB_STATE_RUNNING: 3 of 10 wait:report");
    for stranger in [&elsewhere, &lacking, &desk.foreigner] {
        let refused = report(stranger).await.expect_err("it is not theirs to see");
        assert_eq!(refusal(&refused), (Code::NotFound, "RECORD_NOT_FOUND".to_owned()));
    }
    gate("report").let_pass(100);
    assert_done_once(&desk, &name).await;
}

#[tokio::test]
async fn more_than_a_hundred_live_jobs_of_a_tenant_are_refused() {
    let desk = Desk::open(0).await;
    for _ in 0..100 {
        desk.start("10").await;
    }
    let refused = desk.try_start(&desk.administrator, "10", None).await.expect_err("there are enough");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "TOO_MANY_JOBS".to_owned()));
    desk.try_start(&desk.foreigner, "10", None).await.expect("another tenant has room of its own");
}
