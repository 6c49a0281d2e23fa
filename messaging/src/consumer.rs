//! The consumer: takes the deliveries that are there, handles them in one transaction, and acknowledges
//! them together, after the commit and never before.
//!
//! The loop here keeps a channel alive and gathers batches; `batch` decides what becomes of each
//! delivery; `apply` is the transaction: inbox, effect and replies, all or nothing.

mod apply;
mod arrived;
mod batch;
mod bury;
mod roll;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::bury::BuryBrokerLetters;
use self::{arrived::Batch, roll::Roll};
use crate::{
    Envelope, Failure, Store, StoreError, TraceContext, Tx,
    backoff::Backoff,
    broker::{ANSWER_TIMEOUT, Broker, Link, in_time},
    fault::{self, Point},
    health::{Health, Status},
    inbox::Reply,
    metrics::{self, Handled},
    queues,
    topology::{Queue, short},
};

const PAUSE: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(5) };
/// How long the last consumer that reads packs goes on handling what is there when it is told to stop.
const LAST: Duration = Duration::from_secs(3);
/// Where messages come close behind one another, each by itself, a batch waits so long for more of them: a transaction
/// and its commit cost more than one message in it. Packs are company already, and who comes alone waits for nobody.
const COMPANY: Duration = Duration::from_millis(1);
/// When nothing has come for so long, nothing is there.
const QUIET: Duration = Duration::from_millis(100);

/// A message that has been parsed and is new to its consumer.
#[derive(Debug)]
pub struct Received<M> {
    /// How it came.
    pub envelope: Envelope,
    /// What it says.
    pub message: M,
    /// The span that handles it: the creation context of everything that it causes.
    pub trace: TraceContext,
    /// Whether it travelled in one AMQP message with others.
    pub packed: bool,
}

/// What handling one message came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Recorded with the message, sent to where the message asks for, and sent again whenever the
    /// message comes again.
    pub reply: Option<Reply>,
}

/// What a consumer does with its messages.
pub trait Handler: Send + Sync + 'static {
    /// A message, parsed.
    type Message: Send + Sync + 'static;

    /// Name in the inbox. `None`: this consumer keeps none, because handling a message twice is harmless.
    fn inbox(&self) -> Option<&'static str>;

    /// Reads a message. Every error here should be [`Failure::Permanent`]: reading again helps nothing.
    fn parse(&self, envelope: &Envelope) -> Result<Self::Message, Failure>;

    /// Whether the first run of [`Handler::apply`] may do without locks, as
    /// [`Transaction::is_optimistic`](crate::Transaction::is_optimistic) says.
    fn is_optimistic(&self) -> bool {
        false
    }

    /// Applies a batch in one transaction and returns one outcome a message, in their order. It may run
    /// twice. An error rolls back the whole batch, whose messages are then tried one by one.
    fn apply(
        &self,
        tx: &Tx,
        batch: &[&Received<Self::Message>],
    ) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;
}

/// How a consumer works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the part in health and logs.
    pub part: &'static str,
    /// Queue it consumes.
    pub queue: Queue,
    /// Whether it consumes the queue's dead letters instead.
    pub dead: bool,
    /// Deliveries in hand at most.
    pub prefetch: u16,
    /// Deliveries in one transaction at most.
    pub batch: usize,
    /// A transaction that takes longer counts as a transient failure of its messages.
    pub handler_timeout: Duration,
    /// Attempts of one message at most.
    pub max_attempts: u32,
    /// Pause before the next attempt.
    pub retry: Backoff,
    /// A subscription that brings nothing for so long (a random time from half of it to the whole) is made
    /// anew: the broker does not always say that it is over.
    pub idle: Duration,
}

/// One consumer of one queue.
pub struct Consumer<H> {
    settings: Settings,
    broker: Broker,
    store: Store,
    handler: Arc<H>,
    health: Health,
    metrics: metrics::Consumer,
    /// Whether the last subscription found nobody.
    leaderless: AtomicBool,
    /// Whether the last batch had messages that were known: then the next one may have some too.
    repeated: AtomicBool,
    /// Whether the last batch was several messages, each of which came by itself.
    crowded: AtomicBool,
}

/// How a subscription ended in order.
enum End {
    /// All is to stop.
    Stopped,
    /// It brought nothing for long.
    Idle,
}

