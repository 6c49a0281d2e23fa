//! Histories that an earlier release has written, played again by today's machine: the same inputs must lead
//! to the same transitions, or a saga that is under way during an upgrade would go another way than it began.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::time::Duration;

use waybill_messaging::{Timestamp, TraceContext};
use waybill_proto::v1::DispatchRequested;
use waybill_saga::{
    Action, Defaults, Definition, Instance, InstanceState, StepState, Verdict,
    machine::{Input, Transition, advance, begin},
    order_fulfilment,
    read::{InstanceView, Progress, TransitionView},
};

const VERSION_1: &str = include_str!("histories/version-1.tsv");
const TIMEOUT: Duration = Duration::from_secs(1);
/// As it was set where the histories were recorded.
const ATTEMPTS: u32 = 2;

/// One recorded dispatch.
struct Recorded {
    name: &'static str,
    definition: &'static str,
    hash: &'static str,
    state: &'static str,
    steps: &'static str,
    rows: Vec<Row>,
}

/// One recorded transition.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    version: u64,
    state: String,
    event: String,
    step: String,
    attempt: u32,
    reason: String,
}

fn recorded(file: &'static str) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for line in file.lines().filter(|line| !line.starts_with("# ")) {
        let cells: Vec<&str> = line.split('\t').collect();
        if let Some(name) = cells[0].strip_prefix("## ") {
            let [definition, hash, state, steps] = cells[1..].try_into().unwrap();
            all.push(Recorded { name, definition, hash, state, steps, rows: Vec::new() });
        } else {
            let [version, state, event, step, attempt, reason, _cause] = cells.try_into().unwrap();
            let (version, attempt) = (version.parse().unwrap(), attempt.parse().unwrap());
            let [state, event, step, reason] = [state, event, step, reason].map(str::to_owned);
            all.last_mut().unwrap().rows.push(Row { version, state, event, step, attempt, reason });
        }
    }
    all
}

/// What must have happened for `row` to be written.
fn input(definition: &Definition, row: &Row) -> Input {
    let Row { event, step: name, reason, .. } = row;
    let what = event.strip_prefix(name.as_str()).unwrap_or(event);
    let (action, verdict) = match what {
        "_done" => (Action::Do, Verdict::Done),
        "_refused" => (Action::Do, Verdict::Refused(reason.clone())),
        "_compensated" => (Action::Undo, Verdict::Done),
        "_compensation_refused" => (Action::Undo, Verdict::Refused(reason.clone())),
        "_retried" | "_timed_out" | "_compensation_retried" | "_compensation_timed_out" => {
            return Input::Deadline;
        }
        "cancel_requested" | "cancel_refused" => return Input::Cancel(reason.clone()),
        "late_reply_ignored" => match reason.strip_prefix(&format!("{name} ")).unwrap() {
            "done: came too late to matter" => (Action::Do, Verdict::Done),
            "compensated: came too late to matter" => (Action::Undo, Verdict::Done),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let step = definition.steps.iter().position(|step| step.name == name).unwrap();
    Input::Reply { step, action, verdict }
}

fn row(instance: &Instance, Transition { happened, .. }: Transition) -> Row {
    Row {
        version: instance.version,
        state: instance.state.name().to_owned(),
        event: happened.event,
        step: happened.step.to_owned(),
        attempt: happened.attempt,
        reason: happened.reason,
    }
}

/// Plays one dispatch from its beginning and holds every transition against the recorded one.
fn replay(definition: &Definition, recorded: &Recorded) {
    let Recorded { name, rows, .. } = recorded;
    let mut now = Timestamp::from_micros(1_000_000);
    let (request, trace) = (DispatchRequested::default(), TraceContext::default());
    let (mut instance, transition) = begin(definition, "d", request, trace, now);
    let mut progress = Progress::new(&instance.definition);
    for row in rows {
        progress.note(&told(row));
    }
    assert_eq!(row(&instance, transition), rows[0], "{name}");
    for expected in &rows[1..] {
        let input = input(definition, expected);
        if input == Input::Deadline {
            now = instance.deadline_at.unwrap();
        }
        let transition = advance(definition, &mut instance, input, now);
        let transition = transition.unwrap_or_else(|| panic!("{name}: {expected:?} leaves no trace"));
        assert_eq!(row(&instance, transition), *expected, "{name}");
    }
    let steps: Vec<&str> = instance.steps.iter().copied().map(StepState::name).collect();
    assert_eq!((instance.state.name(), steps.join(",").as_str()), (recorded.state, recorded.steps), "{name}");
    assert_eq!(
        progress.missing(&InstanceView::from(instance)),
        "",
        "{name}: the history tells of every step"
    );
}

fn told(row: &Row) -> TransitionView {
    let Row { version, state, event, step, attempt, reason } = row.clone();
    TransitionView {
        version,
        at: Timestamp::default(),
        state: InstanceState::from_name(&state).unwrap(),
        event,
        step,
        attempt,
        reason,
        cause_message_id: String::new(),
    }
}

#[test]
fn histories_of_version_1_replay_to_the_same_transitions() {
    let definition = order_fulfilment(&Defaults {
        step_timeout: TIMEOUT,
        step_attempts: ATTEMPTS,
        saga_timeout: Duration::from_hours(1),
    })
    .swap_remove(0);
    let all = recorded(VERSION_1);
    assert_eq!(all.len(), 10);
    for recorded in &all {
        assert_eq!((recorded.definition, recorded.hash), ("order_fulfilment/1", definition.hash().as_str()));
        replay(&definition, recorded);
    }
}
