//! One connection as it is served: its bytes, who is at the other end, and the place that it takes.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::Limits;
use crate::metrics::Place;

/// Who is at the other end of a connection. Every request to the gateway has it among its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its certificate, as DER, and those that vouch for it, in the order in which they came. Verified against the
    /// port's client CA; empty on a port that asks for none.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// A connection, open until it is dropped.
#[derive(Debug)]
pub struct Connection {
    io: Either<TcpStream, TlsStream<TcpStream>>,
    peer: Peer,
    /// Until the peer has said enough.
    opening: Option<Opening>,
    _place: Place,
}

/// What a peer has to have sent by when.
#[derive(Debug)]
struct Opening {
    deadline: Pin<Box<Sleep>>,
    missing: usize,
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, address: SocketAddr, limits: Limits, place: Place) -> Self {
        Self::new(Either::Left(stream), Peer { address, certificates: Arc::new([]) }, limits, place)
    }

    pub(super) fn tls(
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        limits: Limits,
        place: Place,
    ) -> Self {
        // Verified: without a client CA no certificate is asked for, and with one a handshake fails without.
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
        Self::new(Either::Right(stream), Peer { address, certificates }, limits, place)
    }

    fn new(io: Either<TcpStream, TlsStream<TcpStream>>, peer: Peer, limits: Limits, place: Place) -> Self {
        let deadline = || Box::pin(sleep(limits.handshake_timeout));
        let opening = (limits.opening_bytes > 0)
            .then(|| Opening { deadline: deadline(), missing: limits.opening_bytes });
        Self { io, peer, opening, _place: place }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(opening) = &mut self.opening else { return read };
        if read.is_pending() && opening.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        opening.missing = opening.missing.saturating_sub(buf.filled().len() - before);
        if opening.missing == 0 {
            self.opening = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
