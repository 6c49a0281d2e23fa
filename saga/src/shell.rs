//! Around the machine: carries out what it decides. Shared by everything that moves an instance, whether a
//! message, a deadline or a person set it off.

use std::collections::BTreeMap;

use prost::{Message, Name};
use sea_orm::Value;
use waybill_messaging::{Envelope, Exchange, Outgoing, Timestamp, TraceContext, Tx, outbox};
use waybill_proto::v1;

use crate::{
    Action, Definition, Definitions, Instance, InstanceState,
    machine::{Out, Transition},
    metrics, parked,
    persist::{Before, Changes},
};

/// Where participants send their replies.
const REPLY_TO: &str = "saga.reply";

/// What sets an instance off.
pub(crate) struct Cause<'a> {
    /// The message; empty for a timer.
    pub(crate) message_id: &'a str,
    /// Parent of all that follows.
    pub(crate) trace: &'a TraceContext,
}

/// What is to be written of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Nothing,
    Change,
    All,
}

/// Instances being moved in one transaction, and all that follows from it.
pub(crate) struct Shell<'d> {
    definitions: &'d Definitions,
    instances: BTreeMap<String, Held>,
    changes: Changes,
    outgoing: Vec<Outgoing>,
    parked: Vec<Vec<Value>>,
    /// The states that instances went over to.
    entered: Vec<InstanceState>,
}

struct Held {
    instance: Instance,
    /// What it was loaded with.
    before: Before,
    write: Write,
    /// Its last recorded state; none before its first.
    state: Option<InstanceState>,
    /// Not read in this run.
    is_remembered: bool,
}

impl<'d> Shell<'d> {
    /// A shell around instances that are there already.
    pub(crate) fn new(definitions: &'d Definitions, loaded: impl IntoIterator<Item = Instance>) -> Self {
        let held = |instance: Instance| {
            let (state, before) = (Some(instance.state), Before::of(&instance));
            Held { instance, before, write: Write::Nothing, state, is_remembered: false }
        };
        let instances = loaded.into_iter().map(|i| (i.dispatch_id.clone(), held(i))).collect();
        let (outgoing, parked, entered) = (Vec::new(), Vec::new(), Vec::new());
        Self { definitions, instances, changes: Changes::default(), outgoing, parked, entered }
    }

    /// With instances that were not read for this.
    pub(crate) fn with_remembered(mut self, remembered: Vec<Instance>) -> Self {
        for instance in remembered {
            let (state, before) = (Some(instance.state), Before::of(&instance));
            let id = instance.dispatch_id.clone();
            let held = Held { instance, before, write: Write::Nothing, state, is_remembered: true };
            self.instances.insert(id, held);
        }
        self
    }

    /// Whether nothing was done about an instance that was not read. What is done is guarded by its version.
    pub(crate) fn has_idle_memories(&self) -> bool {
        self.instances.values().any(|held| held.is_remembered && held.write == Write::Nothing)
    }

    /// The instances that have moved, as they stand now.
    pub(crate) fn moved(&self) -> Vec<Instance> {
        let moved = self.instances.values().filter(|held| held.write != Write::Nothing);
        moved.map(|held| held.instance.clone()).collect()
    }

    /// The instance as it stands now.
    pub(crate) fn instance(&mut self, dispatch_id: &str) -> Option<&mut Instance> {
        self.instances.get_mut(dispatch_id).map(|held| &mut held.instance)
    }

    /// Takes in a new instance.
    pub(crate) fn create(&mut self, instance: Instance, transition: Transition, cause: &Cause<'_>) {
        let dispatch_id = instance.dispatch_id.clone();
        self.instances.insert(
            dispatch_id.clone(),
            Held {
                before: Before::of(&instance),
                instance,
                write: Write::All,
                state: None,
                is_remembered: false,
            },
        );
        self.record(&dispatch_id, transition, cause);
    }

    /// Notes what the machine decided for an instance that it has just changed.
    pub(crate) fn record(&mut self, dispatch_id: &str, transition: Transition, cause: &Cause<'_>) {
        let Some(Held { instance, write, state, .. }) = self.instances.get_mut(dispatch_id) else { return };
        // Never moved without one: what is unknown is parked.
        let Some(definition) = self.definitions.of(&instance.definition) else { return };
        if state.replace(instance.state) != Some(instance.state) {
            self.entered.push(instance.state);
        }
        if *write == Write::Nothing {
            *write = Write::Change;
        }
        for out in transition.out {
            self.outgoing.push(outgoing(definition, instance, out, cause));
        }
        tracing::debug!(
            dispatch_id,
            event = transition.happened.event,
            state = instance.state.name(),
            "saga"
        );
        self.changes.happened(instance, transition.happened, cause.message_id);
    }

