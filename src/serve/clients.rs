//! The file of clients, looked at again while the process runs: a token whose hash is taken out of it is of no use a
//! few seconds later. Compared by content, like certificates, because a file that is switched by a link has any date.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::sync::watch;
use waybill_gateway::{
    Refresh,
    auth::{Client, Limit},
};

use crate::config::{Config, clients};

/// The file, and what it held at the last look, usable or not.
pub(super) struct Roster {
    file: PathBuf,
    limit: Limit,
    jwt: bool,
    seen: Result<String, io::ErrorKind>,
    clients: watch::Sender<Vec<Client>>,
}

impl Roster {
    /// For the clients of `config`, which were read a moment ago. `None` where they are in no file.
    pub(super) async fn new(config: &Config) -> Option<Self> {
        let file = config.clients_file.clone()?;
        let seen = read(&file).await;
        let (limit, jwt) = (config.auth.client_limit, config.auth.jwt.is_some());
        Some(Self { file, limit, jwt, seen, clients: watch::Sender::new(config.auth.clients.clone()) })
    }

    /// The clients, whenever they change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Vec<Client>> {
        self.clients.subscribe()
    }

    /// Looks every few seconds and at each SIGHUP, for ever.
    pub(super) async fn keep_fresh(mut self) {
        let mut refresh = Refresh::new();
        loop {
            refresh.due().await;
            match self.look().await {
                Ok(None) => {}
                Ok(Some(clients)) => tracing::info!(clients, "the file of clients has changed and is in use"),
                Err(wrong) => {
                    let error = wrong.join("; ");
                    tracing::error!(error, "the file of clients cannot be used; the old clients stay");
                }
            }
        }
    }

    /// Uses what the file holds, if that is something new: how many clients. Errors: all that is wrong with it, said
    /// once for each content.
    async fn look(&mut self) -> Result<Option<usize>, Vec<String>> {
        let found = read(&self.file).await;
        if found == self.seen {
            return Ok(None);
        }
        self.seen = found;
        let text = self
            .seen
            .as_ref()
            .map_err(|kind| vec![format!("{} cannot be read: {kind}", self.file.display())])?;
        let clients = clients::read_text(&self.file, text, self.limit, self.jwt)?;
        let count = clients.len();
        self.clients.send_replace(clients);
        Ok(Some(count))
    }
}

async fn read(file: &Path) -> Result<String, io::ErrorKind> {
    tokio::fs::read_to_string(file).await.map_err(|error| error.kind())
}