impl<H: Handler> Consumer<H> {
    /// A consumer; it does nothing until it runs.
    pub fn new(settings: Settings, broker: Broker, store: Store, handler: H, health: Health) -> Self {
        let metrics = metrics::Consumer::new(&queue_name(&broker, &settings));
        Self {
            settings,
            broker,
            store,
            handler: Arc::new(handler),
            health,
            metrics,
            leaderless: AtomicBool::new(false),
            repeated: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
        }
    }

    /// Consumes until `stop`, then finishes the batch in hand and gives the rest back to the broker.
    /// Whatever breaks on the way (channel, connection, queue) is built anew.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let link = tokio::select! {
                () = stop.cancelled() => return,
                link = self.broker.link() => link,
            };
            let Some(link) = link else { return };
            let reason = match self.consume(&link, &stop, &mut failures).await {
                Ok(End::Stopped) => return,
                Ok(End::Idle) => continue,
                Err(reason) => reason,
            };
            failures += 1;
            self.health.set(self.settings.part, Status::Down(reason));
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE.delay(failures)) => {}
            }
        }
    }

    /// Consumes on one channel until it breaks (`Err` says why), brings nothing for long, or all is to stop.
    async fn consume(
        &self,
        link: &Link,
        stop: &CancellationToken,
        failures: &mut u32,
    ) -> Result<End, String> {
        let channel = link.channel().await?;
        let Settings { queue, dead, .. } = self.settings;
        if *failures > 0 {
            // Again, because the queue may be what broke the last channel.
            self.broker.ensure(&channel, queue, dead).await?;
        }
        self.has_leader().await?;
        let roll = if dead { None } else { Roll::join(&self.broker, link, &self.store, queue).await };
        let (prefetch, own) = (self.settings.prefetch, BasicQosOptions { global: false });
        in_time("set the prefetch", channel.basic_qos(prefetch, own)).await?;
        let tag = short(&format!("waybill.{}.{}", self.settings.part, uuid::Uuid::now_v7()));
        let (queue, options) = (short(&self.queue_name()), BasicConsumeOptions::default());
        let consuming = channel.basic_consume(queue, tag.clone(), options, FieldTable::default());
        let mut deliveries = self.subscribed(consuming).await?;
        let called = match roll {
            Some(roll) => Some(roll.start().await),
            None => None,
        };
        self.health.set(self.settings.part, Status::Up);
        *failures = 0;
        let idle = Backoff { first: self.settings.idle, most: self.settings.idle }.delay(1);
        let end = loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopped,
                () = link.over() => return Err("the connection is over".to_owned()),
                next = deliveries.next() => next,
                () = sleep(idle) => break End::Idle,
            };
            self.take(&channel, next, &mut deliveries, stop).await?;
        };
        match (&end, called) {
            (End::Stopped, Some(called)) => {
                let waiting = called.leave().await;
                self.finish(&channel, &mut deliveries, waiting, stop).await?;
                self.leave(&channel, tag).await;
            }
            // Still on the roll meanwhile.
            (_, called) => {
                self.leave(&channel, tag).await;
                drop(called);
            }
        }
        Ok(end)
    }

    /// Handles a delivery with those that are there already, and says how many they were. `Err`: the channel is of no
    /// use any more.
    async fn take(
        &self,
        channel: &Channel,
        next: Option<Result<Delivery, lapin::Error>>,
        deliveries: &mut lapin::Consumer,
        stop: &CancellationToken,
    ) -> Result<u32, String> {
        let mut batch = Batch::of(delivery(next)?);
        if self.crowded.load(Ordering::Relaxed) {
            sleep(COMPANY).await;
        }
        let mut over = Ok(());
        while batch.messages.len() < self.settings.batch
            && let Some(next) = deliveries.next().now_or_never()
        {
            match delivery(next) {
                Ok(delivery) => batch.add(delivery),
                // Said once and never again: whoever asked for more would wait for ever.
                Err(reason) => {
                    over = Err(reason);
                    break;
                }
            }
        }
        self.crowded.store(batch.is_crowd(), Ordering::Relaxed);
        let taken = batch.deliveries;
        self.handle(channel, batch, stop).await?;
        over.map(|()| taken)
    }

    /// Handles what may hold packs that nobody after this consumer can read: what is here and `waiting` messages more.
    async fn finish(
        &self,
        channel: &Channel,
        deliveries: &mut lapin::Consumer,
        waiting: Option<u32>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let Some(waiting) = waiting else { return Ok(()) };
        let until = Instant::now() + LAST;
        let mut left = waiting.saturating_add(self.settings.prefetch.into());
        while left > 0 && Instant::now() < until {
            let Ok(next) = timeout(QUIET, deliveries.next()).await else { break };
            left = left.saturating_sub(self.take(channel, next, deliveries, stop).await?);
        }
        roll::take_apart(&self.store, self.settings.queue).await;
        Ok(())
    }

    /// The broker has just answered on this channel: when it is silent now, it is the queue that has nobody.
    async fn subscribed(
        &self,
        consuming: impl Future<Output = Result<lapin::Consumer, lapin::Error>>,
    ) -> Result<lapin::Consumer, String> {
        let leaderless = match timeout(ANSWER_TIMEOUT, consuming).await {
            Ok(Ok(deliveries)) => {
                self.metrics.leaderless(false);
                return Ok(deliveries);
            }
            Ok(Err(error)) if queues::code(&error) != 541 => return Err(format!("consume: {error}")),
            Ok(Err(_)) | Err(_) => self.no_leader(),
        };
        self.leaderless.store(true, Ordering::Relaxed);
        Err(leaderless)
    }

    /// Waits, in effect, for a leader: a subscription without an answer costs the connection that all consumers
    /// share, so that a queue which gave none is asked apart first.
    async fn has_leader(&self) -> Result<(), String> {
        if self.leaderless.load(Ordering::Relaxed) {
            if !self.broker.answers(&self.queue_name()).await? {
                return Err(self.no_leader());
            }
            self.leaderless.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn no_leader(&self) -> String {
        self.metrics.leaderless(true);
        let Settings { queue, dead, .. } = &self.settings;
        let dead = if *dead { ".dead" } else { "" };
        format!(
            "queue {} is there but has no leader: nothing gets in or out. \
             If it stays so, `waybill queues mend {}{dead} --yes` mends it",
            self.queue_name(),
            queue.name
        )
    }

    /// Handles and acknowledges a batch. `Err`: the channel is of no use any more.
    async fn handle(&self, channel: &Channel, batch: Batch, stop: &CancellationToken) -> Result<(), String> {
        let last = batch.last;
        self.metrics.redelivered(batch.messages.iter().filter(|arrived| arrived.redelivered).count() as u64);
        let (begun, size) = (Instant::now(), batch.messages.len() as u64);
        let handled = self.settle(batch.messages, stop).await;
        let unwritten = Handled { failed: size, ..Handled::default() };
        self.metrics.handled(handled.unwrap_or(unwritten), begun.elapsed());
        if handled.is_none() {
            return Err("the batch could not be written down: redelivery follows".to_owned());
        }
        fault::reach(Point::BeforeAck, self.settings.part);
        // All deliveries up to the last one have been settled, so one acknowledgement speaks for all. Not by
        // the delivery's own `acker`: lapin forgets what that is asked while the connection ends, for ever.
        let acknowledging = channel.basic_ack(last, BasicAckOptions { multiple: true });
        let acknowledged = in_time("acknowledge", acknowledging).await;
        acknowledged.map_err(|reason| format!("{reason}; redelivery follows"))
    }

    /// Stops deliveries and closes the channel: the broker takes back what was prefetched.
    async fn leave(&self, channel: &Channel, tag: lapin::types::ShortString) {
        let goodbye = async {
            channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
            channel.close(200, "stopped".into()).await
        };
        // Without an answer the broker notices by itself, when the connection goes.
        let _ = timeout(Duration::from_secs(5), goodbye).await;
    }

    fn queue_name(&self) -> String {
        queue_name(&self.broker, &self.settings)
    }
}

/// What the subscription yields. `Err`: it is over.
fn delivery(next: Option<Result<Delivery, lapin::Error>>) -> Result<Delivery, String> {
    match next {
        Some(delivery) => delivery.map_err(|error| error.to_string()),
        None => Err("the broker ended the subscription".to_owned()),
    }
}

fn queue_name(broker: &Broker, settings: &Settings) -> String {
    let topology = broker.topology();
    if settings.dead { topology.dead_queue(settings.queue) } else { topology.queue(settings.queue) }
}
