//! What a client sees of a dispatch: the gateway's row and the saga's own view of it, put together.

use waybill_proto::v1;
use waybill_saga::{
    InstanceState, StepState,
    read::{InstanceView, StepView, TransitionView},
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
        ..v1::Dispatch::default()
    }
}

/// The dispatch, whole. `history` may be newer than `instance`: what is beyond it is left out, so that
/// the answer is one moment's.
pub(crate) fn whole(row: Row, instance: Option<&InstanceView>, history: &[TransitionView]) -> v1::Dispatch {
    let mut dispatch = summary(row, instance);
    let Some(instance) = instance else { return dispatch };
    let until = history.partition_point(|transition| transition.version <= instance.version);
    let history = &history[..until];
    dispatch.steps = steps(instance, history);
    dispatch.history = history.iter().map(|t| transition(&dispatch.dispatch_id, t)).collect();
    dispatch
}

/// One change, as watchers and the history show it.
pub(crate) fn transition(dispatch_id: &str, happened: &TransitionView) -> v1::DispatchTransition {
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

/// A step begins when the one before it is done, the first one with the saga.
fn steps(instance: &InstanceView, history: &[TransitionView]) -> Vec<v1::DispatchStep> {
    // What an operator said in place of a participant counts as what the participant might have said.
    let is = |happened: &TransitionView, event: &str| {
        happened.event.strip_suffix("_by_operator").unwrap_or(&happened.event) == event
    };
    let at = |event: &str| history.iter().rev().find(|happened| is(happened, event)).map(|h| h.at);
    let mut begun = Some(instance.started_at);
    let mut steps = Vec::with_capacity(instance.steps.len());
    for step in &instance.steps {
        let started_at = begun.filter(|_| step.state != StepState::Pending);
        steps.push(v1::DispatchStep {
            name: step.name.clone(),
            participant: step.participant.clone(),
            state: step_state(step.state).into(),
            started_at: started_at.map(time::to_wire),
            ended_at: ending(step).and_then(|event| at(&event)).map(time::to_wire),
            reason: step.reason.clone(),
        });
        begun = at(&format!("{}_done", step.name));
    }
    steps
}

/// The event of the history that brought a step where it is, if that is an end.
fn ending(step: &StepView) -> Option<String> {
    match step.state {
        StepState::Done => Some(format!("{}_done", step.name)),
        StepState::Refused => Some(format!("{}_refused", step.name)),
        StepState::Compensated => Some(format!("{}_compensated", step.name)),
        StepState::Pending | StepState::Running | StepState::InDoubt | StepState::Compensating => None,
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
