//! The names of one test on the broker, and their end.
//!
//! Guarantees: exchange and queues under the prefix are deleted when the test ends, also when it fails; the
//! wait for that has an end. Whoever uses them should have been told to stop before, or it makes them anew.

use std::time::Duration;

use secrecy::SecretString;

use super::Infra;
use crate::bus::Broker;
use crate::clock;

/// Longest wait for the broker at the end of a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// A prefix of names that no other test has; what stands under it goes when this is dropped.
#[derive(Debug)]
pub struct Prefix {
    text: String,
    broker: SecretString,
    services: Vec<String>,
}

impl Prefix {
    /// A fresh prefix for the queues of `services`.
    #[must_use]
    pub fn new(infra: &Infra, services: &[&str]) -> Self {
        let services = services.iter().map(|service| (*service).to_owned()).collect();
        Self { text: format!("t{}.", clock::new_id().simple()), broker: infra.broker.clone(), services }
    }

    /// The prefix itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The broker under this prefix.
    #[must_use]
    pub fn broker(&self) -> Broker {
        Broker::new(self.broker.clone(), self.text.clone())
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let (broker, services) = (self.broker(), std::mem::take(&mut self.services));
        // A thread with a runtime of its own: the test's may be ending, and a drop cannot wait in it.
        let tidying = std::thread::spawn(move || -> std::io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let deleted = runtime.block_on(async { tokio::time::timeout(PATIENCE, broker.delete(&services)).await })?;
            deleted.map_err(std::io::Error::other)
        });
        match tidying.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, prefix = self.text, "what a test left on the broker could not be deleted"),
            Err(_) => tracing::warn!(prefix = self.text, "the deletion of what a test left on the broker panicked"),
        }
    }
}
