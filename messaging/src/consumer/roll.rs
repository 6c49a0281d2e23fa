//! The roll of a queue's consumers: packs are asked for while everybody who consumes the queue reads them.
//!
//! A release from before packs, or a service of somebody else, would take a pack for a message of a type that nobody
//! knows. The broker tells how many consume a queue, and not who. So each consumer of ours also subscribes to a
//! second queue, to which nothing is routed, and is counted there: whoever is on the first alone does not read packs.
//! All of it goes over a channel of its own: whatever becomes of the roll, the queue is consumed.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use crate::{
    Store,
    broker::{Broker, Link, in_time},
    dead_letter,
    topology::{Queue, QueueSpec, short},
};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that find somebody who reads no packs before they are called off: a consumer that comes or goes
/// is counted on the one queue a moment before the other.
const CERTAIN: u32 = 2;
/// The broker forgets the second queue when nobody has used it for so long, in milliseconds.
const EXPIRY: i32 = 3_600_000;
/// How long the broker may take over a consumer that leaves.
const GOODBYE: Duration = Duration::from_secs(5);

/// A consumer's place on the roll of its queue.
pub(super) struct Roll {
    link: Link,
    store: Store,
    queue: Queue,
    spec: QueueSpec,
    place: Option<Place>,
    /// Looks in a row that have found strangers.
    strangers: u32,
    /// Whether anything may have been buried since the last look that is only a pack.
    buried: bool,
}

/// A roll that is looked at. Dropped, the consumer is not on it any more.
pub(super) struct Called {
    looking: AbortOnDropHandle<Roll>,
    stop: CancellationToken,
}

/// On the second queue, as long as its channel lasts.
struct Place {
    channel: Channel,
    tag: ShortString,
    subscription: lapin::Consumer,
}

impl Roll {
    /// For a consumer that is about to subscribe. `None` where packs are not ours to ask for.
    pub(super) async fn join(broker: &Broker, link: &Link, store: &Store, queue: Queue) -> Option<Self> {
        let spec = broker.packs(queue)?;
        let (link, store) = (link.clone(), store.clone());
        let mut roll = Self { link, store, queue, spec, place: None, strangers: 0, buried: true };
        roll.place = roll.take_place().await.inspect_err(|reason| roll.is_away(reason)).ok();
        Some(roll)
    }

    /// Looks for the first time, when the consumer has subscribed and before it says that it is there, and from then on
    /// as long as what is returned lasts.
    pub(super) async fn start(mut self) -> Called {
        self.call().await;
        let stop = CancellationToken::new();
        let looking = tokio::spawn(self.run(stop.clone()));
        Called { looking: AbortOnDropHandle::new(looking), stop }
    }

    /// Looks who consumes the queue, and asks for packs or calls them off.
    async fn call(&mut self) {
        if let Err(reason) = self.try_call().await {
            self.is_away(&reason);
            // What is not known changes nothing.
            self.place = None;
        }
        if std::mem::replace(&mut self.buried, self.strangers > 0) {
            take_apart(&self.store, self.queue).await;
        }
    }

    async fn run(mut self, stop: CancellationToken) -> Self {
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            self.call().await;
        }
        self
    }

    async fn leave(mut self) -> Option<u32> {
        let place = self.place.take()?;
        let leaving = async {
            place.channel.basic_cancel(place.tag, BasicCancelOptions::default()).await?;
            let mut waiting = None;
            if readers(&place.channel, &self.spec).await? == 0 {
                self.spec.unbind_packed(&place.channel).await?;
                waiting = Some(self.spec.ask(&place.channel).await?.message_count());
            }
            place.channel.close(200, "left".into()).await?;
            Ok::<_, lapin::Error>(waiting)
        };
        timeout(GOODBYE, leaving).await.ok()?.ok()?
    }

    async fn take_place(&self) -> Result<Place, String> {
        let channel = self.link.channel().await?;
        let tag = short(&format!("waybill.{}", Uuid::now_v7()));
        let joining = async {
            readers(&channel, &self.spec).await?;
            let (name, options) = (short(&second(&self.spec)), BasicConsumeOptions::default());
            channel.basic_consume(name, tag.clone(), options, FieldTable::default()).await
        };
        let subscription = in_time("join those who read packs", joining).await?;
        Ok(Place { channel, tag, subscription })
    }

    async fn try_call(&mut self) -> Result<(), String> {
        // A subscription to what gets no messages says something only when it is over.
        let is_over = |place: &mut Place| place.subscription.next().now_or_never().is_some();
        if self.place.as_mut().is_none_or(is_over) {
            self.place = Some(self.take_place().await?);
        }
        let Some(Place { channel, .. }) = &self.place else { return Ok(()) };
        let counting = async {
            let all = self.spec.ask(channel).await?.consumer_count();
            Ok((all, readers(channel, &self.spec).await?))
        };
        let (all, readers) = in_time("count who reads packs", counting).await?;
        if all <= readers {
            if self.strangers >= CERTAIN {
                tracing::info!(
                    queue = self.queue.name,
                    "all who consume it read packs, which are sent again"
                );
            }
            self.strangers = 0;
            return in_time("ask for packs", self.spec.bind_packed(channel)).await;
        }
        self.strangers = self.strangers.saturating_add(1);
        if self.strangers == CERTAIN {
            let (queue, strangers) = (self.queue.name, all - readers);
            tracing::info!(queue, strangers, "not all who consume it read packs: its messages travel alone");
        }
        if self.strangers >= CERTAIN {
            return in_time("call packs off", self.spec.unbind_packed(channel)).await;
        }
        Ok(())
    }

    fn is_away(&self, reason: &str) {
        tracing::debug!(queue = self.queue.name, reason, "who reads packs is not known");
    }
}

impl Called {
    /// Leaves the roll. Where nobody is left on it packs are called off, and those that are in the queue are for this
    /// consumer, because nobody may come after it but an earlier release: how many messages wait there.
    pub(super) async fn leave(self) -> Option<u32> {
        self.stop.cancel();
        self.looking.await.ok()?.leave().await
    }
}

/// The second queue.
fn second(spec: &QueueSpec) -> String {
    format!("{}.readers", spec.name)
}

/// How many are on it. It is made where it is not there. Classic, because nothing in it could be lost.
async fn readers(channel: &Channel, spec: &QueueSpec) -> Result<u32, lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRY));
    Ok(channel.queue_declare(short(&second(spec)), options, arguments).await?.consumer_count())
}

/// Packs that an earlier release took for messages and buried are no dead letters.
pub(super) async fn take_apart(store: &Store, queue: Queue) {
    let (mut packs, mut after) = (0, Some(Uuid::nil()));
    while let Some(last) = after {
        match store.run(dead_letter::TakeApart { queue, after: last }).await {
            Ok(found) => (packs, after) = (packs + found.packs, found.last),
            Err(error) => {
                tracing::debug!(queue = queue.name, %error, "cannot look for buried packs now");
                after = None;
            }
        }
    }
    if packs > 0 {
        tracing::warn!(queue = queue.name, packs, "packs that another release had buried were taken apart");
    }
}
