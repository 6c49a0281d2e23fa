//! One saga under way, as data.

use waybill_messaging::{Timestamp, TraceContext};
use waybill_proto::v1::DispatchRequested;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// Going forward.
    Running,
    /// Going back.
    Compensating,
    /// Ended: every step is done.
    Completed,
    /// Ended: nothing of it remains.
    Compensated,
    /// Waiting for an operator, or for the answer that never came.
    Stuck,
}

impl InstanceState {
    pub(crate) const ALL: [Self; 5] =
        [Self::Running, Self::Compensating, Self::Completed, Self::Compensated, Self::Stuck];

    /// As the table stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Completed => "COMPLETED",
            Self::Compensated => "COMPENSATED",
            Self::Stuck => "STUCK",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing can happen any more.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::Compensated => true,
            Self::Running | Self::Compensating | Self::Stuck => false,
        }
    }
}

/// Where a step of an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its command is out.
    Running,
    /// Done.
    Done,
    /// The participant said no.
    Refused,
    /// Its command is out and nobody waits for the answer any more: it may be done or not.
    InDoubt,
    /// Its compensation is out.
    Compensating,
    /// Undone, or never done.
    Compensated,
}

impl StepState {
    const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Done,
        Self::Refused,
        Self::InDoubt,
        Self::Compensating,
        Self::Compensated,
    ];

    /// As the table stores it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Done => "DONE",
            Self::Refused => "REFUSED",
            Self::InDoubt => "IN_DOUBT",
            Self::Compensating => "COMPENSATING",
            Self::Compensated => "COMPENSATED",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Whether a command does a step or undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The step's command.
    Do,
    /// Its compensation.
    Undo,
}

/// One saga under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The dispatch that it fulfils.
    pub dispatch_id: String,
    /// Definition that it began with: name, version, hash.
    pub definition: (String, u32, String),
    /// Where it stands.
    pub state: InstanceState,
    /// Where each step stands, in the order of the definition.
    pub steps: Vec<StepState>,
    /// The step whose command or compensation is out.
    pub current: Option<usize>,
    /// Which attempt of that is out, from 1; 0 where nothing is.
    pub attempt: u32,
    /// Grows by one with every transition.
    pub version: u64,
    /// The version at which an operator had what is out sent anew, under an id of its own; 0: it has the usual one.
    pub sent_anew: u64,
    /// An operator has paused it. Only pausing and resuming write this.
    pub paused: bool,
    /// Why it compensates, is compensated or stuck.
    pub reason: String,
    /// What was asked for.
    pub request: DispatchRequested,
    /// Where it began: parent of what no message causes.
    pub trace: TraceContext,
    /// When it began.
    pub started_at: Timestamp,
    /// Its last transition.
    pub updated_at: Timestamp,
    /// Its end.
    pub ended_at: Option<Timestamp>,
    /// When it acts by itself if no answer has come.
    pub deadline_at: Option<Timestamp>,
}

impl Instance {
    /// Whether the saga goes back, seen through a `Stuck`.
    pub fn is_going_back(&self) -> bool {
        is_going_back(self.state, self.steps.iter().copied())
    }
}

/// Whether a saga goes back that stands like this.
pub(crate) fn is_going_back(state: InstanceState, mut steps: impl Iterator<Item = StepState>) -> bool {
    match state {
        InstanceState::Compensating | InstanceState::Compensated => true,
        InstanceState::Running | InstanceState::Completed => false,
        InstanceState::Stuck => steps.any(|step| step == StepState::Compensating),
    }
}
