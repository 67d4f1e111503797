//! A service in a process of its own, which can be killed and started again as an operator's would be.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that has not told its address by then has failed.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// A service that runs apart. It ends with this value.
#[derive(Debug)]
pub(crate) struct Apart {
    service: &'static str,
    instance: String,
    /// Where identity answers.
    identity: String,
    /// Where it tells its address.
    status: PathBuf,
    port: u16,
    child: Child,
}

impl Apart {
    /// Starts `service` on a free port, over the databases of `instance`.
    pub(crate) async fn start(service: &'static str, instance: &str, identity: &str) -> Result<Self, String> {
        let status = std::env::temp_dir().join(format!("rapport-{service}-{instance}.json"));
        let child = spawn(service, instance, identity, &status, 0)?;
        let mut apart = Self { service, instance: instance.to_owned(), identity: identity.to_owned(), status, port: 0, child };
        apart.port = apart.told().await?;
        Ok(apart)
    }

    /// Its address, which stays the same over its deaths.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills the process as it stands, by SIGKILL: it gets to do nothing more.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Starts it again where it was; answers when it serves.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.child = spawn(self.service, &self.instance, &self.identity, &self.status, self.port)?;
        self.told().await.map(|_| ())
    }

    /// The port that the process tells, as soon as it serves.
    async fn told(&mut self) -> Result<u16, String> {
        let begun = Instant::now();
        loop {
            if let Some(port) = port(&self.status, self.service) {
                return std::fs::remove_file(&self.status).map(|()| port).map_err(|error| error.to_string());
            }
            if let Ok(Some(ended)) = self.child.try_wait() {
                return Err(format!("{} ended at its start: {ended}", self.service));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} does not serve after {} s", self.service, PATIENCE.as_secs()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and need not be.
        let _ = self.kill();
    }
}

fn spawn(service: &str, instance: &str, identity: &str, status: &PathBuf, port: u16) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let listen = format!("{service}={port}");
    let mut command = Command::new(program);
    command.args(["serve", "--only", service, "--instance", instance, "--identity", identity, "--listen", &listen]);
    command.env("RAPPORT_STATUS_FILE", status).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map_err(|error| format!("{service} cannot be started: {error}"))
}

fn port(status: &PathBuf, service: &str) -> Option<u16> {
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(status).ok()?).ok()?;
    status["services"][service]["grpc"].as_str()?.rsplit(':').next()?.parse().ok()
}
