//! Accepts connections and sees them through the TLS handshake. Nobody waits for anybody: each handshake has a task
//! and a deadline of its own, and what finds no place is closed at once instead of being left to hang.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{InvalidMessage, ServerConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Connection, Limits};
use crate::metrics::{Connections, Entry};

/// Handshakes under way at the same time, so that slow ones do not take every place.
const HANDSHAKES: usize = 256;
/// Before accepting is tried again, when the process has no file descriptor left or a connection broke at once.
const PAUSE: Duration = Duration::from_millis(100);
/// A peer that vanished while it was sent a stream over HTTP/1.1 says nothing that would show it, and nobody there can be
/// asked: its system can.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));

pub(super) struct Acceptor {
    port: &'static str,
    ready: mpsc::Sender<Connection>,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    limits: Limits,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    metrics: Connections,
}

impl Acceptor {
    pub(super) fn new(
        port: &'static str,
        ready: mpsc::Sender<Connection>,
        tls: Option<watch::Receiver<Arc<ServerConfig>>>,
        limits: Limits,
        metrics: Connections,
    ) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections));
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES.min(limits.connections)));
        Self { port, ready, tls, limits, places, handshakes, metrics }
    }

    /// Accepts until nobody wants the connections any more.
    pub(super) async fn run(self, listener: TcpListener) {
        let mut is_full = false;
        while !self.ready.is_closed() {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let admitted = self.admit(stream, address).await;
                    if !admitted {
                        self.metrics.entered(Entry::Full);
                        if !is_full {
                            let most = self.limits.connections;
                            tracing::warn!(port = self.port, most, %address, "no room for another connection");
                        }
                    }
                    is_full = !admitted;
                }
                Err(error) => {
                    tracing::warn!(port = self.port, %error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends the connection on its way. `false`: there was no place for it, and it is closed.
    async fn admit(&self, stream: TcpStream, address: SocketAddr) -> bool {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return false };
        // They fail for a connection that is already over, which shows when it is used.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
        let Some(config) = self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow())) else {
            self.metrics.entered(Entry::Accepted);
            let connection = Connection::plain(stream, address, self.limits, self.metrics.open(place));
            // Nobody wants it: the port is being closed.
            let _ = self.ready.send(connection).await;
            return true;
        };
        let Ok(under_way) = Arc::clone(&self.handshakes).try_acquire_owned() else { return false };
        let shaking = Handshake {
            acceptor: config.into(),
            port: self.port,
            address,
            limits: self.limits,
            metrics: self.metrics.clone(),
            ready: self.ready.clone(),
        };
        tokio::spawn(shaking.run(stream, place, under_way));
        true
    }
}

/// One handshake, apart from all others.
struct Handshake {
    acceptor: TlsAcceptor,
    port: &'static str,
    address: SocketAddr,
    limits: Limits,
    metrics: Connections,
    ready: mpsc::Sender<Connection>,
}

impl Handshake {
    async fn run(self, stream: TcpStream, place: OwnedSemaphorePermit, under_way: OwnedSemaphorePermit) {
        let shaken = self.shake(stream).await;
        drop(under_way);
        match shaken {
            Ok(stream) => {
                self.metrics.entered(Entry::Accepted);
                let place = self.metrics.open(place);
                let connection = Connection::tls(stream, self.address, self.limits, place);
                // Nobody wants it: the port is being closed.
                let _ = self.ready.send(connection).await;
            }
            Err((entry, reason)) => {
                self.metrics.entered(entry);
                tracing::debug!(port = self.port, address = %self.address, reason, "no TLS handshake");
            }
        }
    }

    async fn shake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, (Entry, String)> {
        let shaking = self.acceptor.accept(stream);
        match timeout(self.limits.handshake_timeout, shaking).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_plain_text(&error) => Err((Entry::PlainText, "plain text".to_owned())),
            Ok(Err(error)) => Err((Entry::Refused, error.to_string())),
            Err(_) => Err((Entry::Slow, "it took too long".to_owned())),
        }
    }
}

/// Whether what came is no TLS at all, such as HTTP.
fn is_plain_text(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}
