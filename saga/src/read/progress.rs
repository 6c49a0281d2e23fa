//! How far a saga has come: each step with its times, told from the history. The history alone says when;
//! where a step stands the instance says, and where the two differ no time is told.

use std::time::Duration;

use waybill_messaging::Timestamp;

use super::{InstanceView, StepState, TransitionView, known};
use crate::{Action, Definition, InstanceState, Kind, instance, machine};

/// A step, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// For example `reserve_payment`.
    pub name: &'static str,
    /// Who carries it out.
    pub participant: &'static str,
    /// What may become of it.
    pub kind: Kind,
    /// Where it stands.
    pub state: StepState,
    /// What is still to come of it.
    pub progress: StepProgress,
    /// Its command; `None` where that was not sent, or nobody knows when.
    pub command: Option<Course>,
    /// Its compensation, likewise.
    pub compensation: Option<Course>,
    /// Why it was refused, gave no answer, or was answered for by an operator.
    pub reason: String,
}

/// What is still to come of a step, in the direction in which the saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepProgress {
    /// Nothing more.
    Ended,
    /// Its command or its compensation is out.
    Current,
    /// To be done; on the way back, to be undone.
    Remaining,
    /// It has not begun and never will.
    LeftOut,
}

/// How a command or a compensation fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When it was first sent.
    pub started_at: Timestamp,
    /// When it was answered, or given up.
    pub ended_at: Option<Timestamp>,
    /// How often it was sent.
    pub attempts: u32,
}

/// What a transition has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// How long the command or compensation took that it ended.
    pub took: Option<Duration>,
    /// The steps that remain after it, the one under way first.
    pub remaining: Vec<&'static str>,
}

/// The history of an instance as far as it has been told.
#[derive(Clone, Debug)]
pub struct Progress {
    /// `None` where this release does not know it.
    definition: Option<&'static Definition>,
    steps: Vec<Told>,
    /// The last version told; `None` once one was missing.
    version: Option<u64>,
}

/// A step as the history tells it.
#[derive(Clone, Debug)]
struct Told {
    state: StepState,
    command: Option<Course>,
    compensation: Option<Course>,
    reason: String,
}

const NOT_BEGUN: Told =
    Told { state: StepState::Pending, command: None, compensation: None, reason: String::new() };

impl Progress {
    /// Nothing told yet, of an instance with this definition (name, version, hash).
    pub fn new(pinned: &(String, u32, String)) -> Self {
        let definition = known(pinned);
        let steps = vec![NOT_BEGUN; definition.map_or(0, |definition| definition.steps.len())];
        Self { definition, steps, version: Some(0) }
    }

    /// Takes in the next transition.
    pub fn note(&mut self, row: &TransitionView) -> Brought {
        self.version = self.version.filter(|version| version + 1 == row.version).map(|_| row.version);
        let Some(definition) = self.definition.filter(|_| self.version.is_some()) else {
            return Brought::default();
        };
        let took = self.take_in(definition, row);
        Brought { took, remaining: self.remaining(definition, row.state) }
    }

    /// Every step of the instance, in the order of the definition; none where that is not known.
    pub fn steps(&self, view: &InstanceView) -> Vec<StepView> {
        let whole = self.version == Some(view.version);
        let steps = self.definition.into_iter().flat_map(|definition| &definition.steps).zip(&self.steps);
        let step = |((step, told), state): ((&crate::Step, &Told), &StepState)| {
            let told = Some(told).filter(|told| whole && told.state == *state);
            StepView {
                name: step.name,
                participant: step.command.participant().name(),
                kind: step.kind,
                state: *state,
                progress: progress(*state, view.state, view.is_going_back(), step.compensation.is_some()),
                command: told.and_then(|told| told.command),
                compensation: told.and_then(|told| told.compensation),
                reason: told.map_or_else(|| reason(view, *state), |told| told.reason.clone()),
            }
        };
        steps.zip(&view.steps).map(step).collect()
    }

    /// Why steps or their times are missing; empty where none are.
    pub fn missing(&self, view: &InstanceView) -> String {
        if self.definition.is_none() {
            return format!("{} is not known to this release, and so its steps are not", view.definition);
        }
        let is_told = self.steps.iter().map(|told| told.state).eq(view.steps.iter().copied());
        if is_told && self.version == Some(view.version) {
            return String::new();
        }
        "its history is no longer whole, and so the times of its steps are not known".to_owned()
    }

    fn take_in(&mut self, definition: &Definition, row: &TransitionView) -> Option<Duration> {
        let end = match meaning(row) {
            Meaning::Begins => {
                self.send(0, Action::Do, row.at);
                return None;
            }
            Meaning::SendsAgain => {
                self.send_again();
                return None;
            }
            Meaning::Ends(end) => end,
            Meaning::Nothing => return None,
        };
        let step = self.current()?;
        let took = self.end(step, end, row);
        match row.state {
            InstanceState::Running => self.send(step + 1, Action::Do, row.at),
            InstanceState::Compensating => {
                if let Some(next) = machine::next_undone(definition, self.states()) {
                    self.send(next, Action::Undo, row.at);
                }
            }
            InstanceState::Completed | InstanceState::Compensated | InstanceState::Stuck => {}
        }
        took
    }

