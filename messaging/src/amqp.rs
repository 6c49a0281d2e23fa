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
        trace: TraceContext { traceparent: header("traceparent"), tracestate: header("tracestate") },
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
