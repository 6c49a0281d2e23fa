//! HTTP and JSON for those without gRPC. Every route is one method of the service `DispatchGateway`: the request is made
//! a call of it (`call`), which passes the same edge as any other (who calls, what they may, how much of it, the trace),
//! and its answers (`answers`) are made an answer of HTTP, or `events` of one. Nothing is decided here twice.

mod answers;
mod call;
mod events;
pub mod openapi;
mod problem;
mod query;
pub(crate) mod read;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};
use tower::util::MapResponseLayer;
use waybill_proto::v1::dispatch_gateway_server::DispatchGatewayServer;

pub(crate) use self::problem::Problem;
use self::{
    answers::Answers,
    call::{Call, Content, Said},
    read::JSON,
};
use crate::{edge::Edge, service::Service, settings::Settings, web::is_grpc};

/// The service behind its edge.
pub(crate) type Grpc = Edge<DispatchGatewayServer<Service>>;

const REQUEST: &str = "/dispatch.v1.DispatchGateway/RequestDispatch";
const GET: &str = "/dispatch.v1.DispatchGateway/GetDispatch";
const LIST: &str = "/dispatch.v1.DispatchGateway/ListDispatches";
const WATCH: &str = "/dispatch.v1.DispatchGateway/WatchDispatch";
const CANCEL: &str = "/dispatch.v1.DispatchGateway/CancelDispatch";

/// By the IETF's draft-ietf-httpapi-idempotency-key-header: names a request, so that asking again is harmless.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// By the WHATWG's HTML Living Standard: the last event that was seen, by its id, when a client comes again.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Names one dispatch for us.
const DISPATCH_ID: &str = "dispatch_id";
/// Names it for its client.
const MESSAGE_ID: &str = "message_id";

#[derive(Clone)]
struct Api {
    grpc: Grpc,
    /// Bytes of a body at most.
    most: usize,
    /// How long nothing may come of a stream.
    pause: Duration,
}

/// What there is.
pub(crate) fn routes(grpc: Grpc, settings: &Settings) -> Router {
    let api = Api { grpc, most: settings.max_message_bytes, pause: settings.keepalive_interval };
    Router::new()
        .route("/v1/dispatches", post(request).get(list))
        .route("/v1/dispatches/{dispatch_id}", get(one))
        .route("/v1/dispatches/{dispatch_id}/events", get(watch))
        .route("/v1/dispatches/{dispatch_id}/cancel", post(cancel))
        .route("/v1/requests/{message_id}", get(of_request))
        .route("/v1/openapi.json", get(document))
        .method_not_allowed_fallback(not_allowed)
        .layer(MapResponseLayer::new(unstored))
        .with_state(api)
}

/// What there is not.
pub(crate) async fn unknown(request: Request) -> Response {
    if is_grpc(request.headers()) {
        return Status::unimplemented("there is no such service")
            .into_http::<tonic::body::Body>()
            .map(Body::new);
    }
    let why = "there is nothing here; /v1/openapi.json says what there is";
    Problem::new(StatusCode::NOT_FOUND, Code::NotFound, why).into_response()
}

async fn not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::Unimplemented,
        "there is no such method; see the header Allow",
    )
}

async fn request(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let said = key(&request)?.map(|key| Said {
        field: MESSAGE_ID,
        value: Value::String(key),
        by: "the header Idempotency-Key",
        prevails: false,
    });
    let receipt = api.call(REQUEST, request, |body| Content::Body(body, said)).await?;
    let mut response = answer(StatusCode::ACCEPTED, &receipt)?;
    let location = receipt
        .get_field_by_name("dispatch_id")
        .and_then(|id| HeaderValue::from_str(&format!("/v1/dispatches/{}", id.as_str()?)).ok());
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn list(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let page = api.call(LIST, request, |_| Content::Query(query, Vec::new())).await?;
    answer(StatusCode::OK, &page)
}

async fn one(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    api.get(in_path(DISPATCH_ID, id)?, request).await
}

async fn of_request(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    api.get(in_path(MESSAGE_ID, id)?, request).await
}

async fn watch(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let said = [in_path(DISPATCH_ID, id)?].into_iter().chain(last_seen(&request)?).collect();
    let pause = api.pause;
    let transitions = api.open(WATCH, request, |_| Content::Query(query, said)).await?;
    Ok(events::answer(transitions, pause))
}

async fn cancel(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let id = in_path(DISPATCH_ID, id)?;
    let dispatch = api.call(CANCEL, request, |body| Content::Body(body, Some(id))).await?;
    answer(StatusCode::OK, &dispatch)
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, JSON)], openapi::TEXT.as_str()).into_response()
}

impl Api {
    /// The one dispatch of that name.
    async fn get(self, name: Said, request: Request) -> Result<Response, Problem> {
        let dispatch = self.call(GET, request, |_| Content::Query(String::new(), vec![name])).await?;
        answer(StatusCode::OK, &dispatch)
    }

    /// The answer of that method. `content` says where its message comes from.
    async fn call(
        self,
        path: &'static str,
        request: Request,
        content: impl FnOnce(Body) -> Content,
    ) -> Result<DynamicMessage, Problem> {
        answers::only(self.open(path, request, content).await?).await
    }

    /// The same of a method that goes on answering.
    async fn open(
        self,
        path: &'static str,
        request: Request,
        content: impl FnOnce(Body) -> Content,
    ) -> Result<Answers, Problem> {
        let (parts, body) = request.into_parts();
        let content = content(body);
        content.check(&parts.headers, self.most)?;
        Call::of(path)?.make(self.grpc, parts, content, self.most).await
    }
}

fn answer(status: StatusCode, message: &DynamicMessage) -> Result<Response, Problem> {
    Ok((status, [(header::CONTENT_TYPE, JSON)], json(message)?).into_response())
}

fn json(message: &DynamicMessage) -> Result<String, Problem> {
    crate::json::compact(message).map_err(|error| {
        tracing::error!(error, "an answer cannot be told as JSON");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "the answer cannot be told as JSON")
    })
}

fn in_path(field: &'static str, id: Result<Path<String>, PathRejection>) -> Result<Said, Problem> {
    let Path(id) = id.map_err(|_| Problem::of_field(field, "must be UTF-8"))?;
    Ok(Said { field, value: Value::String(id), by: "the path", prevails: false })
}

/// The header Idempotency-Key, as it is or, as the draft wants it, in quotation marks.
fn key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(key) = given_once(request, IDEMPOTENCY_KEY)? else { return Ok(None) };
    let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let quoted = quoted.filter(|key| !key.contains(['"', '\\']));
    Ok(Some(quoted.unwrap_or(key).to_owned()))
}

/// The header Last-Event-ID. A browser that comes again brings it beside the query that it came with first.
fn last_seen(request: &Request) -> Result<Option<Said>, Problem> {
    let Some(id) = given_once(request, LAST_EVENT_ID)? else { return Ok(None) };
    let version = id.parse().map_err(|_| Problem::of_field(LAST_EVENT_ID, "must be the id of an event"))?;
    Ok(Some(Said { field: "after_version", value: Value::U64(version), by: "the browser", prevails: true }))
}

fn given_once<'r>(request: &'r Request, name: &'static str) -> Result<Option<&'r str>, Problem> {
    let mut values = request.headers().get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Problem::of_field(name, "must be given once, in visible ASCII characters")),
    }
}

/// What is answered today need not hold tomorrow, and is for one client.
fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
