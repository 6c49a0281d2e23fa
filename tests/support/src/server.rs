//! A server that a script of `deploy/scripts` runs in a folder, with ports and data of its own, so that it
//! can be killed and started again.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::process::Command;

/// A private server; it runs until it is told to stop.
#[derive(Clone, Debug)]
pub struct Server {
    script: PathBuf,
    folder: PathBuf,
}

impl Server {
    /// A node of `RabbitMQ` whose state is in `folder`.
    pub fn rabbitmq(folder: &Path) -> Self {
        Self::new("rabbitmq.sh", folder)
    }

    /// A `PostgreSQL` server whose state is in `folder`.
    pub fn postgres(folder: &Path) -> Self {
        Self::new("postgres.sh", folder)
    }

    fn new(script: &str, folder: &Path) -> Self {
        let script = [env!("CARGO_MANIFEST_DIR"), "..", "..", "deploy", "scripts", script].iter().collect();
        Self { script, folder: folder.to_owned() }
    }

    /// Where its state is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has the script do `action`: `start`, `stop`, `kill`, `restart` or `destroy`. Returns what it prints:
    /// after a start the URL. Errors: what it complained about.
    pub async fn run(&self, action: &str) -> Result<String, String> {
        self.run_with(action, &[]).await
    }

    /// The same, with what the script passes on.
    pub async fn run_with(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        self.outcome(action, self.command(action).args(arguments).output().await)
    }

    /// Starts it as a member of the cluster that `other` is in.
    pub async fn join(&self, other: &Self) -> Result<String, String> {
        let mut command = self.command("start");
        command.arg("--join").arg(&other.folder);
        self.outcome("start --join", command.output().await)
    }

    /// Stops it; its state stays. Blocks, for a place that cannot await.
    pub fn stop(&self) {
        self.run_blocking("stop");
    }

    /// Stops it and removes its state. Blocks, for a place that cannot await.
    pub fn destroy(&self) {
        self.run_blocking("destroy");
    }

    fn run_blocking(&self, action: &str) {
        let mut command = std::process::Command::new(&self.script);
        command.arg(action).arg(&self.folder).stdin(Stdio::null());
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(action).arg(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn outcome(&self, action: &str, output: std::io::Result<Output>) -> Result<String, String> {
        let said = |error: &str| format!("{} {action}: {error}", self.script.display());
        let output = output.map_err(|error| said(&error.to_string()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(said(&String::from_utf8_lossy(&output.stderr)))
        }
    }
}
