//! The outbox: messages that were decided in a transaction and are not yet confirmed by the broker.
//!
//! A row lives from the commit that wrote it until its publication is confirmed. Who may publish it is
//! settled by a lease: the process that wrote it gets the first one together with the row, and only when
//! that has run out may a sweep claim it for somebody else. Every change of a row names the owner of the
//! lease, so that a relay that stalled cannot undo what its successor did.

mod about;
mod claim;
mod depth;
pub mod desk;
mod gauges;
mod parked;
mod retry;
mod rotate;
mod settle;
mod turn;

use sea_orm::Value;

pub use self::{
    about::{Waiting, about},
    depth::{Depth, ParkedRows, depth, parked as parked_rows},
    gauges::watch,
    retry::{Parked, retry},
};
pub(crate) use self::{
    claim::{Claim, Lot},
    parked::{ParkedKeys, Probe},
    rotate::keep,
    settle::{PutBack, PutBackKind, Settle},
    turn::{Page, Round, Tally, Turn},
};
use crate::{Column, Outgoing, Rows, Timestamp, Tx, slots::Slotted};

/// `lease_until` of a parked row: no sweep of what is due sees it.
const PARKED: i64 = i64::MAX;

const COLUMNS: &[(&str, Column)] = &[
    ("id", Column::Uuid),
    ("message_id", Column::Text),
    ("type", Column::Text),
    ("exchange", Column::Text),
    ("routing_key", Column::Text),
    ("correlation_id", Column::Text),
    ("causation_id", Column::Text),
    ("reply_to", Column::Text),
    ("traceparent", Column::Text),
    ("tracestate", Column::Text),
    ("attempt", Column::Int),
    ("body", Column::Bytes),
    ("available_at", Column::Int),
    ("lease_owner", Column::Text),
    ("lease_until", Column::Int),
];

/// Every column of a row, for one that moves to another slot.
const ROW: &str = "id, message_id, type, exchange, routing_key, correlation_id, causation_id, reply_to, \
     traceparent, tracestate, attempt, body, created_at, available_at, state, lease_owner, lease_until, \
     publish_attempts, last_error";

const VALUES: &str = "SELECT id, message_id, type, exchange, routing_key, correlation_id, causation_id, reply_to, \
     traceparent, tracestate, attempt, body, $1, available_at, 'READY', lease_owner, lease_until, 0, '' FROM v";

/// Appends messages within a transaction. They are published after its commit and only then: by this
/// process at once where its relay has room, else by the next sweep.
pub fn append(tx: &Tx, messages: Vec<Outgoing>) {
    if messages.is_empty() {
        return;
    }
    let now = tx.now();
    let (due, delayed): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| m.available_at <= now);
    // Perhaps not the open one any more. That does no harm: rows are looked for in every slot.
    let slot = tx.store().open_slots().get(Slotted::Outbox);
    let reservation = tx.reserve(&due, slot);
    let mut rows = Rows::new(COLUMNS);
    for message in &due {
        rows.push(row(message, now, reservation.lease(message).unwrap_or(("", now))));
    }
    for message in &delayed {
        rows.push(row(message, message.available_at, ("", message.available_at)));
    }
    let insert = format!("INSERT INTO {} ({ROW}) {VALUES}", Slotted::Outbox.table(tx.backend(), slot));
    tx.execute_later(rows, insert, vec![now.micros().into()], None);
    tx.hand_over(reservation, due);
}

fn row(message: &Outgoing, available_at: Timestamp, lease: (&str, Timestamp)) -> Vec<Value> {
    let envelope = &message.envelope;
    vec![
        message.id.into(),
        envelope.message_id.as_str().into(),
        envelope.type_name.as_str().into(),
        message.exchange.name().into(),
        message.routing_key.as_str().into(),
        envelope.correlation_id.as_str().into(),
        envelope.causation_id.as_str().into(),
        envelope.reply_to.as_str().into(),
        envelope.trace.traceparent.as_str().into(),
        envelope.trace.tracestate.as_str().into(),
        i64::from(envelope.attempt).into(),
        envelope.body.to_vec().into(),
        available_at.micros().into(),
        lease.0.into(),
        lease.1.micros().into(),
    ]
}
