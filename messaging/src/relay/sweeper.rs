//! Looks through the outbox for rows that nobody holds: their owner died or had no room, their delay is
//! over, or they are parked and worth another try.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{HandOff, Settings, Settlement};
use crate::{Store, outbox::Claim};

/// Rows claimed at once, at most.
const PAGE: usize = 500;

pub(super) struct Sweeper {
    store: Store,
    hand_off: HandOff,
    lease: Duration,
    interval: Duration,
}

impl Sweeper {
    pub(super) fn new(store: Store, hand_off: HandOff, settings: &Settings) -> Self {
        Self { store, hand_off, lease: settings.lease, interval: settings.sweep_interval }
    }

    /// Sweeps until `stop`; without a pause as long as there is more to find.
    pub(super) async fn run(self, stop: CancellationToken) {
        let settle = self.store.settlements();
        while !stop.is_cancelled() {
            let more = self.sweep(&settle).await;
            if !more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.interval) => {}
                }
            }
        }
    }

    /// Claims a page and hands it over. Whether there may be more.
    async fn sweep(&self, settle: &tokio::sync::mpsc::UnboundedSender<Settlement>) -> bool {
        // The permit is taken before the claim: what is claimed is published.
        let now = self.store.clock().now();
        let room = self.hand_off.room().min(PAGE);
        let Some(reservation) = (room > 0).then(|| self.hand_off.reserve(room, now)).flatten() else {
            return false;
        };
        let begun = Instant::now();
        let claim =
            Claim { owner: self.hand_off.owner().to_owned(), lease_until: now.plus(self.lease), most: room };
        match self.store.run(claim).await {
            Ok(messages) => {
                let found = messages.len();
                if found > 0 {
                    tracing::debug!(found, took = ?begun.elapsed(), "swept the outbox");
                }
                self.hand_off.hand_over(reservation, messages, settle);
                found == room
            }
            Err(error) => {
                tracing::debug!(%error, "the outbox cannot be swept now");
                false
            }
        }
    }
}
