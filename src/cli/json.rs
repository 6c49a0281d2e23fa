//! What commands print for programs: the messages of the contract as JSON, with its field names, states by
//! name and times in RFC 3339. Absent values are left out.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tonic::Status;
use waybill_proto::v1::{Dispatch, DispatchReceipt, DispatchStep, DispatchTransition, Money, StepCourse};

use super::{state, status, time};

/// One line. Control characters that JSON would let through are escaped as well.
pub(super) fn line(value: &Value) -> String {
    escape(&value.to_string())
}

/// Several lines, for people who read JSON.
pub(super) fn pretty(value: &Value) -> String {
    escape(&format!("{value:#}"))
}

/// Such characters stand only inside strings, where the escape means the same.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\u{7f}'..='\u{9f}') {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Leaves out what is null, empty text, or an empty list.
pub(super) fn filled(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    Value::Object(fields.into_iter().filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>())
}

pub(super) fn receipt(receipt: &DispatchReceipt) -> Value {
    filled(json!({
        "message_id": receipt.message_id,
        "dispatch_id": receipt.dispatch_id,
        "duplicate": receipt.duplicate,
        "accepted_at": time::exact(receipt.accepted_at.as_ref()),
    }))
}

/// An item that was not accepted.
pub(super) fn rejection(message_id: &str, status: &Status) -> Value {
    json!({
        "message_id": message_id,
        "error": {
            "code": status::code_name(status.code()),
            "message": status.message(),
            "details": status::details(status),
        },
    })
}

pub(super) fn transition(transition: &DispatchTransition) -> Value {
    filled(json!({
        "dispatch_id": transition.dispatch_id,
        "version": transition.version,
        "state": state::name(transition.state()),
        "at": time::exact(transition.at.as_ref()),
        "event": transition.event,
        "step": transition.step,
        "attempt": transition.attempt,
        "reason": transition.reason,
        "cause_message_id": transition.cause_message_id,
        "took": time::exact_duration(transition.took.as_ref()),
        "remaining": transition.remaining,
    }))
}

pub(super) fn dispatch(dispatch: &Dispatch) -> Value {
    filled(json!({
        "dispatch_id": dispatch.dispatch_id,
        "message_id": dispatch.message_id,
        "order_id": dispatch.order_id,
        "state": state::name(dispatch.state()),
        "reason": dispatch.reason,
        "destination_code": dispatch.destination_code,
        "parcel_count": dispatch.parcel_count,
        "customer_id": dispatch.customer_id,
        "amount": dispatch.amount.as_ref().map(money),
        "requested_at": time::exact(dispatch.requested_at.as_ref()),
        "accepted_at": time::exact(dispatch.accepted_at.as_ref()),
        "updated_at": time::exact(dispatch.updated_at.as_ref()),
        "ended_at": time::exact(dispatch.ended_at.as_ref()),
        "version": dispatch.version,
        "steps": dispatch.steps.iter().map(step).collect::<Vec<_>>(),
        "steps_note": dispatch.steps_note,
        "history": dispatch.history.iter().map(transition).collect::<Vec<_>>(),
        "saga": dispatch.saga,
        "trace_id": dispatch.trace_id,
        "client": dispatch.client,
    }))
}

fn step(step: &DispatchStep) -> Value {
    filled(json!({
        "name": step.name,
        "participant": step.participant,
        "kind": state::kind_name(step.kind()),
        "progress": state::progress_name(step.progress()),
        "state": state::step_name(step.state()),
        "started_at": time::exact(step.started_at.as_ref()),
        "ended_at": time::exact(step.ended_at.as_ref()),
        "reason": step.reason,
        "command": step.command.as_ref().map(course),
        "compensation": step.compensation.as_ref().map(course),
    }))
}

fn course(course: &StepCourse) -> Value {
    filled(json!({
        "started_at": time::exact(course.started_at.as_ref()),
        "ended_at": time::exact(course.ended_at.as_ref()),
        "took": time::exact_duration(course.took.as_ref()),
        "attempts": course.attempts,
    }))
}

fn money(money: &Money) -> Value {
    json!({ "currency_code": money.currency_code, "minor_units": money.minor_units })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use waybill_proto::v1::{Dispatch, DispatchState};

    use super::{dispatch, line};

    #[test]
    fn what_is_absent_is_left_out_and_names_are_those_of_the_contract() {
        let completed = Dispatch {
            dispatch_id: "d".to_owned(),
            state: DispatchState::Completed.into(),
            ..Dispatch::default()
        };
        let expected = json!({"dispatch_id": "d", "state": "COMPLETED", "parcel_count": 0, "version": 0});
        assert_eq!(dispatch(&completed), expected);
    }

    #[test]
    fn a_line_holds_no_control_character_and_reads_back() {
        let value = json!({ "a": "\u{1b}\n\u{9b}\u{7f}é" });
        let text = line(&value);
        assert!(!text.chars().any(char::is_control), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
