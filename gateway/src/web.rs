//! What comes to the port besides gRPC over HTTP/2: gRPC-Web, pages in browsers, HTTP/1.1.
//!
//! A browser lets any page send requests wherever it likes. Those from a page whose origin is not in the settings are
//! refused before anything is looked at, whatever the browser would make of the answer: a page must not reach a gateway
//! that listens on loopback without asking who its clients are, nor use a certificate that the browser has.

mod origin;
mod timely;

use axum::{Router, body::Body, middleware};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{
    Layer as _,
    util::{MapRequestLayer, MapResponseLayer},
};

use self::timely::Timely;
pub(crate) use self::timely::TooSlow;
use crate::settings::Settings;

/// A service that speaks gRPC-Web as well as gRPC.
pub(crate) fn grpc<S>(service: S) -> GrpcWebService<S> {
    GrpcWebLayer::new().layer(service)
}

/// Everything that the port offers, with what holds for all of it.
pub(crate) fn guard(router: Router, settings: &Settings) -> Router {
    let patience = settings.keepalive_interval;
    let timely = move |request: Request<Body>| {
        if is_grpc(request.headers()) {
            return request;
        }
        request.map(|body| Body::new(Timely::new(body, patience)))
    };
    let router = router.layer(MapRequestLayer::new(timely));
    let router = match origin::Allowed::new(&settings.web_origins) {
        None => router.layer(middleware::from_fn(origin::refuse)),
        Some(allowed) => {
            router.layer(allowed.cors()).layer(middleware::from_fn_with_state(allowed, origin::check))
        }
    };
    router.layer(MapResponseLayer::new(unsniffed))
}

/// Whether that is gRPC over HTTP/2 itself, as its content type says.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    media_type.strip_prefix(b"application/grpc").is_some_and(|rest| !rest.starts_with(b"-web"))
}

/// No browser shall guess at what an answer is.
fn unsniffed(mut response: Response<Body>) -> Response<Body> {
    if !is_grpc(response.headers()) {
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}
