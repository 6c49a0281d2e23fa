//! Broker and database of one run: private servers that may be killed.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use futures_util::future::try_join_all;
use tokio::time::timeout;
use waybill_test_support::Server;

/// A node that starts waits for the others of its cluster.
const PATIENCE: Duration = Duration::from_mins(3);

/// All servers of a run; stopped and removed with the value.
pub(crate) struct Servers {
    postgres: Server,
    nodes: Vec<Server>,
    pub(crate) database_url: String,
    /// One of each node.
    pub(crate) broker_urls: Vec<String>,
    keep: bool,
}

impl Servers {
    /// Starts a database server and `nodes` nodes of a broker, their state below `folder`.
    pub(crate) async fn start(folder: &Path, nodes: usize) -> Result<Self> {
        let postgres = Server::postgres(&folder.join("postgres"));
        let nodes = (1..=nodes).map(|n| Server::rabbitmq(&folder.join(format!("rabbitmq-{n}")))).collect();
        let (database_url, broker_urls) = (String::new(), Vec::new());
        let mut servers = Self { postgres, nodes, database_url, broker_urls, keep: false };
        servers.database_url = run(&servers.postgres, "start").await?;
        servers.broker_urls.push(run(&servers.nodes[0], "start").await?);
        // One after the other: each asks the first to be let in.
        for node in &servers.nodes[1..] {
            let url = node.join(&servers.nodes[0]).await.map_err(|error| anyhow!(error))?;
            servers.broker_urls.push(url);
        }
        Ok(servers)
    }

    /// Kills, stops or starts one node.
    pub(crate) async fn node(&self, node: usize, action: &str) -> Result<()> {
        run(&self.nodes[node], action).await.map(drop)
    }

    /// Kills, stops or starts all nodes at once; alone none of them would get up again.
    pub(crate) async fn broker(&self, action: &str) -> Result<()> {
        try_join_all(self.nodes.iter().map(|node| run(node, action))).await.map(drop)
    }

    /// Kills, stops or starts the database server.
    pub(crate) async fn database(&self, action: &str) -> Result<()> {
        run(&self.postgres, action).await.map(drop)
    }

    /// From now on the servers are stopped at the end, and their state stays.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

async fn run(server: &Server, action: &str) -> Result<String> {
    let done = timeout(PATIENCE, server.run(action)).await;
    let done = done.with_context(|| format!("{} {action} takes too long", server.folder().display()))?;
    done.map_err(|error| anyhow!(error))
}

impl Drop for Servers {
    fn drop(&mut self) {
        let stop = |server: &Server| if self.keep { server.stop() } else { server.destroy() };
        thread::scope(|scope| {
            for server in self.nodes.iter().chain([&self.postgres]) {
                scope.spawn(|| stop(server));
            }
        });
    }
}
