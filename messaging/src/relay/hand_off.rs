//! The way through memory, and its bound.
//!
//! Room is reserved before the row is written, because the row says who holds it: with room, this
//! process, under a lease; without (the broker is away, or too much is waiting), nobody, and a sweep
//! will find it. So a commit never waits for the broker, and memory stays bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use uuid::Uuid;

use super::Settlement;
use crate::{Outgoing, Timestamp};

/// A message on its way, with the room it takes and the one who wants to know how it ended.
#[derive(Debug)]
pub struct Item {
    pub(crate) message: Outgoing,
    /// Where the row was written; it may have moved since.
    pub(crate) slot: i64,
    /// After this moment somebody else may publish it.
    pub(crate) expires: Instant,
    pub(crate) settle: mpsc::UnboundedSender<Settlement>,
    _room: OwnedSemaphorePermit,
}

/// Room for messages that are about to be committed.
#[derive(Debug)]
pub(crate) struct Reservation {
    owner: Arc<str>,
    lease_until: Timestamp,
    expires: Instant,
    slot: i64,
    room: OwnedSemaphorePermit,
}

impl Reservation {
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn lease_until(&self) -> Timestamp {
        self.lease_until
    }
}

/// Where committed messages go. Cheap to clone; all clones share one bound.
#[derive(Clone, Debug)]
pub struct HandOff {
    owner: Arc<str>,
    lease: Duration,
    room: Arc<Semaphore>,
    open: Arc<AtomicBool>,
    items: mpsc::UnboundedSender<Item>,
}

impl HandOff {
    pub(super) fn new(capacity: usize, lease: Duration) -> (Self, mpsc::UnboundedReceiver<Item>) {
        let (items, receiver) = mpsc::unbounded_channel();
        let hand_off = Self {
            // New with every start: a process never mistakes its predecessor's rows for its own.
            owner: Uuid::now_v7().to_string().into(),
            lease,
            room: Arc::new(Semaphore::new(capacity)),
            open: Arc::new(AtomicBool::new(false)),
            items,
        };
        (hand_off, receiver)
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Takes nothing: all that is committed waits in the table for the sweep of another process.
    pub fn none() -> Self {
        Self::new(0, Duration::ZERO).0
    }

    /// Takes messages that nobody will publish: a process that dies right after its commit.
    #[doc(hidden)]
    pub fn open_for_test(&self) {
        self.set_open(true);
    }

    /// How many messages there is room for.
    pub(crate) fn room(&self) -> usize {
        if self.open.load(Ordering::Relaxed) { self.room.available_permits() } else { 0 }
    }

    /// Room for `messages` of this slot, or none while the broker is away or too much is waiting.
    pub(crate) fn reserve(&self, messages: usize, now: Timestamp, slot: i64) -> Option<Reservation> {
        if !self.open.load(Ordering::Relaxed) {
            return None;
        }
        let permits = u32::try_from(messages).ok()?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).ok()?;
        Some(Reservation {
            owner: Arc::clone(&self.owner),
            lease_until: now.plus(self.lease),
            expires: Instant::now() + self.lease,
            slot,
            room,
        })
    }

    /// Gives committed messages to the publisher.
    pub(crate) fn hand_over(
        &self,
        reservation: Reservation,
        messages: Vec<Outgoing>,
        settle: &mpsc::UnboundedSender<Settlement>,
    ) {
        let Reservation { expires, slot, mut room, .. } = reservation;
        for message in messages {
            let Some(own) = room.split(1) else { return };
            // Once the publisher has stopped the row waits in the table for another process.
            let _ = self.items.send(Item { message, slot, expires, settle: settle.clone(), _room: own });
        }
    }

    /// Whether the publisher takes messages just now.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// No more messages from now on.
    pub(super) fn close(&self) {
        self.set_open(false);
        self.room.close();
    }
}
