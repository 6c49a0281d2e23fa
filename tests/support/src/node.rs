//! A RabbitMQ node of one test's own, for tests that kill it.

use tokio::net::TcpStream;

use crate::{patience::until, server::Server};

/// A node that runs in a folder of its own, and goes with the value.
pub struct Node {
    server: Server,
    url: String,
    management_url: String,
    /// Removed after the node, which is destroyed first.
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts a new one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a new one whose programs are those of another Debian, see `rabbitmq.sh`.
    pub async fn start_from(root: &str) -> Self {
        Self::start_with(&["--root", root]).await
    }

    /// Starts a new one that has the management interface.
    pub async fn start_with_management() -> Self {
        Self::start_with(&["--management"]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::rabbitmq(folder.path());
        let urls = server.run_with("start", flags).await.unwrap_or_else(|error| panic!("{error}"));
        let (management, url) = urls.rsplit_once('\n').unwrap_or(("", &urls));
        let (url, management_url) = (url.to_owned(), management.trim().to_owned());
        Self { server, url, management_url, _folder: folder }
    }

    /// Where its management interface is; empty where it has none.
    pub fn management_url(&self) -> &str {
        &self.management_url
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL, as a crash would; returns when nobody listens any more, which may be a moment after the
    /// process is gone.
    pub async fn kill(&self) {
        self.run("kill").await;
        let address = self.url.split(['@', '/']).nth(3).expect("a URL with an authority");
        until("a closed port", async || TcpStream::connect(address).await.is_err()).await;
    }

    /// Starts it again, with its ports and its data.
    pub async fn start_again(&self) {
        self.run("start").await;
    }

    /// SIGKILL, and everything that it ever stored is gone: queues, exchanges, messages.
    pub async fn lose_disk(&self) {
        self.kill().await;
        std::fs::remove_dir_all(self.server.folder().join("data")).expect("its data can be removed");
    }

    /// Stops it in order, so that everything is on its disk, and starts it again.
    pub async fn restart(&self) {
        self.run("restart").await;
    }

    /// What an operator says to it with `rabbitmqctl`.
    pub async fn ctl(&self, arguments: &[&str]) {
        self.server.run_with("ctl", arguments).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn run(&self, action: &str) {
        self.server.run(action).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.destroy();
    }
}
