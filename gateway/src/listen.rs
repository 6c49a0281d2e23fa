//! What listens: the one way in for gRPC and HTTP, with TLS or without.
//!
//! A connection is accepted, given a place, and shakes hands in a task of its own (`accept`); what comes out is a
//! [`Connection`], which knows its [`Peer`], and is served (`serve`). Certificates are swapped while all this runs
//! (`certificates`).

mod accept;
mod certificates;
mod connection;
mod serve;

use std::time::Duration;

use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::AbortOnDropHandle;

use self::accept::Acceptor;
pub use self::{
    certificates::{Certificates, Files, Protocols},
    connection::{Connection, Peer},
    serve::{Server, serve},
};
use crate::metrics::Connections;

/// Connections that have shaken hands and wait to be served.
const READY: usize = 64;

/// How much a port takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; one more is closed at once.
    pub connections: usize,
    /// How long a TLS handshake may take, and after it the opening.
    pub handshake_timeout: Duration,
    /// Bytes that a peer has to send within that time, whatever they are; 0 asks for none. A peer that says nothing
    /// would otherwise keep its place for ever.
    pub opening_bytes: usize,
}

/// A port that connections come from. Closed when dropped; connections that were handed out stay.
#[derive(Debug)]
pub struct Listener {
    ready: mpsc::Receiver<Connection>,
    _accepting: AbortOnDropHandle<()>,
    _refreshing: Option<AbortOnDropHandle<()>>,
}

impl Listener {
    /// Begins to accept. `port`: its name in logs and metrics. With certificates every connection is TLS.
    pub fn new(
        port: &'static str,
        listener: TcpListener,
        certificates: Option<Certificates>,
        limits: Limits,
    ) -> Self {
        let (sender, ready) = mpsc::channel(READY);
        let current = certificates.as_ref().map(Certificates::current);
        let refreshing = certificates
            .map(|certificates| AbortOnDropHandle::new(tokio::spawn(certificates.keep_fresh(port))));
        let acceptor = Acceptor::new(port, sender, current, limits, Connections::new(port));
        let accepting = AbortOnDropHandle::new(tokio::spawn(acceptor.run(listener)));
        Self { ready, _accepting: accepting, _refreshing: refreshing }
    }

    /// The next connection. `None`: there will be no more.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }
}
