//! The loop that empties the queue: take what waits, commit it, answer. A request that comes alone is committed alone
//! and at once.

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

use super::{
    Answer, Candidate, Item,
    load::Load,
    pace::{Pace, Running},
    transaction::Accept,
};
use crate::{metrics::Metrics, readiness, status::Refusal};

pub(super) struct Committer {
    pub(super) store: Store,
    /// One committer waits for work at a time; the others are committing or wait for their turn.
    pub(super) items: Arc<Mutex<mpsc::Receiver<Item>>>,
    pub(super) batch: usize,
    pub(super) pace: Arc<Pace>,
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
            let (items, running) = self.take().await;
            if items.is_empty() {
                return;
            }
            let span = tracing::debug_span!("gateway.accept", requests = items.len());
            self.commit(items, running).instrument(span).await;
        }
    }

    /// What waits, up to a batch or as [`Pace`] says; nothing once the queue is closed and empty.
    async fn take(&self) -> (Vec<Item>, Running<'_>) {
        let mut items = self.items.lock().await;
        self.pace.turn().await;
        let first = tokio::select! {
            first = items.recv() => first,
            () = self.closing.cancelled() => {
                // `recv` took nothing when this branch came first. Closed, the queue still yields what was put in before.
                items.close();
                items.recv().await
            }
        };
        let mut taken: Vec<_> = first.into_iter().collect();
        let most = self.pace.most(taken.len() + items.len()).min(self.batch);
        while taken.len() < most
            && let Ok(item) = items.try_recv()
        {
            taken.push(item);
        }
        let running = self.pace.begin(taken.len());
        (taken, running)
    }

    async fn commit(&self, items: Vec<Item>, running: Running<'_>) {
        let (candidates, mut answers): (Vec<_>, Answers) =
            items.into_iter().map(|item| (item.candidate, Some(item.answer))).unzip();
        let candidates = Arc::new(candidates);
        let all = 0..candidates.len();
        let Err(error) = self.try_commit(&candidates, all.clone(), &mut answers, Some(running)).await else {
            return;
        };
        if is_everyones(&error) || all.len() == 1 {
            return fail(&mut answers, all, &error);
        }
        tracing::warn!(%error, requests = all.len(), "a batch was refused, its requests are tried one by one");
        for index in all {
            let one = index..index + 1;
            if let Err(error) = self.try_commit(&candidates, one.clone(), &mut answers, None).await {
                fail(&mut answers, one, &error);
            }
        }
    }

    async fn try_commit(
        &self,
        candidates: &Arc<Vec<Candidate>>,
        range: Range<usize>,
        answers: &mut Answers,
        running: Option<Running<'_>>,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let asks_first = self.repeated.load(Ordering::Relaxed);
        let work = Accept { candidates: Arc::clone(candidates), range: range.clone(), asks_first };
        let outcome = self.store.run_here(&work).await;
        // The next commit begins before these are answered, which takes a while.
        drop(running);
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
