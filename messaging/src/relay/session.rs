//! What happens on one channel: messages go out, answers come in, and their outcomes go to the settler.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesUnordered,
};
use lapin::{
    Channel, Confirmation, message::BasicReturnMessage, options::BasicPublishOptions, types::ShortString,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    Item, Settings,
    settler::{End, tell},
    window::{Answer, Identity, Outcome, Window},
};
use crate::{
    Clock, amqp,
    broker::Link,
    fault::{self, Point},
    metrics::{self, Published},
    outbox::PutBackKind,
    pack,
    topology::{Topology, short},
};

/// So many bytes are under way before the next message waits. More would wait for the wire only, and on a slow one be
/// late for their confirm before they are written.
const MOST_BYTES: usize = 4 << 20;

/// Why a channel is of no use any more.
pub(super) enum Broken {
    /// It failed, or its connection did.
    Failed(String),
    /// A message has no confirm in time. Whether any other has, on any channel of the connection.
    Unanswered { reason: String, others_are: bool },
}

/// What is in flight as one AMQP message: the rows, when it left, and the spans that end with its confirm.
struct Flight {
    items: Vec<Item>,
    sent: Instant,
    _spans: Vec<Span>,
}

impl Flight {
    fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.message.envelope.body.len()).sum()
    }

    fn routing_key(&self) -> &str {
        self.items.first().map_or("", |item| &item.message.routing_key)
    }

    /// Comes by a point with each of its messages.
    fn reach(&self, point: Point) {
        for item in &self.items {
            fault::reach(point, &item.message.routing_key);
        }
    }
}

/// One channel.
pub(super) struct Session {
    link: Link,
    channel: Arc<Channel>,
    topology: Topology,
    window: Window<Flight>,
    /// Of the messages in it.
    bytes: usize,
    confirms: FuturesUnordered<Numbered>,
    confirm_timeout: Duration,
    max_message_bytes: usize,
    metrics: metrics::Relay,
    clock: Clock,
    stop: CancellationToken,
    /// Messages of packs that did not get through: they go out again, one by one.
    unpacked: Vec<Item>,
}

impl Session {
    pub(super) fn new(
        link: Link,
        channel: Channel,
        topology: Topology,
        settings: &Settings,
        metrics: metrics::Relay,
        stop: CancellationToken,
    ) -> Self {
        Self {
            link,
            channel: Arc::new(channel),
            topology,
            window: Window::new(),
            bytes: 0,
            confirms: FuturesUnordered::new(),
            confirm_timeout: settings.confirm_timeout,
            max_message_bytes: settings.max_message_bytes,
            metrics,
            clock: Clock::system(),
            stop,
            unpacked: Vec::new(),
        }
    }

