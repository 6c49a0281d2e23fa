//! How the states of the contract are called on the command line, and which of them is an end.

use waybill_proto::v1::{Dispatch, DispatchState, DispatchTransition, StepKind, StepProgress, StepState};

use super::{exit, out::Colour};

/// The name as in the contract, without its prefix.
pub(super) fn name(state: DispatchState) -> &'static str {
    match state {
        DispatchState::Unspecified => "UNKNOWN",
        DispatchState::Accepted => "ACCEPTED",
        DispatchState::InProgress => "IN_PROGRESS",
        DispatchState::Completed => "COMPLETED",
        DispatchState::Compensating => "COMPENSATING",
        DispatchState::Cancelled => "CANCELLED",
        DispatchState::Stuck => "STUCK",
    }
}

pub(super) fn colour(state: DispatchState) -> Colour {
    match state {
        DispatchState::Unspecified => Colour::Dim,
        DispatchState::Accepted | DispatchState::InProgress => Colour::Busy,
        DispatchState::Completed => Colour::Good,
        DispatchState::Compensating | DispatchState::Cancelled => Colour::Warning,
        DispatchState::Stuck => Colour::Bad,
    }
}

pub(super) fn step_name(state: StepState) -> &'static str {
    match state {
        StepState::Unspecified => "UNKNOWN",
        StepState::Pending => "PENDING",
        StepState::Running => "RUNNING",
        StepState::Done => "DONE",
        StepState::Refused => "REFUSED",
        StepState::InDoubt => "IN_DOUBT",
        StepState::Compensating => "COMPENSATING",
        StepState::Compensated => "COMPENSATED",
    }
}

pub(super) fn kind_name(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Unspecified => "UNKNOWN",
        StepKind::Compensatable => "COMPENSATABLE",
        StepKind::Pivot => "PIVOT",
        StepKind::Retriable => "RETRIABLE",
    }
}

pub(super) fn progress_name(progress: StepProgress) -> &'static str {
    match progress {
        StepProgress::Unspecified => "UNKNOWN",
        StepProgress::Ended => "ENDED",
        StepProgress::Current => "CURRENT",
        StepProgress::Remaining => "REMAINING",
        StepProgress::LeftOut => "LEFT_OUT",
    }
}

pub(super) fn step_colour(state: StepState) -> Colour {
    match state {
        StepState::Unspecified | StepState::Pending => Colour::Dim,
        StepState::Running => Colour::Busy,
        StepState::Done => Colour::Good,
        StepState::Refused | StepState::Compensating | StepState::Compensated => Colour::Warning,
        StepState::InDoubt => Colour::Bad,
    }
}

/// The states that nothing is known to follow. A stuck dispatch goes on when an operator acts, or when the answer
/// comes that it waits for.
pub(super) fn is_end(state: DispatchState) -> bool {
    match state {
        DispatchState::Completed | DispatchState::Cancelled | DispatchState::Stuck => true,
        DispatchState::Unspecified
        | DispatchState::Accepted
        | DispatchState::InProgress
        | DispatchState::Compensating => false,
    }
}

/// The exit code of a command that waited for this outcome.
pub(super) fn exit_code(state: DispatchState) -> u8 {
    match state {
        DispatchState::Cancelled => exit::CANCELLED,
        DispatchState::Stuck => exit::STUCK,
        DispatchState::Unspecified
        | DispatchState::Accepted
        | DispatchState::InProgress
        | DispatchState::Completed
        | DispatchState::Compensating => 0,
    }
}

/// The state in a flag: a name as above, in any case, with hyphens or underscores.
pub(super) fn parse(text: &str) -> Result<DispatchState, String> {
    let wanted = text.to_ascii_uppercase().replace('-', "_");
    let states = [
        DispatchState::Accepted,
        DispatchState::InProgress,
        DispatchState::Completed,
        DispatchState::Compensating,
        DispatchState::Cancelled,
        DispatchState::Stuck,
    ];
    states.into_iter().find(|state| name(*state) == wanted).ok_or_else(|| {
        let names = states.map(|state| name(state).to_ascii_lowercase().replace('_', "-"));
        format!("is no state; allowed: {}", names.join(", "))
    })
}

/// Whether this is the last that will be heard, as far as the dispatch at hand shows.
pub(super) fn has_ended(dispatch: &Dispatch, last: &DispatchTransition) -> bool {
    is_end(dispatch.state()) && dispatch.version <= last.version
}
