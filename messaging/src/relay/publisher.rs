//! The one task that publishes. It owns a confirm channel, so that the order of tags is the order on the
//! wire, keeps a bounded window in flight, and when the channel breaks takes a new one and publishes
//! again, under the same ids, what has no outcome.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    Channel, Confirmation, PublisherConfirm,
    message::BasicReturnMessage,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    HandOff, Item, Settings,
    settler::{End, Settlement},
    window::{Answer, Outcome, Window},
};
use crate::{
    Clock, amqp,
    backoff::Backoff,
    broker::{Broker, in_time},
    fault::{self, Point},
    health::{Health, Status},
    outbox::PutBackKind,
    topology::{Topology, short},
};

const PART: &str = "relay";
const PAUSE: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2) };

pub(super) struct Publisher {
    settings: Settings,
    broker: Broker,
    hand_off: HandOff,
    items: mpsc::UnboundedReceiver<Item>,
    health: Health,
    /// Taken and not published, or published without an outcome; oldest first.
    waiting: VecDeque<Item>,
}

impl Publisher {
    pub(super) fn new(
        settings: Settings,
        broker: Broker,
        hand_off: HandOff,
        items: mpsc::UnboundedReceiver<Item>,
        health: Health,
    ) -> Self {
        Self { settings, broker, hand_off, items, health, waiting: VecDeque::new() }
    }

    /// Publishes until `stop`, then what is in hand, and puts back what it cannot publish.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while let Some(channel) = self.channel(&stop).await {
            let end = match channel {
                Ok(channel) => {
                    failures = 0;
                    self.health.set(PART, Status::Up);
                    self.hand_off.set_open(true);
                    self.publish_on(channel, &stop).await
                }
                Err(reason) => Err(reason),
            };
            let Err(reason) = end else { break };
            self.hand_off.set_open(false);
            // The relay has this connection to itself. One on which a channel broke, or the broker fell silent,
            // is not worth finding out about.
            self.broker.give_up();
            failures += 1;
            self.health.set(PART, Status::Down(reason));
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(PAUSE.delay(failures)) => {}
            }
        }
        self.hand_off.set_open(false);
        self.put_back_rest();
    }

    /// A confirm channel as soon as the broker is there; `None` when all is to stop.
    async fn channel(&self, stop: &CancellationToken) -> Option<Result<Channel, String>> {
        let opened = async {
            let channel = match self.broker.channel().await? {
                Ok(channel) => channel,
                Err(reason) => return Some(Err(reason)),
            };
            let selecting = channel.confirm_select(ConfirmSelectOptions::default());
            Some(in_time("ask for confirms", selecting).await.map(|()| channel))
        };
        tokio::select! {
            // Asked first: with a live broker and much to publish, a stop still flushes what is in hand.
            biased;
            opened = opened => opened,
            () = stop.cancelled() => None,
        }
    }

    /// Publishes on one channel until it breaks (`Err` says why), or until all is to stop and nothing is
    /// in hand any more.
    async fn publish_on(&mut self, channel: Channel, stop: &CancellationToken) -> Result<(), String> {
        let mut session = Session::new(channel, self.broker.topology().clone(), &self.settings);
        let end = self.drive(&mut session, stop).await;
        session.settle();
        // What has no outcome goes out again, under its own ids, before what came later.
        let mut unknown = session.abandon();
        unknown.append(&mut self.waiting);
        self.waiting = unknown;
        end
    }

    async fn drive(&mut self, session: &mut Session, stop: &CancellationToken) -> Result<(), String> {
        let mut taken = Vec::new();
        loop {
            while session.room() > 0
                && let Some(item) = self.waiting.pop_front()
            {
                session.publish(item).await?;
            }
            let stopping = stop.is_cancelled();
            if stopping && session.is_idle() && self.waiting.is_empty() && self.items.is_empty() {
                return Ok(());
            }
            let room = session.room();
            tokio::select! {
                biased;
                noted = session.note_answers() => {
                    noted?;
                    session.settle();
                }
                taken_now = self.items.recv_many(&mut taken, room), if room > 0 && self.waiting.is_empty() => {
                    if taken_now == 0 {
                        return Ok(());
                    }
                    self.waiting.extend(taken.drain(..));
                }
                () = stop.cancelled(), if !stopping => {}
            }
        }
    }

    /// Frees the rows that were not published, so that another process need not wait for the lease's end.
    fn put_back_rest(&mut self) {
        self.items.close();
        while let Ok(item) = self.items.try_recv() {
            self.waiting.push_back(item);
        }
        if !self.waiting.is_empty() {
            tracing::warn!(messages = self.waiting.len(), "left in the outbox for the next relay");
        }
        for item in self.waiting.drain(..) {
            tell(item, End::PutBack(PutBackKind::Unknown, "the relay stopped".to_owned()));
        }
    }
}

/// A message in flight: the row, when it left, and the span that ends with its confirm.
struct Flight {
    item: Item,
    sent: Instant,
    _span: Span,
}

/// What happens on one channel.
struct Session {
    channel: Channel,
    topology: Topology,
    window: Window<Flight>,
    confirms: FuturesUnordered<Numbered>,
    size: usize,
    confirm_timeout: Duration,
    max_message_bytes: usize,
    clock: Clock,
}

impl Session {
    fn new(channel: Channel, topology: Topology, settings: &Settings) -> Self {
        Self {
            channel,
            topology,
            window: Window::new(),
            confirms: FuturesUnordered::new(),
            size: settings.window,
            confirm_timeout: settings.confirm_timeout,
            max_message_bytes: settings.max_message_bytes,
            clock: Clock::system(),
        }
    }

    fn room(&self) -> usize {
        self.size.saturating_sub(self.window.len())
    }

