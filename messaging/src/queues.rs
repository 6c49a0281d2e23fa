//! The queues as an operator sees them: whether each is there, as it should be, and answers.
//!
//! A quorum queue can be left without a leader: RabbitMQ 3.10 does that to one that was declared just before
//! its node was killed. Such a queue is there and can be declared again, but whatever reads from it or writes
//! to it waits in vain, for ever. The broker counts it as empty; only a read tells it from an empty queue.

mod counter;

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use lapin::{
    BasicProperties, Channel, Connection, Error, ErrorKind, Event,
    options::{
        BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions,
    },
};
use tokio::time::timeout;

use crate::{
    broker::{Server, in_time},
    topology::{Difference, Exchange, QueueSpec, Topology, short},
};

pub use self::counter::{Counted, Counter};

/// A read that takes longer finds nobody: an empty queue answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same before a queue is deleted, so that a leader who is just being elected is waited for.
const LONG_PATIENCE: Duration = Duration::from_secs(20);
/// Deleting a queue without a leader takes the broker 5 s.
const DELETION: Duration = Duration::from_mins(1);

/// How a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Reachable {
        /// Messages that wait to be delivered.
        ready: u32,
        /// Subscriptions.
        consumers: u32,
    },
    /// It is not there.
    Missing,
    /// It is there, and nobody answers for it.
    NoLeader,
    /// It was declared otherwise than the configuration says, and how.
    Differs(Difference),
    /// Our user may not read it; what the broker said.
    Refused(String),
}

/// A queue of the topology, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name without the prefix, as `mend` takes it.
    pub name: String,
    /// Its name on the broker.
    pub full_name: String,
    /// How it is.
    pub state: State,
}

/// Looks at every queue of the topology. Takes nothing from any of them, and declares none that is missing.
///
/// Errors: the broker is away, or does not let us look.
pub async fn inspect(server: &Server, topology: &Topology) -> Result<Vec<Found>, String> {
    let connection = connect(server).await?;
    let queues = topology.queues();
    let looks = queues.iter().map(|queue| look(&connection, queue, PATIENCE));
    let found = join_all(looks).await.into_iter().collect();
    goodbye(&connection).await;
    found
}

/// Deletes a queue that has no leader, with what it held, and declares it again. Returns how it is then.
///
/// `name`: without the prefix. Errors: no queue of ours has that name; it is in any other state, and was left
/// alone; the broker is away or refuses.
pub async fn mend(server: &Server, topology: &Topology, name: &str) -> Result<State, String> {
    let queue = topology.queues().into_iter().find(|queue| queue.short == name);
    let queue = queue.ok_or_else(|| format!("{name} is no queue of the topology"))?;
    let connection = connect(server).await?;
    let state = look(&connection, &queue, LONG_PATIENCE).await?.state;
    if state != State::NoLeader {
        goodbye(&connection).await;
        return Err(format!("{name} has a leader or is not there; it was left alone"));
    }
    // On a new connection: the read that got no answer still holds up the old one.
    goodbye(&connection).await;
    let connection = connect(server).await?;
    let channel = in_time("open a channel", connection.create_channel()).await?;
    match timeout(DELETION, channel.queue_delete(short(&queue.name), QueueDeleteOptions::default())).await {
        Ok(deleted) => deleted.map_err(|error| format!("delete {name}: {error}"))?,
        Err(_) => return Err(format!("delete {name}: no answer in {} s", DELETION.as_secs())),
    };
    in_time("declare", queue.declare(&channel)).await?;
    let state = look(&connection, &queue, LONG_PATIENCE).await?.state;
    goodbye(&connection).await;
    Ok(state)
}

/// Whether we may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// Nothing stands against it, or there is no exchange to publish to.
    Allowed,
    /// Our user may not; what the broker said.
    Refused(String),
    /// Nobody can: the broker has raised an alarm and reads nothing from those who publish. What it said.
    Blocked(String),
}

