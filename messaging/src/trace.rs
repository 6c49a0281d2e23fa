//! Trace context as it travels: from the caller's headers through a row of the outbox and the headers
//! of an AMQP message into the consumer's span. Where no tracer runs in this process, what came in goes
//! out unchanged, so that a trace never ends at a queue.
//!
//! Format: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::TraceContextExt,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Longest `tracestate` that is passed on: what W3C Trace Context asks for at least.
const MAX_STATE: usize = 512;

/// Whether a tracer runs in this process.
static RECORDS: AtomicBool = AtomicBool::new(false);

/// Says that a tracer runs in this process. Where none does, no span is made of a message on its way.
pub fn record_messages() {
    RECORDS.store(true, Ordering::Relaxed);
}

/// The two W3C headers; empty text where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`: trace id, parent span id and flags.
    pub traceparent: String,
    /// `tracestate`: what vendors add.
    pub tracestate: String,
}

impl TraceContext {
    /// What came in from elsewhere: none where it is malformed, because it is stored and sent on as it is.
    #[must_use]
    pub fn received(traceparent: &str, tracestate: &str) -> Self {
        if !is_traceparent(traceparent) {
            return Self::default();
        }
        let is_short = tracestate.len() <= MAX_STATE;
        let is_plain =
            tracestate.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t');
        let tracestate = if is_short && is_plain { tracestate } else { "" };
        Self { traceparent: traceparent.to_owned(), tracestate: tracestate.to_owned() }
    }

    /// The context of `span`, or `fallback` where no tracer records it.
    #[must_use]
    pub fn of(span: &Span, fallback: &Self) -> Self {
        let context = span.context();
        if !context.span().span_context().is_valid() {
            return fallback.clone();
        }
        let mut headers = Self::default();
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
        headers
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

    /// Whether a span that continues this trace would be recorded here. Asked before one is made, because there are
    /// twenty in a dispatch and most traces are not sampled: what was decided where the trace began holds for all
    /// of it, whichever sampler this process has.
    pub fn is_recorded(&self) -> bool {
        RECORDS.load(Ordering::Relaxed) && (self.traceparent.is_empty() || self.is_sampled())
    }

    fn context(&self) -> Context {
        global::get_text_map_propagator(|propagator| propagator.extract(self))
    }
}

impl Extractor for TraceContext {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.traceparent),
            "tracestate" => Some(&self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

impl Injector for TraceContext {
    fn set(&mut self, key: &str, value: String) {
        match key {
            "traceparent" => self.traceparent = value,
            "tracestate" => self.tracestate = value,
            _ => {}
        }
    }
}

/// Source: W3C Trace Context, "traceparent header", version 00.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut parts = text.split('-');
    let [Some(version), Some(trace), Some(parent), Some(flags), None] = [(); 5].map(|()| parts.next()) else {
        return false;
    };
    let all = [version, trace, parent, flags];
    let absent = |id: &str| id.bytes().all(|byte| byte == b'0');
    all.map(str::len) == [2, 32, 16, 2]
        && all.into_iter().all(is_hex)
        && version != "ff"
        && !absent(trace)
        && !absent(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_trace_that_is_sampled_or_not_yet_begun_is_recorded() {
        let sampled = TraceContext { traceparent: GOOD.to_owned(), ..TraceContext::default() };
        let dropped = TraceContext { traceparent: GOOD.replace("-01", "-00"), ..TraceContext::default() };
        record_messages();
        assert!(sampled.is_recorded() && TraceContext::default().is_recorded());
        assert!(!dropped.is_recorded());
    }

    #[test]
    fn a_malformed_context_is_none() {
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ];
        for text in bad {
            assert_eq!(TraceContext::received(text, "vendor=1"), TraceContext::default(), "{text}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_or_no_header_is_left_out() {
        for (state, kept) in
            [("vendor=1", true), ("a=1, b=2", true), ("a\nb", false), (&"x".repeat(513), false)]
        {
            let received = TraceContext::received(GOOD, state);
            assert_eq!(received.traceparent, GOOD);
            assert_eq!(received.tracestate, if kept { state } else { "" });
        }
    }
}
