//! What a client sees of a dispatch: the gateway's row and the saga's own view of it, put together.

use waybill_messaging::Timestamp;
use waybill_proto::v1;
use waybill_saga::read::{
    Brought, Course, InstanceState, InstanceView, Kind, Progress, StepProgress, StepState, StepView,
    TransitionView,
};

use crate::{row::Row, time};

/// The dispatch without its steps and history, as a list shows it.
pub(crate) fn summary(row: Row, instance: Option<&InstanceView>) -> v1::Dispatch {
    let state = instance.map_or(v1::DispatchState::Accepted, |instance| state(instance.state));
    let accepted_at = row.accepted_at;
    let request = row.request;
    v1::Dispatch {
        dispatch_id: row.dispatch_id,
        message_id: request.message_id,
        order_id: request.order_id,
        state: state.into(),
        reason: instance.map(reason).unwrap_or_default(),
        destination_code: request.destination_code,
        parcel_count: request.parcel_count,
        customer_id: request.customer_id,
        amount: request.amount.map(Into::into),
        requested_at: request.requested_at.map(time::to_wire),
        accepted_at: Some(time::to_wire(accepted_at)),
        updated_at: Some(time::to_wire(instance.map_or(accepted_at, |i| i.updated_at))),
        ended_at: instance.and_then(|i| i.ended_at).map(time::to_wire),
        version: instance.map_or(0, |i| i.version),
        saga: instance.map(|i| i.definition.clone()).unwrap_or_default(),
        trace_id: row.trace.trace_id().to_owned(),
        client: row.client,
        ..v1::Dispatch::default()
    }
}

/// The dispatch, whole, as seen `now`. `history` may be newer than `instance`: what is beyond it is left out,
/// so that the answer is one moment's.
pub(crate) fn whole(
    row: Row,
    instance: Option<&InstanceView>,
    history: &[TransitionView],
    now: Timestamp,
) -> v1::Dispatch {
    let mut dispatch = summary(row, instance);
    let Some(instance) = instance else { return dispatch };
    let until = history.partition_point(|transition| transition.version <= instance.version);
    let mut progress = Progress::new(&instance.pinned);
    let shown = |happened| transition(&dispatch.dispatch_id, happened, progress.note(happened));
    dispatch.history = history[..until].iter().map(shown).collect();
    dispatch.steps = progress.steps(instance).into_iter().map(|told| step(told, now)).collect();
    dispatch.steps_note = progress.missing(instance);
    dispatch
}

/// One change, as watchers and the history show it.
pub(crate) fn transition(
    dispatch_id: &str,
    happened: &TransitionView,
    brought: Brought,
) -> v1::DispatchTransition {
    v1::DispatchTransition {
        dispatch_id: dispatch_id.to_owned(),
        version: happened.version,
        state: state(happened.state).into(),
        at: Some(time::to_wire(happened.at)),
        event: happened.event.clone(),
        step: happened.step.clone(),
        attempt: happened.attempt,
        reason: happened.reason.clone(),
        cause_message_id: happened.cause_message_id.clone(),
        took: brought.took.map(time::how_long),
        remaining: brought.remaining.into_iter().map(str::to_owned).collect(),
    }
}

/// The saga's word to the client's word.
pub(crate) const fn state(state: InstanceState) -> v1::DispatchState {
    match state {
        InstanceState::Running => v1::DispatchState::InProgress,
        InstanceState::Compensating => v1::DispatchState::Compensating,
        InstanceState::Completed => v1::DispatchState::Completed,
        InstanceState::Compensated => v1::DispatchState::Cancelled,
        InstanceState::Stuck => v1::DispatchState::Stuck,
    }
}

fn reason(instance: &InstanceView) -> String {
    match instance.state {
        InstanceState::Running => String::new(),
        // Completed with a reason is what an operator forced.
        InstanceState::Completed
        | InstanceState::Compensating
        | InstanceState::Compensated
        | InstanceState::Stuck => instance.reason.clone(),
    }
}

fn step(told: StepView, now: Timestamp) -> v1::DispatchStep {
    let ended = match told.state {
        StepState::Done | StepState::Refused => told.command,
        StepState::Compensated => told.compensation,
        StepState::Pending | StepState::Running | StepState::InDoubt | StepState::Compensating => None,
    };
    v1::DispatchStep {
        name: told.name.to_owned(),
        participant: told.participant.to_owned(),
        state: step_state(told.state).into(),
        started_at: told.command.map(|course| time::to_wire(course.started_at)),
        ended_at: ended.and_then(|course| course.ended_at).map(time::to_wire),
        reason: told.reason,
        kind: kind(told.kind).into(),
        progress: progress(told.progress).into(),
        command: told.command.map(|fared| course(fared, now)),
        compensation: told.compensation.map(|fared| course(fared, now)),
    }
}

fn course(fared: Course, now: Timestamp) -> v1::StepCourse {
    let until = fared.ended_at.unwrap_or(now);
    v1::StepCourse {
        started_at: Some(time::to_wire(fared.started_at)),
        ended_at: fared.ended_at.map(time::to_wire),
        took: Some(time::how_long(until.since(fared.started_at))),
        attempts: fared.attempts,
    }
}

const fn kind(kind: Kind) -> v1::StepKind {
    match kind {
        Kind::Compensatable => v1::StepKind::Compensatable,
        Kind::Pivot => v1::StepKind::Pivot,
        Kind::Retriable => v1::StepKind::Retriable,
    }
}

const fn progress(progress: StepProgress) -> v1::StepProgress {
    match progress {
        StepProgress::Ended => v1::StepProgress::Ended,
        StepProgress::Current => v1::StepProgress::Current,
        StepProgress::Remaining => v1::StepProgress::Remaining,
        StepProgress::LeftOut => v1::StepProgress::LeftOut,
    }
}

const fn step_state(state: StepState) -> v1::StepState {
    match state {
        StepState::Pending => v1::StepState::Pending,
        StepState::Running => v1::StepState::Running,
        StepState::Done => v1::StepState::Done,
        StepState::Refused => v1::StepState::Refused,
        StepState::InDoubt => v1::StepState::InDoubt,
        StepState::Compensating => v1::StepState::Compensating,
        StepState::Compensated => v1::StepState::Compensated,
    }
}
