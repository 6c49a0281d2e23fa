//! One dead letter, whole.

use std::{fmt::Write as _, process::ExitCode};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use waybill_proto::v1::{DeadLetter, DeadLetterState, GetDeadLetterRequest, OldDeadLetterBody};

use super::{list::of_letter, words};
use crate::cli::{Failure, clean::clean, client::ClientArgs, json, out, time};

/// Bytes that are shown of a body that cannot be read; --json has all.
const DUMPED: usize = 512;

/// Shows one dead letter: headers, attempts, trace id, and its body, decoded where its type is known
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its id, as `waybill dead-letters --list` shows it
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl Show {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let request = GetDeadLetterRequest { id: self.id };
        let letter = self.client.call(request, |request| operator.get_dead_letter(request)).await?;
        print(&letter, self.client.json).map(|()| ExitCode::SUCCESS)
    }
}

pub(super) fn print(letter: &DeadLetter, as_json: bool) -> Result<(), Failure> {
    out::text(&if as_json { json::line(&whole(letter)) } else { text(letter) })
}

fn whole(letter: &DeadLetter) -> Value {
    let mut value = of_letter(letter);
    let old: Vec<Value> = letter.old_bodies.iter().map(of_old).collect();
    let body = json::filled(json!({
        "body": parsed(&letter.body_json),
        "body_base64": STANDARD.encode(&letter.body),
        "body_error": letter.body_error,
        "old_bodies": old,
    }));
    if let (Value::Object(fields), Value::Object(body)) = (&mut value, body) {
        fields.extend(body);
    }
    value
}

fn of_old(old: &OldDeadLetterBody) -> Value {
    json::filled(json!({
        "at": time::exact(old.at.as_ref()),
        "operator": old.operator,
        "reason": old.reason,
        "body": parsed(&old.body_json),
        "body_base64": STANDARD.encode(&old.body),
    }))
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(letter: &DeadLetter) -> String {
    let mut text = String::new();
    for (name, value) in headers(letter) {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<12} {}", clean(&value));
        }
    }
    notes(letter, &mut text);
    body(&mut text, &format!("Body, {} bytes", letter.body.len()), &letter.body_json, &letter.body);
    if !letter.body_error.is_empty() {
        let _ = writeln!(text, "  ({})", clean(&letter.body_error));
    }
    for old in &letter.old_bodies {
        let at = time::shown(old.at.as_ref());
        let title = format!("Body until {at}, when {} replaced it: {}", old.operator, old.reason);
        body(&mut text, &title, &old.body_json, &old.body);
    }
    text
}

fn headers(letter: &DeadLetter) -> [(&'static str, String); 18] {
    [
        ("Letter", letter.id.clone()),
        ("State", state(letter)),
        ("Database", letter.database.clone()),
        ("Queue", letter.queue.clone()),
        ("Type", letter.r#type.clone()),
        ("Kind", words::kind(letter.kind()).to_owned()),
        ("Reason", letter.reason.clone()),
        ("Died", time::shown(letter.dead_at.as_ref())),
        ("First died", time::shown(letter.first_at.as_ref())),
        ("Times", format!("{}, at attempt {}", letter.times, letter.attempt)),
        ("Message", letter.message_id.clone()),
        ("Dispatch", letter.dispatch_id.clone()),
        ("Caused by", letter.causation_id.clone()),
        ("Reply to", letter.reply_to.clone()),
        ("Routing key", letter.routing_key.clone()),
        ("Trace", letter.trace_id.clone()),
        ("traceparent", letter.traceparent.clone()),
        ("tracestate", letter.tracestate.clone()),
    ]
}

fn state(letter: &DeadLetter) -> String {
    let word = words::state(letter.state());
    match letter.state() {
        DeadLetterState::Unspecified | DeadLetterState::Dead => word.to_owned(),
        DeadLetterState::Replayed | DeadLetterState::Discarded => {
            let at = time::shown(letter.resolved_at.as_ref());
            format!("{word} at {at} by {}: {}", letter.resolved_by, letter.resolution)
        }
    }
}

fn notes(letter: &DeadLetter, text: &mut String) {
    if letter.recorded {
        text.push_str(
            "Note         its message was handled: replayed, it is answered again and nothing is done\n",
        );
    }
    if letter.past_inbox_window {
        text.push_str("Note         it died longer ago than the inbox remembers what was handled\n");
    }
}

fn body(text: &mut String, title: &str, json: &str, body: &[u8]) {
    let _ = writeln!(text, "\n{}", clean(title));
    if json.is_empty() {
        text.push_str(&dump(body));
    }
    json.lines().for_each(|line| {
        let _ = writeln!(text, "  {}", clean(line));
    });
}

/// Bytes and, beside them, what can be read of them.
fn dump(body: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in body[..body.len().min(DUMPED)].chunks(16).enumerate() {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let readable: String = line.iter().map(shown).collect();
        let _ = writeln!(text, "  {:06x}  {:<47}  {readable}", number * 16, bytes.join(" "));
    }
    if body.len() > DUMPED {
        let _ = writeln!(text, "  and {} bytes more: --json", body.len() - DUMPED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::dump;

    #[test]
    fn a_body_that_cannot_be_read_is_dumped() {
        assert_eq!(dump(b"ab\x1b"), "  000000  61 62 1b                                         ab.\n");
        let long = dump(&[0; 600]);
        assert_eq!((long.lines().count(), long.lines().last()), (33, Some("  and 88 bytes more: --json")));
    }
}
