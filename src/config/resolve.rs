//! Builds the typed configuration from the values that hold, and checks what no single value can show:
//! whether they go together.

use std::time::Duration;

use super::{
    auth,
    error::{ConfigError, Problem},
    horizon,
    layers::Values,
    model::{
        Amqp, Config, Connections, Consumer, Database, Dispatch, Gateway, LogFormat, Order, Payment,
        QueueType, Relay, Saga,
    },
    tls,
    typed::get,
    url::SecretUrl,
};

/// The typed configuration, or every conflict.
pub(super) fn resolve(values: &Values) -> Result<Config, ConfigError> {
    let config = Config {
        database: database(values)?,
        amqp: amqp(values)?,
        roles: get(values, "roles")?,
        external: get(values, "external")?,
        grpc_addr: get(values, "grpc.addr")?,
        grpc_tls: tls::port(values, ["grpc.tls_certificate", "grpc.tls_key", "grpc.tls_client_ca"])?,
        http_addr: get(values, "http.addr")?,
        http_tls: tls::port(values, ["http.tls_certificate", "http.tls_key", "http.tls_client_ca"])?,
        connections: connections(values)?,
        insecure: get(values, "insecure")?,
        drain_timeout: get(values, "drain_timeout")?,
        ready_max_outbox_age: get(values, "ready.max_outbox_age")?,
        paused: false,
        threads: Some(get(values, "runtime.threads")?).filter(|threads| *threads > 0),
        log_format: log_format(values)?,
        gateway: gateway(values)?,
        auth: auth::read(values).map_err(|problems| {
            let mut errors = ConfigError::default();
            errors.extend(problems);
            errors
        })?,
        clients_file: get(values, "auth.clients_file")?,
        relay: relay(values)?,
        consumer: consumer(values)?,
        inbox_retention: get(values, "inbox.retention")?,
        saga: saga(values)?,
        order: Order {
            database_url: own_database(values, "order.database_url")?,
            blocked_customers: get(values, "order.blocked_customers")?,
        },
        payment: payment(values)?,
        dispatch: Dispatch {
            database_url: own_database(values, "dispatch.database_url")?,
            refused_destinations: get(values, "dispatch.refused_destinations")?,
            capacity: get(values, "dispatch.capacity")?,
        },
    };
    check(&config).map(|()| config)
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let mut errors = ConfigError::default();
    let Payment { credit_limit, tariff, .. } = &config.payment;
    if credit_limit.currency_code() != tariff.currency_code() {
        let what = format!("must be of one currency, and are {credit_limit} and {tariff}");
        errors.push(Problem::Conflict { first: "payment.credit_limit", second: "payment.tariff", what });
    }
    let Consumer { retry_delay, retry_max_delay, .. } = config.consumer;
    if retry_delay > retry_max_delay {
        let (first, most) =
            (humantime::format_duration(retry_delay), humantime::format_duration(retry_max_delay));
        let what = format!("the first delay of {first} is longer than the longest of {most}");
        errors.push(Problem::Conflict {
            first: "consumer.retry_delay",
            second: "consumer.retry_max_delay",
            what,
        });
    }
    if let Some(role) = config.external.iter().find(|role| config.roles.contains(role)) {
        let what = format!("`{role}` cannot be run here and by somebody else");
        errors.push(Problem::Conflict { first: "external", second: "roles", what });
    }
    let Saga { versions, begin_version, .. } = &config.saga;
    let unknown = versions.iter().find(|version| !waybill_saga::VERSIONS.contains(version));
    let wrong =
        unknown.map(|version| format!("this release does not know version {version}")).or_else(|| {
            let begins = versions.contains(begin_version);
            (!begins).then(|| {
                format!("this process does not run version {begin_version}, and would begin with it")
            })
        });
    if let Some(what) = wrong {
        errors.push(Problem::Conflict { first: "saga.versions", second: "saga.begin_version", what });
    }
    if config.grpc_addr == config.http_addr && config.grpc_addr.port() != 0 {
        let what = format!("cannot both be {}", config.grpc_addr);
        errors.push(Problem::Conflict { first: "grpc.addr", second: "http.addr", what });
    }
    if let Err(problem) = horizon::check(config) {
        errors.push(problem);
    }
    errors.into_result()
}

fn own_database(values: &Values, key: &'static str) -> Result<SecretUrl, Problem> {
    match get::<Option<SecretUrl>>(values, key)? {
        Some(own) => Ok(own),
        None => get(values, "database.url"),
    }
}

