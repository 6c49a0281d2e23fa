//! Waybill's reliable-messaging core.
//!
//! A message flows: transaction ([`Store::run`], [`outbox::append`]) → relay ([`relay`]) → broker
//! ([`broker`], [`topology`]) → consumer ([`consumer`]), which handles it in the next transaction. Each
//! step stands in one place, and none of them knows a business message.

mod amqp;
mod backoff;
pub mod broker;
mod clock;
pub mod consumer;
pub mod dead_letter;
pub mod duty;
mod envelope;
mod failure;
mod fault;
mod frontier;
pub mod greeting;
pub mod health;
pub mod inbox;
pub mod management;
pub mod metrics;
pub mod outbox;
mod pack;
pub mod pem;
pub mod queues;
pub mod relay;
mod slots;
mod store;
pub mod topology;
mod trace;

pub use self::{
    backoff::Backoff,
    clock::{Clock, Timestamp},
    consumer::{Handler, Outcome, Received},
    envelope::{Envelope, Outgoing},
    failure::{Failure, StoreError},
    frontier::Frontier,
    inbox::Reply,
    store::{All, Column, Rows, Settings as StoreSettings, Store, Transaction, Tx, classify, knock},
    topology::Exchange,
    trace::{TraceContext, record_messages},
};
