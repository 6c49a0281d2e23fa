//! What of the topology is on the broker, and how what is there differs.
//!
//! AMQP tells whether an exchange or queue is there. Arguments it compares only when they are declared again, which
//! creates nothing where something is there; bindings it shows nobody. The broker's management interface shows both
//! without declaring anything.

use lapin::{
    Channel, Connection,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};

use super::{Binding, Difference, QueueSpec, Thing, Topology, short};
use crate::{
    broker::{Server, in_time},
    management::Management,
    queues,
};

/// How it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Compares arguments by declaring what is there again. Without it everything is passive.
    pub declaring: bool,
    /// Shows arguments and bindings.
    pub management: Option<&'a Management>,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How the broker differs; empty where it does not, as far as was seen.
    pub differences: Vec<Difference>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// Looks at every exchange, queue and binding, over a connection of its own. Changes nothing.
///
/// Errors: the broker or its management interface is away.
pub async fn check(server: &Server, topology: &Topology, look: Look<'_>) -> Result<Checked, String> {
    let connection = queues::connect(server).await?;
    let checked = compare(&connection, topology, look).await;
    queues::goodbye(&connection).await;
    checked
}

/// The same over a connection that is there.
pub(crate) async fn compare(
    connection: &Connection,
    topology: &Topology,
    look: Look<'_>,
) -> Result<Checked, String> {
    let mut asking = Asking::new(connection).await?;
    for exchange in topology.exchanges() {
        let channel = asking.channel.clone();
        if asking.ask(exchange.declare(&channel, true)).await?.is_none() {
            continue;
        }
        if let Some(management) = look.management {
            let kind = management.exchange_kind(&exchange.name).await?;
            asking.differs(Thing::Exchange, &exchange.name, "type", exchange.kind_name(), kind.as_deref());
        } else if look.declaring {
            asking.ask(exchange.declare(&channel, false)).await?;
        }
    }
    for queue in topology.queues() {
        let channel = asking.channel.clone();
        if asking.ask(queue.ask(&channel)).await?.is_none() {
            continue;
        }
        match look.management {
            Some(management) => asking.look(&queue, management).await?,
            None if look.declaring => {
                asking.ask(queue.create(&channel)).await?;
            }
            None => {}
        }
    }
    Ok(Checked { differences: asking.differences, unseen: unseen(look) })
}

fn unseen(look: Look<'_>) -> Vec<String> {
    let arguments = "arguments: with amqp.declare=false only the management interface shows them; \
                     set amqp.management_url";
    let bindings = "bindings: AMQP shows them to nobody; set amqp.management_url, or run `waybill topology apply`, \
                    which binds what is not bound and changes nothing else";
    match look {
        Look { management: Some(_), .. } => Vec::new(),
        Look { declaring: true, .. } => vec![bindings.to_owned()],
        Look { .. } => vec![arguments.to_owned(), bindings.to_owned()],
    }
}

/// Declares what is missing. What differs stays as it is, and is told.
///
/// Errors: the broker is away.
pub async fn apply(server: &Server, topology: &Topology) -> Result<Vec<Difference>, String> {
    let connection = queues::connect(server).await?;
    let applied = declare_all(&connection, topology).await;
    queues::goodbye(&connection).await;
    applied
}

async fn declare_all(connection: &Connection, topology: &Topology) -> Result<Vec<Difference>, String> {
    let mut asking = Asking::new(connection).await?;
    for exchange in topology.exchanges() {
        let channel = asking.channel.clone();
        asking.ask(exchange.declare(&channel, false)).await?;
    }
    for queue in topology.queues() {
        let channel = asking.channel.clone();
        asking.ask(queue.create(&channel)).await?;
        // One that differs can be bound all the same.
        let channel = asking.channel.clone();
        asking.ask(queue.bind(&channel)).await?;
    }
    Ok(asking.differences)
}

/// Messages that are in an exchange or queue of the topology; `None` where it is not there or is an exchange.
///
/// `name`: in full or without the prefix. Errors: the topology has nothing of that name; the broker is away.
pub async fn messages(server: &Server, topology: &Topology, name: &str) -> Result<Option<u32>, String> {
    let queue = topology.queues().into_iter().find(|queue| queue.is_called(name));
    let Some(queue) = queue else { return known(topology, name).map(|_| None) };
    let connection = queues::connect(server).await?;
    let mut asking = Asking::new(&connection).await?;
    let channel = asking.channel.clone();
    let asked = asking.ask(queue.ask(&channel)).await;
    queues::goodbye(&connection).await;
    Ok(asked?.map(|queue| queue.message_count()))
}

