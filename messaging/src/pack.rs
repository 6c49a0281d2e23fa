//! Packs: what waits for the same routing key travels as one AMQP message, because the broker's work goes by
//! the message and hardly by the byte.
//!
//! Who takes packs says so to the broker: a consumer of ours also binds its queue under the packed key of each of
//! its routing keys, and the relay publishes packs there, mandatory like everything else. Where nobody has bound
//! that key a pack comes back, and its messages go out one by one. A message that has failed before always travels
//! alone, and so do the messages of a pack that the broker has given up.

use bytes::Bytes;
use lapin::{BasicProperties, message::Delivery};
use prost::Message as _;
use uuid::Uuid;

use crate::{Envelope, TraceContext, amqp, topology::short};

/// Media type of a pack.
pub(crate) const CONTENT_TYPE: &str = "application/x-waybill-pack";
/// What stands after a routing key to make its packed key.
const SUFFIX: &str = ".packed";
/// Bytes of a pack's messages, at most; a message that is larger travels alone.
pub(crate) const MAX_BYTES: usize = 65_536;

/// The routing key of packs of messages to `routing_key`.
pub(crate) fn key(routing_key: &str) -> String {
    format!("{routing_key}{SUFFIX}")
}

/// The routing key of the messages in what came by `routing_key`.
pub(crate) fn plain_key(routing_key: &str) -> &str {
    routing_key.strip_suffix(SUFFIX).unwrap_or(routing_key)
}

/// The body of a pack, as Protobuf.
#[derive(Clone, PartialEq, prost::Message)]
struct Pack {
    #[prost(message, repeated, tag = "1")]
    messages: Vec<Packed>,
}

/// A message in a pack: what its properties, headers and body would be if it travelled alone.
#[derive(Clone, PartialEq, prost::Message)]
struct Packed {
    #[prost(string, tag = "1")]
    message_id: String,
    #[prost(string, tag = "2")]
    r#type: String,
    #[prost(string, tag = "3")]
    correlation_id: String,
    #[prost(string, tag = "4")]
    causation_id: String,
    #[prost(string, tag = "5")]
    reply_to: String,
    #[prost(string, tag = "6")]
    traceparent: String,
    #[prost(string, tag = "7")]
    tracestate: String,
    #[prost(uint32, tag = "8")]
    attempt: u32,
    #[prost(bytes = "bytes", tag = "9")]
    body: Bytes,
}

/// Properties and body of a pack of these messages.
pub(crate) fn pack<'a>(envelopes: impl Iterator<Item = &'a Envelope>) -> (BasicProperties, Vec<u8>) {
    let messages = envelopes.map(packed).collect();
    let properties = BasicProperties::default()
        .with_message_id(short(&Uuid::now_v7().to_string()))
        .with_content_type(CONTENT_TYPE.into())
        .with_app_id("waybill".into())
        .with_delivery_mode(amqp::PERSISTENT);
    (properties, Pack { messages }.encode_to_vec())
}

fn packed(envelope: &Envelope) -> Packed {
    Packed {
        message_id: envelope.message_id.clone(),
        r#type: envelope.type_name.clone(),
        correlation_id: envelope.correlation_id.clone(),
        causation_id: envelope.causation_id.clone(),
        reply_to: envelope.reply_to.clone(),
        traceparent: envelope.trace.traceparent.clone(),
        tracestate: envelope.trace.tracestate.clone(),
        attempt: envelope.attempt,
        body: envelope.body.clone(),
    }
}

/// Whether a delivery is a pack.
pub(crate) fn is_pack(delivery: &Delivery) -> bool {
    delivery.properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == CONTENT_TYPE)
}

/// The messages of a pack. `None`: it cannot be read.
pub(crate) fn unpack(body: Bytes) -> Option<Vec<Envelope>> {
    let Pack { messages } = Pack::decode(body).ok()?;
    Some(messages.into_iter().map(unpacked).collect())
}

/// Texts as they are taken from a message that travels alone.
fn unpacked(packed: Packed) -> Envelope {
    let text = |text: String| if text.contains('\0') { amqp::storable(&text) } else { text };
    Envelope {
        message_id: text(packed.message_id),
        type_name: text(packed.r#type),
        correlation_id: text(packed.correlation_id),
        causation_id: text(packed.causation_id),
        reply_to: text(packed.reply_to),
        trace: TraceContext::received(&packed.traceparent, &packed.tracestate),
        attempt: packed.attempt.max(1),
        body: packed.body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_of_a_pack_as_they_went_in() {
        let message = |number: u32| Envelope {
            message_id: format!("m-{number}"),
            type_name: "dispatch.v1.AcceptOrder".to_owned(),
            correlation_id: "d".to_owned(),
            causation_id: "c".to_owned(),
            reply_to: "saga.reply".to_owned(),
            trace: TraceContext {
                traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
                tracestate: "a=b".to_owned(),
            },
            attempt: number,
            body: Bytes::from(vec![0, 255, 7]),
        };
        let messages = [message(1), message(2)];
        let (_, body) = pack(messages.iter());
        assert_eq!(unpack(body.into()).unwrap(), messages);
    }

    #[test]
    fn what_is_no_pack_is_not_read_as_one() {
        assert_eq!(unpack(Bytes::from_static(b"\xff\xff")), None);
        assert_eq!(plain_key(&key("saga.reply")), "saga.reply");
    }
}
