//! A message with its metadata, as it stands in the outbox and as it travels over AMQP.

use bytes::Bytes;
use uuid::Uuid;

use crate::{TraceContext, clock::Timestamp, topology::Exchange};

/// A message with its metadata. The body is the plain Protobuf message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Identity for the inbox: the same id is the same message, however often it arrives.
    pub message_id: String,
    /// Full Protobuf name of the body, for example `dispatch.v1.AcceptOrder`.
    pub type_name: String,
    /// The dispatch that this belongs to.
    pub correlation_id: String,
    /// Message that caused this one.
    pub causation_id: String,
    /// Routing key on which the answer is expected; empty where none is.
    pub reply_to: String,
    /// Where this message was created.
    pub trace: TraceContext,
    /// Which attempt of handling it this is, from 1.
    pub attempt: u32,
    /// The encoded message.
    pub body: Bytes,
}

/// An envelope with its way: what a row of the outbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Identity of the row. Two rows may carry the same message.
    pub id: Uuid,
    /// Where it is published.
    pub exchange: Exchange,
    /// How it is routed there.
    pub routing_key: String,
    /// What is published.
    pub envelope: Envelope,
    /// Not published before this moment. [`Timestamp::default`] means at once.
    pub available_at: Timestamp,
}

impl Outgoing {
    /// A message to be published at once.
    pub fn new(exchange: Exchange, routing_key: impl Into<String>, envelope: Envelope) -> Self {
        Self {
            id: Uuid::now_v7(),
            exchange,
            routing_key: routing_key.into(),
            envelope,
            available_at: Timestamp::default(),
        }
    }

    /// The same, held back until `moment`.
    #[must_use]
    pub fn available_at(mut self, moment: Timestamp) -> Self {
        self.available_at = moment;
        self
    }
}
