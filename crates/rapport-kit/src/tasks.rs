//! Background work that shutdown waits for.
//!
//! Guarantees: a task that panics is logged and counted, and [`Tasks::failed`] tells of it, upon which the process
//! ends: it would say that it is well while a part of its work is not done any more. After `stop` every task has
//! been told to end; nothing is cut off, so that what does not listen may outlive the wait.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one process.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    #[cfg(feature = "testing")]
    death: crate::testing::Death,
}

/// Moments on an event's way, and in a job's step, at which a process can die; what is not done at one of them is done
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Read from the outbox, not sent.
    BeforePublish,
    /// Confirmed by the broker, still in the outbox.
    BeforeMark,
    /// Gone from the outbox.
    AfterMark,
    /// A piece of what nobody asked for before is back in the outbox.
    AfterReplay,
    /// The effect is written, not committed.
    BeforeCommit,
    /// Committed, not acknowledged.
    BeforeAck,
    /// Acknowledged.
    AfterAck,
    /// A job was taken, nothing is done yet.
    JobTaken,
    /// A step and its checkpoint are written, not committed.
    BeforeStepCommit,
    /// Committed, the next step not begun.
    AfterStepCommit,
}

impl Tasks {
    /// Runs `work` until it ends; it should watch [`Tasks::stopping`].
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        #[cfg(feature = "testing")]
        let work = self.death.of(work);
        let work = self.tracker.track_future(work);
        #[expect(clippy::disallowed_methods, reason = "this is the tracked spawn")]
        let handle = tokio::spawn(work);
        let failed = self.failed.clone();
        #[expect(clippy::disallowed_methods, reason = "only watches the task above and ends with it")]
        tokio::spawn(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                crate::metrics::panics().inc();
                tracing::error!(task = name, "a background task panicked");
                failed.cancel();
            }
        });
    }

    /// Becomes ready when the process is to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Becomes ready when a task has panicked.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Waits for `wait`, or less if the process is to end: then false.
    pub async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// A moment at which a test can have the process die; nothing in a build for use.
    #[cfg(not(feature = "testing"))]
    pub(crate) async fn at(&self, _: Window) {}

    /// A moment at which a test can have the process die.
    #[cfg(feature = "testing")]
    pub(crate) async fn at(&self, window: Window) {
        self.death.at(window).await;
    }

    /// Has everything here end at the next `window`, as it stands there.
    #[cfg(feature = "testing")]
    pub fn die_at(&self, window: Window) {
        self.death.await_at(window);
    }

    /// Whether anything here has gone past `window`.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn has_passed(&self, window: Window) -> bool {
        self.death.has_passed(window)
    }

    /// Ready when everything has ended so.
    #[cfg(feature = "testing")]
    pub async fn dead(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Tells every task to end and waits for them, at most `patience`; answers whether all ended.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}
