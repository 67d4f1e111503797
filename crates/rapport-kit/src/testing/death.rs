//! Has a process die at a chosen moment: every task is dropped where it stands, with its connections.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::tasks::Window;

/// The end of one process, if it comes to that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Death {
    course: Arc<Mutex<Course>>,
    come: CancellationToken,
}

#[derive(Debug, Default)]
struct Course {
    dies_at: Option<Window>,
    passed: HashSet<Window>,
}

impl Death {
    /// The work until it ends, or until the process does.
    pub(crate) fn of(&self, work: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
        let come = self.come.clone();
        async move {
            tokio::select! {
                biased;
                () = come.cancelled() => {}
                () = work => {}
            }
        }
    }

    /// Comes at the next `window`.
    pub(crate) fn await_at(&self, window: Window) {
        self.course().dies_at = Some(window);
    }

    /// Whether anything went on at `window`.
    pub(crate) fn has_passed(&self, window: Window) -> bool {
        self.course().passed.contains(&window)
    }

    /// Goes on, unless the process dies here: then nothing here goes on.
    pub(crate) async fn at(&self, window: Window) {
        if self.course().dies_at == Some(window) {
            self.come.cancel();
            std::future::pending::<()>().await;
        }
        self.course().passed.insert(window);
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
