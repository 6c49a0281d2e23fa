//! What an operator may do to an instance: every verb in every state, either a transition or a refusal that
//! says what fits instead.

use waybill_messaging::Timestamp;

use super::{Out, Transition, answer_by, end, go_back, go_forward, happened, may_cancel, out_now, turn_back};
use crate::{Action, Definition, Instance, InstanceState, Kind, StepState};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Sends what is out once more, under a new id.
    Retry,
    /// Goes on as if the participant had answered so; a refusal has the operator's reason.
    Skip(Answer),
    /// Undoes the dispatch.
    Compensate,
    /// Ends it as completed.
    ForceComplete,
}

/// How a participant is said to have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or undone.
    Done,
    /// It is refused.
    Refused,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [
        Self::Retry,
        Self::Skip(Answer::Done),
        Self::Skip(Answer::Refused),
        Self::Compensate,
        Self::ForceComplete,
    ];

    /// Its name, as the audit and the contract have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip(Answer::Done) => "skip_done",
            Self::Skip(Answer::Refused) => "skip_refused",
            Self::Compensate => "compensate",
            Self::ForceComplete => "force_complete",
        }
    }
}

/// A verb, who uses it, why, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervention {
    /// What.
    pub verb: Verb,
    /// Version of the instance that the operator has seen.
    pub version: u64,
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
}

impl Intervention {
    /// Reason and name, as the history shows them.
    fn why(&self) -> String {
        format!("{} (operator {})", self.reason, self.operator)
    }
}

/// Why a verb changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operator has seen another version.
    #[error("the dispatch is at version {0} now")]
    Moved(u64),
    /// It does not fit the state.
    #[error("{0}")]
    State(String),
}

/// Applies a verb to `instance`, or says why not and changes nothing.
pub fn operate(
    definition: &Definition,
    instance: &mut Instance,
    intervention: &Intervention,
    now: Timestamp,
) -> Result<Transition, Refusal> {
    if intervention.version != instance.version {
        return Err(Refusal::Moved(instance.version));
    }
    let step = current(instance)?;
    let why = intervention.why();
    let allowed = may(definition, instance, step, &intervention.verb);
    allowed.map_err(Refusal::State)?;
    instance.version += 1;
    instance.updated_at = now;
    Ok(match intervention.verb {
        Verb::Retry => retry(definition, instance, step, &why, now),
        Verb::Skip(Answer::Done) => skip_done(definition, instance, step, &why, now),
        Verb::Skip(Answer::Refused) => skip_refused(definition, instance, step, &why, now),
        Verb::Compensate => compensate(definition, instance, step, &why, now),
        Verb::ForceComplete => force_complete(definition, instance, step, &why, now),
    })
}

/// Whether a verb fits an instance as it stands; `Err` says why not, and what does.
pub fn may_operate(definition: &Definition, instance: &Instance, verb: &Verb) -> Result<(), Refusal> {
    let step = current(instance)?;
    may(definition, instance, step, verb).map_err(Refusal::State)
}

/// The step whose command or compensation is out.
fn current(instance: &Instance) -> Result<usize, Refusal> {
    instance.current.ok_or_else(|| {
        let text = match instance.state {
            InstanceState::Completed => "it is completed: nothing is left to do",
            InstanceState::Compensated => "it is cancelled: nothing is left to do",
            // Never so: what has not ended has a step.
            InstanceState::Running | InstanceState::Compensating | InstanceState::Stuck => "nothing is out",
        };
        Refusal::State(text.to_owned())
    })
}

fn may(definition: &Definition, instance: &Instance, step: usize, verb: &Verb) -> Result<(), String> {
    let name = definition.steps[step].name;
    let goes_back = instance.is_going_back();
    let undoable = may_cancel(definition, &instance.steps);
    match verb {
        Verb::Skip(Answer::Refused) if goes_back => {
            Err(format!("{name} is being undone, which cannot be refused: retry it, or skip it as done"))
        }
        Verb::Skip(Answer::Refused) if definition.steps[step].kind == Kind::Retriable => Err(format!(
            "{name} cannot be refused, the dispatch only goes forward: retry it, skip it as done, or force \
             the dispatch complete"
        )),
        Verb::Compensate if goes_back => {
            Err(format!("it is being undone already: retry {name}, or skip it as done"))
        }
        Verb::Compensate => undoable
            .map_err(|why| format!("{why}: retry {name}, skip it as done, or force the dispatch complete")),
        Verb::ForceComplete if goes_back => {
            Err(format!("it is being undone: retry {name}, or skip it as done"))
        }
        Verb::ForceComplete if undoable.is_ok() => Err(format!(
            "its pivot is not done, so that it can still be undone: retry {name}, skip it, or compensate"
        )),
        Verb::Retry | Verb::Skip(_) | Verb::ForceComplete => Ok(()),
    }
}

fn retry(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    why: &str,
    now: Timestamp,
) -> Transition {
    let (action, _) = out_now(definition, instance, step);
    move_on(instance, action);
    instance.attempt = 1;
    // A participant answers a command that it knows from its record: a new id makes it decide anew.
    instance.sent_anew = instance.version;
    instance.deadline_at = Some(answer_by(definition, instance, step, now));
    let name = definition.steps[step].name;
    let event = match action {
        Action::Do => format!("{name}_retried_by_operator"),
        Action::Undo => format!("{name}_compensation_retried_by_operator"),
    };
    Transition { happened: happened(&event, name, 1, why), out: vec![Out::Command(step, action)] }
}

/// Out of `STUCK`, in the direction in which it goes.
fn move_on(instance: &mut Instance, action: Action) {
    match action {
        Action::Do => {
            instance.state = InstanceState::Running;
            instance.reason.clear();
        }
        Action::Undo => instance.state = InstanceState::Compensating,
    }
}

fn skip_done(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    why: &str,
    now: Timestamp,
) -> Transition {
    let (name, attempt) = (definition.steps[step].name, instance.attempt);
    let (action, _) = out_now(definition, instance, step);
    move_on(instance, action);
    let (event, out) = match action {
        Action::Do => {
            instance.steps[step] = StepState::Done;
            (format!("{name}_done_by_operator"), go_forward(definition, instance, step + 1, now))
        }
        Action::Undo => {
            instance.steps[step] = StepState::Compensated;
            (format!("{name}_compensated_by_operator"), go_back(definition, instance, now))
        }
    };
    Transition { happened: happened(&event, name, attempt, why), out }
}

fn skip_refused(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    why: &str,
    now: Timestamp,
) -> Transition {
    let (name, attempt) = (definition.steps[step].name, instance.attempt);
    instance.steps[step] = StepState::Refused;
    let out = turn_back(definition, instance, why, now);
    Transition { happened: happened(&format!("{name}_refused_by_operator"), name, attempt, why), out }
}

fn compensate(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    why: &str,
    now: Timestamp,
) -> Transition {
    instance.steps[step] = StepState::InDoubt;
    let happened = happened("compensation_ordered_by_operator", "", 0, why);
    Transition { happened, out: turn_back(definition, instance, why, now) }
}

fn force_complete(
    definition: &Definition,
    instance: &mut Instance,
    step: usize,
    why: &str,
    now: Timestamp,
) -> Transition {
    let (name, attempt) = (definition.steps[step].name, instance.attempt);
    instance.steps[step] = StepState::InDoubt;
    why.clone_into(&mut instance.reason);
    end(instance, InstanceState::Completed, now);
    Transition { happened: happened("completed_by_operator", name, attempt, why), out: vec![Out::Completed] }
}
