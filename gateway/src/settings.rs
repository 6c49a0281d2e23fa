//! What an operator may set about the gateway. The program's configuration checks units and ranges; here
//! only the meaning is fixed.

use std::time::Duration;

/// How the gateway works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Requests that wait for their commit, at most; what is beyond is answered `RESOURCE_EXHAUSTED`.
    pub queue: usize,
    /// Requests in one commit at most, and items in flight on one `RequestDispatches` stream.
    pub batch: usize,
    /// Commits at the same time. SQLite has one writer: there more than one gains nothing.
    pub committers: usize,
    /// Pause between two looks at the versions of all dispatches that somebody watches.
    pub watch_interval: Duration,
    /// How long `CancelDispatch` waits for the saga to decide.
    pub cancel_wait: Duration,
    /// How long the inbox remembers what was handled; what died longer ago is replayed with a warning.
    pub inbox_retention: Duration,
    /// A larger request is refused before it is decoded.
    pub max_message_bytes: usize,
    /// Unary calls in flight in this process at most, the same number of streams beside them, so that
    /// watchers never keep requests out, and of both together on one connection.
    pub max_streams: u32,
    /// A client that is silent for this long is asked whether it is there; one of HTTP/1.1, which cannot be asked, is let
    /// go. It may also take this long to send a request that is not gRPC …
    pub keepalive_interval: Duration,
    /// … and after this long without an answer its connection is closed.
    pub keepalive_timeout: Duration,
    /// Headers of one call at most, in bytes; over HTTP/1.1 8 KiB at least.
    pub max_header_bytes: u32,
    /// A connection that is older is told to go once its calls have ended; `None` lets it be.
    pub max_connection_age: Option<Duration>,
    /// Origins whose pages a browser may let in; a request that comes from another page is refused.
    pub web_origins: Vec<String>,
}
