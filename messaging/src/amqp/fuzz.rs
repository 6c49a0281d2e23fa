//! Deliveries at random: whatever a stranger puts into a message, it becomes an envelope that can be stored, and the
//! connection goes on.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use proptest::{collection::vec, prelude::*};

use super::{ATTEMPT, CAUSATION, envelope, properties};
use crate::{Envelope, Timestamp, TraceContext};

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() }
}

fn value() -> impl Strategy<Value = AMQPValue> {
    prop_oneof![
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<bool>().prop_map(AMQPValue::Boolean),
        "\\PC{0,60}".prop_map(|text| AMQPValue::ShortString(super::short(&text))),
        vec(any::<u8>(), 0..300).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        Just(AMQPValue::Void),
    ]
}

fn texts(envelope: &Envelope) -> [&str; 7] {
    let Envelope { message_id, type_name, correlation_id, causation_id, reply_to, trace, .. } = envelope;
    [message_id, type_name, correlation_id, causation_id, reply_to, &trace.traceparent, &trace.tracestate]
}

fn delivery(properties: lapin::BasicProperties, body: Vec<u8>) -> Delivery {
    let mut delivery = Delivery::mock(1, "e".into(), "k".into(), false, body);
    delivery.properties = properties;
    delivery
}

prop_compose! {
    fn ours()(
        ids in prop::array::uniform3("[^\\x00]{1,60}"), type_name in "[a-zA-Z.]{1,100}", reply_to in "[a-z.]{0,30}",
        traceparent in "00-[0-9a-f]{31}1-[0-9a-f]{15}1-0[01]", tracestate in "[ -~]{0,300}", attempt in 1..=i32::MAX, body in vec(any::<u8>(), 0..40),
    ) -> Envelope {
        let [message_id, correlation_id, causation_id] = ids;
        let trace = TraceContext { traceparent, tracestate };
        let (attempt, body) = (u32::try_from(attempt).unwrap(), body.into());
        Envelope { message_id, type_name, correlation_id, causation_id, reply_to, trace, attempt, body }
    }
}

/// One entry of a field table: its key, the letter of its type, its bytes. Nested ones among them.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let long = |letter: u8| {
        vec(any::<u8>(), 0..40).prop_map(move |bytes| {
            [&[letter], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
        })
    };
    let fixed = |letter: u8, size: usize| {
        vec(any::<u8>(), size).prop_map(move |bytes| [&[letter], &bytes[..]].concat())
    };
    let plain =
        prop_oneof![long(b'S'), long(b'x'), fixed(b'I', 4), fixed(b'l', 8), fixed(b't', 1), Just(vec![b'V'])];
    let value = plain.prop_recursive(40, 60, 1, |inner| {
        inner.prop_map(|value| {
            let table = [&b"\x02\xff\xfe"[..], &value].concat();
            [&b"F"[..], &u32::try_from(table.len()).unwrap().to_be_bytes(), &table].concat()
        })
    });
    (vec(any::<u8>(), 0..20), value)
        .prop_map(|(key, value)| [&[u8::try_from(key.len()).unwrap()], &key[..], &value].concat())
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn what_we_publish_arrives_as_it_was(sent in ours()) {
        let properties = properties(&sent, Timestamp::from_micros(1));
        prop_assert_eq!(envelope(&mut delivery(properties, sent.body.to_vec())), sent);
    }

    #[test]
    fn any_headers_make_an_envelope_that_can_be_stored(
        ids in prop::array::uniform5(any::<String>()), headers in vec((0..6_usize, value()), 0..6), body in vec(any::<u8>(), 0..40),
    ) {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert([ATTEMPT, CAUSATION, "traceparent", "tracestate", "x-death", "other"][name].into(), value);
        }
        let [message_id, type_name, correlation_id, reply_to, app] = ids.map(|id| super::short(&id));
        let properties = lapin::BasicProperties::default()
            .with_headers(table).with_message_id(message_id).with_type(type_name).with_correlation_id(correlation_id)
            .with_reply_to(reply_to).with_app_id(app);
        let read = envelope(&mut delivery(properties, body.clone()));
        prop_assert!(read.attempt >= 1);
        prop_assert_eq!(&read.body[..], &body[..]);
        for text in texts(&read) {
            prop_assert!(!text.contains('\0'), "{:?}", text);
        }
    }

    /// The reader's own: what it cannot read costs the connection, and comes again with the next one.
    #[test]
    fn a_header_with_any_bytes_in_its_texts_can_be_read(
        id in vec(any::<u8>(), 0..=255), entries in vec(entry(), 0..5),
    ) {
        let headers = entries.concat();
        let header = [
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0x80][..],
            &u32::try_from(headers.len()).unwrap().to_be_bytes(), &headers,
            &[u8::try_from(id.len()).unwrap()], &id,
        ].concat();
        let size = u32::try_from(header.len()).unwrap().to_be_bytes();
        let frame = [&[2, 0, 1][..], &size, &header, &[0xce]].concat();
        let (_, frame) = parse_frame(frame.as_slice()).unwrap();
        let AMQPFrame::Header(1, header) = frame else { panic!("{frame:?}") };
        let text = header.properties.message_id().as_ref().unwrap().as_str();
        let latin_1: String = id.iter().copied().map(char::from).collect();
        prop_assert!(text.as_bytes() == id || text == latin_1, "{:?}", text);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_frame(bytes.as_slice());
    }
}
