//! Which events become log lines and which spans are traced. The two are filtered apart, so that
//! quieting the log cannot break the trace of a dispatch.

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    filter::{ParseError, Targets, filter_fn},
    layer::Filter,
};

/// Crates that say more than an operator wants to read, and what they may say unless `RUST_LOG` names
/// them. lapin reports each lost connection as an error; Waybill does that itself, once.
const QUIET: [(&str, &str); 11] = [
    ("lapin", "off"),
    ("async_rs", "off"),
    ("executor_trait", "off"),
    ("sqlx", "warn"),
    ("sea_orm", "warn"),
    ("sea_orm_migration", "warn"),
    ("h2", "warn"),
    ("hyper", "warn"),
    ("tonic", "warn"),
    ("tower", "warn"),
    ("opentelemetry", "warn"),
];

/// The filter of the log: `RUST_LOG`, or the default, and the quiet crates.
pub(super) fn log(rust_log: Option<&str>, default: &str) -> Result<EnvFilter, ParseError> {
    let wanted = rust_log.filter(|text| !text.trim().is_empty()).unwrap_or(default);
    EnvFilter::try_new(directives(wanted))
}

fn directives(wanted: &str) -> String {
    let named = |name: &str| {
        wanted.split(',').any(|directive| directive.trim().split(['=', ':', '[']).next() == Some(name))
    };
    let quiet = QUIET.iter().filter(|(name, _)| !named(name)).map(|(name, level)| format!("{name}={level}"));
    quiet.chain([wanted.to_owned()]).collect::<Vec<_>>().join(",")
}

/// Lets Waybill's own spans through whatever the level of the log, so that a line of level ERROR still
/// carries the ids of its dispatch under `RUST_LOG=error`.
pub(super) fn own_spans<S: Subscriber>() -> impl Filter<S> {
    let own = |metadata: &Metadata<'_>| {
        metadata.is_span() && metadata.target().starts_with("waybill") && *metadata.level() <= Level::INFO
    };
    filter_fn(own).with_max_level_hint(LevelFilter::INFO)
}

/// What is traced: Waybill's own spans. Those of the libraries below would trace their own export.
pub(super) fn spans() -> Targets {
    Targets::new().with_target("waybill", Level::INFO)
}

#[cfg(test)]
mod tests {
    use super::{directives, log};

    #[test]
    fn noisy_crates_are_quiet_unless_they_are_named() {
        assert!(directives("debug").starts_with("lapin=off,"));
        let named = directives("info,lapin=debug,sqlx::query=info");
        assert!(!named.contains("lapin=off") && named.ends_with("info,lapin=debug,sqlx::query=info"));
        assert!(!named.contains("sqlx=warn"));
        assert!(named.contains("sea_orm=warn"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(log(Some("waybill=loud"), "info").is_err());
        assert!(log(Some(""), "info").is_ok());
        assert!(log(None, "info").is_ok());
    }
}
