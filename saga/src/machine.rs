//! The pure state machine: `(definition, instance, input, now) → (instance, history, outgoing)`.
//!
//! No I/O, no clock, no randomness, and no error: every pair of state and input has an answer, which is
//! either a transition or the record that the input came too late. What goes out is data; the shell
//! carries it out.

mod operate;
mod time;

use waybill_messaging::{Timestamp, TraceContext};
use waybill_proto::v1::DispatchRequested;

pub use self::operate::{Answer, Intervention, Refusal, Verb, may_operate, operate};
use self::time::{answer_by, ask_again_at, is_overdue, overdue};
use crate::{Action, Definition, Instance, InstanceState, Kind, Patience, StepState, Verdict};

/// What can happen to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A participant has answered.
    Reply {
        /// Index of the step.
        step: usize,
        /// Whether it was to be done or undone.
        action: Action,
        /// How it answered.
        verdict: Verdict,
    },
    /// The deadline has passed.
    Deadline,
    /// The client wants it undone, for a reason.
    Cancel(String),
}

/// What an instance wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// The command or the compensation of a step.
    Command(usize, Action),
    /// It is completed.
    Completed,
    /// It is compensated.
    Cancelled,
    /// It is stuck at a step.
    Stuck(usize),
}

/// One row of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What, for example `reserve_payment_done`.
    pub event: String,
    /// Name of the step concerned; empty where none is.
    pub step: &'static str,
    /// Which attempt of it.
    pub attempt: u32,
    /// Why.
    pub reason: String,
}

/// The answer of the machine: the instance is changed in place, this is the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What is recorded.
    pub happened: Happened,
    /// What is sent.
    pub out: Vec<Out>,
}

/// A new instance, with its first command on the way.
pub fn begin(
    definition: &Definition,
    dispatch_id: &str,
    request: DispatchRequested,
    trace: TraceContext,
    now: Timestamp,
) -> (Instance, Transition) {
    let mut instance = blank(definition, dispatch_id, request, trace, now);
    let out = vec![send(definition, &mut instance, 0, Action::Do, now)];
    (instance, Transition { happened: happened("started", "", 0, ""), out })
}

/// An instance that was cancelled before its request arrived: it ends here, and the request finds it.
pub fn begin_cancelled(
    definition: &Definition,
    dispatch_id: &str,
    request: DispatchRequested,
    reason: &str,
    trace: TraceContext,
    now: Timestamp,
) -> (Instance, Transition) {
    let mut instance = blank(definition, dispatch_id, request, trace, now);
    instance.state = InstanceState::Compensated;
    reason.clone_into(&mut instance.reason);
    instance.ended_at = Some(now);
    (
        instance,
        Transition { happened: happened("cancelled_before_start", "", 0, reason), out: vec![Out::Cancelled] },
    )
}

fn blank(
    definition: &Definition,
    dispatch_id: &str,
    request: DispatchRequested,
    trace: TraceContext,
    now: Timestamp,
) -> Instance {
    Instance {
        dispatch_id: dispatch_id.to_owned(),
        definition: (definition.name.to_owned(), definition.version, definition.hash()),
        state: InstanceState::Running,
        steps: vec![StepState::Pending; definition.steps.len()],
        current: None,
        attempt: 0,
        version: 1,
        sent_anew: 0,
        paused: false,
        reason: String::new(),
        request,
        trace,
        started_at: now,
        updated_at: now,
        ended_at: None,
        deadline_at: None,
    }
}

/// Applies `input` to `instance`. `None`: it is of no consequence and leaves no trace (a deadline that has
/// moved, anything after the end that asks for nothing).
pub fn advance(
    definition: &Definition,
    instance: &mut Instance,
    input: Input,
    now: Timestamp,
) -> Option<Transition> {
    let transition = match input {
        Input::Reply { step, action, verdict } => reply(definition, instance, step, action, verdict, now),
        Input::Deadline => deadline(definition, instance, now)?,
        Input::Cancel(reason) => cancel(definition, instance, &reason, now)?,
    };
    instance.version += 1;
    instance.updated_at = now;
    Some(transition)
}

