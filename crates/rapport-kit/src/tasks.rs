//! Background work that shutdown waits for.
//!
//! Guarantees: a task that panics is logged and counted, never silent; after `stop` every task has been told,
//! and none outlives the wait.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one process.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends; it should watch [`Tasks::stopping`].
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.tracker.track_future(work);
        #[expect(clippy::disallowed_methods, reason = "this is the tracked spawn")]
        let handle = tokio::spawn(work);
        #[expect(clippy::disallowed_methods, reason = "only watches the task above and ends with it")]
        tokio::spawn(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a background task panicked");
            }
        });
    }

    /// Becomes ready when the process is to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for `wait`, or less if the process is to end: then false.
    pub async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Tells every task to end and waits for them, at most `patience`; answers whether all ended.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}
