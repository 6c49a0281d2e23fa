//! Who in this process waits for a dispatch to move on. What this process itself has moved they hear of as soon
//! as it is committed; for what others move there is one query every so often, whatever the number of those who
//! wait, and none while nobody does.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use waybill_messaging::Store;

use crate::{Instance, read};

/// The newest known version of every dispatch that somebody watches.
#[derive(Debug)]
pub struct Versions {
    watched: Mutex<HashMap<String, watch::Sender<u64>>>,
    somebody: Notify,
    interval: Duration,
}

/// The newest known version of one dispatch. Watching ends when it is dropped.
#[derive(Debug)]
pub struct Watched {
    version: watch::Receiver<u64>,
    /// What the caller had read when it last asked.
    read: Option<u64>,
    interval: Duration,
}

impl Versions {
    /// `interval`: between two queries.
    pub fn new(interval: Duration) -> Self {
        Self { watched: Mutex::default(), somebody: Notify::new(), interval }
    }

    /// Watches a dispatch. Watch first and read then: what happens in between is not missed.
    pub fn watch(&self, dispatch_id: &str) -> Watched {
        let mut watched = self.lock();
        let sender = watched.entry(dispatch_id.to_owned()).or_insert_with(|| watch::Sender::new(0));
        let version = sender.subscribe();
        self.somebody.notify_one();
        Watched { version, read: None, interval: self.interval }
    }

    /// Polls until `stop`.
    pub async fn run(&self, store: Store, stop: CancellationToken) {
        while stop.run_until_cancelled(self.next_look()).await.is_some() {
            let ids = self.ids();
            match read::versions(&store, &ids).await {
                Ok(versions) => self.publish(versions.iter().map(|(id, version)| (id.as_str(), *version))),
                // Watchers meet the same error when they read; here the next look is the cure.
                Err(error) => tracing::debug!(%error, "versions not read"),
            }
        }
    }

    async fn next_look(&self) {
        if self.ids().is_empty() {
            self.somebody.notified().await;
        }
        tokio::time::sleep(self.interval).await;
    }

    /// Who is watched; those whom nobody watches any more are forgotten.
    fn ids(&self) -> Vec<String> {
        let mut watched = self.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.keys().cloned().collect()
    }

    /// This process has committed these instances as they stand here.
    pub(crate) fn moved(&self, instances: &[Instance]) {
        self.publish(instances.iter().map(|instance| (instance.dispatch_id.as_str(), instance.version)));
    }

    fn publish<'a>(&self, versions: impl Iterator<Item = (&'a str, u64)>) {
        let watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for (id, version) in versions {
            if let Some(sender) = watched.get(id) {
                sender.send_if_modified(|known| {
                    let is_news = version > *known;
                    *known = (*known).max(version);
                    is_news
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        // Nothing that is done under this lock can leave the map half changed.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Waits until the dispatch is known to be beyond `version`, which the caller has just read. A caller who
    /// reads the same again although more is known waits for an interval before the next look.
    pub async fn beyond(&mut self, version: u64) {
        let reads_the_same = self.read.replace(version) == Some(version);
        if *self.version.borrow_and_update() > version {
            if reads_the_same {
                tokio::time::sleep(self.interval).await;
            }
            return;
        }
        // The sender stays in the map for as long as this receiver lives.
        let _ = self.version.wait_for(|known| *known > version).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_reads_the_same_although_more_is_known_waits_and_nobody_else_does() {
        let versions = Versions::new(Duration::from_hours(1));
        let mut watched = versions.watch("d-1");
        versions.publish([("d-1", 2), ("d-2", 7)].into_iter());
        assert_eq!(watched.beyond(0).now_or_never(), Some(()), "there is news");
        assert_eq!(watched.beyond(1).now_or_never(), Some(()), "what came since it was read is read at once");
        assert_eq!(
            watched.beyond(1).now_or_never(),
            None,
            "what cannot be read yet is asked for after a pause"
        );
        assert_eq!(watched.beyond(2).now_or_never(), None, "there is no more");
    }
}
