//! Export of traces by OTLP over gRPC, as the standard `OTEL_*` variables ask for it. The SDK reads
//! endpoint, headers, sampler, limits and batching from them itself; this file decides whether to export
//! at all and says which service the spans are from.

use std::env;

use anyhow::Context as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tonic::transport::ClientTlsConfig;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Whether traces are exported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    On,
    /// Nobody asked, or somebody asked not to.
    Off,
    /// Asked for in a way that is not built in.
    Unsupported(String),
}

impl Choice {
    pub(super) fn from_environment() -> Self {
        Self::from_lookup(|name| env::var(name).ok())
    }

    /// An empty variable counts as one that is not set, as the specification says.
    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get =
            |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(get);
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if disabled || first(ENDPOINTS).is_none() {
            return Self::Off;
        }
        match (get("OTEL_TRACES_EXPORTER").as_deref(), first(PROTOCOLS).as_deref()) {
            (Some("none"), _) => Self::Off,
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
pub(super) fn provider(service: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
        .build()
        .context("the OTLP exporter cannot be set up; look at the OTEL_EXPORTER_OTLP_* variables")?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(service)).build())
}

/// What the environment says, and our own name and version where it says nothing.
fn resource(service: &'static str) -> Resource {
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
    use super::{Choice, resource};

    fn choice(variables: &[(&str, &str)]) -> Choice {
        Choice::from_lookup(|name| {
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
