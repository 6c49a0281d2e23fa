//! HTTP and JSON for those without gRPC. Every route is one method of the service `DispatchGateway`: the request is made
//! a call of it (`call`), which passes the same edge as any other (who calls, what they may, how much of it, the trace),
//! and its answer is made an answer of HTTP. Nothing is decided here twice.

mod call;
pub mod openapi;
mod problem;
mod query;
pub(crate) mod read;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use prost_reflect::DynamicMessage;
use serde_json::json;
use tonic::{Code, Status};
use tower::util::MapResponseLayer;
use waybill_proto::v1::dispatch_gateway_server::DispatchGatewayServer;

pub(crate) use self::problem::Problem;
use self::{
    call::{Call, Content, Said},
    read::JSON,
};
use crate::{edge::Edge, service::Service, web::is_grpc};

/// The service behind its edge.
pub(crate) type Grpc = Edge<DispatchGatewayServer<Service>>;

const REQUEST: &str = "/dispatch.v1.DispatchGateway/RequestDispatch";
const GET: &str = "/dispatch.v1.DispatchGateway/GetDispatch";
const LIST: &str = "/dispatch.v1.DispatchGateway/ListDispatches";
const CANCEL: &str = "/dispatch.v1.DispatchGateway/CancelDispatch";

/// By the IETF's draft-ietf-httpapi-idempotency-key-header: names a request, so that asking again is harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Clone)]
struct Api {
    grpc: Grpc,
    /// Bytes of a body at most.
    most: usize,
}

/// What there is. `most`: bytes of a body at most.
pub(crate) fn routes(grpc: Grpc, most: usize) -> Router {
    Router::new()
        .route("/v1/dispatches", post(request).get(list))
        .route("/v1/dispatches/{dispatch_id}", get(one))
        .route("/v1/dispatches/{dispatch_id}/cancel", post(cancel))
        .route("/v1/openapi.json", get(document))
        .method_not_allowed_fallback(not_allowed)
        .layer(MapResponseLayer::new(unstored))
        .with_state(Api { grpc, most })
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
    let key = key(&request)?;
    let said = key.map(|value| Said { field: "message_id", value, by: "the header Idempotency-Key" });
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

async fn one(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let id = in_path(id)?;
    let dispatch = api.call(GET, request, |_| Content::Json(json!({ "dispatch_id": id }))).await?;
    answer(StatusCode::OK, &dispatch)
}

async fn list(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let page = api.call(LIST, request, |_| Content::Query(query)).await?;
    answer(StatusCode::OK, &page)
}

async fn cancel(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let said = Said { field: "dispatch_id", value: in_path(id)?, by: "the path" };
    let dispatch = api.call(CANCEL, request, |body| Content::Body(body, Some(said))).await?;
    answer(StatusCode::OK, &dispatch)
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, JSON)], openapi::TEXT.as_str()).into_response()
}

impl Api {
    /// The answer of that method. `content` says where its message comes from.
    async fn call(
        self,
        path: &'static str,
        request: Request,
        content: impl FnOnce(Body) -> Content,
    ) -> Result<DynamicMessage, Problem> {
        let (parts, body) = request.into_parts();
        let content = content(body);
        content.check(&parts.headers, self.most)?;
        Call::of(path)?.make(self.grpc, parts, content, self.most).await
    }
}

fn answer(status: StatusCode, message: &DynamicMessage) -> Result<Response, Problem> {
    let json = crate::json::compact(message).map_err(|error| {
        tracing::error!(error, "an answer cannot be told as JSON");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "the answer cannot be told as JSON")
    })?;
    Ok((status, [(header::CONTENT_TYPE, JSON)], json).into_response())
}

fn in_path(id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    id.map(|Path(id)| id).map_err(|_| Problem::of_field("dispatch_id", "must be UTF-8"))
}

/// The header Idempotency-Key, as it is or, as the draft wants it, in quotation marks.
fn key(request: &Request) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let (Ok(key), None) = (value.to_str(), values.next()) else {
        return Err(Problem::of_field("Idempotency-Key", "must be given once, in visible ASCII characters"));
    };
    let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let quoted = quoted.filter(|key| !key.contains(['"', '\\']));
    Ok(Some(quoted.unwrap_or(key).to_owned()))
}

/// What is answered today need not hold tomorrow, and is for one client.
fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
