//! What each part of this process says of itself: `broker`, `database`, `relay`, each role. The parts
//! report, the edge (gRPC health, HTTP, systemd) reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::metrics;

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has yet to say anything.
    Starting,
    /// It does its work.
    Up,
    /// It does not, and why. It keeps trying by itself.
    Down(String),
}

/// The status of every part.
pub type Parts = BTreeMap<&'static str, Status>;

/// Where parts report. Cheap to clone; all clones share one table.
#[derive(Clone, Debug)]
pub struct Health {
    parts: Arc<watch::Sender<Parts>>,
    paused: Arc<watch::Sender<Vec<String>>>,
    /// When the loop that must always turn last did.
    turned: Arc<Mutex<Instant>>,
    metrics: metrics::Parts,
}

impl Default for Health {
    fn default() -> Self {
        let parts = Arc::new(watch::Sender::new(Parts::new()));
        let turned = Arc::new(Mutex::new(Instant::now()));
        Self { parts, paused: Arc::default(), turned, metrics: metrics::Parts::default() }
    }
}

impl Health {
    /// Names parts that this process has, before they say anything themselves.
    pub fn expect(&self, expected: impl IntoIterator<Item = &'static str>) {
        self.parts.send_modify(|parts| {
            for part in expected {
                self.metrics.tell(part, false);
                parts.entry(part).or_insert(Status::Starting);
            }
        });
    }

    /// Says that the loop which must always turn, whatever is away, has turned.
    pub fn turn(&self) {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long it has not.
    pub fn still_for(&self) -> Duration {
        self.turned.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Says how `part` is. Readers wake only when that is news.
    pub fn set(&self, part: &'static str, status: Status) {
        self.parts.send_if_modified(|parts| {
            if parts.get(part) == Some(&status) {
                return false;
            }
            match &status {
                Status::Starting => {}
                Status::Up => tracing::info!(part, "up"),
                Status::Down(reason) => tracing::warn!(part, reason, "down"),
            }
            self.metrics.tell(part, status == Status::Up);
            parts.insert(part, status);
            true
        });
    }

    /// Says what operators hold up just now, in words. Every part may be up all the same.
    pub fn set_paused(&self, paused: Vec<String>) {
        self.paused.send_replace(paused);
    }

    /// What operators hold up.
    pub fn paused(&self) -> Vec<String> {
        self.paused.borrow().clone()
    }

    /// The table, now and at every change.
    pub fn subscribe(&self) -> watch::Receiver<Parts> {
        self.parts.subscribe()
    }
}
