//! The end of a job: its files are complete with it, and there is one, whatever is away, too large or unknown.

use rapport_kit::tasks::Window;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::policy_change::State;
use rapport_proto::common::v1::{self as pb, FileState, GrantLevel, JobState};
use tonic::Code;

use super::desk::{Desk, PERMISSION};
use super::{assert_done_once, reason};
use crate::support::{figure, gate, refusal};

#[tokio::test]
async fn whoever_takes_a_job_after_its_last_step_completes_its_files_and_ends_it() {
    let desk = Desk::open(0).await;
    let name = desk.start("3").await;
    desk.die_at(Window::AfterStepCommit).await;
    let job = desk.get(&desk.administrator, &name).await.expect("the job is there");
    assert_eq!((job.state(), job.done_count), (JobState::Running, 3));
    let [file] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    assert_eq!(desk.file(&desk.administrator, file).await.expect("the file is there").state(), FileState::Uploading);
    // What was asked for is done: to cancel comes too late, and so does a change of rights.
    desk.cancel(&name).await.expect("it has not ended");
    desk.end_leases().await;
    let _survivor = desk.worker();
    let job = desk.ended(&name).await;
    assert_eq!((job.state(), job.done_count), (JobState::Succeeded, 3));
    assert_eq!(desk.effects(&name).await, [0, 1, 2]);
    assert_eq!(desk.file(&desk.administrator, file).await.expect("the file is there").state(), FileState::Ready);
}

#[tokio::test]
async fn a_job_that_writes_more_than_a_file_may_take_fails_and_keeps_what_it_wrote() {
    let desk = Desk::configured(|config| (config.jobs, config.files.largest_mib) = (1, 1)).await;
    let name = desk.start("10 fill:400000").await;
    let job = desk.ended(&name).await;
    assert_eq!((job.state(), reason(&job), job.done_count), (JobState::Failed, "FILE_TOO_LARGE", 6));
    let [file] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    let read = desk.download(&desk.administrator, file, 0).await.expect("the file is complete");
    assert_eq!(read.len(), 2 * 400_000 + "3\n".len());
}

#[tokio::test]
async fn a_job_waits_a_day_for_what_is_away_and_fails_with_its_reason_then() {
    let desk = Desk::open(1).await;
    let name = desk.start("10 away:absent").await;
    let gate = gate("absent");
    gate.let_pass(100);
    // More often than a step may fail that is at fault itself.
    for _ in 0..7 {
        let trying = gate.reached_by(1);
        tokio::pin!(trying);
        let mut soon = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            tokio::select! {
                () = &mut trying => break,
                _ = soon.tick() => desk.end_leases().await,
            }
        }
    }
    assert_eq!(desk.get(&desk.administrator, &name).await.expect("the job is there").state(), JobState::Running);
    desk.write("update kit.job set updated_at = now() - interval '25 hours' where id = $1", &name).await;
    desk.end_leases().await;
    let job = desk.ended(&name).await;
    assert_eq!((job.state(), reason(&job)), (JobState::Failed, "SERVICE_AWAY"));
}

#[tokio::test]
async fn work_of_a_kind_that_this_release_lacks_is_refused_to_be_undone() {
    let desk = Desk::open(1).await;
    let name = desk.start("10").await;
    assert_done_once(&desk, &name).await;
    assert!(desk.get(&desk.administrator, &name).await.expect("the job is there").undoable);
    desk.write("update kit.job set kind = 'probe.gone' where id = $1", &name).await;
    let refused = desk.undo(&name).await.expect_err("nobody here knows how");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "JOB_NOT_UNDOABLE".to_owned()));
    assert!(!desk.get(&desk.administrator, &name).await.expect("the job is there").undoable);
}

