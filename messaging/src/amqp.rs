//! Envelope to AMQP properties and back: the one place that knows the names of the headers.

#[cfg(test)]
mod fuzz;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{Envelope, Timestamp, TraceContext, topology::short};

/// Attempt of handling, from 1. Our own, because brokers ignore `x-death` from clients since 4.0.
pub(crate) const ATTEMPT: &str = "x-waybill-attempt";
/// Message that caused this one.
pub(crate) const CAUSATION: &str = "x-waybill-causation-id";
/// Media type of every body.
pub(crate) const CONTENT_TYPE: &str = "application/x-protobuf";

pub(crate) const PERSISTENT: u8 = 2;

/// The properties under which `envelope` is published.
pub(crate) fn properties(envelope: &Envelope, now: Timestamp) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("traceparent", &envelope.trace.traceparent),
        ("tracestate", &envelope.trace.tracestate),
        (CAUSATION, &envelope.causation_id),
    ] {
        if !value.is_empty() {
            headers.insert(name.into(), AMQPValue::LongString(value.as_bytes().into()));
        }
    }
    headers.insert(ATTEMPT.into(), AMQPValue::LongInt(i32::try_from(envelope.attempt).unwrap_or(i32::MAX)));
    let properties = BasicProperties::default()
        .with_message_id(short(&envelope.message_id))
        .with_correlation_id(short(&envelope.correlation_id))
        .with_type(short(&envelope.type_name))
        .with_content_type(CONTENT_TYPE.into())
        .with_timestamp(u64::try_from(now.millis() / 1_000).unwrap_or_default())
        .with_app_id("waybill".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    if envelope.reply_to.is_empty() {
        properties
    } else {
        properties.with_reply_to(short(&envelope.reply_to))
    }
}

/// What arrived. Nothing is refused here: what is missing is empty, and the consumer judges.
pub(crate) fn envelope(delivery: &mut Delivery) -> Envelope {
    let properties = &delivery.properties;
    let text =
        |value: &Option<ShortString>| value.as_ref().map(|text| storable(text.as_str())).unwrap_or_default();
    let headers = properties.headers().as_ref();
    let header =
        |name: &str| headers.and_then(|table| table.inner().get(name)).map(as_text).unwrap_or_default();
    let attempt = headers.and_then(|table| table.inner().get(ATTEMPT)).map_or(1, as_attempt);
    Envelope {
        message_id: text(properties.message_id()),
        type_name: text(properties.kind()),
        correlation_id: text(properties.correlation_id()),
        causation_id: header(CAUSATION),
        reply_to: text(properties.reply_to()),
        trace: TraceContext::received(&header("traceparent"), &header("tracestate")),
        attempt,
        body: Bytes::from(std::mem::take(&mut delivery.data)),
    }
}

/// PostgreSQL stores no NUL in a text; a message must not be undeliverable for one.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A header that clients of other languages may have set as short or long text.
fn as_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => storable(&String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ShortString(text) => storable(text.as_str()),
        _ => String::new(),
    }
}

/// A count that clients of other languages may have set in any integer type.
fn as_attempt(value: &AMQPValue) -> u32 {
    let number = match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => 1,
    };
    u32::try_from(number).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_for_a_property_is_cut_between_two_letters() {
        for (text, length) in [("x".repeat(255), 255), ("x".repeat(60_000), 255), ("ü".repeat(200), 254)] {
            let envelope = Envelope {
                message_id: text.clone(),
                correlation_id: text.clone(),
                reply_to: text.clone(),
                causation_id: text.clone(),
                ..Envelope::default()
            };
            let properties = properties(&envelope, Timestamp::default());
            assert_eq!(properties.message_id().as_ref().unwrap().as_str().len(), length);
            assert_eq!(properties.reply_to().as_ref().unwrap().as_str().len(), length);
            let headers = properties.headers().as_ref().unwrap();
            assert_eq!(headers.inner().get(CAUSATION).map(as_text), Some(text));
        }
    }

    #[test]
    fn a_header_is_text_that_can_be_stored_whatever_its_bytes() {
        let header = |bytes: &[u8]| as_text(&AMQPValue::LongString(bytes.into()));
        assert_eq!(header(b"a\xff\0b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(header(b"two\nlines"), "two\nlines", "it is escaped where it is shown");
        assert_eq!(as_text(&AMQPValue::Boolean(true)), "");
    }
}