fn reply(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    action: Action,
    verdict: Verdict,
    now: Timestamp,
) -> Transition {
    let name = definition.steps[step].name;
    let attempt = instance.attempt;
    let state = instance.steps[step];
    if instance.state.is_end() || instance.current != Some(step) {
        return late(name, action, &verdict);
    }
    match (state, action, verdict) {
        (StepState::Running, Action::Do, Verdict::Done) => {
            instance.steps[step] = StepState::Done;
            instance.state = InstanceState::Running;
            instance.reason.clear();
            let out = go_forward(definition, instance, step + 1, now);
            Transition { happened: happened(&format!("{name}_done"), name, attempt, ""), out }
        }
        (StepState::Running, Action::Do, Verdict::Refused(reason)) => {
            let happened = happened(&format!("{name}_refused"), name, attempt, &reason);
            if definition.steps[step].kind == Kind::Retriable {
                let out = stuck(instance, step, &reason, None);
                return Transition { happened, out };
            }
            instance.steps[step] = StepState::Refused;
            Transition { happened, out: turn_back(definition, instance, &reason, now) }
        }
        (StepState::Compensating, Action::Undo, Verdict::Done) => {
            instance.steps[step] = StepState::Compensated;
            instance.state = InstanceState::Compensating;
            let out = go_back(definition, instance, now);
            // The last transition says why it all came to this.
            let reason = if instance.state.is_end() { instance.reason.as_str() } else { "" };
            Transition { happened: happened(&format!("{name}_compensated"), name, attempt, reason), out }
        }
        (StepState::Compensating, Action::Undo, Verdict::Refused(reason)) => {
            let happened = happened(&format!("{name}_compensation_refused"), name, attempt, &reason);
            Transition { happened, out: stuck(instance, step, &reason, None) }
        }
        // The command's answer while its compensation is out, or the other way round: what is out decides.
        (_, action, verdict) => late(name, action, &verdict),
    }
}

fn late(step: &'static str, action: Action, verdict: &Verdict) -> Transition {
    let what = match (action, verdict) {
        (Action::Do, Verdict::Done) => "done",
        (Action::Do, Verdict::Refused(_)) => "refused",
        (Action::Undo, Verdict::Done) => "compensated",
        (Action::Undo, Verdict::Refused(_)) => "compensation refused",
    };
    let reason = format!("{step} {what}: came too late to matter");
    Transition { happened: happened("late_reply_ignored", step, 0, &reason), out: Vec::new() }
}

fn deadline(definition: &Definition, instance: &mut Instance, now: Timestamp) -> Option<Transition> {
    let step = instance.current?;
    if instance.deadline_at.is_none_or(|deadline| deadline > now) {
        return None;
    }
    if is_overdue(definition, instance, now) {
        return Some(overdue(definition, instance, step, now));
    }
    let (action, patience) = out_now(definition, instance, step);
    let name = definition.steps[step].name;
    let is_stuck = instance.state == InstanceState::Stuck;
    if is_stuck || instance.attempt < patience.attempts {
        // A stuck saga goes on asking, seldom, so that it frees itself when the participant is back.
        if is_stuck {
            instance.deadline_at = Some(ask_again_at(instance, patience, now));
        } else {
            instance.attempt += 1;
            instance.deadline_at = Some(answer_by(definition, instance, step, now));
        }
        let event = match action {
            Action::Do => format!("{name}_retried"),
            Action::Undo => format!("{name}_compensation_retried"),
        };
        let happened = happened(&event, name, instance.attempt, "no answer in time");
        return Some(Transition { happened, out: vec![Out::Command(step, action)] });
    }
    let reason = format!(
        "{name}: no answer from {} in {} attempts",
        definition.steps[step].command.participant().name(),
        instance.attempt
    );
    let event = match action {
        Action::Do => format!("{name}_timed_out"),
        Action::Undo => format!("{name}_compensation_timed_out"),
    };
    let happened = happened(&event, name, instance.attempt, &reason);
    let turns_back = action == Action::Do && definition.steps[step].kind != Kind::Retriable;
    let out = if turns_back {
        instance.steps[step] = StepState::InDoubt;
        turn_back(definition, instance, &reason, now)
    } else {
        let again = ask_again_at(instance, patience, now);
        stuck(instance, step, &reason, Some(again))
    };
    Some(Transition { happened, out })
}

