//! A connection to RabbitMQ that somebody always looks after.
//!
//! lapin's own recovery is off: it leaves confirms hanging and consumers silent (see ARCHITECTURE.md,
//! "Why no auto-recovery"). Here a lost connection fails everything on it at once, and one supervisor
//! connects again, with growing, jittered pauses, for ever. Publishing and consuming use two brokers of
//! this kind, because a blocked connection stops every write on it, acknowledgements included.

mod server;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::server::{Server, Tls};
use crate::{
    backoff::Backoff,
    health::{Health, Status},
    management::Management,
    queues,
    topology::{self, Difference, Look, Queue, QueueSpec, Topology},
};

pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };

/// Where the broker is and what is declared there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker.
    pub server: Server,
    /// What is declared after every connect.
    pub topology: Topology,
    /// Whether we declare it. If not, somebody else does, and we only look whether they have.
    pub declare: bool,
    /// What then shows arguments and bindings too.
    pub management: Option<Management>,
}

/// What is on the broker, in the table of parts: up when it is as the configuration says.
const TOPOLOGY: &str = "topology";

/// A supervised connection. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Broker {
    settings: Arc<Settings>,
    link: watch::Receiver<Option<Link>>,
}

/// One connection of a [`Broker`], as long as it lasts. Cheap to clone; all clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    connection: Arc<Connection>,
    given_up: CancellationToken,
    over: CancellationToken,
    /// `None` while the broker has blocked it, else since when it has not.
    unblocked: watch::Receiver<Option<Instant>>,
    /// When the last confirm came, on any channel.
    answered: Arc<Mutex<Instant>>,
}

/// The half of a [`Broker`] that keeps it connected; runs until it is told to stop.
pub struct Supervisor {
    settings: Arc<Settings>,
    link: watch::Sender<Option<Link>>,
    name: &'static str,
    health: Health,
}

impl Broker {
    /// A broker and its supervisor. `name` is the connection's name on the broker and the part's name in
    /// `health`.
    pub fn new(settings: Settings, name: &'static str, health: Health) -> (Self, Supervisor) {
        let settings = Arc::new(settings);
        let (sender, receiver) = watch::channel(None);
        let supervisor = Supervisor { settings: Arc::clone(&settings), link: sender, name, health };
        (Self { settings, link: receiver }, supervisor)
    }

    /// Exchange and queue names.
    pub fn topology(&self) -> &Topology {
        &self.settings.topology
    }

    /// Makes sure that a queue is there, or the one of its dead letters: declares it, or looks whether others have.
    /// Errors: it is not there, differs, or the broker is away.
    pub(crate) async fn ensure(&self, channel: &Channel, queue: Queue, dead: bool) -> Result<(), String> {
        let Settings { topology, declare, .. } = &*self.settings;
        let ensuring = async {
            if *declare {
                return topology.declare_for(channel, queue, dead).await;
            }
            topology.spec(queue, dead).ask(channel).await.map(|_| ())
        };
        let outcome = in_time("declare the queue", async { Ok(ensuring.await) }).await?;
        outcome.map_err(|error| match Difference::of(&error) {
            Some(difference) => difference.to_string(),
            None => format!("declare the queue: {error}"),
        })
    }

    /// The queue of a consumer that may ask for packs: where that is ours to declare and it is we who consume it.
    pub(crate) fn packs(&self, queue: Queue) -> Option<QueueSpec> {
        let spec = self.settings.topology.spec(queue, false);
        (self.settings.declare && !spec.external).then_some(spec)
    }

    /// Whether a queue answers, asked over a connection of its own.
    pub(crate) async fn answers(&self, queue: &str) -> Result<bool, String> {
        queues::answers(&self.settings.server, queue).await
    }

