//! The transaction of a batch: what is known already gets its recorded reply again, what is new is
//! applied, and inbox, effect and replies are committed together.
//!
//! Messages that are known already are rare, so the first run takes all of them for new and leaves it to the
//! inbox to object: the database is asked once less. When it objects all is rolled back, and the next run asks
//! first.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Handler, Outcome, Received};
use crate::{
    Envelope, Exchange, Failure, Outgoing, StoreError, TraceContext, Transaction, Tx, fault,
    inbox::{self, Reply},
    outbox,
};

/// Answers go to the orchestrator where the question does not say otherwise.
const DEFAULT_REPLY_TO: &str = "saga.reply";

/// Handles all of a batch, or one message of it.
pub(super) struct Apply<H: Handler> {
    pub(super) handler: Arc<H>,
    pub(super) batch: Arc<Vec<Received<H::Message>>>,
    pub(super) only: Option<usize>,
    /// Whether to ask the inbox before anything is done.
    pub(super) asks_first: AtomicBool,
}

impl<H: Handler> Transaction for Apply<H> {
    const NAME: &'static str = "consumer.apply";
    /// How many of the messages had been handled before.
    type Output = u64;

    fn is_optimistic(&self) -> bool {
        self.handler.is_optimistic() && !self.asks_first.load(Ordering::Relaxed)
    }

    async fn run(&self, tx: &Tx) -> Result<u64, StoreError> {
        let batch: Vec<&Received<H::Message>> = match self.only {
            Some(index) => self.batch.get(index).into_iter().collect(),
            None => self.batch.iter().collect(),
        };
        match self.handler.inbox() {
            Some(consumer) => self.apply_once(tx, consumer, &batch).await,
            None => self.handler.apply(tx, &batch).await.map(|_| 0),
        }
    }
}

impl<H: Handler> Apply<H> {
    async fn apply_once(
        &self,
        tx: &Tx,
        consumer: &'static str,
        batch: &[&Received<H::Message>],
    ) -> Result<u64, StoreError> {
        let ids = || batch.iter().map(|received| received.envelope.message_id.as_str());
        let asks_first = self.asks_first.swap(true, Ordering::Relaxed);
        let mut known = if asks_first { inbox::handled(tx, consumer, ids()).await? } else { HashMap::new() };
        let (repeated, fresh) = split(batch, &known);
        let outcomes = match self.handler.apply(tx, &fresh).await {
            // What was read without locks need not have been true at one moment.
            Err(StoreError::Failed(failure)) if tx.is_optimistic() => {
                return Err(StoreError::Conflict(failure.to_string()));
            }
            // Only what is known already may have failed for that.
            Err(StoreError::Failed(failure))
                if !asks_first && !inbox::handled(tx, consumer, ids()).await?.is_empty() =>
            {
                return Err(StoreError::Conflict(failure.to_string()));
            }
            applied => applied?,
        };
        if outcomes.len() != fresh.len() {
            let text = format!("{consumer}: {} outcomes for {} messages", outcomes.len(), fresh.len());
            return Err(Failure::Permanent(text).into());
        }
        let handled =
            fresh.iter().zip(&outcomes).map(|(r, o)| (r.envelope.message_id.as_str(), o.reply.as_ref()));
        inbox::record(tx, consumer, handled);
        let mut replies = Vec::new();
        for (received, Outcome { reply }) in fresh.into_iter().zip(outcomes) {
            replies.extend(reply.as_ref().map(|reply| answer(&received.envelope, &received.trace, reply)));
            known.insert(received.envelope.message_id.clone(), reply);
        }
        let skipped = repeated.len() as u64;
        for received in repeated {
            let reply = known.get(&received.envelope.message_id).and_then(Option::as_ref);
            replies.extend(reply.map(|reply| answer(&received.envelope, &received.trace, reply)));
        }
        outbox::append(tx, replies);
        fault::around_commit(tx, batch.iter().map(|received| received.envelope.message_id.as_str()));
        Ok(skipped)
    }
}

/// What has been handled before or stands earlier in the batch, and what is new.
fn split<'a, M>(
    batch: &[&'a Received<M>],
    known: &HashMap<String, Option<Reply>>,
) -> (Vec<&'a Received<M>>, Vec<&'a Received<M>>) {
    let mut seen = std::collections::HashSet::new();
    batch.iter().copied().partition(|received| {
        let id = received.envelope.message_id.as_str();
        known.contains_key(id) || !seen.insert(id)
    })
}

/// The reply's id follows from the question's: whoever gets it twice can tell.
fn answer(question: &Envelope, trace: &TraceContext, reply: &Reply) -> Outgoing {
    let reply_to = if question.reply_to.is_empty() { DEFAULT_REPLY_TO } else { &question.reply_to };
    let envelope = Envelope {
        message_id: format!("{}:reply", question.message_id),
        type_name: reply.type_name.clone(),
        correlation_id: question.correlation_id.clone(),
        causation_id: question.message_id.clone(),
        reply_to: String::new(),
        trace: trace.clone(),
        attempt: 1,
        body: reply.body.clone(),
    };
    Outgoing::new(Exchange::Dispatch, reply_to, envelope)
}