/// Deletes an exchange or queue of the topology, with what it holds. Whoever declares the topology next makes it
/// anew.
///
/// `name`: in full or without the prefix. Errors: the topology has nothing of that name; the broker is away or
/// refuses.
pub async fn delete(server: &Server, topology: &Topology, name: &str) -> Result<(), String> {
    let (thing, full_name) = known(topology, name)?;
    let connection = queues::connect(server).await?;
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let deleted = match thing {
        Thing::Exchange => {
            let deleting = channel.exchange_delete(short(&full_name), ExchangeDeleteOptions::default());
            in_time("delete", deleting).await
        }
        Thing::Queue => {
            let deleting = channel.queue_delete(short(&full_name), QueueDeleteOptions::default());
            in_time("delete", deleting).await.map(|_| ())
        }
    };
    queues::goodbye(&connection).await;
    deleted
}

/// What of the topology has that name, in full or without the prefix, and its name in full.
fn known(topology: &Topology, name: &str) -> Result<(Thing, String), String> {
    if let Some(queue) = topology.queues().into_iter().find(|queue| queue.is_called(name)) {
        return Ok((Thing::Queue, queue.name));
    }
    let exchange = topology.exchanges().into_iter().find(|exchange| exchange.name == name);
    let exchange = exchange.map(|exchange| (Thing::Exchange, exchange.name));
    exchange.ok_or_else(|| format!("{name} is no exchange or queue of the topology"))
}

/// A conversation in which a refusal costs only the channel.
struct Asking<'a> {
    connection: &'a Connection,
    channel: Channel,
    differences: Vec<Difference>,
}

impl<'a> Asking<'a> {
    async fn new(connection: &'a Connection) -> Result<Self, String> {
        let channel = in_time("open a channel", connection.create_channel()).await?;
        Ok(Self { connection, channel, differences: Vec::new() })
    }

    /// The answer; `None` where it is a difference, which is noted. Errors: anything else.
    async fn ask<T>(
        &mut self,
        question: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<Option<T>, String> {
        let answer = async { Ok(question.await) };
        match in_time("ask the broker", answer).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                let difference = Difference::of(&error).ok_or_else(|| error.to_string())?;
                if !self.differences.contains(&difference) {
                    self.differences.push(difference);
                }
                // The broker has closed the channel over it.
                self.channel = in_time("open a channel", self.connection.create_channel()).await?;
                Ok(None)
            }
        }
    }

    /// Compares arguments and bindings by what the management interface shows.
    async fn look(&mut self, queue: &QueueSpec, management: &Management) -> Result<(), String> {
        // Just gone is missing, the next time.
        let Some(found) = management.queue(&queue.name).await? else { return Ok(()) };
        let durable = found.durable.to_string();
        self.differs(Thing::Queue, &queue.name, "durable", "true", Some(&durable));
        for (argument, wanted) in &queue.arguments {
            let found = found.arguments.get(*argument).map(String::as_str);
            self.differs(Thing::Queue, &queue.name, argument, &wanted.to_string(), found);
        }
        for (argument, found) in &found.arguments {
            if !queue.arguments.iter().any(|(wanted, _)| wanted == argument) {
                self.differs(Thing::Queue, &queue.name, argument, "none", Some(found));
            }
        }
        let bound = management.bindings_of(&queue.name).await?;
        let is_bound =
            |binding: &&Binding| bound.contains(&(binding.exchange.clone(), binding.routing_key.clone()));
        let unbound = queue.bindings.iter().filter(|binding| !is_bound(binding));
        self.differences.extend(unbound.cloned().map(Difference::Unbound));
        // Whether packs reach a queue of ours is its consumer's business.
        if queue.external {
            let packed = queue.packed.iter().filter(is_bound);
            self.differences.extend(packed.cloned().map(Difference::Packed));
        }
        Ok(())
    }

    fn differs(&mut self, thing: Thing, name: &str, argument: &str, wanted: &str, found: Option<&str>) {
        let found = found.unwrap_or("none");
        if wanted != found {
            let [name, argument, wanted, found] = [name, argument, wanted, found].map(str::to_owned);
            self.differences.push(Difference::Differs { thing, name, argument, wanted, found });
        }
    }
}
