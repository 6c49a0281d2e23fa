//! Composition: which roles this process plays, what they share, and in which order they start and stop.
//!
//! Start: listeners, schema, stores, brokers, relay, consumers, intake. Stop, on SIGTERM or SIGINT: health
//! says `NOT_SERVING`, intake closes and finishes what it took, consumers finish their batch and give the
//! rest back, the relay empties its window, connections close; all within the drain time-out.

mod clients;
mod database;
mod http;
mod lag;
mod parts;
mod readiness;
mod signal;
mod systemd;

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_gateway::listen::{Certificates, Files, Limits, Listener, Protocols};
use waybill_messaging::health::Health;

pub(crate) use self::parts::{management, server, topology};
use self::readiness::Readiness;
use crate::{
    config::{Config, Role, has_authentication},
    telemetry::Metrics,
};

/// Left when not everything could be finished within the drain time-out.
const NOT_DRAINED: u8 = 9;
/// What HTTP/2 begins with.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections to the health endpoints: far more than probes and scrapers need.
const HTTP_CONNECTIONS: usize = 256;

/// Brings every configured database up to this binary's schema.
pub(crate) async fn migrate(config: Config) -> anyhow::Result<ExitCode> {
    for url in database::urls(&config) {
        let ran =
            waybill_migrations::migrate(url.expose()).await.with_context(|| format!("migrating {url}"))?;
        println!(
            "{url}: {}",
            if ran == 0 { "up to date".to_owned() } else { format!("{ran} migrations run") }
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Plays the configured roles until a signal or until a part of it dies.
pub(crate) async fn run(config: Config, metrics: Metrics) -> anyhow::Result<ExitCode> {
    let health = Health::default();
    let (http, grpc) = listen(&config).await?;
    let stop = CancellationToken::new();
    signal::watch(stop.clone())?;
    let readiness = Readiness::new(&config, health.clone());
    let serving = tokio::spawn(http::serve(http, readiness.clone(), metrics));
    let telling = tokio::spawn(systemd::tell(readiness.clone()));
    if config.database.migrate && !database::migrate_when_there(&config, &health, &stop).await? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut parts = parts::start(&config, grpc, &readiness).await?;
    readiness.set_started();
    systemd::started();
    if config.insecure {
        tracing::warn!("insecure: ports may be reached from other machines without TLS and authentication");
    }
    let authentication = has_authentication(&config);
    tracing::info!(roles = ?config.roles, grpc = %config.grpc_addr, http = %config.http_addr, authentication, "started");
    let died = tokio::select! {
        () = stop.cancelled() => None,
        died = parts.died() => Some(died),
    };
    tracing::info!(timeout = ?config.drain_timeout, "stopping");
    systemd::stopping();
    let drained = timeout(config.drain_timeout, parts.drain()).await;
    serving.abort();
    telling.abort();
    Ok(match (died, drained) {
        (Some(part), _) => {
            tracing::error!(part, "ended by itself");
            ExitCode::FAILURE
        }
        (None, Err(_)) => {
            tracing::error!(
                "the drain time-out is over; what was not finished is in the database and will be"
            );
            ExitCode::from(NOT_DRAINED)
        }
        (None, Ok(left)) => {
            tracing::info!(left_in_outbox = left, "stopped, everything in hand was finished");
            ExitCode::SUCCESS
        }
    })
}

async fn listen(config: &Config) -> anyhow::Result<(Listener, Option<Listener>)> {
    let handshake_timeout = config.connections.handshake_timeout;
    let limits = Limits { connections: HTTP_CONNECTIONS, handshake_timeout, opening_bytes: 0 };
    let http = bind("http", config.http_addr, config.http_tls.as_ref(), &[b"http/1.1"], limits).await?;
    if !config.roles.contains(&Role::Gateway) {
        return Ok((http, None));
    }
    let limits = Limits { connections: config.connections.max, opening_bytes: PREFACE.len(), ..limits };
    let grpc =
        bind("grpc", config.grpc_addr, config.grpc_tls.as_ref(), &[b"h2", b"http/1.1"], limits).await?;
    Ok((http, Some(grpc)))
}

/// A port of that name, whose certificates are there and good before it is bound.
async fn bind(
    port: &'static str,
    address: SocketAddr,
    tls: Option<&Files>,
    protocols: Protocols,
    limits: Limits,
) -> anyhow::Result<Listener> {
    let certificates = match tls {
        Some(files) => Some(Certificates::load(files.clone(), protocols).await),
        None => None,
    };
    let certificates = certificates.transpose().map_err(|error| {
        anyhow::anyhow!("{port}.tls_certificate, {port}.tls_key, {port}.tls_client_ca: {error}")
    })?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("{port}.addr {address}"))?;
    Ok(Listener::new(port, listener, certificates, limits))
}
