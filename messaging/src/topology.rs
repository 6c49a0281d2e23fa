//! Every exchange, queue and binding, from one table, declared the same way by every process.
//!
//! A dead letter of queue `q` leaves it for exchange `dispatch.dead` with routing key `q` and lands in
//! queue `q.dead`, from where it is taken into the table `dead_letters`.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::pack;

/// An exchange of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Commands, replies and requests; direct.
    Dispatch,
    /// What the world may know; topic. Nobody needs to listen.
    Events,
    /// Dead letters; direct.
    Dead,
}

impl Exchange {
    /// Its name without the prefix, as the outbox stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Events => "dispatch.events",
            Self::Dead => "dispatch.dead",
        }
    }

    /// The exchange of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Dispatch, Self::Events, Self::Dead].into_iter().find(|exchange| exchange.name() == name)
    }

    /// Whether a message that no queue takes has to come back to us.
    pub const fn is_mandatory(self) -> bool {
        match self {
            Self::Dispatch | Self::Dead => true,
            Self::Events => false,
        }
    }

    const fn kind(self) -> ExchangeKind {
        match self {
            Self::Dispatch | Self::Dead => ExchangeKind::Direct,
            Self::Events => ExchangeKind::Topic,
        }
    }
}

/// A queue of ours with what is routed to it from exchange [`Exchange::Dispatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name without the prefix.
    pub name: &'static str,
    /// Its bindings.
    pub routing_keys: &'static [&'static str],
}

/// The orchestrator's queue.
pub const SAGA: Queue = Queue { name: "saga", routing_keys: &["dispatch.requested", "saga.reply"] };
/// The queue of participant `order`.
pub const ORDER: Queue = Queue { name: "order", routing_keys: &["order.command"] };
/// The queue of participant `payment`.
pub const PAYMENT: Queue = Queue { name: "payment", routing_keys: &["payment.command"] };
/// The queue of participant `dispatch`.
pub const DISPATCH: Queue = Queue { name: "dispatch", routing_keys: &["dispatch.command"] };

/// All of them.
pub const QUEUES: [Queue; 4] = [SAGA, ORDER, PAYMENT, DISPATCH];

/// How queues are kept by the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// Replicated, every message on disk before it is confirmed.
    #[default]
    Quorum,
    /// One node, no delivery limit.
    Classic,
}

/// Names and kinds, as configured.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Stands before every exchange and queue name.
    pub prefix: String,
    /// Kind of every queue.
    pub queue_type: QueueType,
    /// Deliveries of one message before a quorum queue gives it up.
    pub delivery_limit: u32,
    /// Names of the queues that somebody else consumes, who does not know of packs.
    pub external: Vec<&'static str>,
}

impl Topology {
    /// The exchange's name on the broker.
    pub fn exchange(&self, exchange: Exchange) -> String {
        format!("{}{}", self.prefix, exchange.name())
    }

    /// The queue's name on the broker.
    pub fn queue(&self, queue: Queue) -> String {
        format!("{}{}", self.prefix, queue.name)
    }

    /// The name of the queue that holds its dead letters.
    pub fn dead_queue(&self, queue: Queue) -> String {
        format!("{}{}.dead", self.prefix, queue.name)
    }

    /// Declares all of it. What is there already stays as it is.
    ///
    /// Errors: the broker is away, or something of that name exists with other properties
    /// (406 `PRECONDITION_FAILED`), which only an operator can resolve.
    pub async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.declare_exchanges(channel).await?;
        for queue in QUEUES {
            self.declare_one(channel, queue, true).await?;
            self.declare_one(channel, queue, false).await?;
        }
        Ok(())
    }

    /// Declares what the consumer of one queue needs. The queues of others stay alone: RabbitMQ does not tell
    /// the consumer of a deleted queue when somebody else has declared it again meanwhile.
    pub(crate) async fn declare_for(
        &self,
        channel: &Channel,
        queue: Queue,
        dead: bool,
    ) -> Result<(), lapin::Error> {
        self.declare_exchanges(channel).await?;
        self.declare_one(channel, queue, dead).await
    }

    async fn declare_exchanges(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for exchange in [Exchange::Dispatch, Exchange::Events, Exchange::Dead] {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let name = short(&self.exchange(exchange));
            channel.exchange_declare(name, exchange.kind(), options, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Declares a queue, or the one of its dead letters, with its bindings.
    pub(crate) async fn declare_one(
        &self,
        channel: &Channel,
        queue: Queue,
        dead: bool,
    ) -> Result<(), lapin::Error> {
        if dead {
            let dead = self.dead_queue(queue);
            self.create(channel, &dead, self.arguments()).await?;
            return self.bind(channel, &dead, Exchange::Dead, &self.queue(queue)).await;
        }
        self.create(channel, &self.queue(queue), self.dead_lettering(queue)).await?;
        for key in queue.routing_keys {
            self.bind(channel, &self.queue(queue), Exchange::Dispatch, key).await?;
            if self.external.contains(&queue.name) {
                self.unbind(channel, &self.queue(queue), &pack::key(key)).await?;
            }
        }
        Ok(())
    }

    /// Says that the consumer of this queue takes packs.
    pub(crate) async fn bind_packed(&self, channel: &Channel, queue: Queue) -> Result<(), lapin::Error> {
        for key in queue.routing_keys {
            self.bind(channel, &self.queue(queue), Exchange::Dispatch, &pack::key(key)).await?;
        }
        Ok(())
    }

    async fn create(&self, channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), lapin::Error> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(short(name), options, arguments).await.map(|_| ())
    }

    async fn bind(
        &self,
        channel: &Channel,
        queue: &str,
        from: Exchange,
        key: &str,
    ) -> Result<(), lapin::Error> {
        let (queue, exchange) = (short(queue), short(&self.exchange(from)));
        let options = QueueBindOptions::default();
        channel.queue_bind(queue, exchange, short(key), options, FieldTable::default()).await
    }

    /// Takes a binding away; none there is as well.
    async fn unbind(&self, channel: &Channel, queue: &str, key: &str) -> Result<(), lapin::Error> {
        let (queue, exchange) = (short(queue), short(&self.exchange(Exchange::Dispatch)));
        channel.queue_unbind(queue, exchange, short(key), FieldTable::default()).await
    }

    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let kind = match self.queue_type {
            QueueType::Quorum => "quorum",
            QueueType::Classic => "classic",
        };
        arguments.insert("x-queue-type".into(), text(kind));
        arguments
    }

    /// The delivery limit is the last net, below our own attempts. Dead-lettering stays at most once, the
    /// broker's default: a letter lost there loses no dispatch, since the saga asks again, while the worker of
    /// `x-dead-letter-strategy=at-least-once` can take down every quorum queue of a RabbitMQ 3.10 node when
    /// a queue is deleted right after it was declared (see ARCHITECTURE.md).
    fn dead_lettering(&self, queue: Queue) -> FieldTable {
        let mut arguments = self.arguments();
        arguments.insert("x-dead-letter-exchange".into(), text(&self.exchange(Exchange::Dead)));
        arguments.insert("x-dead-letter-routing-key".into(), text(&self.queue(queue)));
        if self.queue_type == QueueType::Quorum {
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(self.delivery_limit.into()));
        }
        arguments
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.as_bytes().into())
}

/// AMQP's short string holds 255 bytes; what is longer is cut, because the conversion would panic.
/// Names and ids are kept far below that where they enter (configuration, validation).
pub(crate) fn short(value: &str) -> ShortString {
    let mut end = value.len().min(255);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::from(&value[..end])
}