/// Publishes what no queue takes to the exchange of commands.
///
/// Errors: the broker is away.
pub async fn may_publish(server: &Server, topology: &Topology) -> Result<Publishing, String> {
    let connection = connect(server).await?;
    let mut events = connection.events_listener();
    let blocked = async {
        while let Some(event) = events.next().await {
            if let Event::ConnectionBlocked(why) = event {
                return why;
            }
        }
        std::future::pending().await
    };
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let (exchange, key) =
        (topology.exchange(Exchange::Dispatch), format!("waybill.doctor.{}", uuid::Uuid::now_v7()));
    let publishing = async {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        // Twice: the broker still reads and confirms the first message, and only then stops reading.
        for _ in 0..2 {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(short(&exchange), short(&key), options, &[], properties).await?.await?;
        }
        Ok(())
    };
    let published = tokio::select! {
        biased;
        // No goodbye: nothing can be written any more.
        why = blocked => return Ok(Publishing::Blocked(why)),
        published = in_time("publish", async { Ok(publishing.await) }) => published?,
    };
    goodbye(&connection).await;
    match published {
        Err(error) if code(&error) == 403 => Ok(Publishing::Refused(error.to_string())),
        Err(error) if code(&error) != 404 => Err(format!("publish: {error}")),
        Ok(()) | Err(_) => Ok(Publishing::Allowed),
    }
}

/// Whether the queue of that full name answers a read. Over a connection of its own: a read without an answer
/// costs the connection a minute later.
pub(crate) async fn answers(server: &Server, full_name: &str) -> Result<bool, String> {
    let connection = connect(server).await?;
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let answer = reads(&channel, full_name, PATIENCE).await;
    goodbye(&connection).await;
    answer.map_err(|error| error.to_string())
}

async fn look(connection: &Connection, queue: &QueueSpec, patience: Duration) -> Result<Found, String> {
    let state = state(connection, queue, patience).await;
    let state = state.map_err(|error| format!("look at {}: {error}", queue.short))?;
    Ok(Found { name: queue.short.clone(), full_name: queue.name.clone(), state })
}

async fn state(connection: &Connection, queue: &QueueSpec, patience: Duration) -> Result<State, String> {
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let Ok(asked) = timeout(patience, queue.ask(&channel)).await else { return Ok(State::NoLeader) };
    let (ready, consumers) = match asked {
        Ok(queue) => (queue.message_count(), queue.consumer_count()),
        Err(error) if code(&error) == 404 => return Ok(State::Missing),
        Err(error) => return Err(error.to_string()),
    };
    // It is there, so that this creates nothing; it only compares. On a channel that it may cost.
    let comparing = in_time("open a channel", connection.create_channel()).await?;
    match timeout(patience, queue.create(&comparing)).await {
        // Who may not declare may look all the same.
        Ok(Err(error)) if code(&error) == 403 => {}
        Ok(Err(error)) => match Difference::of(&error) {
            Some(difference) => return Ok(State::Differs(difference)),
            None => return Err(error.to_string()),
        },
        Ok(Ok(())) => {}
        Err(_) => return Ok(State::NoLeader),
    }
    // Whoever counts messages or consumers is a leader. Nothing at all is what the broker says without one.
    if ready > 0 || consumers > 0 {
        return Ok(State::Reachable { ready, consumers });
    }
    let answers = match reads(&channel, &queue.name, patience).await {
        Ok(answers) => answers,
        Err(error) if code(&error) == 403 => return Ok(State::Refused(error.to_string())),
        Err(error) => return Err(error.to_string()),
    };
    Ok(if answers { State::Reachable { ready, consumers } } else { State::NoLeader })
}

/// Whether somebody answers a read. A message that is there after all goes back where it was.
async fn reads(channel: &Channel, full_name: &str, patience: Duration) -> Result<bool, Error> {
    let reading = channel.basic_get(short(full_name), BasicGetOptions::default());
    match timeout(patience, reading).await {
        Ok(Ok(message)) => {
            if let Some(message) = message {
                let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                // Not by its `acker`, which may never answer (see `Consumer::handle`).
                channel.basic_nack(message.delivery_tag, options).await?;
            }
            Ok(true)
        }
        // What the broker says after it has waited for a leader itself.
        Ok(Err(error)) if code(&error) == 541 => Ok(false),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

pub(crate) async fn connect(server: &Server) -> Result<Connection, String> {
    server.connect("waybill command line".to_owned()).await
}

pub(crate) async fn goodbye(connection: &Connection) {
    // A channel whose read got no answer holds up the goodbye; the broker notices by itself.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "bye".into())).await;
}

/// The broker's reply code; 0 for errors that are not the broker's.
pub(crate) fn code(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        _ => 0,
    }
}