    /// The connection, as soon as there is one. `None` once the supervisor has stopped.
    pub(crate) async fn link(&self) -> Option<Link> {
        self.link.clone().wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Link {
    /// A new channel. Errors: it could not be opened in time; the connection is given up for that.
    pub(crate) async fn channel(&self) -> Result<Channel, String> {
        let opened = in_time("open a channel", self.connection.create_channel()).await;
        // Whatever its supervisor has heard of it.
        opened.inspect_err(|_| self.give_up())
    }

    /// Says that the connection is of no use, although it may be there: the broker does not answer on it. The
    /// supervisor then makes a new one.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Waits until the connection has ended. Not everything that lapin has in hand then is told so.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Notes that a confirm has come.
    pub(crate) fn has_answered(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether a confirm has come since `moment`.
    pub(crate) fn has_answered_since(&self, moment: Instant) -> bool {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) > moment
    }

    /// Waits until `limit` has passed since `moment`. The time in which the broker has blocked the connection
    /// does not count, because nothing can be written then; once all is to stop it does.
    pub(crate) async fn overdue(&self, moment: Instant, limit: Duration, stop: &CancellationToken) {
        let mut unblocked = self.unblocked.clone();
        loop {
            let since = *unblocked.borrow_and_update();
            let Some(since) = since else {
                tokio::select! {
                    // The connection is over, and whoever uses it is told.
                    changed = unblocked.changed() => if changed.is_err() { return },
                    () = stop.cancelled() => return sleep(limit).await,
                }
                continue;
            };
            tokio::select! {
                () = sleep_until(moment.max(since) + limit) => return,
                Ok(()) = unblocked.changed() => {}
            }
        }
    }
}

/// Runs one exchange with the broker. Errors: what the broker says, or that it says nothing.
pub(crate) async fn in_time<T>(
    what: &str,
    exchange: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, String> {
    match timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(answer) => answer.map_err(|error| format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer in {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

impl Supervisor {
    /// Keeps the connection up until `stop`, then closes it.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                connected = self.connect() => connected,
            };
            let reason = match connected {
                Ok(connection) => {
                    failures = 0;
                    self.watch(connection, &stop).await
                }
                Err(reason) => reason,
            };
            if stop.is_cancelled() {
                break;
            }
            failures += 1;
            self.health.set(self.name, Status::Down(reason));
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE.delay(failures)) => {}
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let connection = self.settings.server.connect(format!("waybill {}", self.name)).await?;
        let prepared = if self.settings.declare {
            self.declare(&connection).await
        } else {
            self.look(&connection).await
        };
        if let Err(reason) = prepared {
            // Said at once: the broker need not find out that nobody is there any more.
            let _ = timeout(Duration::from_secs(2), connection.close(200, "bye".into())).await;
            return Err(reason);
        }
        self.health.set(TOPOLOGY, Status::Up);
        Ok(connection)
    }

    /// Declares the topology. Errors: what differs, in words, which only an operator can mend; or the broker is away.
    async fn declare(&self, connection: &Connection) -> Result<(), String> {
        let channel = in_time("open a channel", connection.create_channel()).await?;
        let declaring = async { Ok(self.settings.topology.declare(&channel).await) };
        let Err(error) = in_time("declare topology", declaring).await? else {
            return in_time("close a channel", channel.close(200, "declared".into())).await;
        };
        match Difference::of(&error) {
            Some(difference) => Err(self.differs(&[difference])),
            None => Err(format!("declare topology: {error}")),
        }
    }

    /// Looks whether others have declared it. Creates nothing.
    async fn look(&self, connection: &Connection) -> Result<(), String> {
        let look = Look { declaring: false, management: self.settings.management.as_ref() };
        let checked = topology::compare(connection, &self.settings.topology, look).await?;
        if checked.differences.is_empty() { Ok(()) } else { Err(self.differs(&checked.differences)) }
    }

    fn differs(&self, differences: &[Difference]) -> String {
        let reason = topology::in_words(differences);
        self.health.set(TOPOLOGY, Status::Down(reason.clone()));
        reason
    }

    /// Offers the connection until it breaks or all is to stop, and says why it ended.
    async fn watch(&self, connection: Connection, stop: &CancellationToken) -> String {
        // Exactly one listener: two would take each other's events.
        let mut events = Box::pin(connection.events_listener());
        let (blocking, unblocked) = watch::channel(Some(Instant::now()));
        let connection = Arc::new(connection);
        let (given_up, over) = (CancellationToken::new(), CancellationToken::new());
        let _over = over.clone().drop_guard();
        let link = Link {
            connection: Arc::clone(&connection),
            given_up: given_up.clone(),
            over,
            unblocked,
            answered: Arc::new(Mutex::new(Instant::now())),
        };
        self.health.set(self.name, Status::Up);
        self.link.send_replace(Some(link));
        let reason = loop {
            let event = tokio::select! {
                () = stop.cancelled() => None,
                () = given_up.cancelled() => break "no answer".to_owned(),
                event = events.next() => event,
            };
            match event {
                Some(Event::ConnectionBlocked(why)) => {
                    blocking.send_replace(None);
                    self.health.set(self.name, Status::Down(format!("blocked by the broker: {why}")));
                }
                Some(Event::ConnectionUnblocked) => {
                    blocking.send_replace(Some(Instant::now()));
                    self.health.set(self.name, Status::Up);
                }
                Some(Event::Error(error)) if !connection.status().connected() => break error.to_string(),
                // A channel's error: the one who uses the channel sees it.
                Some(_) => {}
                None => break "stopped".to_owned(),
            }
        };
        self.link.send_replace(None);
        // A broken connection does not answer the goodbye.
        let _ = timeout(Duration::from_secs(2), connection.close(200, "bye".into())).await;
        reason
    }
}
