//! Counts messages and subscriptions again and again, over one connection, and touches no queue.

use futures_util::future::join_all;
use lapin::Connection;

use super::{code, connect, goodbye};
use crate::{
    broker::{Server, in_time},
    topology::{QueueSpec, Topology},
};

/// One who counts.
pub struct Counter {
    connection: Connection,
}

/// A queue, as counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name without the prefix.
    pub name: String,
    /// Messages that wait to be delivered, and subscriptions; `None` where it is not there.
    pub counts: Option<(u32, u32)>,
}

impl Counter {
    /// Connects. Errors: the broker is away.
    pub async fn connect(server: &Server) -> Result<Self, String> {
        Ok(Self { connection: connect(server).await? })
    }

    /// Every queue of the topology. Errors: the broker is away; this counter is of no use then.
    pub async fn count(&self, topology: &Topology) -> Result<Vec<Counted>, String> {
        let queues = topology.queues();
        join_all(queues.iter().map(|queue| self.count_one(queue))).await.into_iter().collect()
    }

    async fn count_one(&self, queue: &QueueSpec) -> Result<Counted, String> {
        // One for each, because a queue that is not there costs it.
        let channel = in_time("open a channel", self.connection.create_channel()).await?;
        let counts = match in_time("ask", async { Ok(queue.ask(&channel).await) }).await? {
            Ok(asked) => Some((asked.message_count(), asked.consumer_count())),
            Err(error) if code(&error) == 404 => None,
            Err(error) => return Err(error.to_string()),
        };
        if counts.is_some() {
            in_time("close a channel", channel.close(200, "counted".into())).await?;
        }
        Ok(Counted { name: queue.short.clone(), counts })
    }

    /// Says goodbye.
    pub async fn close(self) {
        goodbye(&self.connection).await;
    }
}
