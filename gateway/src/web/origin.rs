//! Which pages may send requests from a browser, and what the browser is told about it (CORS).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tonic::Code;
use tower_http::cors::CorsLayer;

use crate::http_json::Problem;

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_hours(1);

/// What a page may send besides what it always may.
const SENT: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    header::ACCEPT,
];

/// What of an answer a page may read besides what it always may.
const SHOWN: [HeaderName; 6] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

/// The origins of the pages that may; at least one.
#[derive(Clone)]
pub(super) struct Allowed(Arc<[HeaderValue]>);

impl Allowed {
    /// `None` where there are none.
    pub(super) fn new(origins: &[String]) -> Option<Self> {
        // What is no header value cannot be sent either.
        let origins: Arc<[_]> =
            origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        (!origins.is_empty()).then_some(Self(origins))
    }

    /// Answers a browser's questions before a request, and names the origin in each answer.
    pub(super) fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(self.0.to_vec())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(SENT)
            .expose_headers(SHOWN)
            .max_age(REMEMBERED)
    }
}

/// Refuses what comes from any other page.
pub(super) async fn check(State(allowed): State<Allowed>, request: Request, next: Next) -> Response {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if origins.all(|origin| allowed.0.contains(origin)) { next.run(request).await } else { refusal() }
}

/// Refuses what comes from any page.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) { refusal() } else { next.run(request).await }
}

fn refusal() -> Response {
    let why = "pages of this origin may not send requests here; the setting `grpc.web_origins` names those that may";
    Problem::new(StatusCode::FORBIDDEN, Code::PermissionDenied, why).into_response()
}
