//! One worker process of a participant, as far as its database sees it: batches in transactions, which
//! can be held open before their commit.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use prost::{Message, Name};
use tokio::{sync::Semaphore, task::JoinHandle};
use waybill_messaging::{Envelope, Handler, Received, Reply, Store, StoreError, Transaction, Tx};

/// A message that is new to its participant.
pub(crate) fn command<M: Name>(message: &M) -> Envelope {
    Envelope {
        message_id: uuid::Uuid::now_v7().to_string(),
        type_name: M::full_name(),
        body: message.encode_to_vec().into(),
        attempt: 1,
        ..Envelope::default()
    }
}

/// The reply's name without its package.
pub(crate) fn name(reply: &Reply) -> &str {
    reply.type_name.strip_prefix("dispatch.v1.").unwrap()
}

/// The reason in a refusal: all of them have it in one place.
pub(crate) fn reason(reply: &Reply) -> String {
    waybill_proto::v1::OrderRejected::decode(reply.body.as_ref()).unwrap().reason
}

/// A worker.
pub(crate) struct Worker<H> {
    store: Store,
    handler: Arc<H>,
    runs: Arc<AtomicU32>,
}

impl<H: Handler> Worker<H> {
    pub(crate) fn new(store: &Store, handler: H) -> Self {
        Self { store: store.clone(), handler: Arc::new(handler), runs: Arc::default() }
    }

    /// Handles a batch as if no inbox knew any of its messages.
    pub(crate) async fn handle(&self, batch: Vec<Envelope>) -> Result<Vec<Reply>, StoreError> {
        self.store.run(self.work(batch, None)).await
    }

    /// The names of the replies to a batch, in their order.
    pub(crate) async fn answers(&self, batch: Vec<Envelope>) -> Vec<String> {
        self.handle(batch).await.unwrap().iter().map(|reply| name(reply).to_owned()).collect()
    }

    /// Handles a batch up to its commit.
    pub(crate) async fn hold(&self, batch: Vec<Envelope>) -> Held {
        let (applied, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let gate = Gate { applied: Arc::clone(&applied), go: Arc::clone(&go) };
        let (store, work) = (self.store.clone(), self.work(batch, Some(gate)));
        let task = tokio::spawn(async move { store.run(work).await });
        applied.acquire().await.unwrap().forget();
        Held { go, task }
    }

    /// How often a transaction's work was run, commits and conflicts together.
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    fn work(&self, batch: Vec<Envelope>, gate: Option<Gate>) -> Apply<H> {
        Apply { handler: Arc::clone(&self.handler), runs: Arc::clone(&self.runs), batch, gate }
    }
}

/// A transaction that has written everything and not committed.
pub(crate) struct Held {
    go: Arc<Semaphore>,
    task: JoinHandle<Result<Vec<Reply>, StoreError>>,
}

impl Held {
    pub(crate) async fn commit(self) -> Vec<Reply> {
        self.go.close();
        self.task.await.unwrap().unwrap()
    }
}

struct Gate {
    applied: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

struct Apply<H> {
    handler: Arc<H>,
    runs: Arc<AtomicU32>,
    batch: Vec<Envelope>,
    gate: Option<Gate>,
}

impl<H: Handler> Transaction for Apply<H> {
    const NAME: &'static str = "test.apply";
    type Output = Vec<Reply>;

    /// Where somebody is to come in between, this one holds its locks.
    fn is_optimistic(&self) -> bool {
        self.gate.is_none() && self.handler.is_optimistic()
    }

    async fn run(&self, tx: &Tx) -> Result<Vec<Reply>, StoreError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut received = Vec::new();
        for envelope in &self.batch {
            let (message, trace) = (self.handler.parse(envelope)?, envelope.trace.clone());
            received.push(Received { envelope: envelope.clone(), message, trace, packed: false });
        }
        let batch: Vec<_> = received.iter().collect();
        let outcomes = self.handler.apply(tx, &batch).await?;
        tx.write_later().await?;
        if let Some(Gate { applied, go }) = &self.gate {
            applied.add_permits(1);
            let closed = go.acquire().await;
            assert!(closed.is_err(), "the gate opens by being closed");
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.reply.expect("a command is answered")).collect())
    }
}
