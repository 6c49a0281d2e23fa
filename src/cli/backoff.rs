//! Pauses between attempts: doubling, with jitter, so that many clients do not come back in step.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The pauses of one series of failures.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Something went well: the next failure begins a new series.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits the next pause.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(jittered(self.next)).await;
        self.next = (self.next * 2).min(LONGEST);
    }
}

/// Between half of it and all of it.
pub(super) fn jittered(pause: Duration) -> Duration {
    // The keys of a new hasher are random, which is random enough here.
    let random = u32::try_from(RandomState::new().hash_one(0) % 1_000).unwrap_or_default();
    pause / 2 + pause * random / 2_000
}
