//! Group commit: requests that come at the same time meet in a bounded queue, and a few committers take
//! what waits, or half of it, and write it in one transaction. A receipt exists only after that commit.
//!
//! Who asks holds nothing but the other end of a channel: a client that goes away, or whose deadline
//! passes, takes no part in whether its request is committed.

mod committer;
mod conflict;
mod load;
mod pace;
mod transaction;

use std::sync::{Arc, atomic::AtomicBool};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;
use waybill_messaging::{Store, Timestamp, TraceContext, health::Health};

use self::{committer::Committer, load::Load, pace::Pace};
use crate::{
    auth::Caller, content, id::Ids, metrics::Metrics, request::Request, settings::Settings, status::Refusal,
};

/// The promise: what is named here is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) dispatch_id: String,
    pub(crate) accepted_at: Timestamp,
    /// The request had been accepted before.
    pub(crate) duplicate: bool,
}

pub(crate) type Answer = Result<Receipt, Refusal>;

/// A request with everything its rows need, so that the commit only writes.
#[derive(Debug)]
struct Candidate {
    id: Uuid,
    dispatch_id: String,
    request: Request,
    content_hash: [u8; 32],
    body: Bytes,
    trace: TraceContext,
    caller: Arc<Caller>,
}

/// What comes with a request, beside its content.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) trace: TraceContext,
    pub(crate) caller: Arc<Caller>,
}

/// A request that waits for its commit.
struct Item {
    candidate: Candidate,
    answer: oneshot::Sender<Answer>,
}

/// Where requests are put in. Cheap to clone; all clones share one queue.
#[derive(Clone)]
pub(crate) struct Intake {
    items: mpsc::Sender<Item>,
    ids: Arc<Ids>,
    load: Arc<Load>,
    metrics: Metrics,
}

impl Intake {
    /// A queue and the committers that empty it, in `tasks`. They end when `closing` is cancelled and
    /// everything that was put in before has been answered.
    pub(crate) fn open(
        settings: &Settings,
        store: &Store,
        health: &Health,
        closing: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (items, receiver) = mpsc::channel(settings.queue.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        let load = Arc::new(Load::new(settings.batch.max(1)));
        let (pace, metrics) = (Arc::new(Pace::new(store.backend())), Metrics::new());
        for _ in 0..settings.committers.max(1) {
            let committer = Committer {
                store: store.clone(),
                items: Arc::clone(&receiver),
                batch: settings.batch.max(1),
                pace: Arc::clone(&pace),
                load: Arc::clone(&load),
                metrics: metrics.clone(),
                health: health.clone(),
                closing: closing.clone(),
                repeated: AtomicBool::new(false),
            };
            tasks.spawn(committer.run());
        }
        Self { items, ids: Arc::new(Ids::new(store.clock().clone())), load, metrics }
    }

    /// Accepts `request`, or refuses it at once when the queue is full.
    pub(crate) async fn accept(&self, request: Request, origin: Origin) -> Answer {
        self.measured(self.accept_now(request, origin)).await
    }

    async fn accept_now(&self, request: Request, origin: Origin) -> Answer {
        let room = self.items.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => {
                Refusal::Full(self.load.retry_after(self.items.max_capacity()))
            }
            mpsc::error::TrySendError::Closed(()) => Refusal::Stopping,
        })?;
        self.put(room, request, origin).await
    }

    /// Accepts `request` as soon as there is room in the queue.
    pub(crate) async fn accept_when_room(&self, request: Request, origin: Origin) -> Answer {
        let accepting = async {
            let room = self.items.reserve().await.map_err(|_| Refusal::Stopping)?;
            self.put(room, request, origin).await
        };
        self.measured(accepting).await
    }

    /// Counts a request that did not get this far because it is invalid.
    pub(crate) fn refused_unread(&self) {
        self.metrics.invalid();
    }

    async fn measured(&self, accepting: impl Future<Output = Answer>) -> Answer {
        let begun = Instant::now();
        let answer = accepting.await;
        self.metrics.answered(&answer, begun.elapsed());
        answer
    }

    /// From `send` on the request will be committed, whether or not this future is dropped.
    async fn put(&self, room: mpsc::Permit<'_, Item>, request: Request, origin: Origin) -> Answer {
        let id = self.ids.next();
        let candidate = Candidate {
            id,
            dispatch_id: id.to_string(),
            content_hash: content::hash(&request),
            body: request.encode(),
            request,
            trace: origin.trace,
            caller: origin.caller,
        };
        let (answer, answered) = oneshot::channel();
        room.send(Item { candidate, answer });
        // Committers answer everything they take; the queue is dropped unanswered only with the process.
        answered.await.unwrap_or(Err(Refusal::Stopping))
    }
}
