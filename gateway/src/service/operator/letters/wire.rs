//! Dead letters in the words of the contract.

use waybill_messaging::{
    Timestamp,
    dead_letter::{
        DeadLetterKind,
        desk::{Group, Letter, OldBody, State},
    },
};
use waybill_proto::v1;

use crate::{json, time};

/// `None`: there is no such kind; `Some(None)`: any.
#[expect(clippy::option_option, reason = "absent and wrong are two things")]
pub(super) fn read_kind(wire: i32) -> Option<Option<DeadLetterKind>> {
    Some(match v1::DeadLetterKind::try_from(wire).ok()? {
        v1::DeadLetterKind::Unspecified => None,
        v1::DeadLetterKind::Permanent => Some(DeadLetterKind::Permanent),
        v1::DeadLetterKind::Exhausted => Some(DeadLetterKind::Exhausted),
        v1::DeadLetterKind::Broker => Some(DeadLetterKind::Broker),
    })
}

pub(super) fn read_state(wire: i32) -> Option<State> {
    match v1::DeadLetterState::try_from(wire).ok()? {
        v1::DeadLetterState::Unspecified => None,
        v1::DeadLetterState::Dead => Some(State::Dead),
        v1::DeadLetterState::Replayed => Some(State::Replayed),
        v1::DeadLetterState::Discarded => Some(State::Discarded),
    }
}

const fn kind(kind: DeadLetterKind) -> v1::DeadLetterKind {
    match kind {
        DeadLetterKind::Permanent => v1::DeadLetterKind::Permanent,
        DeadLetterKind::Exhausted => v1::DeadLetterKind::Exhausted,
        DeadLetterKind::Broker => v1::DeadLetterKind::Broker,
    }
}

const fn state(state: State) -> v1::DeadLetterState {
    match state {
        State::Dead => v1::DeadLetterState::Dead,
        State::Replayed => v1::DeadLetterState::Replayed,
        State::Discarded => v1::DeadLetterState::Discarded,
    }
}

pub(super) fn group(database: &str, group: Group) -> v1::DeadLetterGroup {
    v1::DeadLetterGroup {
        database: database.to_owned(),
        queue: group.queue,
        r#type: group.type_name,
        kind: kind(group.kind).into(),
        reason: group.reason,
        dead_letters: group.letters,
        first_at: Some(time::to_wire(group.first_at)),
        last_at: Some(time::to_wire(group.last_at)),
    }
}

/// Without its body. What died first before `early` is past the window of the inbox.
pub(super) fn letter(database: &str, letter: Letter, early: Timestamp) -> v1::DeadLetter {
    let envelope = letter.envelope;
    v1::DeadLetter {
        id: letter.id.to_string(),
        database: database.to_owned(),
        queue: letter.queue,
        r#type: envelope.type_name,
        message_id: envelope.message_id,
        dispatch_id: envelope.correlation_id,
        causation_id: envelope.causation_id,
        reply_to: envelope.reply_to,
        routing_key: letter.routing_key,
        trace_id: envelope.trace.trace_id().to_owned(),
        traceparent: envelope.trace.traceparent,
        tracestate: envelope.trace.tracestate,
        attempt: envelope.attempt,
        times: letter.times,
        kind: kind(letter.kind).into(),
        reason: letter.reason,
        first_at: Some(time::to_wire(letter.first_at)),
        dead_at: Some(time::to_wire(letter.dead_at)),
        state: state(letter.state).into(),
        resolved_at: (letter.state != State::Dead).then(|| time::to_wire(letter.resolved_at)),
        resolved_by: letter.resolved_by,
        resolution: letter.resolution,
        recorded: letter.recorded,
        past_inbox_window: letter.first_at < early,
        body_size: letter.size,
        ..v1::DeadLetter::default()
    }
}

/// With its body, as it is and as it was.
pub(super) fn whole(
    letter: v1::DeadLetter,
    type_name: &str,
    body: &[u8],
    old: Vec<OldBody>,
) -> v1::DeadLetter {
    let (body_json, body_error) = match json::to_json(type_name, body) {
        Ok(json) if json::has_unknown_fields(type_name, body) => {
            (json, "it has fields that this release does not know; they are not in the JSON".to_owned())
        }
        Ok(json) => (json, String::new()),
        Err(error) => (String::new(), error),
    };
    let old_bodies = old.into_iter().map(|old| old_body(type_name, old)).collect();
    v1::DeadLetter { body: body.to_vec(), body_json, body_error, old_bodies, ..letter }
}

fn old_body(type_name: &str, old: OldBody) -> v1::OldDeadLetterBody {
    v1::OldDeadLetterBody {
        at: Some(time::to_wire(old.at)),
        operator: old.operator,
        reason: old.reason,
        body_json: json::to_json(type_name, &old.body).unwrap_or_default(),
        body: old.body,
    }
}
