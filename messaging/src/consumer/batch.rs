//! What becomes of each delivery of a batch. When this is through, every one of them has been handled,
//! written down for another attempt, or buried, and may be acknowledged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{Consumer, Handler, PAUSE, Received, apply::Apply, arrived::Arrived};
use crate::{
    Envelope, Exchange, Failure, Outgoing, StoreError, TraceContext, Transaction, Tx,
    dead_letter::{self, DeadLetter, DeadLetterKind},
    metrics::Handled,
    outbox,
};

/// A delivery that has been read, with the span of its handling where somebody records it.
struct Opened {
    envelope: Envelope,
    way: Way,
    packed: bool,
    span: Span,
}

/// How a message came.
#[derive(Clone)]
struct Way {
    exchange: String,
    routing_key: String,
    delivery_tag: u64,
}

/// What applying a batch came to.
#[derive(Default)]
struct Applied {
    /// Messages that had been handled before.
    skipped: u64,
    /// Which failed, and how.
    failures: Vec<(usize, Failure)>,
}

impl<H: Handler> Consumer<H> {
    /// Settles every delivery and says what became of them. `None`: stopped while the database was away, or
    /// not written down; nothing may be acknowledged.
    pub(super) async fn settle(&self, batch: Vec<Arrived>, stop: &CancellationToken) -> Option<Handled> {
        let deliveries = batch.len() as u64;
        let again = batch.iter().any(|arrived| arrived.redelivered);
        let asks_first = self.repeated.load(Ordering::Relaxed) || again;
        let mut messages = Vec::with_capacity(batch.len());
        let mut spans = Vec::with_capacity(batch.len());
        let mut failed = Vec::new();
        for arrived in batch {
            let opened = self.open(arrived);
            match self.parse(&opened) {
                Ok(message) => {
                    let trace = TraceContext::of(&opened.span, &opened.envelope.trace);
                    let packed = opened.packed;
                    messages.push(Received { envelope: opened.envelope, message, trace, packed });
                    spans.push((opened.way, opened.span));
                }
                Err(failure) => failed.push((opened, failure)),
            }
        }
        let messages = Arc::new(messages);
        let Applied { skipped, failures } = self.apply(&messages, asks_first, stop).await?;
        self.repeated.store(skipped > 0, Ordering::Relaxed);
        for (index, failure) in failures {
            let (way, span) = spans[index].clone();
            let (envelope, packed) = (messages[index].envelope.clone(), messages[index].packed);
            failed.push((Opened { envelope, way, packed, span }, failure));
        }
        let aside: Vec<_> =
            failed.into_iter().map(|(opened, failure)| self.put_aside(opened, failure)).collect();
        let retried = aside.iter().filter(|aside| matches!(aside, Aside::Retry(_))).count() as u64;
        let dead_lettered = aside.len() as u64 - retried;
        let completed = deliveries - skipped - retried - dead_lettered;
        let handled = Handled { completed, skipped, retried, dead_lettered, failed: 0 };
        self.write_down(aside, stop).await.then_some(handled)
    }

    /// Whether what failed is written down, so that its deliveries can be acknowledged.
    async fn write_down(&self, aside: Vec<Aside>, stop: &CancellationToken) -> bool {
        if aside.is_empty() {
            return true;
        }
        let aside = Arc::new(aside);
        self.patiently(stop, || SetAside(Arc::clone(&aside))).await.is_some_and(|written| match written {
            // Taken: an earlier commit whose answer was lost has written these very rows.
            Ok(()) | Err(StoreError::Taken(_)) => true,
            Err(error) => {
                tracing::error!(queue = self.settings.queue.name, %error, "failed messages could not be put aside");
                false
            }
        })
    }

    fn open(&self, arrived: Arrived) -> Opened {
        let Arrived { envelope, exchange, routing_key, delivery_tag, packed, .. } = arrived;
        let way = Way { exchange, routing_key, delivery_tag };
        let span = if envelope.trace.is_recorded() { self.span(&envelope, &way) } else { Span::none() };
        Opened { envelope, way, packed, span }
    }

    /// The span of handling a message, a child of its creation.
    fn span(&self, envelope: &Envelope, way: &Way) -> Span {
        let (queue, key) = (self.queue_name(), &way.routing_key);
        let span = tracing::info_span!(
            parent: None,
            "consumer.process",
            otel.name = format!("process {queue}"),
            otel.kind = "consumer",
            dispatch_id = envelope.correlation_id,
            trace_id = envelope.trace.trace_id(),
            messaging.system = "rabbitmq",
            messaging.operation.name = "process",
            messaging.operation.type = "process",
            messaging.destination.name = format!("{}:{key}:{queue}", way.exchange),
            messaging.rabbitmq.destination.routing_key = key,
            messaging.rabbitmq.message.delivery_tag = way.delivery_tag,
            messaging.message.id = envelope.message_id,
            messaging.message.conversation_id = envelope.correlation_id,
            message_type = envelope.type_name,
            attempt = envelope.attempt,
            error.type = tracing::field::Empty,
        );
        envelope.trace.adopt(&span);
        span
    }

