//! Replies at random: what is none is a permanent failure that names its type, and what is one is storable.

use proptest::{collection::vec, prelude::*};

use super::*;

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() }
}

fn reply_type() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "OrderAccepted",
        "OrderRejected",
        "OrderCancelled",
        "OrderCompleted",
        "PaymentReserved",
        "PaymentDeclined",
        "PaymentReleased",
        "PaymentCaptured",
        "DispatchCreated",
        "DispatchRefused",
        "DispatchWithdrawn",
    ]);
    prop_oneof![4 => known.prop_map(|name| format!("dispatch.v1.{name}")), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn any_body_is_a_reply_or_a_permanent_failure_that_names_its_type(
        type_name in reply_type(), body in vec(any::<u8>(), 0..80),
    ) {
        let envelope = Envelope { type_name: type_name.clone(), body: body.into(), ..Envelope::default() };
        match read_reply(&envelope) {
            Ok(Some((_, _, Verdict::Refused(reason)))) => {
                prop_assert!(reason.chars().count() <= 500 && !reason.chars().any(char::is_control));
            }
            Ok(Some((_, _, Verdict::Done))) => {}
            Ok(None) => prop_assert!(!Command::ALL.iter().any(|command| type_name == command.type_name())),
            Err(Failure::Permanent(why)) => prop_assert!(why.contains(&type_name), "{}", why),
            Err(Failure::Transient(why)) => prop_assert!(false, "transient: {}", why),
        }
    }

    #[test]
    fn a_refusal_is_read_as_it_was_meant(dispatch_id in any::<String>(), reason in any::<String>()) {
        let reply = v1::PaymentDeclined { dispatch_id: dispatch_id.clone(), order_id: String::new(), reason: reason.clone() };
        let envelope = Envelope {
            type_name: v1::PaymentDeclined::full_name(), body: reply.encode_to_vec().into(), ..Envelope::default()
        };
        let expected = (dispatch_id, Command::ReservePayment, Verdict::Refused(clean(&reason)));
        prop_assert_eq!(read_reply(&envelope), Ok(Some(expected)));
    }
}
