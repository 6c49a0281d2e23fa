//! A refusal as HTTP tells it: problem details (RFC 9457), with the code that gRPC would have answered.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ResourceInfo, StatusExt as _};

use crate::status;

/// Why there is no other answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    http: StatusCode,
    code: Code,
    detail: String,
    /// Fields, and what is wrong with them.
    errors: Vec<(String, String)>,
    /// What stands in the way.
    resource: Option<Box<ResourceInfo>>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(http: StatusCode, code: Code, detail: &str) -> Self {
        let detail = detail.to_owned();
        Self { http, code, detail, errors: Vec::new(), resource: None, retry_after: None }
    }

    /// One field is wrong.
    pub(super) fn of_field(field: &str, what: &str) -> Self {
        Self::of_fields(vec![(field.to_owned(), what.to_owned())])
    }

    /// These fields are wrong.
    pub(super) fn of_fields(errors: Vec<(String, String)>) -> Self {
        let named: Vec<_> = errors.iter().map(|(field, what)| format!("{field} {what}")).collect();
        let detail = format!("invalid request: {}", named.join("; "));
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, &detail) }
    }

    /// The same, as gRPC tells it.
    pub(super) fn status(&self) -> Status {
        Status::new(self.code, &self.detail)
    }

    pub(crate) fn to_json(&self) -> Value {
        let title = self.http.canonical_reason().unwrap_or("Client Closed Request");
        let mut problem = json!({
            "type": "about:blank",
            "title": title,
            "status": self.http.as_u16(),
            "detail": self.detail,
            "code": status::name(self.code),
        });
        if !self.errors.is_empty() {
            let told = self.errors.iter().map(|(field, what)| json!({ "field": field, "description": what }));
            problem["errors"] = told.collect();
        }
        if let Some(resource) = &self.resource {
            problem["resource"] = json!({
                "resource_type": resource.resource_type,
                "resource_name": resource.resource_name,
                "owner": resource.owner,
                "description": resource.description,
            });
        }
        problem
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let violations = status.get_details_bad_request().map(|request| request.field_violations);
        let errors = violations.unwrap_or_default().into_iter().map(|wrong| (wrong.field, wrong.description));
        Self {
            errors: errors.collect(),
            resource: status.get_details_resource_info().map(Box::new),
            retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
            ..Self::new(http(status.code()), status.code(), status.message())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let fixed = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (self.http, fixed, self.to_json().to_string()).into_response();
        if self.http == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"waybill\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(pause) = self.retry_after {
            // It knows whole seconds only.
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Source: google/rpc/code.proto of github.com/googleapis/googleapis, "HTTP Mapping" of each code; but that of
/// `FAILED_PRECONDITION`, which is 400 there: nothing is wrong with the request, the dispatch stands in its way.
fn http(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499, which has no name among the registered ones.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_too_often_is_told_when_to_come_back_in_whole_seconds() {
        let response = Problem::from(status::exhausted("full", Duration::from_millis(200))).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn every_violation_is_told() {
        let mut wrong = crate::violations::Violations::default();
        wrong.add("order_id", "is missing");
        wrong.add("amount.minor_units", "is too much");
        let told = Problem::from(wrong.into_status()).to_json();
        assert_eq!(told["errors"][1]["field"], "amount.minor_units");
        assert_eq!((&told["status"], &told["code"]), (&json!(400), &json!("INVALID_ARGUMENT")));
    }
}
