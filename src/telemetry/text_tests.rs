//! Text from elsewhere in log lines of either form: one event is one line, and says what it said.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{error, info_span};
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt as _};

use super::{json_lines, text_lines};
use crate::cli::is_unsafe;

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

const HOSTILE: &str = "a\n2026-01-01 INFO forged\r\u{1b}[2J\u{7}\0\u{7f}\u{9b}31m\u{202e}\u{2028}b";

/// Everything that can stand in a line: a message, fields of every kind, fields of the span around it.
fn say() {
    let failed = io::Error::other(HOSTILE);
    let cause: &(dyn std::error::Error + 'static) = &failed;
    let span = info_span!("around", order_id = HOSTILE, shown = %HOSTILE, later = tracing::field::Empty);
    span.record("later", HOSTILE);
    span.in_scope(|| error!(error = %failed, cause, text = HOSTILE, debug = ?HOSTILE, "said {HOSTILE}"));
}

#[test]
fn a_line_for_people_is_one_line_whatever_is_in_it() {
    let buffer = Buffer::default();
    let made = buffer.clone();
    let layer = text_lines(move || made.clone(), false).with_filter(LevelFilter::INFO);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(is_unsafe), "{line:?}");
    // Once for each: message, error, its cause, text, debug; and three in the span.
    assert_eq!(line.matches("forged").count(), 8, "{line}");
}

#[test]
fn a_line_for_programs_is_one_line_and_keeps_every_letter() {
    let buffer = Buffer::default();
    let made = buffer.clone();
    let layer = json_lines(move || made.clone()).with_filter(LevelFilter::INFO);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(is_unsafe), "{line:?}");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["error"], HOSTILE);
    assert_eq!(line["text"], HOSTILE);
    assert_eq!(line["message"], format!("said {HOSTILE}"));
}