#[tokio::test]
async fn a_job_of_a_kind_that_this_release_lacks_says_so_and_ends_after_a_day_or_when_that_is_asked_for() {
    let desk = Desk::open(0).await;
    let [waiting, cancelled, fresh] = [desk.start("10").await, desk.start("10").await, desk.start("10").await];
    for name in [&waiting, &cancelled, &fresh] {
        // A step was done by the release that had it.
        desk.write("update kit.job set kind = 'probe.gone', state = 2, started_at = now(), done = 3 where id = $1", name).await;
        let job = desk.get(&desk.administrator, name).await.expect("the job is there");
        assert!(job.message.starts_with("This release does not know"), "{}", job.message);
    }
    desk.write("update kit.job set due_at = now() - interval '25 hours' where id = $1", &waiting).await;
    assert_eq!(desk.cancel(&cancelled).await.expect("it has not ended").state(), JobState::Running);
    let _worker = desk.worker();
    let job = desk.ended(&waiting).await;
    assert_eq!((job.state(), reason(&job), job.done_count), (JobState::Failed, "JOB_KIND_UNKNOWN", 3));
    assert_eq!(desk.ended(&cancelled).await.state(), JobState::Cancelled);
    assert_eq!(desk.get(&desk.administrator, &fresh).await.expect("the job is there").state(), JobState::Running, "its release may come back");
}

#[tokio::test]
async fn what_a_job_wrote_is_read_by_those_who_may_do_what_it_does() {
    let desk = Desk::open(1).await;
    let tenant = desk.administrator.tenant;
    let role = desk.identity.role(tenant, &[PERMISSION, "jobs.*", "files.*"], Vec::new());
    let owner = desk.identity.user(tenant, None, role, GrantLevel::Own);
    let name = desk.try_start(&owner, "10", None).await.expect("a job is started");
    let job = desk.ended(&name).await;
    let [written] = job.output_files.as_slice() else { panic!("one file: {job:?}") };
    let uploaded = desk.stored(&owner, b"abc").await.name;
    assert_eq!(desk.download(&owner, written, 0).await.expect("it is their own"), b"3\n7\n");

    // Whoever may ask for as much, but sees less, learns nothing of it.
    let bound = vec![pb::FieldRule { resource: "jobs.job".to_owned(), field: "message".to_owned(), effect: pb::FieldEffect::Hidden.into() }];
    let bound = desk.identity.role(tenant, &[PERMISSION, "jobs.*", "files.*"], bound);
    for (role, level) in [(bound, GrantLevel::All), (role, GrantLevel::Own)] {
        let other = desk.identity.user(tenant, None, role, level);
        let refused = desk.download(&other, written, 0).await.expect_err("it is another's");
        assert_eq!(refusal(&refused), (Code::NotFound, "RECORD_NOT_FOUND".to_owned()));
    }

    let cut =
        pb::PolicyRole { display_name: "cut".to_owned(), permissions: vec!["jobs.*".to_owned(), "files.*".to_owned()], field_rules: Vec::new() };
    desk.identity.tell(tenant, format!("roles/{role}"), 2, Some(State::Role(cut)));
    let refused = eventually("the news of the role", async || desk.download(&owner, written, 0).await.err()).await;
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    assert_eq!(desk.download(&owner, &uploaded, 0).await.expect("an upload is their own whatever they may do"), b"abc");
    assert_eq!(desk.download(&desk.administrator, written, 0).await.expect("another one may"), b"3\n7\n");
}

#[tokio::test]
async fn how_long_jobs_wait_for_their_turn_is_a_figure() {
    let desk = Desk::configured(|config| (config.jobs, config.metrics) = (0, "127.0.0.1:0".to_owned())).await;
    let name = desk.start("10").await;
    desk.write("update kit.job set due_at = now() - interval '7777 seconds' where id = $1", &name).await;
    // Services of other tests in this process write the same figure.
    eventually("the age of the job", async || {
        let age = figure(desk.running.metrics.expect("a metrics port"), "rapport_jobs_oldest_seconds").await;
        (7777..7900).contains(&age).then_some(())
    })
    .await;
}
