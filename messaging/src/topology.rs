//! Every exchange, queue and binding, from one table, declared the same way by every process.
//!
//! A dead letter of queue `q` leaves it for exchange `dispatch.dead` with routing key `q` and lands in
//! queue `q.dead`, from where it is taken into the table `dead_letters`.

mod compare;
mod declare;
mod difference;

use std::fmt;

use lapin::{ExchangeKind, types::ShortString};

pub(crate) use self::{compare::compare, difference::in_words};
pub use self::{
    compare::{Checked, Look, apply, check, delete, messages},
    difference::{Difference, Thing},
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

impl QueueType {
    /// As the broker calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// An exchange as it is declared: durable, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// Its name on the broker.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
}

impl ExchangeSpec {
    /// How it routes, as the broker calls it.
    pub fn kind_name(&self) -> &'static str {
        if self.kind == ExchangeKind::Topic { "topic" } else { "direct" }
    }
}

/// A queue as it is declared: durable, with these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name without the prefix, as commands take it.
    pub short: String,
    /// Its name on the broker.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<(&'static str, Argument)>,
    /// What is routed to it.
    pub bindings: Vec<Binding>,
    /// Bindings by which its consumer says that it takes packs. Without them messages travel one by one.
    pub packed: Vec<Binding>,
    /// Whether somebody else consumes it, who does not know of packs.
    pub external: bool,
}

/// The value of a queue's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A name.
    Text(String),
    /// A limit.
    Number(i64),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What an exchange routes to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The exchange's name on the broker.
    pub exchange: String,
    /// The queue's name on the broker.
    pub queue: String,
    /// What has to stand on a message.
    pub routing_key: String,
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

    /// Every exchange.
    pub fn exchanges(&self) -> [ExchangeSpec; 3] {
        [Exchange::Dispatch, Exchange::Events, Exchange::Dead]
            .map(|exchange| ExchangeSpec { name: self.exchange(exchange), kind: exchange.kind() })
    }

    /// Every queue, that of the dead letters before the one whose letters they are.
    pub fn queues(&self) -> Vec<QueueSpec> {
        QUEUES.into_iter().flat_map(|queue| [true, false].map(|dead| self.spec(queue, dead))).collect()
    }

    /// One queue, or the one of its dead letters, as it is declared.
    pub(crate) fn spec(&self, queue: Queue, dead: bool) -> QueueSpec {
        if dead {
            let name = self.dead_queue(queue);
            let binding = self.binding(Exchange::Dead, &name, &self.queue(queue));
            let (short, arguments) = (format!("{}.dead", queue.name), self.arguments());
            let (bindings, packed) = (vec![binding], Vec::new());
            return QueueSpec { short, name, arguments, bindings, packed, external: false };
        }
        let name = self.queue(queue);
        let binding = |key: &str| self.binding(Exchange::Dispatch, &name, key);
        let bindings = queue.routing_keys.iter().map(|key| binding(key)).collect();
        let packed = queue.routing_keys.iter().map(|key| binding(&pack::key(key))).collect();
        let (short, arguments) = (queue.name.to_owned(), self.dead_lettering(queue));
        let external = self.external.contains(&queue.name);
        QueueSpec { short, name, arguments, bindings, packed, external }
    }

    fn binding(&self, exchange: Exchange, queue: &str, routing_key: &str) -> Binding {
        Binding {
            exchange: self.exchange(exchange),
            queue: queue.to_owned(),
            routing_key: routing_key.to_owned(),
        }
    }

    fn arguments(&self) -> Vec<(&'static str, Argument)> {
        vec![("x-queue-type", Argument::Text(self.queue_type.name().to_owned()))]
    }

    /// The delivery limit is the last net, below our own attempts. Dead-lettering stays at most once, the
    /// broker's default: a letter lost there loses no dispatch, since the saga asks again, while the worker of
    /// `x-dead-letter-strategy=at-least-once` can take down every quorum queue of a RabbitMQ 3.10 node when
    /// a queue is deleted right after it was declared (see ARCHITECTURE.md).
    fn dead_lettering(&self, queue: Queue) -> Vec<(&'static str, Argument)> {
        let mut arguments = self.arguments();
        arguments.push(("x-dead-letter-exchange", Argument::Text(self.exchange(Exchange::Dead))));
        arguments.push(("x-dead-letter-routing-key", Argument::Text(self.queue(queue))));
        if self.queue_type == QueueType::Quorum {
            arguments.push(("x-delivery-limit", Argument::Number(self.delivery_limit.into())));
        }
        arguments
    }
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