    fn states(&self) -> impl DoubleEndedIterator<Item = StepState> + ExactSizeIterator {
        self.steps.iter().map(|told| told.state)
    }

    fn current(&self) -> Option<usize> {
        self.states().position(|state| matches!(state, StepState::Running | StepState::Compensating))
    }

    fn send(&mut self, step: usize, action: Action, at: Timestamp) {
        let Some(told) = self.steps.get_mut(step) else { return };
        let course = Some(Course { started_at: at, ended_at: None, attempts: 1 });
        match action {
            Action::Do => (told.state, told.command) = (StepState::Running, course),
            Action::Undo => (told.state, told.compensation) = (StepState::Compensating, course),
        }
    }

    fn send_again(&mut self) {
        let Some(step) = self.current() else { return };
        if let Some(course) = self.steps[step].out() {
            course.attempts = course.attempts.saturating_add(1);
        }
    }

    fn end(&mut self, step: usize, state: StepState, row: &TransitionView) -> Option<Duration> {
        let told = &mut self.steps[step];
        let took = told.out().map(|course| {
            course.ended_at = Some(row.at);
            row.at.since(course.started_at)
        });
        told.state = state;
        // The end of the way back repeats why it all came to this: that is not why this step was undone.
        if state != StepState::Compensated || row.event.ends_with(BY_OPERATOR) {
            row.reason.clone_into(&mut told.reason);
        }
        took
    }

    fn remaining(&self, definition: &Definition, state: InstanceState) -> Vec<&'static str> {
        let back = instance::is_going_back(state, self.states());
        let remains = |(step, told): (&crate::Step, StepState)| {
            let progress = progress(told, state, back, step.compensation.is_some());
            matches!(progress, StepProgress::Current | StepProgress::Remaining).then_some(step.name)
        };
        let mut names: Vec<_> = definition.steps.iter().zip(self.states()).filter_map(remains).collect();
        if back {
            names.reverse();
        }
        names
    }
}

impl Told {
    /// What is out for it.
    fn out(&mut self) -> Option<&mut Course> {
        match self.state {
            StepState::Running => self.command.as_mut(),
            StepState::Compensating => self.compensation.as_mut(),
            StepState::Pending
            | StepState::Done
            | StepState::Refused
            | StepState::InDoubt
            | StepState::Compensated => None,
        }
    }
}

/// What an event says of the step that is out.
enum Meaning {
    /// Nothing was out: the first step is.
    Begins,
    SendsAgain,
    Ends(StepState),
    Nothing,
}

/// What an operator said in place of a participant counts as what the participant might have said.
const BY_OPERATOR: &str = "_by_operator";

fn meaning(row: &TransitionView) -> Meaning {
    let event = row.event.strip_suffix(BY_OPERATOR).unwrap_or(&row.event);
    let of_step = event.strip_prefix(row.step.as_str()).and_then(|what| what.strip_prefix('_'));
    // Where a saga cannot turn back it is stuck, and what is out stays out.
    let turns_back = row.state != InstanceState::Stuck;
    match of_step.unwrap_or(event) {
        "started" => Meaning::Begins,
        "retried" | "compensation_retried" => Meaning::SendsAgain,
        "done" => Meaning::Ends(StepState::Done),
        "compensated" => Meaning::Ends(StepState::Compensated),
        "refused" if turns_back => Meaning::Ends(StepState::Refused),
        "timed_out" | "saga_timed_out" | "cancel_requested" | "compensation_ordered" if turns_back => {
            Meaning::Ends(StepState::InDoubt)
        }
        "completed" => Meaning::Ends(StepState::InDoubt),
        _ => Meaning::Nothing,
    }
}

fn progress(step: StepState, state: InstanceState, goes_back: bool, can_be_undone: bool) -> StepProgress {
    match step {
        StepState::Running | StepState::Compensating => StepProgress::Current,
        StepState::Pending if goes_back || state.is_end() => StepProgress::LeftOut,
        StepState::Pending => StepProgress::Remaining,
        StepState::Done | StepState::InDoubt if goes_back && can_be_undone && !state.is_end() => {
            StepProgress::Remaining
        }
        StepState::Done | StepState::InDoubt | StepState::Refused | StepState::Compensated => {
            StepProgress::Ended
        }
    }
}

/// What the instance says where the history is silent.
fn reason(view: &InstanceView, state: StepState) -> String {
    match state {
        StepState::Refused | StepState::InDoubt => view.reason.clone(),
        StepState::Pending
        | StepState::Running
        | StepState::Done
        | StepState::Compensating
        | StepState::Compensated => String::new(),
    }
}
