//! Messages that no participant can make sense of go to the dead letters at once, with the reason.

use waybill_messaging::{Envelope, Failure, Handler};
use waybill_proto::v1;
use waybill_worker::{Dispatch, Money, Order, Payment, dispatch, order, payment};

use crate::support::command;

pub(crate) fn order() -> Order {
    Order::new(order::Rules::default())
}

pub(crate) fn payment() -> Payment {
    let (credit_limit, tariff) = (Money::new("EUR", 100_000), Money::new("EUR", 490));
    Payment::new(payment::Rules { credit_limit, tariff })
}

pub(crate) fn delivery() -> Dispatch {
    Dispatch::new(dispatch::Rules::default())
}

fn ids() -> (String, String) {
    ("d1".to_owned(), "o1".to_owned())
}

fn accept() -> v1::AcceptOrder {
    let (dispatch_id, order_id) = ids();
    v1::AcceptOrder { dispatch_id, order_id, ..v1::AcceptOrder::default() }
}

fn reserve(currency_code: &str, minor_units: i64, parcel_count: i32) -> Envelope {
    let (dispatch_id, order_id) = ids();
    let amount = Some(v1::Money { currency_code: currency_code.to_owned(), minor_units });
    command(&v1::ReservePayment { dispatch_id, order_id, customer_id: String::new(), amount, parcel_count })
}

fn create(destination_code: &str, parcel_count: i32) -> Envelope {
    let (dispatch_id, order_id) = ids();
    let destination_code = destination_code.to_owned();
    command(&v1::CreateDispatch { dispatch_id, order_id, destination_code, parcel_count })
}

#[track_caller]
fn fails(handler: &impl Handler, envelope: &Envelope, expected: &str) {
    match handler.parse(envelope) {
        Err(Failure::Permanent(reason)) => assert!(reason.contains(expected), "{reason}"),
        Err(Failure::Transient(reason)) => panic!("transient: {reason}"),
        Ok(_) => panic!("parsed, though {expected}"),
    }
}

#[test]
fn a_type_of_somebody_else_is_unknown() {
    let accept = command(&accept());
    assert!(order().parse(&accept).is_ok());
    fails(&payment(), &accept, "unknown message type \"dispatch.v1.AcceptOrder\"");
    fails(&delivery(), &accept, "unknown message type \"dispatch.v1.AcceptOrder\"");
    for type_name in ["", "AcceptOrder", "dispatch.v1AcceptOrder", "dispatch.v2.AcceptOrder", "a\0"] {
        let envelope = Envelope { type_name: type_name.to_owned(), ..accept.clone() };
        fails(&order(), &envelope, "unknown message type");
    }
}

#[test]
fn a_body_of_another_kind_is_refused() {
    let envelope = Envelope { body: vec![0xff; 3].into(), ..command(&accept()) };
    fails(&order(), &envelope, "body is not a dispatch.v1.AcceptOrder");
}

#[test]
fn an_unknown_field_of_a_later_version_is_ignored() {
    let mut envelope = command(&accept());
    // Field 100, a varint.
    envelope.body = [envelope.body.as_ref(), &[0xa0, 0x06, 0x01]].concat().into();
    assert!(order().parse(&envelope).is_ok());
}

#[test]
fn identifiers_are_required_bounded_and_those_of_the_envelope() {
    fails(
        &order(),
        &command(&v1::AcceptOrder { dispatch_id: String::new(), ..accept() }),
        "dispatch_id is empty",
    );
    fails(&order(), &command(&v1::AcceptOrder { order_id: String::new(), ..accept() }), "order_id is empty");
    fails(
        &order(),
        &command(&v1::AcceptOrder { customer_id: "c".repeat(256), ..accept() }),
        "customer_id has 256",
    );
    fails(&order(), &command(&v1::AcceptOrder { order_id: "a\0".to_owned(), ..accept() }), "contains a NUL");
    let strange = Envelope { correlation_id: "d2".to_owned(), ..command(&accept()) };
    fails(&order(), &strange, "dispatch_id d1 is not the correlation_id \"d2\"");
}

#[test]
fn an_amount_is_positive_and_in_a_currency() {
    assert!(payment().parse(&reserve("EUR", 1, 1)).is_ok());
    fails(&payment(), &reserve("EUR", 0, 1), "amount.minor_units is 0");
    fails(&payment(), &reserve("EUR", -5, 1), "amount.minor_units is -5");
    for code in ["", "eur", "EURO", "E\0R", "€"] {
        fails(&payment(), &reserve(code, 1, 1), "is not three upper-case letters");
    }
}

#[test]
fn there_is_at_least_one_parcel_and_a_place_to_go() {
    fails(&payment(), &reserve("EUR", 1, 0), "parcel_count is 0");
    fails(&delivery(), &create("BER", -1), "parcel_count is -1");
    fails(&delivery(), &create("", 1), "destination_code is empty");
    assert!(delivery().parse(&create("BER", 1)).is_ok());
}

#[test]
fn every_participant_has_its_own_inbox() {
    assert_eq!(
        (order().inbox(), payment().inbox(), delivery().inbox()),
        (Some("order"), Some("payment"), Some("dispatch"))
    );
}
