//! The shipped machine, asked once about everything that can happen in every state that it can reach, and
//! looked up from then on: an instance becomes a number, which a checker can hash a million times.
//!
//! Two instances are one number when they differ in nothing that the machine decides by: identity,
//! version, reason and the moments themselves are left out, whether a deadline is set is not.

use std::{collections::HashMap, time::Duration};

use waybill_messaging::{Timestamp, TraceContext};
use waybill_proto::v1::DispatchRequested;
use waybill_saga::{
    Action, Command, Defaults, Definition, Instance, InstanceState, StepState, Verdict,
    machine::{Input, Out, Transition, advance, begin, begin_cancelled},
    order_fulfilment,
};

use crate::message::Answer;

const TIMEOUT: Duration = Duration::from_secs(10);
const START: Timestamp = Timestamp::from_micros(1_000_000);

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Reply(Command, Answer),
    Deadline,
    Cancel,
}

/// What the machine wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Command(Command),
    /// The event that announces an end.
    End,
}

/// Names an instance; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Saga(u16);

impl Saga {
    pub(crate) const NONE: Self = Self(0);
}

type Moved = (Saga, Vec<Sent>);

#[derive(PartialEq, Eq, Hash)]
struct Key(InstanceState, Vec<StepState>, Option<usize>, u32, bool);

/// All instances there can be, and how one becomes another.
pub(crate) struct Machine {
    definition: Definition,
    /// That of number `n` at `n - 1`.
    instances: Vec<Instance>,
    numbers: HashMap<Key, Saga>,
    begun: Moved,
    cancelled: Moved,
    /// By instance and event; absent where the machine says that it is of no consequence.
    moves: Vec<HashMap<Event, Moved>>,
}

impl Machine {
    /// Of that version.
    pub(crate) fn new(attempts: u32, version: u32) -> Self {
        let mut machine = Self {
            definition: order_fulfilment(&Defaults {
                step_timeout: TIMEOUT,
                step_attempts: attempts,
                // Moments are no part of an instance's number, so what depends on them is not explored.
                saga_timeout: Duration::MAX,
            })
            .into_iter()
            .find(|definition| definition.version == version)
            .unwrap(),
            instances: Vec::new(),
            numbers: HashMap::new(),
            begun: Moved::default(),
            cancelled: Moved::default(),
            moves: Vec::new(),
        };
        let (request, trace) = (DispatchRequested::default(), TraceContext::default());
        let (instance, transition) = begin(&machine.definition, "d", request.clone(), trace.clone(), START);
        machine.begun = machine.moved(instance, &transition);
        let (instance, transition) =
            begin_cancelled(&machine.definition, "d", request, "cancelled", trace, START);
        machine.cancelled = machine.moved(instance, &transition);
        while let Some(instance) = machine.instances.get(machine.moves.len()).cloned() {
            let moves = events().filter_map(|event| Some((event, machine.ask(&instance, event)?))).collect();
            machine.moves.push(moves);
        }
        machine
    }

    fn ask(&mut self, instance: &Instance, event: Event) -> Option<Moved> {
        let (input, now) = match event {
            Event::Reply(command, answer) => {
                let (step, action) = self.definition.locate(command)?;
                let verdict = match answer {
                    Answer::Done => Verdict::Done,
                    Answer::Refused => Verdict::Refused("refused".to_owned()),
                };
                (Input::Reply { step, action, verdict }, START)
            }
            Event::Deadline => (Input::Deadline, instance.deadline_at?),
            Event::Cancel => (Input::Cancel("cancelled".to_owned()), START),
        };
        let mut instance = instance.clone();
        let transition = advance(&self.definition, &mut instance, input, now)?;
        Some(self.moved(instance, &transition))
    }

    fn moved(&mut self, instance: Instance, transition: &Transition) -> Moved {
        let sent = transition.out.iter().filter_map(|out| match *out {
            Out::Command(step, Action::Do) => Some(Sent::Command(self.definition.steps[step].command)),
            Out::Command(step, Action::Undo) => self.definition.steps[step].compensation.map(Sent::Command),
            Out::Completed | Out::Cancelled => Some(Sent::End),
            Out::Stuck(_) => None,
        });
        let sent = sent.collect();
        (self.number(instance), sent)
    }

    fn number(&mut self, instance: Instance) -> Saga {
        let Instance { state, steps, current, attempt, deadline_at, .. } = instance.clone();
        *self.numbers.entry(Key(state, steps, current, attempt, deadline_at.is_some())).or_insert_with(|| {
            self.instances.push(instance);
            Saga(u16::try_from(self.instances.len()).unwrap())
        })
    }

    /// How many instances there can be.
    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    /// What it runs.
    pub(crate) const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The instance itself.
    pub(crate) fn instance(&self, saga: Saga) -> Option<&Instance> {
        self.instances.get(usize::from(saga.0).checked_sub(1)?)
    }

    pub(crate) const fn begun(&self) -> &Moved {
        &self.begun
    }

    pub(crate) const fn cancelled(&self) -> &Moved {
        &self.cancelled
    }

    /// What follows from `event`.
    pub(crate) fn advance(&self, saga: Saga, event: Event) -> Option<&Moved> {
        self.moves.get(usize::from(saga.0).checked_sub(1)?)?.get(&event)
    }
}

fn events() -> impl Iterator<Item = Event> {
    let replies = Command::ALL
        .into_iter()
        .flat_map(|command| [Event::Reply(command, Answer::Done), Event::Reply(command, Answer::Refused)]);
    replies.chain([Event::Deadline, Event::Cancel])
}