fn database(values: &Values) -> Result<Database, Problem> {
    Ok(Database {
        url: get(values, "database.url")?,
        migrate: get(values, "database.migrate")?,
        connections: get(values, "database.connections")?,
    })
}

fn connections(values: &Values) -> Result<Connections, Problem> {
    Ok(Connections {
        handshake_timeout: get(values, "tls.handshake_timeout")?,
        max: get(values, "grpc.max_connections")?,
        max_age: Some(get(values, "grpc.max_connection_age")?).filter(|age: &Duration| !age.is_zero()),
        keepalive_interval: get(values, "grpc.keepalive_interval")?,
        keepalive_timeout: get(values, "grpc.keepalive_timeout")?,
        max_header_bytes: get(values, "grpc.max_header_bytes")?,
        web_origins: get(values, "grpc.web_origins")?,
    })
}

fn amqp(values: &Values) -> Result<Amqp, Problem> {
    let queue_type = match get::<String>(values, "amqp.queue_type")?.as_str() {
        "quorum" => QueueType::Quorum,
        "classic" => QueueType::Classic,
        _ => return Err(Problem::Table { key: "amqp.queue_type" }),
    };
    Ok(Amqp {
        url: get(values, "amqp.url")?,
        tls: tls::broker(values, ["amqp.tls_ca", "amqp.tls_certificate", "amqp.tls_key", "amqp.url"])?,
        prefix: get(values, "amqp.prefix")?,
        queue_type,
        delivery_limit: get(values, "amqp.delivery_limit")?,
        declare: get(values, "amqp.declare")?,
        management_url: get(values, "amqp.management_url")?,
    })
}

fn log_format(values: &Values) -> Result<LogFormat, Problem> {
    match get::<String>(values, "log.format")?.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(Problem::Table { key: "log.format" }),
    }
}

fn gateway(values: &Values) -> Result<Gateway, Problem> {
    Ok(Gateway {
        queue: get(values, "gateway.queue")?,
        batch: get(values, "gateway.batch")?,
        committers: get(values, "gateway.committers")?,
        watch_interval: get(values, "gateway.watch_interval")?,
        cancel_wait: get(values, "gateway.cancel_wait")?,
        max_message_bytes: get(values, "gateway.max_message_bytes")?,
        max_streams: get(values, "gateway.max_streams")?,
    })
}

fn relay(values: &Values) -> Result<Relay, Problem> {
    Ok(Relay {
        window: get(values, "relay.window")?,
        pack: get(values, "relay.pack")?,
        handoff: get(values, "relay.handoff")?,
        lease: get(values, "relay.lease")?,
        sweep_interval: get(values, "relay.sweep_interval")?,
        slot_bytes: get(values, "relay.slot_bytes")?,
        confirm_timeout: get(values, "relay.confirm_timeout")?,
        max_attempts: get(values, "relay.max_attempts")?,
        max_message_bytes: get(values, "relay.max_message_bytes")?,
    })
}

fn consumer(values: &Values) -> Result<Consumer, Problem> {
    Ok(Consumer {
        prefetch: get(values, "consumer.prefetch")?,
        batch: get(values, "consumer.batch")?,
        max_attempts: get(values, "consumer.max_attempts")?,
        retry_delay: get(values, "consumer.retry_delay")?,
        retry_max_delay: get(values, "consumer.retry_max_delay")?,
        handler_timeout: get(values, "consumer.handler_timeout")?,
    })
}

fn saga(values: &Values) -> Result<Saga, Problem> {
    Ok(Saga {
        step_timeout: get(values, "saga.step_timeout")?,
        step_attempts: get(values, "saga.step_attempts")?,
        timeout: get(values, "saga.timeout")?,
        versions: Some(get::<Vec<u32>>(values, "saga.versions")?)
            .filter(|versions| !versions.is_empty())
            .unwrap_or_else(|| waybill_saga::VERSIONS.to_vec()),
        begin_version: get(values, "saga.begin_version")?,
        timer_interval: get(values, "saga.timer_interval")?,
        history_retention: get(values, "saga.history_retention")?,
    })
}

fn payment(values: &Values) -> Result<Payment, Problem> {
    Ok(Payment {
        database_url: own_database(values, "payment.database_url")?,
        credit_limit: get(values, "payment.credit_limit")?,
        tariff: get(values, "payment.tariff")?,
    })
}
