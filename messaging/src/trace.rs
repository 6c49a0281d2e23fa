//! Trace context as it travels: from the caller's headers through a row of the outbox and the headers
//! of an AMQP message into the consumer's span. Where no tracer runs in this process, what came in goes
//! out unchanged, so that a trace never ends at a queue.
//!
//! Format: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use std::collections::HashMap;

use opentelemetry::{Context, global, trace::TraceContextExt};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The two W3C headers; empty text where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`: trace id, parent span id and flags.
    pub traceparent: String,
    /// `tracestate`: what vendors add.
    pub tracestate: String,
}

impl TraceContext {
    /// The context of `span`, or `fallback` where no tracer records it.
    #[must_use]
    pub fn of(span: &Span, fallback: &Self) -> Self {
        let context = span.context();
        if !context.span().span_context().is_valid() {
            return fallback.clone();
        }
        let mut headers = HashMap::new();
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
        Self {
            traceparent: headers.remove("traceparent").unwrap_or_default(),
            tracestate: headers.remove("tracestate").unwrap_or_default(),
        }
    }

    /// Makes this the parent of `span`. Without effect where no tracer runs.
    pub fn adopt(&self, span: &Span) {
        if self.traceparent.is_empty() {
            return;
        }
        // Fails only without a tracer, or for a span that the filters switched off: both lose nothing,
        // because `of` then hands on this very context.
        let _ = span.set_parent(self.context());
    }

    /// The trace id, 32 hexadecimal digits; empty where there is none.
    pub fn trace_id(&self) -> &str {
        self.traceparent.split('-').nth(1).unwrap_or_default()
    }

    /// Whether somebody records this trace (the `sampled` flag).
    pub fn is_sampled(&self) -> bool {
        let flags = self.traceparent.split('-').nth(3).and_then(|flags| u8::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    }

    fn context(&self) -> Context {
        let headers = HashMap::from([
            ("traceparent".to_owned(), self.traceparent.clone()),
            ("tracestate".to_owned(), self.tracestate.clone()),
        ]);
        global::get_text_map_propagator(|propagator| propagator.extract(&headers))
    }
}
