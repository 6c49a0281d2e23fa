//! The lanes as one part of the process: up when each of them is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Lane;
use crate::health::{Health, Status};

const PART: &str = "relay";

/// How the lanes are. Cheap to clone; all clones share one table.
#[derive(Clone)]
pub(super) struct Standing {
    health: Health,
    /// Why a lane is down; empty for one that has yet to come up for the first time.
    down: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Standing {
    pub(super) fn new(health: Health) -> Self {
        let down = Lane::all().map(|lane| (lane.name(), String::new())).collect();
        Self { health, down: Arc::new(Mutex::new(down)) }
    }

    pub(super) fn up(&self, lane: Lane) {
        self.change(|down| {
            down.remove(lane.name());
        });
    }

    pub(super) fn down(&self, lane: Lane, reason: String) {
        self.change(|down| {
            down.insert(lane.name(), reason);
        });
    }

    /// Reported under the lock, so that the last report is the true one.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<&'static str, String>)) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut down);
        if down.is_empty() {
            self.health.set(PART, Status::Up);
        } else if let Some((lane, reason)) = down.iter().find(|(_, reason)| !reason.is_empty()) {
            self.health.set(PART, Status::Down(format!("{lane}: {reason}")));
        }
    }
}
