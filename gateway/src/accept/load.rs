//! How long the queue will take, so that a client who is turned away knows when to come back.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Clients come back no sooner: this is what the answer itself costs both sides.
const LEAST: Duration = Duration::from_millis(100);
/// And no later: a database that was slow once may be fast again.
const MOST: Duration = Duration::from_millis(500);

/// What the committers have seen lately.
pub(super) struct Load {
    batch: usize,
    /// Microseconds that the last commit took.
    last: AtomicU64,
}

impl Load {
    pub(super) const fn new(batch: usize) -> Self {
        Self { batch, last: AtomicU64::new(0) }
    }

    /// Takes note of how long a commit took.
    pub(super) fn record(&self, took: Duration) {
        self.last.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When half of `waiting` requests should be through.
    pub(super) fn retry_after(&self, waiting: usize) -> Duration {
        let commits = u64::try_from(waiting.div_ceil(self.batch).div_ceil(2)).unwrap_or(u64::MAX);
        let micros = self.last.load(Ordering::Relaxed).saturating_mul(commits);
        Duration::from_micros(micros).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_queue_and_stays_within_bounds() {
        let load = Load::new(100);
        assert_eq!(load.retry_after(1_000), LEAST);
        load.record(Duration::from_millis(40));
        assert_eq!(load.retry_after(1_000), Duration::from_millis(200));
        load.record(Duration::from_secs(10));
        assert_eq!(load.retry_after(1_000), MOST);
    }
}
