//! Writes down how publications ended, many at a time, in the database that the rows came from.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Item;
use crate::{
    Store,
    backoff::Backoff,
    outbox::{ParkedKeys, PutBack, PutBackKind, Settle},
};

/// Rows in one transaction, at most.
const BATCH: usize = 1_000;
/// How long the first of them waits for more. Nobody waits for a row to go, and a row is cheaper to clear in company.
const LINGER: Duration = Duration::from_millis(20);
const PAUSE: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2) };

/// How the publication of one row ended. Holds the row's room in memory until it is written down.
#[derive(Debug)]
pub struct Settlement {
    pub(super) item: Item,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    /// The row may go.
    Confirmed,
    /// The row stays.
    PutBack(PutBackKind, String),
}

/// Passes an outcome on to the database that the row is in.
pub(super) fn tell(item: Item, end: End) {
    let settler = item.settle.clone();
    // Fails only when the settler is gone with its database; the row is then found by a sweep.
    let _ = settler.send(Settlement { item, end });
}

/// Settles until `done`, which means that nothing more will come, and then what has come by then.
pub(super) async fn run(
    settler: Settler,
    mut settlements: mpsc::UnboundedReceiver<Settlement>,
    done: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            _ = settlements.recv_many(&mut batch, BATCH) => {}
            () = done.cancelled() => return,
        }
        gather(&mut batch, &mut settlements, &done).await;
        settler.settle(&batch).await;
        batch.clear();
    }
}

/// Adds what comes within [`LINGER`].
async fn gather(
    batch: &mut Vec<Settlement>,
    settlements: &mut mpsc::UnboundedReceiver<Settlement>,
    done: &CancellationToken,
) {
    let enough = sleep(LINGER);
    tokio::pin!(enough);
    while batch.len() < BATCH {
        tokio::select! {
            biased;
            () = &mut enough => return,
            taken = settlements.recv_many(batch, BATCH - batch.len()) => if taken == 0 { return },
            () = done.cancelled() => return,
        }
    }
}

/// Writes outcomes into one database.
pub(super) struct Settler {
    pub(super) store: Store,
    pub(super) owner: String,
    pub(super) parked: ParkedKeys,
    pub(super) max_rejections: u32,
}

impl Settler {
    /// Tries until the database takes it, or until the leases are over and it is no longer ours to say.
    async fn settle(&self, batch: &[Settlement]) {
        let mut failures = 0;
        let latest = batch.iter().map(|settlement| settlement.item.expires).max();
        while let Err(error) = self.store.run(self.transaction(batch)).await {
            failures += 1;
            if latest.is_none_or(|expires| expires <= tokio::time::Instant::now()) {
                tracing::warn!(%error, rows = batch.len(), "published rows could not be cleared: they go out again");
                return;
            }
            sleep(PAUSE.delay(failures)).await;
        }
    }

    fn transaction(&self, batch: &[Settlement]) -> Settle {
        let (owner, max_rejections) = (self.owner.clone(), self.max_rejections);
        let mut settle = Settle { owner, max_rejections, ..Settle::default() };
        for Settlement { item, end } in batch {
            let id = item.message.id;
            match end {
                End::Confirmed => {
                    settle.confirmed.entry(item.slot).or_default().push(id);
                    if self.parked.contains(&item.message.routing_key) {
                        settle.open_again.insert(item.message.routing_key.clone());
                    }
                }
                End::PutBack(kind, reason) => {
                    settle.put_back.push(PutBack { id, reason: reason.clone(), kind: *kind });
                }
            }
        }
        settle
    }
}
