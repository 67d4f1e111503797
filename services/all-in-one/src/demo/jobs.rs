//! Waiting for long work.

use std::time::{Duration, Instant};

use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{GetJobRequest, Job, JobState, UndoJobRequest};

use super::clients::{Caller, Servers, Trouble, answered};

/// Longer than any job of the story takes.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

/// The job when it has ended.
pub(crate) async fn ended(servers: &Servers, caller: &mut Caller, job: Job) -> Result<Job, Trouble> {
    let mut client = JobServiceClient::new(servers.contacts.clone());
    let doing = format!("waiting for the end of {} ({})", job.name, job.kind);
    let begun = Instant::now();
    loop {
        let request = caller.request(GetJobRequest { name: job.name.clone() }).await?;
        let now = answered(&doing, client.get_job(request).await)?;
        if now.end_time.is_some() {
            return Ok(now);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Trouble::new(doing, format!("it has not ended after {} s: {}", PATIENCE.as_secs(), now.message)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the job came to a good end.
pub(crate) fn succeeded(job: &Job) -> bool {
    job.state() == JobState::Succeeded
}

/// Takes back what the job did; answers the job that did so when it has ended.
pub(crate) async fn undo(servers: &Servers, caller: &mut Caller, job: &Job) -> Result<Job, Trouble> {
    let mut client = JobServiceClient::new(servers.contacts.clone());
    let request = caller.request(UndoJobRequest { name: job.name.clone() }).await?;
    let undo = answered(&format!("taking back {} ({})", job.name, job.kind), client.undo_job(request).await)?;
    ended(servers, caller, undo).await
}
