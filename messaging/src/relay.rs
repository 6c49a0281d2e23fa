//! The relay: from a committed row of the outbox to a confirmed and routed message.
//!
//! Rows reach it two ways. *Hand-off*: what a transaction of this process has committed comes through
//! memory, under the lease that was written with it. *Sweep*: rows whose owner died, delayed rows and
//! parked ones are claimed from the table. Both go through one publisher, whose outcomes are settled in
//! batches, each in the database that the row came from.

mod hand_off;
mod publisher;
mod settler;
mod sweeper;
mod window;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::hand_off::Reservation;
pub use self::{
    hand_off::{HandOff, Item},
    settler::Settlement,
};
use self::{publisher::Publisher, settler::Settler};
use crate::{
    Store,
    broker::Broker,
    health::Health,
    outbox::{self, ParkedKeys},
};

/// How the relay works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages published and not yet confirmed, at most.
    pub window: usize,
    /// Messages held in memory, at most; what is beyond waits in the table for a sweep.
    pub hand_off: usize,
    /// How long a row belongs to the process that took it.
    pub lease: Duration,
    /// Pause between two sweeps of an idle outbox.
    pub sweep_interval: Duration,
    /// A confirm that takes longer counts as lost.
    pub confirm_timeout: Duration,
    /// Size past which the outbox goes on in another slot, when most of this one is dead; `PostgreSQL` only.
    pub slot_bytes: usize,
    /// A larger body is not offered to the broker, which would close the connection over it.
    pub max_message_bytes: usize,
    /// A message that the broker has refused this often is parked for a person.
    pub max_rejections: u32,
}

/// The relay of this process, before it runs.
pub struct Relay {
    settings: Settings,
    hand_off: HandOff,
    items: mpsc::UnboundedReceiver<Item>,
}

impl Relay {
    /// A relay; its [`HandOff`] goes to every store whose rows it publishes.
    pub fn new(settings: Settings) -> Self {
        let (hand_off, items) = HandOff::new(settings.hand_off, settings.lease);
        Self { settings, hand_off, items }
    }

    /// What stores give their committed messages to.
    pub fn hand_off(&self) -> HandOff {
        self.hand_off.clone()
    }

    /// Publishes until `stop`, then until nothing is in flight any more, and returns.
    ///
    /// `stores`: each database with its receiver from [`Store::open`]. `sweep`: whether to look after
    /// what others left behind; at least one process of an installation has to.
    pub async fn run(
        self,
        broker: Broker,
        stores: Vec<(Store, mpsc::UnboundedReceiver<Settlement>)>,
        sweep: bool,
        health: Health,
        stop: CancellationToken,
    ) {
        let (tasks, no_more) = (TaskTracker::new(), CancellationToken::new());
        for (store, outcomes) in stores {
            let parked = ParkedKeys::default();
            let writer = Settler {
                store: store.clone(),
                owner: self.hand_off.owner().to_owned(),
                parked: parked.clone(),
                max_rejections: self.settings.max_rejections,
            };
            tasks.spawn(settler::run(writer, outcomes, no_more.clone()));
            let slot_bytes = sweep.then_some(self.settings.slot_bytes);
            tasks.spawn(outbox::keep(store.clone(), slot_bytes, stop.clone()));
            if sweep {
                let sweeper = sweeper::Sweeper::new(store, self.hand_off.clone(), parked, &self.settings);
                tasks.spawn(sweeper.run(stop.clone()));
            }
        }
        let publisher = Publisher::new(self.settings, broker, self.hand_off.clone(), self.items, health);
        publisher.run(stop).await;
        // Nothing is published any more: the settlers write down what there is and finish.
        self.hand_off.close();
        no_more.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
