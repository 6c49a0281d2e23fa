//! Export of traces and metrics by OTLP over gRPC, as the standard `OTEL_*` variables ask for it. The SDK reads
//! endpoint, headers, sampler, limits and batching from them itself; this file decides whether to export
//! at all and says which service it is from.

use std::env;

use anyhow::Context as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tonic::transport::ClientTlsConfig;

/// What is exported: the word in the names of the variables.
pub(super) const TRACES: &str = "TRACES";
/// See [`TRACES`].
pub(super) const METRICS: &str = "METRICS";

/// Whether something is exported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    On,
    /// Nobody asked, or somebody asked not to.
    Off,
    /// Asked for in a way that is not built in.
    Unsupported(String),
}

impl Choice {
    pub(super) fn from_environment(signal: &str) -> Self {
        Self::from_lookup(signal, |name| env::var(name).ok())
    }

    /// An empty variable counts as one that is not set, as the specification says.
    fn from_lookup(signal: &str, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get =
            |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let either = |what: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_{signal}_{what}"))
                .or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{what}")))
        };
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if disabled || either("ENDPOINT").is_none() {
            return Self::Off;
        }
        match (get(&format!("OTEL_{signal}_EXPORTER")).as_deref(), either("PROTOCOL").as_deref()) {
            // Prometheus text is there in any case.
            (Some("none" | "prometheus"), _) => Self::Off,
            (Some("otlp") | None, Some("grpc") | None) => Self::On,
            (Some("otlp") | None, Some(protocol)) => {
                Self::Unsupported(format!("the OTLP protocol {protocol} is not built in, only grpc"))
            }
            (Some(exporter), _) => {
                Self::Unsupported(format!("the exporter {exporter} is not built in, only otlp"))
            }
        }
    }
}

/// A provider that exports in batches from a thread of its own. Has to be called inside the runtime.
/// Its sampler is parent-based, always on, unless `OTEL_TRACES_SAMPLER` says otherwise.
pub(super) fn provider(resource: Resource) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
        .build()
        .context("the OTLP exporter cannot be set up; look at the OTEL_EXPORTER_OTLP_* variables")?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// What the environment says, and our own name and version where it says nothing.
pub(super) fn resource(service: &'static str) -> Resource {
    let detected = Resource::builder().build();
    let get = |key: &'static str| detected.get(&Key::from_static_str(key)).map(|value| value.to_string());
    let named = get("service.name").is_some_and(|name| !name.starts_with("unknown_service"));
    let mut own = Vec::new();
    if !named {
        own.push(KeyValue::new("service.name", service));
    }
    if get("service.version").is_none() {
        own.push(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    if get("service.instance.id").is_none() {
        own.push(KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()));
    }
    Resource::builder().with_attributes(own).build()
}

#[cfg(test)]
mod tests {
    use super::{Choice, METRICS, TRACES, resource};

    fn choice(variables: &[(&str, &str)]) -> Choice {
        of(TRACES, variables)
    }

    fn of(signal: &str, variables: &[(&str, &str)]) -> Choice {
        Choice::from_lookup(signal, |name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    #[test]
    fn traces_are_exported_only_to_a_named_endpoint() {
        assert_eq!(choice(&[]), Choice::Off);
        assert_eq!(choice(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Choice::Off);
        assert_eq!(choice(&[ENDPOINT]), Choice::On);
        assert_eq!(choice(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:1")]), Choice::On);
    }

    #[test]
    fn export_can_be_turned_off() {
        assert_eq!(choice(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Choice::Off);
        assert_eq!(choice(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Choice::Off);
        assert_eq!(choice(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]), Choice::On);
    }

    #[test]
    fn traces_and_metrics_are_chosen_apart() {
        let variables = [ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")];
        assert_eq!((of(TRACES, &variables), of(METRICS, &variables)), (Choice::On, Choice::Off));
        let variables = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:1")];
        assert_eq!((of(TRACES, &variables), of(METRICS, &variables)), (Choice::Off, Choice::On));
        assert_eq!(of(METRICS, &[ENDPOINT, ("OTEL_METRICS_EXPORTER", "prometheus")]), Choice::Off);
    }

    #[test]
    fn what_is_not_built_in_is_named() {
        for variable in [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_TRACES_EXPORTER", "zipkin")]
        {
            let Choice::Unsupported(reason) = choice(&[ENDPOINT, variable]) else { panic!("{variable:?}") };
            assert!(reason.contains(variable.1), "{reason}");
        }
    }

    #[test]
    fn spans_name_their_service() {
        let resource = resource("waybill-test");
        let name = resource.get(&opentelemetry::Key::from_static_str("service.name"));
        assert!(name.is_some_and(|name| !name.as_str().starts_with("unknown_service")));
    }
}
