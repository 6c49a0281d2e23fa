//! Looks through the outbox for rows that nobody holds: their owner died or had no room, their delay is
//! over, or they are parked and worth a probe.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{HandOff, Lane, Settings, Settlement};
use crate::{
    Outgoing, Store, StoreError,
    outbox::{Claim, Lot, Page, ParkedKeys, Probe, Round, Tally, Turn},
    slots::{self, Slotted, State},
};

/// Pause between two probes of what is parked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two looks at slots that should have no rows. One that was committed late may be there.
const FULL_LOOK_INTERVAL: Duration = Duration::from_secs(5);

pub(super) struct Sweeper {
    store: Store,
    hand_off: HandOff,
    parked: ParkedKeys,
    turn: Turn,
    lease: Duration,
    interval: Duration,
}

impl Sweeper {
    pub(super) fn new(store: Store, hand_off: HandOff, parked: ParkedKeys, settings: &Settings) -> Self {
        let (lease, interval) = (settings.lease, settings.sweep_interval);
        Self { store, hand_off, parked, turn: Turn::default(), lease, interval }
    }

    /// Sweeps until `stop`; without a pause as long as there is more to find.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let settle = self.store.settlements();
        let mut probed = Instant::now();
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            let full = looked.elapsed() >= FULL_LOOK_INTERVAL;
            let mut swept = self.sweep(&settle, full).await;
            if full {
                looked = Instant::now();
            }
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

    /// Claims a page of what is due in every slot and hands it over. Whether there may be more.
    async fn sweep(
        &self,
        settle: &mpsc::UnboundedSender<Settlement>,
        full: bool,
    ) -> Result<bool, StoreError> {
        let mut more = false;
        for slot in slots::all(&self.store, Slotted::Outbox).await? {
            if full || matches!(slot.state, State::Open | State::Closed) {
                more |= self.sweep_slot(settle, slot.number).await?;
            }
        }
        Ok(more)
    }

    async fn sweep_slot(
        &self,
        settle: &mpsc::UnboundedSender<Settlement>,
        slot: i64,
    ) -> Result<bool, StoreError> {
        let lanes = self.hand_off.roomy();
        if lanes.is_empty() {
            return Ok(false);
        }
        let table = Slotted::Outbox.table(self.store.backend(), slot);
        let lanes = Lane::any_of(&lanes);
        let due = format!("SELECT 1 FROM {table} WHERE lease_until <= $1 AND {lanes} LIMIT 1");
        // Asked outside a transaction first: most of the time nothing is due, and SQLite's writer is precious.
        if self.store.query(&due, vec![self.store.clock().now().micros().into()]).await?.is_empty() {
            return Ok(false);
        }
        let claim = async |lot| self.store.run(Claim(lot)).await;
        let (claimed, room) = self.claim(settle, slot, claim).await?;
        Ok(claimed > 0 && claimed == room)
    }

    /// Tries a few of the messages that no queue took.
    async fn probe(&mut self, settle: &mpsc::UnboundedSender<Settlement>) -> Result<(), StoreError> {
        let mut round = Round::default();
        for slot in slots::all(&self.store, Slotted::Outbox).await? {
            if matches!(slot.state, State::Open | State::Closed) {
                // Not probed: then what was known still holds.
                let Some(page) = self.probe_slot(settle, slot.number).await? else { return Ok(()) };
                round.add(page);
            }
        }
        self.parked.end_round();
        if let Some(Tally { first, more }) = self.turn.note(round) {
            tracing::warn!(routing_keys = ?first, more, "messages that no queue takes wait in the outbox");
        }
        Ok(())
    }

    /// `None` while no lane has room.
    async fn probe_slot(
        &self,
        settle: &mpsc::UnboundedSender<Settlement>,
        slot: i64,
    ) -> Result<Option<Page>, StoreError> {
        let table = Slotted::Outbox.table(self.store.backend(), slot);
        let any = format!("SELECT 1 FROM {table} WHERE state = 'UNROUTABLE' LIMIT 1");
        if self.store.query(&any, Vec::new()).await?.is_empty() {
            return Ok(Some(Page::default()));
        }
        let mut seen = None;
        let probe = async |lot| {
            let after = self.turn.after().map(str::to_owned);
            let (page, messages) = self.store.run(Probe { lot, after }).await?;
            // Known before the messages go out: one that is routed frees the others.
            self.parked.add(&page.keys);
            seen = Some(page);
            Ok(messages)
        };
        self.claim(settle, slot, probe).await?;
        Ok(seen)
    }

    /// Hands over what `take` yields, and says how much that was and how much there was room for. The room is
    /// reserved first, in every lane that may turn up, so that what is claimed is published. Rows of a lane
    /// without room, because its queue takes nothing, stay where they are and are in nobody's way.
    async fn claim(
        &self,
        settle: &mpsc::UnboundedSender<Settlement>,
        slot: i64,
        take: impl AsyncFnOnce(Lot) -> Result<Vec<Outgoing>, StoreError>,
    ) -> Result<(usize, usize), StoreError> {
        let now = self.store.clock().now();
        let page = self.hand_off.reserve_page(now, slot);
        let Some((reservation, lanes, most)) = page else { return Ok((0, 0)) };
        let (owner, lease_until) = (self.hand_off.owner().to_owned(), now.plus(self.lease));
        let messages = take(Lot { slot, owner, lease_until, lanes, most }).await?;
        let claimed = messages.len();
        self.hand_off.hand_over(reservation, messages, settle);
        Ok((claimed, most))
    }
}
