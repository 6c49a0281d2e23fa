//! Sees accepted dispatches to their end: one watch each, so many at a time.

use std::sync::Arc;

use prost_types::Timestamp;
use tokio::{sync::Semaphore, task::JoinSet};
use waybill_proto::v1::{DispatchReceipt, DispatchTransition};

use crate::cli::{
    Failure,
    client::{ClientArgs, Gateway},
    follow::follow,
    pulse::Pulse,
};

/// Watches open at once. The others wait for a place; their history is not lost meanwhile.
const WATCHES: usize = 256;

/// One accepted dispatch, after its end or after giving up on it.
pub(super) struct Ended {
    pub(super) dispatch_id: String,
    pub(super) duplicate: bool,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) end: Result<DispatchTransition, Failure>,
}

/// The dispatches that have not ended yet. Dropping it stops every watch.
pub(super) struct Waiting {
    args: ClientArgs,
    client: Gateway,
    pulse: Pulse,
    places: Arc<Semaphore>,
    tasks: JoinSet<Ended>,
}

impl Waiting {
    pub(super) fn new(args: ClientArgs, client: Gateway, pulse: Pulse) -> Self {
        Self { args, client, pulse, places: Arc::new(Semaphore::new(WATCHES)), tasks: JoinSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn begin(&mut self, receipt: &DispatchReceipt) {
        let (args, client) = (self.args.clone(), self.client.clone());
        let (pulse, places) = (self.pulse.clone(), Arc::clone(&self.places));
        let receipt = receipt.clone();
        self.tasks.spawn(async move {
            // Fails only on a closed semaphore, and nobody closes it.
            let _place = places.acquire().await;
            let end = follow(&args, client, &receipt.dispatch_id, 0, |_| {
                pulse.beat();
                Ok(())
            })
            .await;
            let DispatchReceipt { dispatch_id, duplicate, accepted_at, .. } = receipt;
            Ended { dispatch_id, duplicate, accepted_at, end }
        });
    }

    /// The next dispatch that ended; `None` when there is none to wait for. May be dropped and called
    /// again: nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        loop {
            // A watch that panicked is passed over; its dispatch counts as one that did not end.
            if let Ok(ended) = self.tasks.join_next().await? {
                return Some(ended);
            }
        }
    }
}