    fn parse(&self, opened: &Opened) -> Result<H::Message, Failure> {
        if self.handler.inbox().is_some() && opened.envelope.message_id.is_empty() {
            return Err(Failure::Permanent("the message carries no message_id".to_owned()));
        }
        opened.span.in_scope(|| self.handler.parse(&opened.envelope))
    }

    /// Applies all messages at once or, when that fails, one by one, so that only the guilty one suffers.
    /// `None` when stopped before the database answered.
    async fn apply(
        &self,
        messages: &Arc<Vec<Received<H::Message>>>,
        asks_first: bool,
        stop: &CancellationToken,
    ) -> Option<Applied> {
        let mut applied = Applied::default();
        if messages.is_empty() {
            return Some(applied);
        }
        let work = |only: Option<usize>| Apply {
            handler: Arc::clone(&self.handler),
            batch: Arc::clone(messages),
            only,
            asks_first: AtomicBool::new(asks_first || only.is_some()),
        };
        let error = match self.patiently(stop, || work(None)).await? {
            Ok(skipped) => return Some(Applied { skipped, ..applied }),
            Err(error) => error,
        };
        if messages.len() == 1 {
            applied.failures.push((0, failure(error)));
            return Some(applied);
        }
        tracing::debug!(queue = self.settings.queue.name, %error, "a batch failed and is tried one by one");
        for index in 0..messages.len() {
            match self.patiently(stop, || work(Some(index))).await? {
                Ok(skipped) => applied.skipped += skipped,
                Err(error) => applied.failures.push((index, failure(error))),
            }
        }
        Some(applied)
    }

    /// Runs a transaction again and again while the database is away, which is no message's fault. `None`
    /// when all is to stop meanwhile.
    async fn patiently<T: Transaction>(
        &self,
        stop: &CancellationToken,
        work: impl Fn() -> T,
    ) -> Option<Result<T::Output, StoreError>> {
        let mut failures = 0;
        loop {
            let error = match self.within_time(work()).await {
                Err(error) if error.is_outage() => error,
                result => return Some(result),
            };
            failures += 1;
            tracing::warn!(queue = self.settings.queue.name, %error, failures, "waiting for the database");
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(PAUSE.delay(failures)) => {}
            }
        }
    }

    /// A transaction that hangs is left alone, not aborted: cutting it off in the middle could leave it open
    /// on a pooled connection. Should it commit after all, the inbox keeps the next attempt from doing it twice.
    async fn within_time<T: Transaction>(&self, work: T) -> Result<T::Output, StoreError> {
        match timeout(self.settings.handler_timeout, self.store.run(work)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Transient(format!(
                "{} took longer than {:?}",
                T::NAME,
                self.settings.handler_timeout
            ))
            .into()),
        }
    }

    /// Another attempt later, or the end.
    fn put_aside(&self, Opened { mut envelope, way, span, .. }: Opened, failure: Failure) -> Aside {
        // Recorded or not, a line of the log says which dispatch it is about.
        let span = if span.is_none() { self.span(&envelope, &way) } else { span };
        let _entered = span.enter();
        let attempt = envelope.attempt;
        let (kind, reason) = match failure {
            Failure::Transient(reason) if attempt < self.settings.max_attempts => {
                tracing::warn!(reason, attempt, "handling failed and will be tried again");
                envelope.attempt += 1;
                let delay = self.settings.retry.delay(attempt);
                let at = self.store.clock().now().plus(delay);
                // By the queue's own key: the message may have come by a way that is not ours.
                let key = self.settings.queue.routing_keys[0];
                return Aside::Retry(Outgoing::new(Exchange::Dispatch, key, envelope).available_at(at));
            }
            Failure::Transient(reason) => (DeadLetterKind::Exhausted, reason),
            Failure::Permanent(reason) => (DeadLetterKind::Permanent, reason),
        };
        span.record("error.type", kind.name());
        tracing::error!(reason, attempt, kind = kind.name(), "dead-lettered");
        Aside::Bury(DeadLetter {
            queue: self.settings.queue.name.to_owned(),
            routing_key: way.routing_key,
            envelope,
            kind,
            reason,
        })
    }
}

/// A refused statement may be the fault of the message's content or of a release: it gets its attempts.
fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Failed(failure) => failure,
        StoreError::Refused(text)
        | StoreError::Taken(text)
        | StoreError::Conflict(text)
        | StoreError::Unavailable(text)
        | StoreError::Unknown(text) => Failure::Transient(text),
    }
}

enum Aside {
    Retry(Outgoing),
    Bury(DeadLetter),
}

/// Writes down what becomes of messages that failed, so that their deliveries can be acknowledged.
struct SetAside(Arc<Vec<Aside>>);

impl Transaction for SetAside {
    const NAME: &'static str = "consumer.set_aside";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        let mut retries = Vec::new();
        for aside in self.0.iter() {
            match aside {
                // The same row in every run, so that a commit whose answer was lost is not repeated.
                Aside::Retry(message) => retries.push(message.clone()),
                Aside::Bury(letter) => dead_letter::bury(tx, letter).await?,
            }
        }
        outbox::append(tx, retries);
        Ok(())
    }
}
