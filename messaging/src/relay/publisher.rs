//! The task that publishes the messages of one lane. It owns a confirm channel, so that the order of tags
//! is the order on the wire, keeps a bounded window in flight, and when the channel breaks takes a new one
//! and publishes again, under the same ids, what has no outcome.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use lapin::{Channel, options::ConfirmSelectOptions};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    HandOff, Item, Lane, Settings,
    session::{Broken, Session},
    settler::{End, tell},
    standing::Standing,
};
use crate::{
    backoff::Backoff,
    broker::{Broker, Link, in_time},
    metrics::{self, Published},
    outbox::PutBackKind,
    pack,
};

/// How long a route stays plain after a pack came back from it.
const PLAIN: Duration = Duration::from_secs(30);
/// Where packs are taken, so many AMQP messages are under way before the next one waits to be full: enough to
/// keep the broker busy, and a lone message never waits.
const BEFORE_FULL: usize = 4;
const PAUSE: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2) };

pub(super) struct Publisher {
    lane: Lane,
    settings: Settings,
    broker: Broker,
    hand_off: HandOff,
    items: mpsc::UnboundedReceiver<Item>,
    standing: Standing,
    metrics: metrics::Relay,
    /// Taken and not published, or published without an outcome; oldest first.
    waiting: VecDeque<Item>,
    /// Whether the queue has left a message unanswered and has answered none since. Until it does, it gets
    /// one message at a time and the lane takes no more: what it will not answer is not to pile up.
    doubtful: bool,
    /// Routing keys from which a pack came back, and until when what goes there travels alone.
    plain_until: HashMap<String, Instant>,
}

impl Publisher {
    pub(super) fn new(
        lane: Lane,
        settings: Settings,
        broker: Broker,
        hand_off: HandOff,
        items: mpsc::UnboundedReceiver<Item>,
        standing: Standing,
        metrics: metrics::Relay,
    ) -> Self {
        let (waiting, plain_until) = (VecDeque::new(), HashMap::new());
        let doubtful = false;
        Self { lane, settings, broker, hand_off, items, standing, metrics, waiting, doubtful, plain_until }
    }

