//! One poller for everybody in this process who waits for a dispatch to move on: one query, whatever the
//! number of watchers, and none while nobody watches.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use waybill_messaging::Store;
use waybill_saga::read;

/// The newest known version of every dispatch that somebody watches.
pub(crate) struct Versions {
    watched: Mutex<HashMap<String, watch::Sender<u64>>>,
    somebody: Notify,
    interval: Duration,
}

/// The newest known version of one dispatch. Watching ends when it is dropped.
pub(crate) struct Watched {
    version: watch::Receiver<u64>,
    interval: Duration,
}

impl Versions {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { watched: Mutex::default(), somebody: Notify::new(), interval }
    }

    /// Watches a dispatch. Watch first and read then: what happens in between is not missed.
    pub(crate) fn watch(&self, dispatch_id: &str) -> Watched {
        let mut watched = self.lock();
        let sender = watched.entry(dispatch_id.to_owned()).or_insert_with(|| watch::Sender::new(0));
        let version = sender.subscribe();
        self.somebody.notify_one();
        Watched { version, interval: self.interval }
    }

    /// Polls until `stop`.
    pub(crate) async fn run(&self, store: Store, stop: CancellationToken) {
        while stop.run_until_cancelled(self.next_look()).await.is_some() {
            let ids = self.ids();
            match read::versions(&store, &ids).await {
                Ok(versions) => self.publish(&versions),
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

    fn publish(&self, versions: &HashMap<String, u64>) {
        let watched = self.lock();
        for (id, version) in versions {
            if let Some(sender) = watched.get(id) {
                sender.send_if_modified(|known| {
                    let is_news = version > known;
                    *known = (*known).max(*version);
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
    /// Waits until the dispatch is known to be beyond `version`, which the caller has just read. If that
    /// was known before, it returns after one interval: the caller read what a moment ago was not there.
    pub(crate) async fn beyond(&mut self, version: u64) {
        if *self.version.borrow_and_update() > version {
            tokio::time::sleep(self.interval).await;
            return;
        }
        // The sender stays in the map for as long as this receiver lives.
        let _ = self.version.wait_for(|known| *known > version).await;
    }
}
