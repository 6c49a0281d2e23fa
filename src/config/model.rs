//! The typed configuration that the rest of the program is given. Every value is within its limits and
//! goes with the others; nobody below this point reads the environment or a file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use waybill_gateway::listen::Files;
use waybill_messaging::broker::Tls;

use super::{money::Money, role::Role, url::SecretUrl};

/// Everything that a process of Waybill is told.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) amqp: Amqp,
    /// Sorted, each once, never empty.
    pub(crate) roles: Vec<Role>,
    /// Participants that somebody else runs.
    pub(crate) external: Vec<Role>,
    pub(crate) grpc_addr: SocketAddr,
    /// `None` where the port has no TLS.
    pub(crate) grpc_tls: Option<Files>,
    pub(crate) http_addr: SocketAddr,
    /// `None` where the port has no TLS.
    pub(crate) http_tls: Option<Files>,
    pub(crate) connections: Connections,
    /// Whether ports that other machines can reach are bound without TLS and authentication.
    pub(crate) insecure: bool,
    pub(crate) drain_timeout: Duration,
    /// How long a message may be due before the process is not ready; `None` is for ever.
    pub(crate) ready_max_outbox_age: Option<Duration>,
    /// Whether all sagas are paused before anything is consumed; a flag of `serve`, no setting.
    pub(crate) paused: bool,
    /// Worker threads; `None` means one for two cores.
    pub(crate) threads: Option<usize>,
    pub(crate) log_format: LogFormat,
    pub(crate) gateway: Gateway,
    /// Who may do what, and how much of it.
    pub(crate) auth: waybill_gateway::auth::Settings,
    /// Where its clients were read, and are read again.
    pub(crate) clients_file: Option<PathBuf>,
    pub(crate) relay: Relay,
    pub(crate) consumer: Consumer,
    /// How long a handled message is remembered.
    pub(crate) inbox_retention: Duration,
    pub(crate) saga: Saga,
    pub(crate) order: Order,
    pub(crate) payment: Payment,
    pub(crate) dispatch: Dispatch,
}

/// Whether clients have to say who they are, by a token or a certificate that is verified. Where they do not,
/// everybody who reaches the port may do everything; with a client CA alone, everybody whom it vouches for.
pub(crate) fn has_authentication(config: &Config) -> bool {
    let asks_for_certificates = config.grpc_tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    config.auth.authenticates() || asks_for_certificates
}

impl Config {
    /// Every configured database once, whichever roles this process plays. `common` is that of gateway and saga;
    /// a participant has a name here only with a database of its own.
    pub(crate) fn databases(&self) -> Vec<(&'static str, &SecretUrl)> {
        let mut databases: Vec<(&'static str, &SecretUrl)> = Vec::new();
        for (name, url) in [
            ("common", &self.database.url),
            ("order", &self.order.database_url),
            ("payment", &self.payment.database_url),
            ("dispatch", &self.dispatch.database_url),
        ] {
            if !databases.iter().any(|(_, known)| known.expose() == url.expose()) {
                databases.push((name, url));
            }
        }
        databases
    }
}

/// The database of gateway and saga, and what holds for every database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) url: SecretUrl,
    pub(crate) migrate: bool,
    pub(crate) connections: u32,
}

/// What a connection of a client may be.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pub(crate) handshake_timeout: Duration,
    /// At the same time, on the gRPC port; so is what follows.
    pub(crate) max: usize,
    /// `None` means that it may get as old as it likes.
    pub(crate) max_age: Option<Duration>,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_header_bytes: u32,
    /// Origins whose pages a browser may let in.
    pub(crate) web_origins: Vec<String>,
}

/// The broker.
#[derive(Debug, Clone)]
pub(crate) struct Amqp {
    pub(crate) url: SecretUrl,
    pub(crate) tls: Tls,
    pub(crate) prefix: String,
    pub(crate) queue_type: QueueType,
    pub(crate) delivery_limit: u32,
    pub(crate) declare: bool,
    /// Shows what AMQP does not.
    pub(crate) management_url: Option<SecretUrl>,
}

/// The type of the queues that are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueType {
    Quorum,
    Classic,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

/// The role `gateway`.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// Requests that may wait for a commit.
    pub(crate) queue: usize,
    /// Requests per commit.
    pub(crate) batch: usize,
    pub(crate) committers: usize,
    pub(crate) watch_interval: Duration,
    pub(crate) cancel_wait: Duration,
    pub(crate) max_message_bytes: usize,
    /// Concurrent HTTP/2 streams per connection.
    pub(crate) max_streams: u32,
}

/// Every relay of the process.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) window: usize,
    /// Messages in one AMQP message at most.
    pub(crate) pack: usize,
    pub(crate) handoff: usize,
    pub(crate) lease: Duration,
    pub(crate) sweep_interval: Duration,
    pub(crate) slot_bytes: usize,
    pub(crate) confirm_timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) max_message_bytes: usize,
}

/// Every consumer of the process.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) prefetch: u16,
    pub(crate) batch: usize,
    pub(crate) max_attempts: u32,
    pub(crate) retry_delay: Duration,
    /// Not shorter than `retry_delay`.
    pub(crate) retry_max_delay: Duration,
    pub(crate) handler_timeout: Duration,
}

/// The role `saga`.
#[derive(Debug, Clone)]
pub(crate) struct Saga {
    pub(crate) step_timeout: Duration,
    pub(crate) step_attempts: u32,
    /// For the whole saga.
    pub(crate) timeout: Duration,
    /// Each known to this release.
    pub(crate) versions: Vec<u32>,
    /// One of them.
    pub(crate) begin_version: u32,
    pub(crate) timer_interval: Duration,
    pub(crate) history_retention: Duration,
}

/// The participant `order`.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Its own database, or the common one.
    pub(crate) database_url: SecretUrl,
    pub(crate) blocked_customers: Vec<String>,
}

/// The participant `payment`. Limit and tariff are of one currency.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    /// Its own database, or the common one.
    pub(crate) database_url: SecretUrl,
    pub(crate) credit_limit: Money,
    pub(crate) tariff: Money,
}

/// The participant `dispatch`.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    /// Its own database, or the common one.
    pub(crate) database_url: SecretUrl,
    /// Codes, or prefixes that end in `*`.
    pub(crate) refused_destinations: Vec<String>,
    /// Deliveries per destination; `None` is without limit.
    pub(crate) capacity: Option<u64>,
}
