//! The saga: what Waybill promises to see through.
//!
//! A [`definition`](Definition) says which steps there are; the pure [`machine`] says what follows from
//! what; the [`Orchestrator`] loads, asks the machine, and stores what it says, in one transaction with
//! the inbox and the outbox; [`deadline`] wakes those that got no answer; [`read`] is all that others see.

mod census;
mod contract;
pub mod deadline;
mod definition;
mod definitions;
pub mod explain;
mod graph;
mod instance;
mod lateness;
pub mod machine;
pub mod metrics;
pub mod operate;
mod orchestrator;
mod order_fulfilment;
mod parked;
pub mod pause;
mod persist;
mod published;
pub mod read;
mod recent;
mod retention;
mod shell;
mod versions;

pub use self::{
    census::{Census, census},
    contract::{Command, Participant, Verdict},
    definition::{Definition, DefinitionError, Kind, Patience, Step},
    definitions::Definitions,
    graph::{dot, mermaid},
    instance::{Action, Instance, InstanceState, StepState},
    orchestrator::{Message, Orchestrator},
    order_fulfilment::{Defaults, VERSIONS, order_fulfilment},
    parked::{Parked, parked_of, take as take_parked},
    published::published,
    retention::{ForgetHistory, Forgotten},
    versions::{Versions, Watched},
};
