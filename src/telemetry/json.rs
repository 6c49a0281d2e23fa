//! Log lines for programs: one flat JSON object a line. The ids of the dispatch at hand stand at the top
//! level of every line, wherever up the stack the span that knows them was opened.

use std::{error::Error, fmt};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use crate::cli::is_unsafe;

/// Fields of a span that every line below it carries.
const IDS: [&str; 2] = ["dispatch_id", "trace_id"];

/// The format. Fields of spans have to be formatted by [`Ids`].
pub(super) struct JsonLines;

/// Formats of a span's fields those that lines carry: a span has a dozen that only its export is for, and most
/// spans see no line at all.
pub(super) struct Ids;

impl<'writer> FormatFields<'writer> for Ids {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut found = Found(Map::new());
        fields.record(&mut found);
        if found.0.is_empty() { Ok(()) } else { write!(writer, "{}", Value::Object(found.0)) }
    }
}

/// The ids among the fields of a span.
struct Found(Map<String, Value>);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if IDS.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if IDS.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(Map::new());
        event.record(&mut line);
        let metadata = event.metadata();
        line.put("timestamp", Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
        line.put("level", metadata.level().as_str());
        line.put("target", metadata.target());
        for span in context.event_scope().into_iter().flatten() {
            line.0.entry("span").or_insert_with(|| span.name().into());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.take_ids(&fields.fields);
            }
        }
        writeln!(writer, "{}", escaped(Value::Object(line.0).to_string()))
    }
}

/// JSON leaves some letters as they are that steer a terminal. All of them stand in texts, where an escape is
/// the same letter.
fn escaped(line: String) -> String {
    if !line.contains(is_unsafe) {
        return line;
    }
    let letters = line.chars().map(|letter| match letter {
        letter if is_unsafe(letter) => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    });
    letters.collect()
}

struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The innermost span comes first, and what is there already stays.
    fn take_ids(&mut self, fields: &str) {
        // One object for what the span began with, and one for each time that something was added.
        for object in serde_json::Deserializer::from_str(fields).into_iter::<Map<String, Value>>().flatten() {
            for (id, value) in object {
                self.0.entry(id).or_insert(value);
            }
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing::{error, error_span, info, info_span};
    use tracing_subscriber::{Layer as _, filter::FilterExt as _, layer::SubscriberExt as _};

    use crate::telemetry::{filter, json_lines};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(rust_log: &str, act: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let filter = filter::log(Some(rust_log), "info").unwrap().or(filter::own_spans());
        let layer = json_lines(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let bytes = buffer.0.lock().unwrap();
        std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_carries_its_fields_and_the_ids_of_the_spans_around_it() {
        let lines = logged("info", || {
            let outer =
                info_span!("message.handle", dispatch_id = "d-1", trace_id = tracing::field::Empty, rest = 1);
            outer.record("trace_id", "t-1");
            outer.in_scope(|| info_span!("inner", queue = "q").in_scope(|| info!(count = 3, "it happened")));
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["dispatch_id"], "d-1");
        assert_eq!(line["trace_id"], "t-1");
        assert_eq!(line["span"], "inner");
        assert_eq!(line["count"], 3);
        assert_eq!(line["message"], "it happened");
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')));
    }

    #[test]
    fn the_innermost_id_wins() {
        let lines = logged("info", || {
            let _outer = info_span!("outer", dispatch_id = "d-1").entered();
            let _inner = error_span!("inner", dispatch_id = "d-2").entered();
            info!("x");
        });
        assert_eq!(lines[0]["dispatch_id"], "d-2");
    }

    #[test]
    fn a_quieter_log_keeps_the_ids() {
        let lines = logged("error", || {
            let _span = info_span!("outer", dispatch_id = "d-1").entered();
            info!("not logged");
            error!("logged");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["dispatch_id"], "d-1");
    }
}