    /// Publishes until `stop`, then what is in hand, and puts back what it cannot publish.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while let Some(opened) = self.open(&stop).await {
            let end = match opened {
                Ok((link, channel)) => {
                    failures = 0;
                    self.publish_on(link, channel, &stop).await
                }
                Err(reason) => Err(reason),
            };
            let Err(reason) = end else { break };
            self.hand_off.set_open(self.lane, false);
            failures += 1;
            self.standing.down(self.lane, reason);
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(PAUSE.delay(failures)) => {}
            }
        }
        self.hand_off.set_open(self.lane, false);
        self.put_back_rest();
    }

    /// A confirm channel as soon as the broker is there; `None` when all is to stop.
    async fn open(&self, stop: &CancellationToken) -> Option<Result<(Link, Channel), String>> {
        let opened = async {
            let link = self.broker.link().await?;
            let channel = match link.channel().await {
                Ok(channel) => channel,
                Err(reason) => return Some(Err(reason)),
            };
            let selecting = channel.confirm_select(ConfirmSelectOptions::default());
            let selected = in_time("ask for confirms", selecting).await;
            Some(selected.inspect_err(|_| link.give_up()).map(|()| (link, channel)))
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
    async fn publish_on(
        &mut self,
        link: Link,
        channel: Channel,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let topology = self.broker.topology().clone();
        let mut session =
            Session::new(link.clone(), channel, topology, &self.settings, self.metrics.clone(), stop.clone());
        let end = self.drive(&mut session, stop).await;
        session.settle();
        // What has no outcome goes out again, under its own ids, before what came later.
        let mut unknown = session.abandon();
        self.metrics.ended(Published { unknown: unknown.len() as u64, ..Published::default() });
        if self.doubtful {
            // One message may be what the queue does not answer: the next one is asked for then.
            self.waiting.append(&mut unknown);
        } else {
            unknown.append(&mut self.waiting);
            self.waiting = unknown;
        }
        end.map_err(|broken| self.give_up(&link, broken))
    }

    /// What is to be done about a channel that broke, and why it did. The relay has the connection to itself:
    /// one on which a channel failed, or nobody answers, is not worth finding out about. Where others are
    /// answered, or a new connection has changed nothing, it is the queue that does not answer. A new channel
    /// is enough then, and nobody else notices; should that not open, the connection goes after all.
    fn give_up(&mut self, link: &Link, broken: Broken) -> String {
        match broken {
            Broken::Failed(reason) => {
                link.give_up();
                reason
            }
            Broken::Unanswered { reason, others_are } => {
                if !others_are && !self.doubtful {
                    link.give_up();
                }
                self.doubtful = true;
                reason
            }
        }
    }

    async fn drive(&mut self, session: &mut Session, stop: &CancellationToken) -> Result<(), Broken> {
        let mut taken = Vec::new();
        if !self.doubtful {
            self.is_well();
        }
        loop {
            let size = if self.doubtful { 1 } else { self.settings.window };
            while session.has_room(size)
                && let Some(items) = self.next(session.len())
            {
                session.publish(items);
            }
            let stopping = stop.is_cancelled();
            let is_done = session.len() == 0 && self.waiting.is_empty();
            if stopping && is_done && self.items.is_empty() {
                return Ok(());
            }
            // The leases are over: a little more is taken, to ask again. Where there is nothing to ask for,
            // there is nothing to doubt.
            let is_asking = self.doubtful && is_done;
            if is_asking {
                self.hand_off.set_open(self.lane, true);
            }
            let room = match self.takes_packs() {
                true => (2 * self.settings.pack).saturating_sub(self.waiting.len()),
                false if self.waiting.is_empty() => size.saturating_sub(session.len()),
                false => 0,
            };
            tokio::select! {
                biased;
                noted = session.note_answers() => {
                    noted?;
                    session.settle();
                    self.take_apart(session.take_unpacked());
                    if self.doubtful {
                        self.is_well();
                    }
                }
                taken_now = self.items.recv_many(&mut taken, room), if room > 0 => {
                    if taken_now == 0 {
                        return Ok(());
                    }
                    self.waiting.extend(taken.drain(..));
                    if self.doubtful {
                        self.hand_off.set_open(self.lane, false);
                    }
                }
                () = sleep(self.settings.confirm_timeout), if is_asking => self.is_well(),
                () = stop.cancelled(), if !stopping => {}
            }
        }
    }

    /// Whether what goes to this lane may travel together.
    fn takes_packs(&self) -> bool {
        let external = &self.broker.topology().external;
        let is_ours = self.lane.queue().is_some_and(|queue| !external.contains(&queue));
        is_ours && self.settings.pack > 1 && !self.doubtful
    }

    /// What goes out next as one AMQP message, if it need not wait for more.
    fn next(&mut self, in_flight: usize) -> Option<Vec<Item>> {
        if !self.takes_packs() || !self.waiting.front().is_some_and(|item| self.may_be_packed(item)) {
            return self.waiting.pop_front().map(|item| vec![item]);
        }
        if in_flight >= BEFORE_FULL && self.waiting.len() < self.settings.pack {
            return None;
        }
        let mut items: Vec<Item> = self.waiting.pop_front().into_iter().collect();
        let mut bytes = items.iter().map(size).sum::<usize>();
        let mut others = VecDeque::new();
        while items.len() < self.settings.pack
            && let Some(item) = self.waiting.pop_front()
        {
            let is_alike = item.message.routing_key == items[0].message.routing_key;
            if is_alike && self.may_be_packed(&item) && bytes + size(&item) <= pack::MAX_BYTES {
                bytes += size(&item);
                items.push(item);
            } else {
                others.push_back(item);
            }
        }
        others.append(&mut self.waiting);
        self.waiting = others;
        Some(items)
    }

    /// What failed before travels alone: it may be what a pack would suffer from.
    fn may_be_packed(&self, item: &Item) -> bool {
        let message = &item.message;
        let until = self.plain_until.get(&message.routing_key);
        message.envelope.attempt == 1
            && size(item) < pack::MAX_BYTES
            && until.is_none_or(|until| *until <= Instant::now())
    }

    /// Messages of packs that did not get through go out again one by one, before what came later.
    fn take_apart(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.plain_until.insert(item.message.routing_key.clone(), Instant::now() + PLAIN);
            self.waiting.push_front(item);
        }
    }

    fn is_well(&mut self) {
        self.doubtful = false;
        self.hand_off.set_open(self.lane, true);
        self.standing.up(self.lane);
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

/// Bytes that count against the bound of a pack.
fn size(item: &Item) -> usize {
    item.message.envelope.body.len()
}