    /// AMQP messages without an outcome.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    /// Whether one more of at most `most` AMQP messages may be under way.
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.window.len() < most && self.bytes < MOST_BYTES
    }

    /// Puts one message into line for the wire, or several to the same routing key as a pack. Nobody waits until it is
    /// written: what is published in one go then leaves in one go, at one system call for all. That it could not be is
    /// its answer.
    pub(super) fn publish(&mut self, mut items: Vec<Item>) {
        for index in (0..items.len()).rev() {
            if let Err(end) = self.may_go_out(&items[index]) {
                let item = items.remove(index);
                if let Some(end) = end {
                    tell(item, end);
                }
            }
        }
        let Some(first) = items.first() else { return };
        let message = &first.message;
        let exchange = short(&self.topology.exchange(message.exchange));
        let options = BasicPublishOptions { mandatory: message.exchange.is_mandatory(), immediate: false };
        let (key, properties, body) = if items.len() == 1 {
            let properties = amqp::properties(&message.envelope, self.clock.now());
            (short(&message.routing_key), properties, message.envelope.body.clone())
        } else {
            let (properties, body) = pack::pack(items.iter().map(|item| &item.message.envelope));
            self.metrics.packed(items.len());
            (short(&pack::key(&message.routing_key)), properties, body.into())
        };
        let identity = identity(&key, properties.message_id().as_ref());
        let (spans, sent) = (items.iter().filter_map(span).collect(), Instant::now());
        let keys = items.iter().map(|item| item.message.routing_key.as_str());
        let published = fault::Later::new(Point::AfterPublish, keys);
        // Noted before it is written: whatever happens now, it is in the window.
        let flight = Flight { items, sent, _spans: spans };
        self.bytes += flight.bytes();
        let number = self.window.publish(identity, flight);
        let channel = Arc::clone(&self.channel);
        let mut confirmed = async move {
            let writing = channel.basic_publish(exchange, key, options, &body, properties);
            let confirm = writing.await?;
            published.reach();
            confirm.await
        }
        .boxed();
        // Asked once, it is in line; the next one comes after it.
        if let Some(answer) = (&mut confirmed).now_or_never() {
            confirmed = ready(answer).boxed();
        }
        self.confirms.push(Numbered { number, confirmed });
    }

    /// Whether a message may go out. `Err`: what is to be said of its row, if anything.
    fn may_go_out(&self, item: &Item) -> Result<(), Option<End>> {
        if item.expires <= Instant::now() {
            // Somebody else may hold the row by now. It is in the table, and a sweep finds it.
            return Err(None);
        }
        let bytes = item.message.envelope.body.len();
        if bytes > self.max_message_bytes {
            let reason = format!("{bytes} bytes are more than relay.max_message_bytes");
            self.metrics.ended(Published { unpublishable: 1, ..Published::default() });
            return Err(Some(End::PutBack(PutBackKind::Unpublishable, reason)));
        }
        Ok(())
    }

    /// Waits for an answer and takes all that are there. Pending for ever while nothing is in flight.
    /// `Err`: the channel is of no use any more.
    pub(super) async fn note_answers(&mut self) -> Result<(), Broken> {
        let Some(oldest) = self.window.oldest() else { return std::future::pending().await };
        let sent = oldest.sent;
        let first = tokio::select! {
            Some(confirmed) = self.confirms.next() => confirmed,
            () = self.link.overdue(sent, self.confirm_timeout, &self.stop) => {
                let key = oldest.routing_key();
                let reason = format!("publish: no confirm in time, first for a message to {key}");
                return Err(Broken::Unanswered { reason, others_are: self.link.has_answered_since(sent) });
            }
        };
        self.note(first).map_err(Broken::Failed)?;
        while let Some(Some(confirmed)) = self.confirms.next().now_or_never() {
            self.note(confirmed).map_err(Broken::Failed)?;
        }
        self.link.has_answered();
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

    pub(super) fn settle(&mut self) {
        let (mut ends, now) = (Published::default(), Instant::now());
        for (flight, outcome) in self.window.outcomes() {
            self.metrics.answered(now.saturating_duration_since(flight.sent));
            self.bytes -= flight.bytes();
            let count = flight.items.len() as u64;
            let end = match outcome {
                Outcome::Confirmed => {
                    ends.confirmed += count;
                    flight.reach(Point::AfterConfirm);
                    End::Confirmed
                }
                // Nothing is known of its messages but that they cannot travel together.
                Outcome::Returned(_) | Outcome::Rejected if count > 1 => {
                    self.unpacked.extend(flight.items);
                    continue;
                }
                Outcome::Returned(reason) => {
                    ends.returned += 1;
                    End::PutBack(PutBackKind::Unroutable, reason)
                }
                Outcome::Rejected => {
                    ends.rejected += 1;
                    End::PutBack(PutBackKind::Rejected, "refused by the broker".to_owned())
                }
            };
            for item in flight.items {
                tell(item, end.clone());
            }
        }
        self.metrics.ended(ends);
    }

    /// What has to go out again, each message by itself.
    pub(super) fn take_unpacked(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.unpacked)
    }

    pub(super) fn abandon(self) -> VecDeque<Item> {
        let in_flight = self.window.abandon().into_iter().flat_map(|flight| flight.items);
        in_flight.chain(self.unpacked).collect()
    }
}

fn identity(routing_key: &ShortString, message_id: Option<&ShortString>) -> Identity {
    (routing_key.clone(), message_id.cloned().unwrap_or_default())
}

/// Which message came back, and why. `Err` when it does not say: then no outcome on this channel is certain.
fn identify(message: &BasicReturnMessage) -> Result<(Identity, String), String> {
    let id = message.properties.message_id().as_ref();
    let id = id.ok_or_else(|| "publish: a message came back without its id".to_owned())?;
    let reason =
        format!("{} {}: no queue takes {}", message.reply_code, message.reply_text, message.routing_key);
    Ok((identity(&message.routing_key, Some(id)), reason))
}

/// The span of one publication, a child of the message's creation. None for what nobody records, nor for what was
/// created without a trace: it would be one of its own.
fn span(item: &Item) -> Option<Span> {
    let message = &item.message;
    let envelope = &message.envelope;
    if envelope.trace.traceparent.is_empty() || !envelope.trace.is_recorded() {
        return None;
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
    Some(span)
}

type Confirmed = (u64, Result<Confirmation, lapin::Error>);

/// The answer to a message, and which one that is.
struct Numbered {
    number: u64,
    confirmed: BoxFuture<'static, Result<Confirmation, lapin::Error>>,
}

impl Future for Numbered {
    type Output = Confirmed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Confirmed> {
        let number = self.number;
        self.confirmed.poll_unpin(cx).map(|confirmed| (number, confirmed))
    }
}
