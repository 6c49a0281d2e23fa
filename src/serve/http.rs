//! Health for those who ask over HTTP: `/livez` (the process answers), `/startupz` (everything has been started),
//! `/readyz` (it can do its work) and `/healthz` (every part, in words); and `/metrics`, as Prometheus text.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tower::util::MapResponseLayer;
use waybill_gateway::listen::Listener;
use waybill_messaging::health::Status;

use super::readiness::Readiness;
use crate::telemetry::Metrics;

/// A client that asks for nothing for this long is let go: every connection takes one of a few places.
const IDLE: Duration = Duration::from_secs(30);

/// Serves until dropped.
pub(super) async fn serve(mut listener: Listener, readiness: Readiness, metrics: Metrics) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/startupz", get(started))
        .route("/readyz", get(ready))
        .route("/healthz", get(parts))
        .with_state(readiness)
        .route("/metrics", get(move || async move { measured(&metrics) }))
        .layer(MapResponseLayer::new(unsniffed));
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

/// No browser shall guess at what an answer is.
fn unsniffed(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn measured(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::MEDIA_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn started(State(readiness): State<Readiness>) -> impl IntoResponse {
    answer("started", readiness.not_started())
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    answer("ready", readiness.not_ready())
}

fn answer(word: &str, reason: Option<String>) -> (StatusCode, String) {
    match reason {
        None => (StatusCode::OK, format!("{word}\n")),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn parts(State(readiness): State<Readiness>) -> impl IntoResponse {
    let health = readiness.health();
    let parts = health.subscribe().borrow().clone();
    let words = parts.iter().map(|(part, status)| {
        let word = match status {
            Status::Starting => serde_json::json!({ "status": "starting" }),
            Status::Up => serde_json::json!({ "status": "up" }),
            Status::Down(reason) => serde_json::json!({ "status": "down", "reason": reason }),
        };
        ((*part).to_owned(), word)
    });
    let mut words: serde_json::Map<_, _> = words.collect();
    let paused = health.paused();
    if !paused.is_empty() {
        words.insert("paused".to_owned(), paused.into());
    }
    Json(serde_json::Value::Object(words))
}
