//! Scheduled work. Each step is safe to run twice and in several processes at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Fault, clock};

use crate::{Identity, session, signing_key, throttle};

const KEYS: Duration = Duration::from_secs(5);
const CLEANING: Duration = Duration::from_secs(600);

/// Starts them all.
pub(crate) fn run(identity: &Arc<Identity>, rotate_days: u32, tasks: &Tasks) {
    let (own, stop) = (Arc::clone(identity), tasks.clone());
    tasks.spawn("signing keys", async move {
        while stop.pause(KEYS).await {
            warn("signing keys", keys(&own, rotate_days).await);
        }
    });
    let (own, stop) = (Arc::clone(identity), tasks.clone());
    tasks.spawn("cleaning", async move {
        while stop.pause(CLEANING).await {
            warn("cleaning", clean(&own).await);
        }
    });
}

/// Takes up what another process rotated, rotates what is old, drops what nobody needs.
async fn keys(identity: &Identity, rotate_days: u32) -> Result<(), Fault> {
    let now = clock::now();
    identity.signer.reload(&identity.system).await?;
    if signing_key::rotate_older(&identity.system, now - TimeDelta::days(i64::from(rotate_days))).await? {
        // Several processes may come here at once; a second rotation finds a next key that is too young.
        match identity.signer.rotate(&identity.system, false, None, now).await {
            Err(fault) if fault.reason() != "NEXT_KEY_TOO_YOUNG" => return Err(fault),
            _ => {}
        }
    }
    signing_key::drop_previous(&identity.system, now - TimeDelta::hours(1), now - TimeDelta::days(1)).await
}

/// Forgets ended sessions after 30 days and failed sign-ins after two.
async fn clean(identity: &Identity) -> Result<(), Fault> {
    let now = clock::now();
    session::purge(&identity.system, now - TimeDelta::days(30)).await?;
    throttle::purge(&identity.system, now - TimeDelta::days(2)).await
}

fn warn(job: &str, done: Result<(), Fault>) {
    if let Err(error) = done {
        tracing::warn!(job, %error, "a job failed; it runs again");
    }
}
