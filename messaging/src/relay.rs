//! The relay: from a committed row of the outbox to a confirmed and routed message.
//!
//! Rows reach it two ways. *Hand-off*: what a transaction of this process has committed comes through
//! memory, under the lease that was written with it. *Sweep*: rows whose owner died, delayed rows and
//! parked ones are claimed from the table. Both go through the publisher of their lane, one for each queue,
//! and the outcomes are settled in batches, each in the database that the row came from.

mod hand_off;
mod lane;
mod publisher;
mod session;
mod settler;
mod standing;
mod sweeper;
mod window;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{hand_off::Reservation, lane::Lane};
pub use self::{
    hand_off::{HandOff, Item},
    settler::Settlement,
};
use self::{publisher::Publisher, settler::Settler, standing::Standing};
use crate::{
    Store,
    broker::Broker,
    health::Health,
    metrics,
    outbox::{self, ParkedKeys},
};

/// How the relay works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages for one queue that are published and not yet confirmed, at most.
    pub window: usize,
    /// Messages in one AMQP message at most; 1 means that every message travels alone.
    pub pack: usize,
    /// Messages for one queue held in memory, at most; what is beyond waits in the table for a sweep.
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
    items: Vec<mpsc::UnboundedReceiver<Item>>,
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
        let (mut helpers, no_more) = (JoinSet::new(), CancellationToken::new());
        for (store, outcomes) in stores {
            let parked = ParkedKeys::default();
            let writer = Settler {
                store: store.clone(),
                owner: self.hand_off.owner().to_owned(),
                parked: parked.clone(),
                max_rejections: self.settings.max_rejections,
            };
            helpers.spawn(settler::run(writer, outcomes, no_more.clone()));
            let slot_bytes = sweep.then_some(self.settings.slot_bytes);
            helpers.spawn(outbox::keep(store.clone(), slot_bytes, stop.clone()));
            if sweep {
                let sweeper = sweeper::Sweeper::new(store, self.hand_off.clone(), parked, &self.settings);
                helpers.spawn(sweeper.run(stop.clone()));
            }
        }
        let (mut lanes, standing, metrics) = (JoinSet::new(), Standing::new(health), metrics::Relay::new());
        for (lane, items) in Lane::all().zip(self.items) {
            let (settings, hand_off) = (self.settings.clone(), self.hand_off.clone());
            let (broker, standing, metrics) = (broker.clone(), standing.clone(), metrics.clone());
            let publisher = Publisher::new(lane, settings, broker, hand_off, items, standing, metrics);
            lanes.spawn(publisher.run(stop.clone()));
        }
        while !lanes.is_empty() {
            tokio::select! {
                Some(ended) = lanes.join_next() => in_order(ended),
                Some(ended) = helpers.join_next() => in_order(ended),
            }
        }
        // Nothing is published any more: the settlers write down what there is and finish.
        self.hand_off.close();
        no_more.cancel();
        while let Some(ended) = helpers.join_next().await {
            in_order(ended);
        }
    }
}

/// A part that panicked takes the relay with it: without it rows would silently stay.
fn in_order(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
