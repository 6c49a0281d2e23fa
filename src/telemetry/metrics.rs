//! Metrics of this process: always as Prometheus text for whoever asks, and by OTLP when the standard
//! `OTEL_*` variables ask for it.

use anyhow::Context as _;
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
};
use prometheus::{Registry, TextEncoder};
use tonic::transport::ClientTlsConfig;

/// What is measured, as Prometheus text. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    /// Media type of [`Metrics::text`].
    pub(crate) const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

    /// Every metric as it stands now. Errors: a name or label that the format does not allow.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }

    /// The provider whose instruments `self` shows; with `export`, they go to the OTLP collector too. It is the
    /// process's own from here on, so no instrument may be built before. Has to be called inside the runtime.
    pub(super) fn provide(&self, resource: Resource, export: bool) -> anyhow::Result<SdkMeterProvider> {
        let shown = opentelemetry_prometheus::exporter()
            .with_registry(self.0.clone())
            .scope_info_enabled(false)
            .build()
            .context("the Prometheus registry cannot be set up")?;
        let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(shown);
        if export {
            let exporter = MetricExporter::builder()
                .with_tonic()
                .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
                .build()
                .context("the OTLP exporter cannot be set up; look at the OTEL_EXPORTER_OTLP_* variables")?;
            builder = builder.with_reader(PeriodicReader::builder(exporter).build());
        }
        let provider = builder.build();
        global::set_meter_provider(provider.clone());
        Ok(provider)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::Metrics;

    #[test]
    fn a_label_that_comes_from_elsewhere_stays_in_its_line() {
        let metrics = Metrics::default();
        let counter = IntCounterVec::new(Opts::new("parked", "by key"), &["routing_key"]).unwrap();
        metrics.0.register(Box::new(counter.clone())).unwrap();
        counter.with_label_values(&["a\"} 1\nforged{x=\"\\"]).inc();
        let text = metrics.text().unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, [r#"parked{routing_key="a\"} 1\nforged{x=\"\\"} 1"#]);
    }
}
