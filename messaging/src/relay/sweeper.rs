//! Looks through the outbox for rows that nobody holds: their owner died or had no room, their delay is
//! over, or they are parked and worth a probe.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{HandOff, Settings, Settlement};
use crate::{
    Outgoing, Store, StoreError,
    outbox::{Claim, ParkedKeys, Probe},
};

/// Rows claimed at once, at most.
const PAGE: usize = 500;
/// Pause between two probes of what is parked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Sweeper {
    store: Store,
    hand_off: HandOff,
    parked: ParkedKeys,
    lease: Duration,
    interval: Duration,
}

impl Sweeper {
    pub(super) fn new(store: Store, hand_off: HandOff, parked: ParkedKeys, settings: &Settings) -> Self {
        Self { store, hand_off, parked, lease: settings.lease, interval: settings.sweep_interval }
    }

    /// Sweeps until `stop`; without a pause as long as there is more to find.
    pub(super) async fn run(self, stop: CancellationToken) {
        let settle = self.store.settlements();
        let mut probed = Instant::now();
        while !stop.is_cancelled() {
            let mut swept = self.sweep(&settle).await;
            if swept.is_ok() && probed.elapsed() >= PROBE_INTERVAL {
                probed = Instant::now();
                swept = self.probe(&settle).await.and(swept);
            }
            let more = swept.unwrap_or_else(|error| {
                tracing::debug!(%error, "the outbox cannot be swept now");
                false
            });
            if !more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.interval) => {}
                }
            }
        }
    }

    /// Claims a page of what is due and hands it over. Whether there may be more.
    async fn sweep(&self, settle: &mpsc::UnboundedSender<Settlement>) -> Result<bool, StoreError> {
        let due = "SELECT 1 FROM outbox WHERE lease_until <= $1 LIMIT 1";
        // Asked outside a transaction first: most of the time nothing is due, and SQLite's writer is precious.
        if self.store.query(due, vec![self.store.clock().now().micros().into()]).await?.is_empty() {
            return Ok(false);
        }
        let (claimed, room) = self
            .claim(settle, async |owner, lease_until, most| {
                self.store.run(Claim { owner, lease_until, most }).await
            })
            .await?;
        Ok(claimed > 0 && claimed == room)
    }

    /// Tries a few of the messages that no queue took.
    async fn probe(&self, settle: &mpsc::UnboundedSender<Settlement>) -> Result<(), StoreError> {
        let parked = "SELECT 1 FROM outbox WHERE state = 'UNROUTABLE' LIMIT 1";
        if self.store.query(parked, Vec::new()).await?.is_empty() {
            self.parked.replace(std::collections::BTreeSet::new());
            return Ok(());
        }
        let probe = async |owner, lease_until, most| {
            let (keys, messages) = self.store.run(Probe { owner, lease_until, most }).await?;
            if self.parked.replace(keys.clone()) {
                tracing::warn!(routing_keys = ?keys, "messages that no queue takes wait in the outbox");
            }
            Ok(messages)
        };
        self.claim(settle, probe).await.map(|_| ())
    }

    /// Hands over what `take` yields, and says how much that was and how much there was room for. The room is
    /// reserved first, so that what is claimed is published.
    async fn claim(
        &self,
        settle: &mpsc::UnboundedSender<Settlement>,
        take: impl AsyncFnOnce(String, crate::Timestamp, usize) -> Result<Vec<Outgoing>, StoreError>,
    ) -> Result<(usize, usize), StoreError> {
        let now = self.store.clock().now();
        let room = self.hand_off.room().min(PAGE);
        let Some(reservation) = (room > 0).then(|| self.hand_off.reserve(room, now)).flatten() else {
            return Ok((0, 0));
        };
        let messages = take(self.hand_off.owner().to_owned(), now.plus(self.lease), room).await?;
        let claimed = messages.len();
        self.hand_off.hand_over(reservation, messages, settle);
        Ok((claimed, room))
    }
}
