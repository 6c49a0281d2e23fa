//! A broker that does what a test says and nothing else. It speaks AMQP frames, takes every declaration,
//! and leaves every publication unanswered until the test answers it: late, out of order, many at once,
//! with a return or never. What a real broker does once in a year happens here at one exact point.

mod line;
mod session;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

pub use self::line::{Line, Publication, Subscription};

/// A running fake broker. Every connection ends when it is dropped.
pub struct FakeBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    ended: CancellationToken,
}

/// What clients have said, in their order.
pub struct Heard {
    /// Whole messages.
    pub publications: mpsc::UnboundedReceiver<Publication>,
    /// Asked for by `basic.consume`, and not answered until the test does.
    pub subscriptions: mpsc::UnboundedReceiver<Subscription>,
    /// Of deliveries.
    pub acknowledgements: mpsc::UnboundedReceiver<Acknowledgement>,
    /// Connections and channels of which the client knows now that the broker has closed them.
    pub closed: mpsc::UnboundedReceiver<(u64, u16)>,
}

/// A `basic.ack` of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which connection, from 0.
    pub connection: u64,
    /// Which channel of it.
    pub channel: u16,
    /// Which delivery.
    pub tag: u64,
    /// Whether also every delivery before it.
    pub multiple: bool,
}

/// What the connections of one broker share.
struct Shared {
    /// Routing keys whose messages are confirmed without being asked.
    confirmed: RwLock<HashSet<String>>,
    /// Why the broker reads nothing from those who publish.
    blocked: watch::Sender<Option<String>>,
    connections: watch::Sender<usize>,
    publications: mpsc::UnboundedSender<Publication>,
    subscriptions: mpsc::UnboundedSender<Subscription>,
    acknowledgements: mpsc::UnboundedSender<Acknowledgement>,
    closed: mpsc::UnboundedSender<(u64, u16)>,
}

impl FakeBroker {
    /// Listens at a free port.
    pub async fn start() -> (Self, Heard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (publications, heard_publications) = mpsc::unbounded_channel();
        let (subscriptions, heard_subscriptions) = mpsc::unbounded_channel();
        let (acknowledgements, heard_acknowledgements) = mpsc::unbounded_channel();
        let (closed, heard_closed) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            confirmed: RwLock::default(),
            blocked: watch::Sender::new(None),
            connections: watch::Sender::new(0),
            publications,
            subscriptions,
            acknowledgements,
            closed,
        });
        let ended = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), ended.clone()));
        let heard = Heard {
            publications: heard_publications,
            subscriptions: heard_subscriptions,
            acknowledgements: heard_acknowledgements,
            closed: heard_closed,
        };
        (Self { address, shared, ended }, heard)
    }

    /// Where it is. No heartbeats: it sends none.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f?heartbeat=0", self.address)
    }

    /// From now on a message with this routing key is confirmed as soon as it is there.
    pub fn confirm(&self, routing_key: &str) {
        let mut confirmed = self.shared.confirmed.write().unwrap_or_else(PoisonError::into_inner);
        confirmed.insert(routing_key.to_owned());
    }

    /// Reads nothing any more from connections that publish, and says so to them.
    pub fn block(&self, reason: &str) {
        self.shared.blocked.send_replace(Some(reason.to_owned()));
    }

    /// Reads again.
    pub fn unblock(&self) {
        self.shared.blocked.send_replace(None);
    }

    /// How many connections are open, now and at every change.
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.shared.connections.subscribe()
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, ended: CancellationToken) {
    for connection in 0_u64.. {
        let accepted = ended.run_until_cancelled(listener.accept()).await;
        let Some(Ok((stream, _))) = accepted else { return };
        let (line, to_write) = Line::new(connection, ended.child_token());
        tokio::spawn(session::serve(stream, line, to_write, Arc::clone(&shared)));
    }
}

impl Shared {
    fn is_confirmed(&self, routing_key: &str) -> bool {
        self.confirmed.read().unwrap_or_else(PoisonError::into_inner).contains(routing_key)
    }
}
