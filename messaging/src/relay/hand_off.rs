//! The way through memory, and its bound.
//!
//! Room is reserved before the row is written, because the row says who holds it: with room, this
//! process, under a lease; without (the broker is away, or too much is waiting in that lane), nobody, and a
//! sweep will find it. So a commit never waits for the broker, and memory stays bounded.

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

use super::{
    Settlement,
    lane::{LANES, Lane},
};
use crate::{Outgoing, Timestamp};

/// Rows that a sweep claims at once, at most.
const PAGE: usize = 500;

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

/// Room for messages that are about to be committed, in the lanes where there was enough.
#[derive(Debug)]
pub(crate) struct Reservation {
    owner: Arc<str>,
    lease_until: Timestamp,
    expires: Instant,
    slot: i64,
    room: [Option<OwnedSemaphorePermit>; LANES],
}

impl Reservation {
    /// Owner and end of the lease under which a message is to be written; `None` where there is no room.
    pub(crate) fn lease(&self, message: &Outgoing) -> Option<(&str, Timestamp)> {
        let has_room = self.room[Lane::of(message).index()].is_some();
        has_room.then_some((&*self.owner, self.lease_until))
    }
}

/// Where committed messages go. Cheap to clone; all clones share one bound for each lane.
#[derive(Clone, Debug)]
pub struct HandOff {
    owner: Arc<str>,
    lease: Duration,
    capacity: usize,
    ways: Arc<[Way]>,
}

/// The way to the publisher of one lane.
#[derive(Debug)]
struct Way {
    room: Arc<Semaphore>,
    open: AtomicBool,
    items: mpsc::UnboundedSender<Item>,
}

impl Way {
    fn room(&self) -> usize {
        if self.open.load(Ordering::Relaxed) { self.room.available_permits() } else { 0 }
    }
}

impl HandOff {
    /// Room for `capacity` messages in each lane, and what comes through, lane by lane.
    pub(super) fn new(capacity: usize, lease: Duration) -> (Self, Vec<mpsc::UnboundedReceiver<Item>>) {
        let mut receivers = Vec::with_capacity(LANES);
        let ways = Lane::all().map(|_| {
            let (items, receiver) = mpsc::unbounded_channel();
            receivers.push(receiver);
            Way { room: Arc::new(Semaphore::new(capacity)), open: AtomicBool::new(false), items }
        });
        let ways = ways.collect();
        // New with every start: a process never mistakes its predecessor's rows for its own.
        let owner = Uuid::now_v7().to_string().into();
        (Self { owner, lease, capacity, ways }, receivers)
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
        Lane::all().for_each(|lane| self.set_open(lane, true));
    }

    /// The lanes into which a sweep may bring more: those with room for more than a few messages.
    pub(super) fn roomy(&self) -> Vec<Lane> {
        let enough = (self.capacity / 4).clamp(1, PAGE);
        Lane::all().filter(|lane| self.ways[lane.index()].room() >= enough).collect()
    }

    /// Room for `messages` of this slot; none in a lane that is closed, because its queue does not answer, or
    /// that has not enough for all of its messages.
    pub(crate) fn reserve(&self, messages: &[Outgoing], now: Timestamp, slot: i64) -> Reservation {
        let mut counts = [0; LANES];
        for message in messages {
            counts[Lane::of(message).index()] += 1;
        }
        self.reserve_each(counts, now, slot)
    }

    /// Room for a page of messages of this slot, whatever their lanes: how many, and the lanes they may be of.
    pub(super) fn reserve_page(&self, now: Timestamp, slot: i64) -> Option<(Reservation, Vec<Lane>, usize)> {
        let mut lanes = self.roomy();
        let most = lanes.iter().map(|lane| self.ways[lane.index()].room()).min()?.min(PAGE);
        let mut counts = [0; LANES];
        for lane in &lanes {
            counts[lane.index()] = most;
        }
        let reservation = self.reserve_each(counts, now, slot);
        // Others may have come first.
        lanes.retain(|lane| reservation.room[lane.index()].is_some());
        (!lanes.is_empty()).then_some((reservation, lanes, most))
    }

    fn reserve_each(&self, counts: [usize; LANES], now: Timestamp, slot: i64) -> Reservation {
        let room = std::array::from_fn(|lane| {
            let (way, count) = (&self.ways[lane], u32::try_from(counts[lane]).ok()?);
            let is_wanted = count > 0 && way.open.load(Ordering::Relaxed);
            is_wanted.then(|| Arc::clone(&way.room).try_acquire_many_owned(count).ok()).flatten()
        });
        Reservation {
            owner: Arc::clone(&self.owner),
            lease_until: now.plus(self.lease),
            expires: Instant::now() + self.lease,
            slot,
            room,
        }
    }

    /// Gives committed messages to the publishers, as far as there is room for them.
    pub(crate) fn hand_over(
        &self,
        reservation: Reservation,
        messages: Vec<Outgoing>,
        settle: &mpsc::UnboundedSender<Settlement>,
    ) {
        let Reservation { expires, slot, mut room, .. } = reservation;
        for message in messages {
            let lane = Lane::of(&message).index();
            let Some(own) = room[lane].as_mut().and_then(|room| room.split(1)) else { continue };
            // Once the publisher has stopped the row waits in the table for another process.
            let item = Item { message, slot, expires, settle: settle.clone(), _room: own };
            let _ = self.ways[lane].items.send(item);
        }
    }

    /// Whether the publisher of a lane takes messages just now.
    pub(super) fn set_open(&self, lane: Lane, open: bool) {
        self.ways[lane.index()].open.store(open, Ordering::Relaxed);
    }

    /// No more messages from now on.
    pub(super) fn close(&self) {
        for way in &*self.ways {
            way.open.store(false, Ordering::Relaxed);
            way.room.close();
        }
    }
}
