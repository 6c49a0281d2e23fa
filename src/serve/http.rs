//! Health for those who ask over HTTP: `/livez` (the process answers), `/readyz` (it can do its work) and
//! `/healthz` (every part, in words); and `/metrics`, as Prometheus text.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::watch;
use waybill_gateway::listen::Listener;
use waybill_messaging::health::{Health, Parts, Status};

use crate::telemetry::Metrics;

#[derive(Clone)]
struct Shared {
    parts: watch::Receiver<Parts>,
    health: Health,
    takes_requests: bool,
}

/// A client that asks for nothing for this long is let go: every connection takes one of a few places.
const IDLE: Duration = Duration::from_secs(30);

/// Serves until dropped. `takes_requests`: whether this process plays the gateway.
pub(super) async fn serve(mut listener: Listener, health: Health, metrics: Metrics, takes_requests: bool) {
    let shared = Shared { parts: health.subscribe(), health, takes_requests };
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/healthz", get(parts))
        .with_state(shared)
        .route("/metrics", get(move || async move { measured(&metrics) }));
    while let Some(connection) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(connection), service);
        // How one connection ends is its client's business.
        tokio::spawn(async move { drop(serving.await) });
    }
}

fn measured(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::MEDIA_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let waiting_for = not_ready(&shared.parts.borrow(), shared.takes_requests);
    match waiting_for {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn parts(State(shared): State<Shared>) -> impl IntoResponse {
    let parts = shared.parts.borrow().clone();
    let words = parts.iter().map(|(part, status)| {
        let word = match status {
            Status::Up => serde_json::json!({ "status": "up" }),
            Status::Down(reason) => serde_json::json!({ "status": "down", "reason": reason }),
        };
        ((*part).to_owned(), word)
    });
    let mut words: serde_json::Map<_, _> = words.collect();
    let paused = shared.health.paused();
    if !paused.is_empty() {
        words.insert("paused".to_owned(), paused.into());
    }
    Json(serde_json::Value::Object(words))
}

/// Why there is no readiness. A gateway is ready when its database is: the outbox takes what the broker
/// cannot. Every other process needs all of its parts.
pub(super) fn not_ready(parts: &Parts, takes_requests: bool) -> Option<String> {
    let needed: Vec<&str> =
        if takes_requests { vec!["database", "intake"] } else { vec!["database", "broker"] };
    if let Some(missing) = needed.iter().find(|part| !parts.contains_key(**part)) {
        return Some(format!("{missing}: starting"));
    }
    parts.iter().find_map(|(part, status)| match status {
        Status::Down(reason) if !takes_requests || needed.contains(part) => Some(format!("{part}: {reason}")),
        Status::Down(_) | Status::Up => None,
    })
}
