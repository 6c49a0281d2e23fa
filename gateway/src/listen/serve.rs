//! Serves connections: HTTP/2 and HTTP/1.1 on one port, told apart by their first bytes, each within the same limits.
//!
//! tonic's own server would do, but for HTTP/1.1 it leaves open how large the head of a request may be (400 KiB on
//! each connection).

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

use super::{Connection, Listener};
use crate::settings::Settings;

/// Less does not hold what a browser sends, and hyper refuses to have it.
const LEAST_HEAD: usize = 8 * 1_024;

/// How connections are served.
#[derive(Debug)]
pub struct Server<S> {
    builder: auto::Builder<TokioExecutor>,
    service: S,
    max_age: Option<Duration>,
}

impl<S> Server<S> {
    /// Answered by `service`; with the limits of `settings`.
    pub fn new(settings: &Settings, service: S) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_streams)
            .keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout)
            .max_header_list_size(settings.max_header_bytes);
        let head = usize::try_from(settings.max_header_bytes).unwrap_or(LEAST_HEAD).max(LEAST_HEAD);
        builder
            .http1()
            .timer(TokioTimer::new())
            // Between requests as well: of HTTP/1.1 nobody can be asked whether they are there.
            .header_read_timeout(settings.keepalive_interval)
            .max_buf_size(head);
        Self { builder, service, max_age: settings.max_connection_age }
    }

    /// Serves one connection until its client goes. When it is old, or `leave` is cancelled, it ends with the
    /// requests that are under way.
    async fn serve(&self, connection: Connection, leave: &CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let peer = connection.peer().clone();
        let service = self.service.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let serving =
            self.builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service));
        let mut serving = pin!(serving);
        let outcome = tokio::select! {
            outcome = &mut serving => outcome,
            () = too_old(self.max_age, leave) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(error, "a connection has ended");
        }
    }
}

async fn too_old(max_age: Option<Duration>, leave: &CancellationToken) {
    match max_age {
        Some(age) => {
            // However it ends.
            let _ = leave.run_until_cancelled(sleep(age)).await;
        }
        None => leave.cancelled().await,
    }
}

/// Serves whoever comes until `stop`, then closes the port, and returns when every connection has ended.
pub async fn serve<S>(mut listener: Listener, server: Server<S>, stop: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let (server, leave, connections) = (Arc::new(server), CancellationToken::new(), TaskTracker::new());
    let mut stop = pin!(stop);
    loop {
        let connection = tokio::select! {
            () = &mut stop => break,
            connection = listener.accept() => connection,
        };
        let Some(connection) = connection else { break };
        let (server, leave) = (Arc::clone(&server), leave.clone());
        connections.spawn(async move { server.serve(connection, &leave).await });
    }
    drop(listener);
    leave.cancel();
    connections.close();
    connections.wait().await;
}
