//! Everything that the port offers, and which way a request takes to it.
//!
//! A gRPC call of the gateway goes to it straight. Everything else is told apart by a router, and passes what holds for
//! browsers and for HTTP/1.1: each layer of it costs a request memory and processor time, of which a call has little.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body, routing::future::RouteFuture};
use futures_util::{
    TryFutureExt as _,
    future::{Either, MapOk},
};
use http::{Request, Response, Version, header};
use hyper::body::Incoming;
use tonic::{server::NamedService, service::Routes};
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tower::Service;
use waybill_proto::{
    DESCRIPTORS,
    v1::{dispatch_gateway_server::DispatchGatewayServer, dispatch_operator_server::DispatchOperatorServer},
};

use crate::{
    auth::Auth,
    edge::Edge,
    http_json::{self, Grpc},
    service,
    settings::Settings,
    web,
};

/// What the port offers.
#[derive(Clone)]
pub(crate) struct Port {
    gateway: Grpc,
    others: Router,
}

impl Port {
    pub(crate) fn new(
        settings: &Settings,
        auth: &Arc<Auth>,
        service: service::Service,
        operator: service::Operator,
        health: HealthServer<impl HealthService>,
    ) -> Self {
        let most = settings.max_message_bytes;
        let gateway = DispatchGatewayServer::new(service).max_decoding_message_size(most);
        let gateway = Edge::new(gateway, settings.max_streams, auth);
        let operator = DispatchOperatorServer::new(operator).max_decoding_message_size(most);
        let routes = Routes::new(web::grpc(gateway.clone()))
            // With room of its own: an operator is not kept out by a crowd.
            .add_service(web::grpc(Edge::new(operator, settings.max_streams, auth)))
            // Whoever watches over a process may always ask how it is.
            .add_service(web::grpc(health));
        let grpc = reflecting(routes, settings, auth).into_axum_router().reset_fallback();
        let json = http_json::routes(gateway.clone(), settings);
        let others = web::guard(grpc.merge(json).fallback(http_json::unknown), settings);
        Self { gateway, others }
    }
}

type Calling = <Grpc as Service<Request<tonic::body::Body>>>::Future;

impl Service<Request<Incoming>> for Port {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Either<MapOk<Calling, fn(Response<tonic::body::Body>) -> Response<Body>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The router always is.
        self.gateway.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if is_call(&request) {
            let answer = self.gateway.call(request.map(tonic::body::Body::new));
            return Either::Left(answer.map_ok(|response| response.map(Body::new)));
        }
        Either::Right(self.others.call(request.map(Body::new)))
    }
}

/// Whether that is a call of the gateway by gRPC itself, and not from a page in a browser.
fn is_call<B>(request: &Request<B>) -> bool {
    let method = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(Grpc::NAME));
    method.is_some_and(|method| method.starts_with('/'))
        && request.version() == Version::HTTP_2
        && web::is_grpc(request.headers())
        && !request.headers().contains_key(header::ORIGIN)
}

/// Both: grpcurl up to 1.8.7 knows only v1alpha, newer tools ask for v1 first.
fn reflecting(mut routes: Routes, settings: &Settings, auth: &Arc<Auth>) -> Routes {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The descriptors are compiled in; the tests ask both services, so that they cannot be malformed.
    match reflection().build_v1() {
        Ok(v1) => routes = routes.add_service(Edge::new(v1, settings.max_streams, auth)),
        Err(error) => tracing::error!(%error, "no reflection"),
    }
    match reflection().build_v1alpha() {
        Ok(v1alpha) => routes = routes.add_service(Edge::new(v1alpha, settings.max_streams, auth)),
        Err(error) => tracing::error!(%error, "no reflection (v1alpha)"),
    }
    routes
}