fn cancel(
    definition: &Definition,
    instance: &mut Instance,
    reason: &str,
    now: Timestamp,
) -> Option<Transition> {
    if instance.state.is_end() || instance.is_going_back() {
        return None;
    }
    if let Err(why) = may_cancel(definition, &instance.steps) {
        return Some(Transition { happened: happened("cancel_refused", "", 0, &why), out: Vec::new() });
    }
    if let Some(step) = instance.current {
        instance.steps[step] = StepState::InDoubt;
    }
    let happened = happened("cancel_requested", "", 0, reason);
    Some(Transition { happened, out: turn_back(definition, instance, reason, now) })
}

/// Whether a saga whose steps stand like this can still be undone; `Err` says why not.
pub fn may_cancel(definition: &Definition, steps: &[StepState]) -> Result<(), String> {
    let done = definition
        .steps
        .iter()
        .zip(steps)
        .find(|(step, state)| step.kind != Kind::Compensatable && **state == StepState::Done);
    match done {
        Some((step, _)) => {
            Err(format!("{} is done, and from there the dispatch only goes forward", step.name))
        }
        None => Ok(()),
    }
}

fn go_forward(definition: &Definition, instance: &mut Instance, next: usize, now: Timestamp) -> Vec<Out> {
    if next < definition.steps.len() {
        return vec![send(definition, instance, next, Action::Do, now)];
    }
    end(instance, InstanceState::Completed, now);
    vec![Out::Completed]
}

fn turn_back(definition: &Definition, instance: &mut Instance, reason: &str, now: Timestamp) -> Vec<Out> {
    instance.state = InstanceState::Compensating;
    reason.clone_into(&mut instance.reason);
    go_back(definition, instance, now)
}

/// The last step that is done or in doubt is undone next; without one nothing remains.
fn go_back(definition: &Definition, instance: &mut Instance, now: Timestamp) -> Vec<Out> {
    if let Some(step) = next_undone(definition, instance.steps.iter().copied()) {
        return vec![send(definition, instance, step, Action::Undo, now)];
    }
    end(instance, InstanceState::Compensated, now);
    vec![Out::Cancelled]
}

/// The step that is undone next.
pub(crate) fn next_undone(
    definition: &Definition,
    states: impl DoubleEndedIterator<Item = StepState> + ExactSizeIterator,
) -> Option<usize> {
    definition.steps.iter().zip(states).rposition(|(step, state)| {
        step.compensation.is_some() && matches!(state, StepState::Done | StepState::InDoubt)
    })
}

fn send(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    action: Action,
    now: Timestamp,
) -> Out {
    instance.steps[step] = match action {
        Action::Do => StepState::Running,
        Action::Undo => StepState::Compensating,
    };
    instance.current = Some(step);
    instance.attempt = 1;
    instance.sent_anew = 0;
    instance.deadline_at = Some(answer_by(definition, instance, step, now));
    Out::Command(step, action)
}

/// What is out for a step, and how long its answer may take.
pub(crate) fn out_now(definition: &Definition, instance: &Instance, step: usize) -> (Action, Patience) {
    let Definition { steps, .. } = definition;
    match instance.steps[step] {
        StepState::Compensating => (Action::Undo, steps[step].compensation_patience),
        StepState::Pending
        | StepState::Running
        | StepState::Done
        | StepState::Refused
        | StepState::InDoubt
        | StepState::Compensated => (Action::Do, steps[step].patience),
    }
}

/// Announced once, however often it is said again. `ask_again_at`: `None` where an answer has been given,
/// and asking again would only bring the same one.
fn stuck(instance: &mut Instance, step: usize, reason: &str, ask_again_at: Option<Timestamp>) -> Vec<Out> {
    let was_stuck = instance.state == InstanceState::Stuck;
    instance.state = InstanceState::Stuck;
    reason.clone_into(&mut instance.reason);
    instance.deadline_at = ask_again_at;
    if was_stuck { Vec::new() } else { vec![Out::Stuck(step)] }
}

fn end(instance: &mut Instance, state: InstanceState, now: Timestamp) {
    instance.state = state;
    instance.current = None;
    instance.attempt = 0;
    instance.sent_anew = 0;
    instance.deadline_at = None;
    instance.ended_at = Some(now);
}

fn happened(event: &str, step: &'static str, attempt: u32, reason: &str) -> Happened {
    Happened { event: event.to_owned(), step, attempt, reason: reason.to_owned() }
}
