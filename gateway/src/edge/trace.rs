//! The span of a call: child of the caller's, named and filled as the OpenTelemetry conventions for RPC
//! say, and parent of everything that the call sets going.

use http::HeaderMap;
use tonic::{Code, Status};
use tracing::{Span, field::Empty};
use waybill_messaging::TraceContext;

use super::Request;
use crate::{auth::Caller, status};

/// Longer than any method's name with its service.
const MAX_METHOD: usize = 100;

/// The call that there are most of. It writes no line of the log that would have to say which dispatch it is about:
/// what becomes of a request is decided and told batch by batch.
const REQUEST: &str = "dispatch.v1.DispatchGateway/RequestDispatch";

/// The span of a call and the context that messages are created in.
pub(super) fn begin(request: &Request) -> (Span, TraceContext) {
    let method = method(request.uri().path());
    let incoming = incoming(request.headers());
    if method == REQUEST && !incoming.is_recorded() {
        return (Span::none(), incoming);
    }
    let span = tracing::info_span!(
        "gateway.rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
        client = Empty,
        message_id = Empty,
        dispatch_id = Empty,
        trace_id = Empty,
    );
    // Before the span is entered, after which a parent is refused.
    incoming.adopt(&span);
    let trace = TraceContext::of(&span, &incoming);
    if !trace.trace_id().is_empty() {
        span.record("trace_id", trace.trace_id());
    }
    (span, trace)
}

/// Records who calls, where that is known.
pub(super) fn called_by(span: &Span, caller: &Caller) {
    if !caller.name().is_empty() {
        span.record("client", caller.name());
    }
}

/// The method of that path. A caller may put anything there, and names of spans are few.
fn method(path: &str) -> &str {
    let method = path.trim_start_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    if method.len() <= MAX_METHOD && method.bytes().all(is_plain) { method } else { "_OTHER" }
}

/// Records the status of an answer. That of a stream comes later, unless it was refused at once.
pub(super) fn answered(span: &Span, headers: &HeaderMap, is_stream: bool) {
    match Status::from_header_map(headers) {
        Some(status) => record(span, status.code()),
        None if is_stream => {}
        None => record(span, Code::Ok),
    }
}

/// Records how the call ended. Of its errors those count that are the server's own.
pub(super) fn record(span: &Span, code: Code) {
    span.record("rpc.response.status_code", status::name(code));
    let is_ours = match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    };
    if is_ours {
        span.record("otel.status_code", "ERROR");
    }
}

/// The caller's context.
fn incoming(headers: &HeaderMap) -> TraceContext {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    TraceContext::received(text("traceparent"), text("tracestate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_callers_context_is_taken_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", GOOD.parse().unwrap());
        headers.insert("tracestate", "vendor=1".parse().unwrap());
        let expected = TraceContext { traceparent: GOOD.into(), tracestate: "vendor=1".into() };
        assert_eq!(incoming(&headers), expected);
    }

    #[test]
    fn a_method_that_nobody_could_have_named_so_has_no_name() {
        assert_eq!(
            method("/dispatch.v1.DispatchGateway/GetDispatch"),
            "dispatch.v1.DispatchGateway/GetDispatch"
        );
        for path in
            ["/dispatch.v1.DispatchGateway/a%0Ab", "/dispatch.v1.DispatchGateway/<b>", &"/x".repeat(51)]
        {
            assert_eq!(method(path), "_OTHER");
        }
    }
}
