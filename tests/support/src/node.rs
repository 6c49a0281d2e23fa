//! A RabbitMQ node of one test's own, for tests that kill it.

use std::{path::PathBuf, process::Stdio};

use tokio::{net::TcpStream, process::Command};

use crate::patience::until;

/// A node that runs in a folder of its own, and goes with the value.
pub struct Node {
    folder: tempfile::TempDir,
    url: String,
}

impl Node {
    /// Starts a new one.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut node = Self { folder, url: String::new() };
        node.url = node.script("start").await;
        node
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL, as a crash would; returns when nobody listens any more, which may be a moment after the
    /// process is gone.
    pub async fn kill(&self) {
        self.script("kill").await;
        let address = self.url.split(['@', '/']).nth(3).expect("a URL with an authority");
        until("a closed port", async || TcpStream::connect(address).await.is_err()).await;
    }

    /// Starts it again, with its ports and its data.
    pub async fn start_again(&self) {
        self.script("start").await;
    }

    /// SIGKILL, and everything that it ever stored is gone: queues, exchanges, messages.
    pub async fn lose_disk(&self) {
        self.kill().await;
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("its data can be removed");
    }

    /// Stops it in order, so that everything is on its disk, and starts it again.
    pub async fn restart(&self) {
        self.script("restart").await;
    }

    async fn script(&self, action: &str) -> String {
        let mut command = Command::new(script());
        command.arg(action).arg(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.expect("the script can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmq.sh {action}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(script());
        command.arg("destroy").arg(self.folder.path()).stdin(Stdio::null());
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn script() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "deploy", "scripts", "rabbitmq.sh"].iter().collect()
}
