//! Commands at random: each participant takes what is right, and names the field that is wrong.

use proptest::{collection::vec, prelude::*};
use waybill_messaging::{Envelope, Failure, Handler};
use waybill_proto::v1;

use super::parse::{delivery, order, payment};
use crate::support::command;

const TYPES: [&str; 8] = [
    "AcceptOrder",
    "CancelOrder",
    "CompleteOrder",
    "ReservePayment",
    "ReleasePayment",
    "CapturePayment",
    "CreateDispatch",
    "WithdrawDispatch",
];

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Nothing that is wrong with a message heals: it is permanent, and without characters that break a line or a table.
fn judged<H: Handler>(handler: &H, envelope: &Envelope) -> Option<String> {
    match handler.parse(envelope) {
        Ok(_) => None,
        Err(Failure::Permanent(why)) => {
            assert!(!why.contains('\0'), "{why:?}");
            Some(why)
        }
        Err(Failure::Transient(why)) => panic!("transient: {why}"),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![5 => "[!-~]{1,20}", 1 => Just(String::new()), 1 => "\\PC{250,260}", 1 => Just("a\0b".to_owned())]
}

fn identifier_holds(text: &str, least: usize) -> bool {
    (least..=255).contains(&text.len()) && !text.contains('\0')
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn any_body_under_any_name_is_a_command_or_a_permanent_failure(
        name in prop::sample::select(TYPES.to_vec()), other in any::<String>(), ours in any::<bool>(),
        correlation_id in "[!-~]{0,10}", body in vec(any::<u8>(), 0..60),
    ) {
        let type_name = if ours { format!("dispatch.v1.{name}") } else { other };
        let envelope = Envelope { type_name, correlation_id, body: body.into(), ..Envelope::default() };
        let refused = [judged(&order(), &envelope), judged(&payment(), &envelope), judged(&delivery(), &envelope)];
        prop_assert!(refused.iter().flatten().count() >= 2, "a command has one participant");
    }

    #[test]
    fn a_reservation_is_taken_exactly_when_every_field_is_right_and_the_first_that_is_not_is_named(
        dispatch_id in text(), order_id in text(), customer_id in text(),
        amount in prop::option::of(("[A-Z]{2,4}|[a-z]{3}", prop_oneof![Just(-1_i64), Just(0), 1..i64::MAX])),
        parcel_count in prop_oneof![Just(0), Just(i32::MIN), 1..i32::MAX],
    ) {
        let rules = [
            ("dispatch_id", identifier_holds(&dispatch_id, 1)),
            ("order_id", identifier_holds(&order_id, 1)),
            ("customer_id", identifier_holds(&customer_id, 0)),
            ("currency_code", amount.as_ref().is_none_or(|(code, _)| code.len() == 3 && *code == code.to_uppercase())),
            ("minor_units", amount.as_ref().is_none_or(|(_, units)| *units > 0)),
            ("parcel_count", parcel_count > 0),
        ];
        let amount = amount.map(|(currency_code, minor_units)| v1::Money { currency_code, minor_units });
        let envelope = command(&v1::ReservePayment { dispatch_id, order_id, customer_id, amount, parcel_count });
        let envelope = Envelope { correlation_id: String::new(), ..envelope };
        let first = rules.iter().find(|(_, holds)| !holds);
        match (judged(&payment(), &envelope), first) {
            (None, None) => {}
            (Some(why), Some((field, _))) => prop_assert!(why.contains(field), "{} is not named: {}", field, why),
            (why, first) => prop_assert!(false, "{:?}, and wrong is {:?}", why, first),
        }
    }
}
