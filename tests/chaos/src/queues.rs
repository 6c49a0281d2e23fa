//! What somebody with access to the broker can do to its queues, over a connection to whichever node is up.

use std::time::Duration;

use anyhow::{Context, Result};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use tokio::time::{sleep, timeout};

use crate::fault::{Binding, QUEUES};

/// Waybill's own default.
const PREFIX: &str = "waybill.";
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(300);

/// The queues of Waybill, from outside.
pub(crate) struct Queues {
    urls: Vec<String>,
}

impl Queues {
    pub(crate) fn new(urls: &[String]) -> Self {
        Self { urls: urls.to_vec() }
    }

    /// Throws away what waits in these queues, and says how many messages that were.
    pub(crate) async fn purge(&self, queues: &[&str]) -> Result<u32> {
        self.on_channel(async |channel| {
            let mut lost = 0;
            for queue in queues {
                let name = format!("{PREFIX}{queue}");
                lost += channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await?;
            }
            Ok(lost)
        })
        .await
    }

    /// Takes a binding away.
    pub(crate) async fn unbind(&self, Binding(queue, key): Binding) -> Result<()> {
        let (queue, exchange) = (format!("{PREFIX}{queue}"), format!("{PREFIX}dispatch"));
        self.on_channel(async |channel| {
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            let unbinding = channel.queue_unbind(queue, exchange, key.into(), FieldTable::default());
            unbinding.await
        })
        .await
    }

    /// Puts a binding back.
    pub(crate) async fn bind(&self, Binding(queue, key): Binding) -> Result<()> {
        let (queue, exchange) = (format!("{PREFIX}{queue}"), format!("{PREFIX}dispatch"));
        self.on_channel(async |channel| {
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default()).await
        })
        .await
    }

    /// How many messages wait in all queues.
    pub(crate) async fn waiting(&self) -> Result<u32> {
        self.on_channel(async |channel| {
            let mut waiting = 0;
            for queue in QUEUES {
                let name = format!("{PREFIX}{queue}");
                let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let queue = channel.queue_declare(name.as_str().into(), look, FieldTable::default()).await?;
                waiting += queue.message_count();
            }
            Ok(waiting)
        })
        .await
    }

    async fn on_channel<T>(&self, work: impl AsyncFnOnce(&Channel) -> Result<T, lapin::Error>) -> Result<T> {
        let working = async {
            let connection = self.connect().await;
            let channel = connection.create_channel().await?;
            let done = work(&channel).await?;
            connection.close(200, "done".into()).await?;
            Ok(done)
        };
        timeout(PATIENCE, working).await.context("the broker does not answer")?
    }

    /// To the first node that answers, as soon as one does.
    async fn connect(&self) -> Connection {
        loop {
            for url in &self.urls {
                let connecting = Connection::connect(url, ConnectionProperties::default());
                if let Ok(Ok(connection)) = timeout(PATIENCE / 4, connecting).await {
                    return connection;
                }
            }
            sleep(PAUSE).await;
        }
    }
}
