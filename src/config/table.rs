//! The one table of settings. Reading, checking, printing and documenting the configuration all go by
//! it: a setting that is not here does not exist.

use std::time::Duration;

use super::setting::{Kind, Setting};

const DATABASES: &[&str] = &["sqlite:", "postgres://", "postgresql://"];
const BROKERS: &[&str] = &["amqp://", "amqps://"];
const KEYS: &[&str] = &["https://", "http://", "file:"];
const LIMIT: Kind = Kind::OptionalCount { min: 1, max: 1_000_000 };
const MANAGEMENT: &[&str] = &["http://", "https://"];
const OWN_DATABASE: Kind = Kind::Url { schemes: DATABASES, optional: true };

/// Every setting, grouped as in the documentation.
#[rustfmt::skip]
pub(crate) static SETTINGS: &[Setting] = &[
    row("database.url", "WAYBILL_DATABASE_URL", "sqlite://data/waybill.db", Kind::Url { schemes: DATABASES, optional: false },
        "Database of gateway, saga and every participant without one of its own"),
    row("database.migrate", "WAYBILL_DATABASE_MIGRATE", "true", Kind::Switch,
        "Whether `serve` brings the databases up to date before it starts"),
    row("database.connections", "WAYBILL_DATABASE_CONNECTIONS", "16", count(1, 200),
        "Connections per database and process"),
    row("roles", "WAYBILL_ROLES", "gateway,relay,saga,order,payment,dispatch", Kind::Roles,
        "Roles that this process plays"),
    row("drain_timeout", "WAYBILL_DRAIN_TIMEOUT", "30s", time(Duration::from_millis(100), HOUR),
        "How long stopping may take before what is left is abandoned"),
    row("runtime.threads", "WAYBILL_RUNTIME_THREADS", "0", count(0, 1_024),
        "Worker threads; 0 means one for two cores"),
    row("external", "WAYBILL_EXTERNAL", "", Kind::Participants,
        "Participants that somebody else runs: their messages always travel alone"),
    row("log.format", "WAYBILL_LOG_FORMAT", "auto", Kind::Choice(&["auto", "text", "json"]),
        "How log lines look; `auto` is text on a terminal and JSON elsewhere"),
    row("http.addr", "WAYBILL_HTTP_ADDR", "127.0.0.1:9464", Kind::Address,
        "Address of the health endpoints and of `/metrics`"),
    row("http.tls_certificate", "WAYBILL_HTTP_TLS_CERTIFICATE", "", Kind::File,
        "Certificate of that port and those that vouch for it; with it the port is TLS"),
    row("http.tls_key", "WAYBILL_HTTP_TLS_KEY", "", Kind::File,
        "Private key of that certificate"),
    row("http.tls_client_ca", "WAYBILL_HTTP_TLS_CLIENT_CA", "", Kind::File,
        "CA whose certificate every client of that port has to have; nothing asks for none"),
    row("ready.max_outbox_age", "WAYBILL_READY_MAX_OUTBOX_AGE", "none", Kind::OptionalTime { min: SECOND, max: DAY },
        "How long a message may be due in an outbox of this process before the process is not ready; `none` is for ever"),
    row("grpc.addr", "WAYBILL_GRPC_ADDR", "127.0.0.1:50051", Kind::Address,
        "Address of the gRPC services, and of the same over gRPC-Web and as HTTP with JSON"),
    row("grpc.tls_certificate", "WAYBILL_GRPC_TLS_CERTIFICATE", "", Kind::File,
        "Certificate of that port and those that vouch for it; with it the port is TLS"),
    row("grpc.tls_key", "WAYBILL_GRPC_TLS_KEY", "", Kind::File,
        "Private key of that certificate"),
    row("grpc.tls_client_ca", "WAYBILL_GRPC_TLS_CLIENT_CA", "", Kind::File,
        "CA whose certificate every client of that port has to have; nothing asks for none"),
    row("grpc.max_connections", "WAYBILL_GRPC_MAX_CONNECTIONS", "1024", count(1, 1_000_000),
        "Connections at the same time; one more is closed at once"),
    row("grpc.max_connection_age", "WAYBILL_GRPC_MAX_CONNECTION_AGE", "0s", time(Duration::ZERO, DAY),
        "Age at which a connection is told to end once its calls have; 0s means never"),
    row("grpc.keepalive_interval", "WAYBILL_GRPC_KEEPALIVE_INTERVAL", "30s", time(SECOND, HOUR),
        "How long a client may be silent before it is asked whether it is there; over HTTP/1.1, before it is let go"),
    row("grpc.keepalive_timeout", "WAYBILL_GRPC_KEEPALIVE_TIMEOUT", "10s", time(Duration::from_millis(100), HOUR),
        "How long it may take to answer that before its connection is closed"),
    row("grpc.max_header_bytes", "WAYBILL_GRPC_MAX_HEADER_BYTES", "16384", count(1_024, 1_048_576),
        "Headers of one call, in bytes, at most; over HTTP/1.1 8192 at least"),
    row("grpc.web_origins", "WAYBILL_GRPC_WEB_ORIGINS", "", Kind::Origins,
        "Origins whose pages may use that port from a browser; a request from any other page is refused"),
    row("tls.handshake_timeout", "WAYBILL_TLS_HANDSHAKE_TIMEOUT", "5s", time(Duration::from_millis(10), MINUTE),
        "How long a TLS handshake may take on either port, and after it the opening of the protocol"),
    row("insecure", "WAYBILL_INSECURE", "false", Kind::Switch,
        "Whether `serve` binds ports that other machines can reach without TLS and authentication"),

    row("amqp.url", "WAYBILL_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f", Kind::Url { schemes: BROKERS, optional: false },
        "The broker"),
    row("amqp.tls_ca", "WAYBILL_AMQP_TLS_CA", "", Kind::File,
        "CA of the broker's certificate, for amqps://; nothing means those that the system trusts"),
    row("amqp.tls_certificate", "WAYBILL_AMQP_TLS_CERTIFICATE", "", Kind::File,
        "Our own certificate for the broker and those that vouch for it, for amqps://"),
    row("amqp.tls_key", "WAYBILL_AMQP_TLS_KEY", "", Kind::File,
        "Private key of that certificate"),
    row("amqp.prefix", "WAYBILL_AMQP_PREFIX", "waybill.", Kind::Name { max: 64 },
        "Stands before the name of every exchange and queue"),
    row("amqp.queue_type", "WAYBILL_AMQP_QUEUE_TYPE", "quorum", Kind::Choice(&["quorum", "classic"]),
        "Type of the queues that are declared"),
    row("amqp.declare", "WAYBILL_AMQP_DECLARE", "true", Kind::Switch,
        "Whether exchanges, queues and bindings are declared; if not, others do, and no process is ready before they have"),
    row("amqp.management_url", "WAYBILL_AMQP_MANAGEMENT_URL", "", Kind::Url { schemes: MANAGEMENT, optional: true },
        "The broker's management interface, which shows what AMQP does not (bindings, leaders, policies); user and password are those of `amqp.url` unless it has its own"),
    row("amqp.delivery_limit", "WAYBILL_AMQP_DELIVERY_LIMIT", "20", count(1, 100_000),
        "Deliveries of one message before a quorum queue takes it for dead"),

    row("gateway.queue", "WAYBILL_GATEWAY_QUEUE", "1024", count(1, 1_000_000),
        "Requests that may wait for a commit; past it they are answered RESOURCE_EXHAUSTED"),
    row("gateway.batch", "WAYBILL_GATEWAY_BATCH", "256", count(1, 4_096),
        "Requests committed in one transaction, at most"),
    row("gateway.committers", "WAYBILL_GATEWAY_COMMITTERS", "2", count(1, 64),
        "Transactions that commit requests at the same time"),
    row("gateway.watch_interval", "WAYBILL_GATEWAY_WATCH_INTERVAL", "50ms", time(MILLISECOND, MINUTE),
        "How often a watched dispatch is looked at, for what another process has moved"),
    row("gateway.cancel_wait", "WAYBILL_GATEWAY_CANCEL_WAIT", "5s", time(MILLISECOND, Duration::from_mins(5)),
        "How long a cancel request waits for the saga's answer"),
    row("gateway.max_message_bytes", "WAYBILL_GATEWAY_MAX_MESSAGE_BYTES", "65536", count(1_024, 16_777_216),
        "Largest gRPC request, in bytes"),
    row("gateway.max_streams", "WAYBILL_GATEWAY_MAX_STREAMS", "1024", count(1, 1_000_000),
        "HTTP/2 streams of one connection at the same time; calls of all connections, and as many streams, past which they are \
         answered RESOURCE_EXHAUSTED"),

    row("auth.clients_file", "WAYBILL_AUTH_CLIENTS_FILE", "", Kind::File,
        "TOML file of the clients that are known by name, with their credentials and scopes"),
    row("auth.jwt_issuer", "WAYBILL_AUTH_JWT_ISSUER", "", Kind::Name { max: 500 },
        "Issuer whose JWTs are accepted (`iss`); nothing means that none are"),
    row("auth.jwt_audience", "WAYBILL_AUTH_JWT_AUDIENCE", "", Kind::Name { max: 500 },
        "Audience that a JWT has to be for (`aud`)"),
    row("auth.jwt_keys", "WAYBILL_AUTH_JWT_KEYS", "", Kind::Url { schemes: KEYS, optional: true },
        "Where the issuer publishes its keys, as a JWK set; `http` is for this machine only"),
    row("auth.jwt_leeway", "WAYBILL_AUTH_JWT_LEEWAY", "30s", time(Duration::ZERO, Duration::from_mins(5)),
        "How far the issuer's clock may be off, for `exp` and `nbf`"),
    row("auth.jwt_refresh", "WAYBILL_AUTH_JWT_REFRESH", "10m", time(SECOND, DAY),
        "How often the issuer's keys are read; a token signed with a new one has them read at once"),
    row("auth.jwt_own_only", "WAYBILL_AUTH_JWT_OWN_ONLY", "false", Kind::Switch,
        "Whether clients with a JWT find only the dispatches that they requested themselves"),

    row("limits.client_rate", "WAYBILL_LIMITS_CLIENT_RATE", "none", LIMIT,
        "Requests a second of each client who says who they are; each message of a stream is one"),
    row("limits.client_in_flight", "WAYBILL_LIMITS_CLIENT_IN_FLIGHT", "512", LIMIT,
        "Requests of each such client that are not answered yet, and as many streams beside them"),
    row("limits.address_rate", "WAYBILL_LIMITS_ADDRESS_RATE", "none", LIMIT,
        "Requests a second of each peer address, where nobody has to say who they are"),
    row("limits.address_in_flight", "WAYBILL_LIMITS_ADDRESS_IN_FLIGHT", "none", LIMIT,
        "Requests of each peer address that are not answered yet, and as many streams, likewise"),

    row("relay.window", "WAYBILL_RELAY_WINDOW", "128", count(1, 8_192),
        "Messages published to one queue and not yet confirmed, at most"),
    row("relay.pack", "WAYBILL_RELAY_PACK", "64", count(1, 1_024),
        "Messages to one routing key that travel as one AMQP message, at most; 1 means that each travels alone"),
    row("relay.handoff", "WAYBILL_RELAY_HANDOFF", "8192", count(1, 1_000_000),
        "Committed outbox messages for one queue held in memory for publishing; past it they wait in their table"),
    row("relay.lease", "WAYBILL_RELAY_LEASE", "30s", time(SECOND, HOUR),
        "How long a claimed outbox message is kept from other relays"),
    row("relay.sweep_interval", "WAYBILL_RELAY_SWEEP_INTERVAL", "250ms", time(MILLISECOND, HOUR),
        "How often the outboxes are swept for messages left behind or due"),
    row("relay.slot_bytes", "WAYBILL_RELAY_SLOT_BYTES", "16777216", count(65_536, 1_099_511_627_776),
        "Size past which the outbox goes on in another partition, PostgreSQL only"),
    row("relay.confirm_timeout", "WAYBILL_RELAY_CONFIRM_TIMEOUT", "10s", time(Duration::from_millis(100), Duration::from_mins(10)),
        "How long a publisher confirm may take before its message counts as unknown"),
    row("relay.max_attempts", "WAYBILL_RELAY_MAX_ATTEMPTS", "20", count(1, 1_000_000),
        "Attempts to publish a message before it is parked"),
    row("relay.max_message_bytes", "WAYBILL_RELAY_MAX_MESSAGE_BYTES", "1048576", count(1_024, 16_777_216),
        "Largest message that is published, in bytes"),

    row("consumer.prefetch", "WAYBILL_CONSUMER_PREFETCH", "512", count(1, 65_535),
        "Deliveries that the broker sends ahead to one consumer"),
    row("consumer.batch", "WAYBILL_CONSUMER_BATCH", "128", count(1, 8_192),
        "Deliveries handled in one transaction, at most"),
    row("consumer.max_attempts", "WAYBILL_CONSUMER_MAX_ATTEMPTS", "8", count(1, 1_000),
        "Attempts to handle a message before it goes to the dead letters"),
    row("consumer.retry_delay", "WAYBILL_CONSUMER_RETRY_DELAY", "200ms", time(MILLISECOND, HOUR),
        "Delay before the second attempt; it doubles from there"),
    row("consumer.retry_max_delay", "WAYBILL_CONSUMER_RETRY_MAX_DELAY", "60s", time(MILLISECOND, DAY),
        "Longest delay between two attempts"),
    // Below the 30 minutes after which RabbitMQ takes an unacknowledged delivery back.
    row("consumer.handler_timeout", "WAYBILL_CONSUMER_HANDLER_TIMEOUT", "30s", time(Duration::from_millis(100), Duration::from_mins(25)),
        "How long handling one batch may take"),
    row("inbox.retention", "WAYBILL_INBOX_RETENTION", "7d", time(SECOND, Duration::from_hours(24 * 3_650)),
        "How long a handled message is remembered, so that a duplicate is recognised; not less than the time in which one can come again"),

    row("saga.step_timeout", "WAYBILL_SAGA_STEP_TIMEOUT", "30s", time(Duration::from_millis(10), Duration::from_hours(24 * 7)),
        "How long a step waits for its reply before the command is sent again"),
    row("saga.step_attempts", "WAYBILL_SAGA_STEP_ATTEMPTS", "5", count(1, 1_000),
        "Times a step's command is sent before the step is in doubt"),
    row("saga.timeout", "WAYBILL_SAGA_TIMEOUT", "1d", time(Duration::from_millis(10), Duration::from_hours(24 * 30)),
        "How long a saga may take; past it one before its pivot is undone, and one after it is stuck"),
    row("saga.versions", "WAYBILL_SAGA_VERSIONS", "", Kind::Versions,
        "Versions of the saga that this process runs; nothing means every one that it knows"),
    row("saga.begin_version", "WAYBILL_SAGA_BEGIN_VERSION", "2", count(1, 1_000_000),
        "Version that new sagas begin with"),
    row("saga.timer_interval", "WAYBILL_SAGA_TIMER_INTERVAL", "250ms", time(MILLISECOND, HOUR),
        "How often passed deadlines are looked for"),
    row("saga.history_retention", "WAYBILL_SAGA_HISTORY_RETENTION", "30d", time(SECOND, Duration::from_hours(24 * 3_650)),
        "How long the history of an ended dispatch is kept"),

    row("order.database_url", "WAYBILL_ORDER_DATABASE_URL", "", OWN_DATABASE,
        "Database of the participant `order`; nothing means `database.url`"),
    row("order.blocked_customers", "WAYBILL_ORDER_BLOCKED_CUSTOMERS", "", Kind::List,
        "Customers whose orders are refused"),
    row("payment.database_url", "WAYBILL_PAYMENT_DATABASE_URL", "", OWN_DATABASE,
        "Database of the participant `payment`; nothing means `database.url`"),
    row("payment.credit_limit", "WAYBILL_PAYMENT_CREDIT_LIMIT", "1000.00 EUR", Kind::Money,
        "What may be reserved at once on one customer's account"),
    row("payment.tariff", "WAYBILL_PAYMENT_TARIFF", "4.90 EUR", Kind::Money,
        "Price of one parcel where the request names no amount"),
    row("dispatch.database_url", "WAYBILL_DISPATCH_DATABASE_URL", "", OWN_DATABASE,
        "Database of the participant `dispatch`; nothing means `database.url`"),
    row("dispatch.refused_destinations", "WAYBILL_DISPATCH_REFUSED_DESTINATIONS", "ZZ*", Kind::Patterns,
        "Destinations that are refused: codes, or prefixes that end in `*`"),
    row("dispatch.capacity", "WAYBILL_DISPATCH_CAPACITY", "none", Kind::OptionalCount { min: 0, max: 1_000_000_000 },
        "Deliveries that one destination takes before it refuses more"),
];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

const fn row(
    key: &'static str,
    env: &'static str,
    default: &'static str,
    kind: Kind,
    doc: &'static str,
) -> Setting {
    Setting { key, env, default, kind, doc }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn time(min: Duration, max: Duration) -> Kind {
    Kind::Time { min, max }
}

/// The setting with this key.
pub(crate) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The setting with this environment variable.
pub(crate) fn by_env(env: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.env == env)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::SETTINGS;

    #[test]
    fn an_environment_variable_is_named_after_its_key() {
        for setting in SETTINGS {
            let expected = format!("WAYBILL_{}", setting.key.replace('.', "_").to_uppercase());
            assert_eq!(setting.env, expected);
        }
    }

    #[test]
    fn every_name_is_used_once() {
        let keys: HashSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let variables: HashSet<_> = SETTINGS.iter().map(|setting| setting.env).collect();
        assert_eq!((keys.len(), variables.len()), (SETTINGS.len(), SETTINGS.len()));
    }

    #[test]
    fn every_default_is_allowed() {
        for setting in SETTINGS {
            assert!(setting.kind.parse(setting.default).is_ok(), "{}", setting.key);
        }
    }
}
