//! Rows and columns: rows are taken from the definition, columns from the kinds of failure.

use std::sync::Arc;

use waybill_proto::v1::DispatchRequested;
use waybill_saga::{Action, Command, Defaults, Definition, Kind, Patience, Step, order_fulfilment};
use waybill_test_support::client::{refused_by_dispatch, refused_by_order, refused_by_payment, request};

/// Commands sent before a step is in doubt. As few as there can be while one may be lost.
pub(crate) const STEP_ATTEMPTS: u32 = 2;

/// What goes wrong with one command of the saga, or with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The participant says no.
    Refused,
    /// The command arrives after it was sent again.
    ArrivedLate,
    /// Every attempt of the command arrives after the saga has given up.
    NeverArrived,
    /// It is done, and every answer arrives after the saga has given up.
    NeverAnswered,
    /// The participant's transaction fails until its attempts end, and so do the saga's.
    Transient,
    CommandTwice,
    /// The second one under an id of its own, as an operator has it sent.
    CommandTwiceAnew,
    AnswerTwice,
    AnswerTwiceAnew,
    ParticipantDiesBeforeCommit,
    ParticipantDiesAfterCommit,
    /// In the transaction that takes the answer.
    OrchestratorDiesBeforeCommit,
    OrchestratorDiesAfterCommit,
}

/// Who brings a fault about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Striker {
    /// The wire between saga and participants, or the participants' database.
    Wire,
    /// A participant's process, which dies.
    Participant,
    /// An orchestrator's process, which dies.
    Orchestrator,
}

/// Why a fault cannot be had, whatever a participant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Impossible {
    /// There is no message that would refuse this command. Instead the participant sends the refusal of another
    /// command of its own: that is ignored, and the true answer counts.
    NoRefusalInTheContract,
}

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Unharmed,
    /// Sent once more.
    Retried,
    Refused,
    /// Out of attempts.
    GivenUp,
}

impl Fault {
    pub(crate) const ALL: [Self; 13] = [
        Self::Refused,
        Self::ArrivedLate,
        Self::NeverArrived,
        Self::NeverAnswered,
        Self::Transient,
        Self::CommandTwice,
        Self::CommandTwiceAnew,
        Self::AnswerTwice,
        Self::AnswerTwiceAnew,
        Self::ParticipantDiesBeforeCommit,
        Self::ParticipantDiesAfterCommit,
        Self::OrchestratorDiesBeforeCommit,
        Self::OrchestratorDiesAfterCommit,
    ];

    pub(crate) fn striker(self) -> Striker {
        match self {
            Self::Refused
            | Self::ArrivedLate
            | Self::NeverArrived
            | Self::NeverAnswered
            | Self::Transient
            | Self::CommandTwice
            | Self::CommandTwiceAnew
            | Self::AnswerTwice
            | Self::AnswerTwiceAnew => Striker::Wire,
            Self::ParticipantDiesBeforeCommit | Self::ParticipantDiesAfterCommit => Striker::Participant,
            Self::OrchestratorDiesBeforeCommit | Self::OrchestratorDiesAfterCommit => Striker::Orchestrator,
        }
    }
}

/// One fault at one command of one definition.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) definition: Arc<Definition>,
    pub(crate) step: usize,
    pub(crate) action: Action,
    pub(crate) fault: Fault,
}

/// Every version that this release knows, as the processes under test have it.
pub(crate) fn definitions() -> Vec<Arc<Definition>> {
    let defaults = Defaults { step_attempts: STEP_ATTEMPTS, ..Defaults::default() };
    order_fulfilment(&defaults).into_iter().map(Arc::new).collect()
}

/// Every fault at every command of a definition that `striker` brings about.
pub(crate) fn cells(definition: &Arc<Definition>, striker: Striker) -> Vec<Cell> {
    let rows = definition.steps.iter().enumerate().flat_map(|(index, step)| {
        let undo = step.compensation.map(|_| (index, Action::Undo));
        [Some((index, Action::Do)), undo].into_iter().flatten()
    });
    let cells = rows.flat_map(|(step, action)| {
        let cell = move |fault| Cell { definition: Arc::clone(definition), step, action, fault };
        Fault::ALL.into_iter().filter(move |fault| fault.striker() == striker).map(cell)
    });
    cells.collect()
}

impl Cell {
    pub(crate) fn step(&self) -> &Step {
        &self.definition.steps[self.step]
    }

    pub(crate) fn command(&self) -> Command {
        match self.action {
            Action::Do => self.step().command,
            Action::Undo => self.step().compensation.unwrap(),
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        match self.action {
            Action::Do => self.step().patience,
            Action::Undo => self.step().compensation_patience,
        }
    }

    /// Names the cell, and is the `message_id` of its request.
    pub(crate) fn name(&self) -> String {
        format!("v{}-{}-{:?}", self.definition.version, self.command().name(), self.fault)
    }

    /// One that everybody agrees to, unless it is to be refused here.
    pub(crate) fn request(&self) -> DispatchRequested {
        let make = (self.fault == Fault::Refused).then(|| refused(self.command())).flatten();
        make.unwrap_or(request)(&self.name())
    }

    pub(crate) fn impossible(&self) -> Option<Impossible> {
        let refusable = self.fault != Fault::Refused || refused(self.command()).is_some();
        (!refusable).then_some(Impossible::NoRefusalInTheContract)
    }

    pub(crate) fn course(&self) -> Course {
        match self.fault {
            Fault::Refused => match self.impossible() {
                None => Course::Refused,
                Some(Impossible::NoRefusalInTheContract) => Course::Retried,
            },
            Fault::ArrivedLate => Course::Retried,
            Fault::NeverArrived | Fault::NeverAnswered | Fault::Transient => Course::GivenUp,
            Fault::CommandTwice
            | Fault::CommandTwiceAnew
            | Fault::AnswerTwice
            | Fault::AnswerTwiceAnew
            | Fault::ParticipantDiesBeforeCommit
            | Fault::ParticipantDiesAfterCommit
            | Fault::OrchestratorDiesBeforeCommit
            | Fault::OrchestratorDiesAfterCommit => Course::Unharmed,
        }
    }

    /// Whether the saga is stuck here once it has given up: where it cannot turn back.
    pub(crate) fn is_stuck(&self) -> bool {
        let turns_back = self.action == Action::Do && self.step().kind != Kind::Retriable;
        self.course() == Course::GivenUp && !turns_back
    }

    /// The step that is in doubt so that all is undone: the last one that can be. `None` where the cell is about
    /// the way forward.
    pub(crate) fn turned_back_at(&self) -> Option<usize> {
        let last = self.definition.steps.iter().rposition(|step| step.compensation.is_some());
        (self.action == Action::Undo).then(|| last.unwrap())
    }
}

/// Makes a request whose participant refuses this command, by its own rules. `None`: the contract has no refusal.
fn refused(command: Command) -> Option<fn(&str) -> DispatchRequested> {
    match command {
        Command::AcceptOrder => Some(refused_by_order),
        Command::ReservePayment => Some(refused_by_payment),
        Command::CreateDispatch => Some(refused_by_dispatch),
        Command::CancelOrder
        | Command::CompleteOrder
        | Command::ReleasePayment
        | Command::CapturePayment
        | Command::WithdrawDispatch => None,
    }
}
