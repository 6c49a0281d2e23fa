//! Logs, traces and metrics. Logs go to standard error, as text on a terminal and as JSON lines elsewhere, and
//! every line carries the ids of the dispatch it is about. Traces and metrics go to an OTLP collector, but only
//! when the standard `OTEL_*` variables name one; trace context is understood and passed on in any case.

mod filter;
mod json;
mod metrics;
mod otlp;
mod text;
#[cfg(test)]
mod text_tests;

use std::{
    env,
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult, metrics::SdkMeterProvider, propagation::TraceContextPropagator,
    trace::SdkTracerProvider,
};
use tracing::{Subscriber, warn};
use tracing_subscriber::{
    Layer, Registry, filter::FilterExt as _, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};
use waybill_messaging::record_messages;

pub(crate) use self::metrics::Metrics;
use crate::config::LogFormat;

/// What differs between the server and the commands that talk to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) format: LogFormat,
    /// Log filter where `RUST_LOG` is not set.
    pub(crate) filter: &'static str,
    /// `service.name` where the environment names none.
    pub(crate) service: &'static str,
    /// Whether anything is measured.
    pub(crate) measures: bool,
}

/// Keeps what has to be flushed at the end. Dropping it without [`Telemetry::shutdown`] may lose spans.
#[must_use]
#[derive(Debug)]
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    measures: Option<SdkMeterProvider>,
    metrics: Metrics,
}

/// Installs logging and tracing for the process. Call it once, inside the runtime.
pub(crate) fn init(options: Options) -> anyhow::Result<Telemetry> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let log = filter::log(env::var("RUST_LOG").ok().as_deref(), options.filter).context("RUST_LOG")?;
    let choices = [otlp::TRACES, otlp::METRICS].map(otlp::Choice::from_environment);
    let [export_traces, export_metrics] = choices.each_ref().map(|choice| *choice == otlp::Choice::On);
    let resource = otlp::resource(options.service);
    let traces = if export_traces { Some(otlp::provider(resource.clone())?) } else { None };
    let metrics = Metrics::default();
    let measures = if options.measures { Some(metrics.provide(resource, export_metrics)?) } else { None };
    let spans = traces.as_ref().map(|provider| {
        record_messages();
        spans(provider).with_filter(filter::spans())
    });
    tracing_subscriber::registry()
        .with(lines(options.format).with_filter(log.or(filter::own_spans())))
        .with(spans)
        .try_init()
        .context("logging is set up already")?;
    for (what, choice) in ["traces", "metrics"].into_iter().zip(choices) {
        if let otlp::Choice::Unsupported(reason) = choice {
            warn!(reason, "no {what} are exported");
        }
    }
    Ok(Telemetry { traces, measures, metrics })
}

/// Without what tells of the program and not of a dispatch: lines of its source, threads, times between polls. It would
/// be a third of a span.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("waybill"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Nobody asks for the current context: it is taken from the span at hand.
        .with_context_activation(false)
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        return Box::new(json_lines(stderr));
    }
    let colour = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Box::new(text_lines(stderr, colour))
}

fn text_lines<S, W>(writer: W, colour: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().fmt_fields(text::Fields::default()).with_writer(writer).with_ansi(colour)
}

fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().fmt_fields(json::Ids).event_format(json::JsonLines).with_writer(writer)
}

impl Telemetry {
    /// What is measured, to be shown.
    pub(crate) fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is still held, for at most `timeout` each. Says so when that fails.
    pub(crate) async fn shutdown(self, timeout: Duration) {
        let Self { traces, measures, .. } = self;
        tokio::join!(
            flush("spans", move || traces.map_or(Ok(()), |traces| traces.shutdown_with_timeout(timeout))),
            flush("metrics", move || measures.map_or(Ok(()), |all| all.shutdown_with_timeout(timeout))),
        );
    }
}

/// On a thread of its own: it blocks, and its exporter needs a worker of the runtime meanwhile.
async fn flush(what: &str, shutdown: impl FnOnce() -> OTelSdkResult + Send + 'static) {
    match tokio::task::spawn_blocking(shutdown).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the last {what} were not exported"),
        Err(error) => warn!(%error, "the last {what} were not exported"),
    }
}