    /// Keeps a message for a process that knows the definition of its instance, or for the end of a pause.
    pub(crate) fn park(&mut self, row: Vec<Value>) {
        self.parked.push(row);
    }

    /// Stores every instance that has moved, the history, what goes out and what is parked, before the commit.
    pub(crate) fn store(mut self, tx: &Tx) {
        for Held { instance, before, write, .. } in self.instances.into_values() {
            match write {
                Write::All => self.changes.created.push(instance),
                Write::Change => self.changes.changed.push((instance, before)),
                Write::Nothing => {}
            }
        }
        let (definitions, entered) = (self.definitions, self.entered);
        tx.after_commit(move || metrics::went_over_to(&entered));
        let step_name = |instance: &Instance| {
            let definition = definitions.of(&instance.definition);
            definition.zip(instance.current).map_or("", |(definition, step)| definition.steps[step].name)
        };
        self.changes.store(tx, step_name);
        parked::park(tx, self.parked);
        outbox::append(tx, self.outgoing);
    }
}

fn outgoing(definition: &Definition, instance: &Instance, out: Out, cause: &Cause<'_>) -> Outgoing {
    match out {
        Out::Command(step, action) => command(definition, instance, step, action, cause),
        Out::Completed => {
            let event = v1::DispatchCompleted {
                dispatch_id: instance.dispatch_id.clone(),
                message_id: instance.request.message_id.clone(),
                order_id: instance.request.order_id.clone(),
                completed_at: Some(protobuf(instance.updated_at)),
            };
            announce(instance, "dispatch.completed", &event, cause)
        }
        Out::Cancelled => {
            let event = v1::DispatchCancelled {
                dispatch_id: instance.dispatch_id.clone(),
                message_id: instance.request.message_id.clone(),
                order_id: instance.request.order_id.clone(),
                reason: instance.reason.clone(),
                cancelled_at: Some(protobuf(instance.updated_at)),
            };
            announce(instance, "dispatch.cancelled", &event, cause)
        }
        Out::Stuck(step) => {
            let event = v1::DispatchStuck {
                dispatch_id: instance.dispatch_id.clone(),
                message_id: instance.request.message_id.clone(),
                order_id: instance.request.order_id.clone(),
                step: definition.steps[step].name.to_owned(),
                reason: instance.reason.clone(),
                stuck_at: Some(protobuf(instance.updated_at)),
            };
            announce(instance, "dispatch.stuck", &event, cause)
        }
    }
}

/// A command's id follows from what it is: sent again, it is the same message, and the participant answers
/// it from its record. What an operator had sent anew is another message, however often that is sent again.
fn command(
    definition: &Definition,
    instance: &Instance,
    step: usize,
    action: Action,
    cause: &Cause<'_>,
) -> Outgoing {
    let row = &definition.steps[step];
    let command = match action {
        Action::Do => row.command,
        Action::Undo => row.compensation.unwrap_or(row.command),
    };
    let mut message_id = format!("{}:{}", instance.dispatch_id, command.name());
    if instance.sent_anew > 0 {
        message_id = format!("{message_id}:{}", instance.sent_anew);
    }
    let envelope = Envelope {
        message_id,
        type_name: command.type_name(),
        correlation_id: instance.dispatch_id.clone(),
        causation_id: cause.message_id.to_owned(),
        reply_to: REPLY_TO.to_owned(),
        trace: cause.trace.clone(),
        attempt: 1,
        body: command.encode(&instance.dispatch_id, &instance.request, &instance.reason),
    };
    Outgoing::new(Exchange::Dispatch, command.participant().routing_key(), envelope)
}

fn announce<E: Message + Name>(instance: &Instance, key: &str, event: &E, cause: &Cause<'_>) -> Outgoing {
    let envelope = Envelope {
        message_id: format!("{}:{}:{}", instance.dispatch_id, E::NAME, instance.version),
        type_name: E::full_name(),
        correlation_id: instance.dispatch_id.clone(),
        causation_id: cause.message_id.to_owned(),
        reply_to: String::new(),
        trace: cause.trace.clone(),
        attempt: 1,
        body: event.encode_to_vec().into(),
    };
    Outgoing::new(Exchange::Events, key, envelope)
}

fn protobuf(moment: Timestamp) -> prost_types::Timestamp {
    let (seconds, micros) = (moment.micros().div_euclid(1_000_000), moment.micros().rem_euclid(1_000_000));
    prost_types::Timestamp { seconds, nanos: i32::try_from(micros * 1_000).unwrap_or_default() }
}