    fn is_idle(&self) -> bool {
        self.window.len() == 0
    }

    /// Writes one message. `Err`: the channel is of no use any more; the message has no outcome yet.
    async fn publish(&mut self, item: Item) -> Result<(), String> {
        if item.expires <= Instant::now() {
            // Somebody else may hold the row by now. It is in the table, and a sweep finds it.
            return Ok(());
        }
        let message = &item.message;
        let bytes = message.envelope.body.len();
        if bytes > self.max_message_bytes {
            let reason = format!("{bytes} bytes are more than relay.max_message_bytes");
            tell(item, End::PutBack(PutBackKind::Unpublishable, reason));
            return Ok(());
        }
        let exchange = short(&self.topology.exchange(message.exchange));
        let options = BasicPublishOptions { mandatory: message.exchange.is_mandatory(), immediate: false };
        let properties = amqp::properties(&message.envelope, self.clock.now());
        let key = short(&message.routing_key);
        let body = message.envelope.body.clone();
        let flight_span = span(&item);
        // Noted before it is written: whatever happens now, it is in the window.
        let id = message.envelope.message_id.clone();
        let flight = Flight { item, sent: Instant::now(), _span: flight_span };
        let number = self.window.publish(id, flight);
        let writing = self.channel.basic_publish(exchange, key, options, &body, properties);
        // A connection that the broker has blocked does not take the frames.
        match timeout(self.confirm_timeout, writing).await {
            Ok(Ok(confirm)) => {
                if let Some(newest) = self.window.newest() {
                    fault::reach(Point::AfterPublish, &newest.item.message.routing_key);
                }
                self.confirms.push(Numbered { number, confirm });
            }
            Ok(Err(error)) => return Err(format!("publish: {error}")),
            Err(_) => return Err("publish: the broker takes nothing".to_owned()),
        }
        Ok(())
    }

    /// Waits for an answer and takes all that are there. Pending for ever while nothing is in flight.
    /// `Err`: the channel is of no use any more.
    async fn note_answers(&mut self) -> Result<(), String> {
        let patience = self.window.oldest().map(|flight| flight.sent + self.confirm_timeout);
        let Some(until) = patience else { return std::future::pending().await };
        let first = tokio::select! {
            Some(confirmed) = self.confirms.next() => confirmed,
            () = sleep_until(until) => return Err("publish: no confirm in time".to_owned()),
        };
        self.note(first)?;
        while let Some(Some(confirmed)) = self.confirms.next().now_or_never() {
            self.note(confirmed)?;
        }
        Ok(())
    }

    fn note(&mut self, (number, confirmed): Confirmed) -> Result<(), String> {
        let (answer, returned) = match confirmed {
            Ok(Confirmation::Ack(returned)) => (Answer::Ack, returned),
            Ok(Confirmation::Nack(returned)) => (Answer::Nack, returned),
            Ok(Confirmation::NotRequested) => return Err("publish: channel without confirms".to_owned()),
            Err(error) => return Err(format!("publish: {error}")),
        };
        let returned = returned.map(|message| identify(&message)).transpose()?;
        self.window.answer(number, answer, returned);
        Ok(())
    }

    fn settle(&mut self) {
        for (flight, outcome) in self.window.outcomes() {
            let end = match outcome {
                Outcome::Confirmed => {
                    fault::reach(Point::AfterConfirm, &flight.item.message.routing_key);
                    End::Confirmed
                }
                Outcome::Returned(reason) => End::PutBack(PutBackKind::Unroutable, reason),
                Outcome::Rejected => End::PutBack(PutBackKind::Rejected, "refused by the broker".to_owned()),
            };
            tell(flight.item, end);
        }
    }

    fn abandon(self) -> VecDeque<Item> {
        self.window.abandon().into_iter().map(|flight| flight.item).collect()
    }
}

/// Which message came back, and why. `Err` when it does not say: then no outcome on this channel is certain.
fn identify(message: &BasicReturnMessage) -> Result<(String, String), String> {
    let id = message.properties.message_id().as_ref();
    let id = id.ok_or_else(|| "publish: a message came back without its id".to_owned())?;
    let reason =
        format!("{} {}: no queue takes {}", message.reply_code, message.reply_text, message.routing_key);
    Ok((id.to_string(), reason))
}

fn tell(item: Item, end: End) {
    let settler = item.settle.clone();
    // Fails only when the settler is gone with its database; the row is then found by a sweep.
    let _ = settler.send(Settlement { item, end });
}

/// The span of one publication, a child of the message's creation. None for what nobody records.
fn span(item: &Item) -> Span {
    let message = &item.message;
    let envelope = &message.envelope;
    if !envelope.trace.is_sampled() {
        return Span::none();
    }
    let destination = format!("{}:{}", message.exchange.name(), message.routing_key);
    let span = tracing::info_span!(
        parent: None,
        "relay.publish",
        otel.name = format!("publish {destination}"),
        otel.kind = "producer",
        dispatch_id = envelope.correlation_id,
        messaging.system = "rabbitmq",
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = destination,
        messaging.rabbitmq.destination.routing_key = message.routing_key,
        messaging.message.id = envelope.message_id,
        messaging.message.conversation_id = envelope.correlation_id,
    );
    envelope.trace.adopt(&span);
    span
}

type Confirmed = (u64, Result<Confirmation, lapin::Error>);

/// A confirm that knows which message it is for.
struct Numbered {
    number: u64,
    confirm: PublisherConfirm,
}

impl Future for Numbered {
    type Output = Confirmed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Confirmed> {
        let number = self.number;
        self.confirm.poll_unpin(cx).map(|confirmed| (number, confirmed))
    }
}
