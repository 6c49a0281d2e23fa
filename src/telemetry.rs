//! Logs and traces. Logs go to standard error, as text on a terminal and as JSON lines elsewhere, and
//! every line carries the ids of the dispatch it is about. Traces go to an OTLP collector, but only when
//! the standard `OTEL_*` variables name one; trace context is understood and passed on in any case.

mod filter;
mod json;
mod otlp;

use std::{
    env,
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Subscriber, warn};
use tracing_subscriber::{
    Layer, Registry, filter::FilterExt as _, fmt::format::JsonFields, layer::SubscriberExt as _,
    registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::config::LogFormat;

/// What differs between the server and the commands that talk to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) format: LogFormat,
    /// Log filter where `RUST_LOG` is not set.
    pub(crate) filter: &'static str,
    /// `service.name` where the environment names none.
    pub(crate) service: &'static str,
}

/// Keeps what has to be flushed at the end. Dropping it without [`Telemetry::shutdown`] may lose spans.
#[must_use]
#[derive(Debug)]
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Installs logging and tracing for the process. Call it once, inside the runtime.
pub(crate) fn init(options: Options) -> anyhow::Result<Telemetry> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let log = filter::log(env::var("RUST_LOG").ok().as_deref(), options.filter).context("RUST_LOG")?;
    let choice = otlp::Choice::from_environment();
    let provider = if choice == otlp::Choice::On { Some(otlp::provider(options.service)?) } else { None };
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("waybill")).with_filter(filter::spans())
    });
    tracing_subscriber::registry()
        .with(lines(options.format).with_filter(log.or(filter::own_spans())))
        .with(spans)
        .try_init()
        .context("logging is set up already")?;
    if let otlp::Choice::Unsupported(reason) = choice {
        warn!(reason, "no traces are exported");
    }
    Ok(Telemetry { provider })
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json { Box::new(json_lines(stderr)) } else { Box::new(text_lines(terminal)) }
}

fn text_lines<S: Subscriber + for<'a> LookupSpan<'a>>(terminal: bool) -> impl Layer<S> {
    let colour = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colour)
}

fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(json::JsonLines)
        .with_writer(writer)
}

impl Telemetry {
    /// Sends what is still held, for at most `timeout`. Says so when that fails.
    pub(crate) async fn shutdown(self, timeout: Duration) {
        let Some(provider) = self.provider else { return };
        // It blocks, and its exporter needs a worker of the runtime meanwhile.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(timeout)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the last spans were not exported"),
            Err(error) => warn!(%error, "the last spans were not exported"),
        }
    }
}
