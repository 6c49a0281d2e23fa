//! The loop that empties the queue: take what waits, commit it, answer. It waits for nothing but work, so
//! that a request that comes alone is committed alone and at once.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use waybill_messaging::{Store, StoreError, health::Health};

use super::{Answer, Candidate, Item, load::Load, transaction::Accept};
use crate::{metrics::Metrics, readiness, status::Refusal};

pub(super) struct Committer {
    pub(super) store: Store,
    /// One committer waits for work at a time; the others are committing or wait for their turn.
    pub(super) items: Arc<Mutex<mpsc::Receiver<Item>>>,
    pub(super) batch: usize,
    pub(super) load: Arc<Load>,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) closing: CancellationToken,
    /// Whether the last batch had requests that were not new: then the next one may have some too.
    pub(super) repeated: AtomicBool,
}

type Answers = Vec<Option<oneshot::Sender<Answer>>>;

impl Committer {
    /// Runs until the queue is closed and empty.
    pub(super) async fn run(self) {
        loop {
            let items = self.take().await;
            if items.is_empty() {
                return;
            }
            let span = tracing::debug_span!("gateway.accept", requests = items.len());
            self.commit(items).instrument(span).await;
        }
    }

    /// What waits, up to a batch; nothing once the queue is closed and empty.
    async fn take(&self) -> Vec<Item> {
        let mut items = self.items.lock().await;
        let mut taken = Vec::new();
        tokio::select! {
            _ = items.recv_many(&mut taken, self.batch) => return taken,
            () = self.closing.cancelled() => {}
        }
        // `recv_many` took nothing when the other branch came first. Closed, the queue still yields what
        // was put in before.
        items.close();
        items.recv_many(&mut taken, self.batch).await;
        taken
    }

    async fn commit(&self, items: Vec<Item>) {
        let (candidates, mut answers): (Vec<_>, Answers) =
            items.into_iter().map(|item| (item.candidate, Some(item.answer))).unzip();
        let candidates = Arc::new(candidates);
        let all = 0..candidates.len();
        let Err(error) = self.try_commit(&candidates, all.clone(), &mut answers).await else { return };
        if is_everyones(&error) || all.len() == 1 {
            return fail(&mut answers, all, &error);
        }
        tracing::warn!(%error, requests = all.len(), "a batch was refused, its requests are tried one by one");
        for index in all {
            let one = index..index + 1;
            if let Err(error) = self.try_commit(&candidates, one.clone(), &mut answers).await {
                fail(&mut answers, one, &error);
            }
        }
    }

    async fn try_commit(
        &self,
        candidates: &Arc<Vec<Candidate>>,
        range: Range<usize>,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let asks_first = self.repeated.load(Ordering::Relaxed);
        let work = Accept { candidates: Arc::clone(candidates), range: range.clone(), asks_first };
        let outcome = self.store.run(work).await;
        self.load.record(begun.elapsed());
        self.metrics.committed(range.len());
        readiness::report(&self.health, outcome.as_ref().err());
        let outcome = outcome?;
        let is_new = |answer: &Answer| answer.as_ref().is_ok_and(|receipt| !receipt.duplicate);
        self.repeated.store(!outcome.iter().all(is_new), Ordering::Relaxed);
        for (index, answer) in range.zip(outcome) {
            send(answers, index, answer);
        }
        Ok(())
    }
}

/// Whether the error says nothing about a single request of the batch.
const fn is_everyones(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict(_) | StoreError::Unavailable(_) | StoreError::Unknown(_) => true,
        StoreError::Taken(_) | StoreError::Refused(_) | StoreError::Failed(_) => false,
    }
}

fn fail(answers: &mut Answers, range: Range<usize>, error: &StoreError) {
    tracing::error!(%error, requests = range.len(), "not committed");
    for index in range {
        send(answers, index, Err(Refusal::Store(error.clone())));
    }
}

/// Nobody may be there any more to hear it: the request is committed all the same.
fn send(answers: &mut Answers, index: usize, answer: Answer) {
    if let Some(sender) = answers.get_mut(index).and_then(Option::take) {
        let _ = sender.send(answer);
    }
}
