//! The whole protocol under a model checker: gateway, outboxes, relay, broker, inboxes, participants and
//! the shipped machine, in every order of events that bounded faults allow.
//!
//! `explored` holds what must always be true, `broken` shows that it can fail.
//!
//! What is modelled: transactions (all or nothing), a broker that reorders, duplicates and forgets, confirms
//! and acknowledgements that get lost, deadlines, cancellation, refusal. What is not: the content of
//! messages, batches (their messages one after the other), leases, returned messages, several processes
//! (they share nothing but what is here), events, and an operator. The machine is the shipped one; all else
//! is said again here, in a few lines each.
#![expect(clippy::unwrap_used, reason = "a test crate")]

#[path = "model/action.rs"]
mod action;
#[path = "model/broken.rs"]
mod broken;
#[path = "model/explored.rs"]
mod explored;
#[path = "model/faults.rs"]
mod faults;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/message.rs"]
mod message;
#[path = "model/participant.rs"]
mod participant;
#[path = "model/property.rs"]
mod property;
#[path = "model/reduce.rs"]
mod reduce;
#[path = "model/step.rs"]
mod step;
#[path = "model/world.rs"]
mod world;

use stateright::{Model, Property};

use self::{
    action::Action,
    faults::{Broken, Faults},
    machine::Machine,
    world::{Flow, World},
};

/// The model of what is shipped, or of what it would be if it were `broken`.
pub(crate) struct Shipped<const N: usize> {
    machine: Machine,
    attempts: u32,
    faults: Faults,
    broken: Option<Broken>,
    /// Whether what makes no difference is left out.
    reduced: bool,
}

impl<const N: usize> Model for Shipped<N> {
    type State = World<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<World<N>> {
        vec![World { flows: [Flow::default(); N], left: self.faults }]
    }

    fn actions(&self, world: &World<N>, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World<N>, action: Action) -> Option<World<N>> {
        Some(self.after(*world, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::properties(self)
    }
}

/// Of the version that new dispatches begin with.
fn shipped<const N: usize>(attempts: u32, faults: Faults) -> Shipped<N> {
    Shipped { machine: Machine::new(attempts, 2), attempts, faults, broken: None, reduced: true }
}
