//! Composition: which roles this process plays, what they share, and in which order they start and stop.
//!
//! Start: listeners, schema, stores, brokers, relay, consumers, intake. Stop, on SIGTERM or SIGINT: health
//! says `NOT_SERVING`, intake closes and finishes what it took, consumers finish their batch and give the
//! rest back, the relay empties its window, connections close; all within the drain time-out.

mod database;
mod http;
mod parts;
mod signal;

use std::process::ExitCode;

use anyhow::Context;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_messaging::health::Health;

pub(crate) use self::parts::topology;
use crate::{
    config::{Config, Role},
    telemetry::Metrics,
};

/// Left when not everything could be finished within the drain time-out.
const NOT_DRAINED: u8 = 9;

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
    let takes_requests = config.roles.contains(&Role::Gateway);
    let serving = tokio::spawn(http::serve(http, health.clone(), metrics, takes_requests));
    if config.database.migrate && !database::migrate_when_there(&config, &health, &stop).await? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut parts = parts::start(&config, grpc, &health).await?;
    tracing::info!(roles = ?config.roles, grpc = %config.grpc_addr, http = %config.http_addr, "started");
    let died = tokio::select! {
        () = stop.cancelled() => None,
        died = parts.died() => Some(died),
    };
    tracing::info!(timeout = ?config.drain_timeout, "stopping");
    let drained = timeout(config.drain_timeout, parts.drain()).await;
    serving.abort();
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

async fn listen(config: &Config) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    let http = TcpListener::bind(config.http_addr)
        .await
        .with_context(|| format!("http.addr {}", config.http_addr))?;
    if !config.roles.contains(&Role::Gateway) {
        return Ok((http, None));
    }
    let grpc = TcpListener::bind(config.grpc_addr)
        .await
        .with_context(|| format!("grpc.addr {}", config.grpc_addr))?;
    Ok((http, Some(grpc)))
}
