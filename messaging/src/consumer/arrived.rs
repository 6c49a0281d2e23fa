//! Deliveries as they are handled: message by message, whether each travelled alone or in a pack.

use bytes::Bytes;
use lapin::message::Delivery;

use crate::{Envelope, amqp, pack};

/// A message that has arrived.
pub(super) struct Arrived {
    pub(super) envelope: Envelope,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) delivery_tag: u64,
    pub(super) redelivered: bool,
    pub(super) packed: bool,
}

/// The messages of deliveries that are acknowledged together.
pub(super) struct Batch {
    pub(super) messages: Vec<Arrived>,
    pub(super) deliveries: u32,
    /// Tag of the last delivery.
    pub(super) last: u64,
}

impl Batch {
    pub(super) fn of(delivery: Delivery) -> Self {
        let mut batch = Self { messages: Vec::new(), deliveries: 0, last: delivery.delivery_tag };
        batch.add(delivery);
        batch
    }

    /// Whether it is several messages, each of which came by itself.
    pub(super) fn is_crowd(&self) -> bool {
        self.messages.len() > 1 && self.messages.iter().all(|message| !message.packed)
    }

    /// Adds what a delivery carries. A pack that cannot be read is taken for a message, of a type that nobody
    /// knows.
    pub(super) fn add(&mut self, mut delivery: Delivery) {
        self.last = delivery.delivery_tag;
        self.deliveries += 1;
        let packed = pack::is_pack(&delivery).then(|| pack::unpack(Bytes::copy_from_slice(&delivery.data)));
        if let Some(envelopes) = packed.flatten() {
            self.messages.extend(envelopes.into_iter().map(|envelope| arrived(&delivery, envelope, true)));
        } else {
            let envelope = amqp::envelope(&mut delivery);
            self.messages.push(arrived(&delivery, envelope, false));
        }
    }
}

fn arrived(delivery: &Delivery, envelope: Envelope, packed: bool) -> Arrived {
    Arrived {
        envelope,
        exchange: delivery.exchange.to_string(),
        routing_key: amqp::storable(pack::plain_key(delivery.routing_key.as_str())),
        delivery_tag: delivery.delivery_tag,
        redelivered: delivery.redelivered,
        packed,
    }
}
