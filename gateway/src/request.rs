//! A request to dispatch that cannot be wrong: parsed at the edge, trusted inside.

use std::time::Duration;

use bytes::Bytes;
use prost::{Message, Name};
use tonic::Status;
use uuid::Uuid;
use waybill_messaging::{Envelope, Exchange, Outgoing, Timestamp, TraceContext};
use waybill_proto::v1;

use crate::{time, violations::Violations};

/// Routing key of what starts or cancels a saga.
pub(crate) const ROUTING_KEY: &str = "dispatch.requested";
/// The longest identifier of the contract.
pub(crate) const MAX_ID: usize = 128;

pub(crate) const MAX_DESTINATION: usize = 32;
pub(crate) const PARCELS: std::ops::RangeInclusive<i32> = 1..=10_000;
pub(crate) const MINOR_UNITS: std::ops::RangeInclusive<i64> = 1..=1_000_000_000_000_000;
/// Clocks differ: a client may be this far ahead of us.
const AHEAD: Duration = Duration::from_mins(5);

/// A valid request. Made by [`Request::parse`], and by `row` from what this once made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) message_id: String,
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) destination_code: String,
    pub(crate) parcel_count: i32,
    pub(crate) amount: Option<Money>,
    pub(crate) requested_at: Option<Timestamp>,
}

/// An amount to be reserved; positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) currency_code: String,
    pub(crate) minor_units: i64,
}

impl Request {
    /// Errors: `INVALID_ARGUMENT` with everything that is wrong.
    pub(crate) fn parse(wire: v1::DispatchRequested, now: Timestamp) -> Result<Self, Status> {
        let mut wrong = Violations::default();
        wrong.check_id("message_id", &wire.message_id, 1, MAX_ID);
        wrong.check_id("order_id", &wire.order_id, 1, MAX_ID);
        wrong.check_id("destination_code", &wire.destination_code, 1, MAX_DESTINATION);
        wrong.check_id("customer_id", &wire.customer_id, 0, MAX_ID);
        wrong.check(PARCELS.contains(&wire.parcel_count), "parcel_count", "must be 1 to 10000");
        check_amount(wire.amount.as_ref(), &mut wrong);
        let requested_at = parse_moment(wire.requested_at.as_ref(), now, &mut wrong);
        wrong.or(Self {
            message_id: wire.message_id,
            order_id: wire.order_id,
            customer_id: wire.customer_id,
            destination_code: wire.destination_code,
            parcel_count: wire.parcel_count,
            amount: wire.amount.map(|m| Money { currency_code: m.currency_code, minor_units: m.minor_units }),
            requested_at,
        })
    }

    /// As it is published: only what was understood, none of the sender's unknown fields.
    pub(crate) fn encode(&self) -> Bytes {
        let wire = v1::DispatchRequested {
            message_id: self.message_id.clone(),
            order_id: self.order_id.clone(),
            destination_code: self.destination_code.clone(),
            parcel_count: self.parcel_count,
            requested_at: self.requested_at.map(time::to_wire),
            customer_id: self.customer_id.clone(),
            amount: self.amount.clone().map(Into::into),
        };
        wire.encode_to_vec().into()
    }
}

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency_code, minor_units: money.minor_units }
    }
}

/// The message that starts the saga of a dispatch.
///
/// Its id is the dispatch's, which we made: no client can collide with it, and however often it is sent
/// it starts one saga. The row of the outbox bears the same id, so that the outbox holds it at most once.
pub(crate) fn start_message(
    dispatch_id: Uuid,
    message_id: &str,
    body: Bytes,
    trace: TraceContext,
) -> Outgoing {
    let id = dispatch_id.to_string();
    let envelope = Envelope {
        message_id: id.clone(),
        type_name: v1::DispatchRequested::full_name(),
        correlation_id: id,
        causation_id: message_id.to_owned(),
        reply_to: String::new(),
        trace,
        attempt: 1,
        body,
    };
    Outgoing { id: dispatch_id, ..Outgoing::new(Exchange::Dispatch, ROUTING_KEY, envelope) }
}

fn check_amount(amount: Option<&v1::Money>, wrong: &mut Violations) {
    let Some(amount) = amount else { return };
    let code = amount.currency_code.as_bytes();
    let is_code = code.len() == 3 && code.iter().all(u8::is_ascii_uppercase);
    wrong.check(is_code, "amount.currency_code", "must be 3 upper-case letters (ISO 4217)");
    let in_range = MINOR_UNITS.contains(&amount.minor_units);
    wrong.check(in_range, "amount.minor_units", "must be 1 to 10^15");
}

/// The epoch itself counts as absent: it is what programs send that have no moment to name.
fn parse_moment(
    wire: Option<&prost_types::Timestamp>,
    now: Timestamp,
    wrong: &mut Violations,
) -> Option<Timestamp> {
    let moment = time::from_wire(wire?);
    let Some(moment) = moment else {
        wrong.add("requested_at", "must be a valid timestamp");
        return None;
    };
    wrong.check(moment <= now.plus(AHEAD), "requested_at", "must not be more than 5 minutes ahead");
    (moment != Timestamp::default()).then_some(moment)
}

#[cfg(test)]
pub(crate) mod tests {
    use tonic_types::StatusExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    pub(crate) fn wire() -> v1::DispatchRequested {
        v1::DispatchRequested {
            message_id: "m-1".into(),
            order_id: "o-1".into(),
            destination_code: "NLRTM".into(),
            parcel_count: 3,
            requested_at: Some(time::to_wire(NOW)),
            customer_id: "c-1".into(),
            amount: Some(v1::Money { currency_code: "EUR".into(), minor_units: 1_250 }),
        }
    }

    fn violated(wire: v1::DispatchRequested) -> Vec<String> {
        let status = Request::parse(wire, NOW).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let details = status.get_details_bad_request().unwrap();
        details.field_violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn a_valid_request_is_parsed_and_encodes_to_itself() {
        let request = Request::parse(wire(), NOW).unwrap();
        assert_eq!(v1::DispatchRequested::decode(request.encode()).unwrap(), wire());
    }

    #[test]
    fn the_limits_themselves_are_valid() {
        let at_limits = v1::DispatchRequested {
            message_id: "m".repeat(128),
            order_id: "!~".repeat(64),
            destination_code: "D".repeat(32),
            parcel_count: 10_000,
            requested_at: Some(time::to_wire(NOW.plus(AHEAD))),
            customer_id: "c".repeat(128),
            amount: Some(v1::Money { currency_code: "JPY".into(), minor_units: 1_000_000_000_000_000 }),
        };
        assert!(Request::parse(at_limits, NOW).is_ok());
        let least =
            v1::DispatchRequested { requested_at: None, customer_id: String::new(), amount: None, ..wire() };
        assert!(Request::parse(least, NOW).is_ok());
    }

    #[test]
    fn every_violation_is_reported_at_once() {
        let fields = violated(v1::DispatchRequested {
            requested_at: Some(time::to_wire(NOW.plus(AHEAD + Duration::from_micros(1)))),
            customer_id: "c c".into(),
            amount: Some(v1::Money::default()),
            ..v1::DispatchRequested::default()
        });
        let expected = [
            "message_id",
            "order_id",
            "destination_code",
            "customer_id",
            "parcel_count",
            "amount.currency_code",
            "amount.minor_units",
            "requested_at",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn each_limit_is_held_on_its_own() {
        let money = |code: &str, minor_units| Some(v1::Money { currency_code: code.into(), minor_units });
        let bad_moment = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
        let cases = [
            ("message_id", v1::DispatchRequested { message_id: "m".repeat(129), ..wire() }),
            ("message_id", v1::DispatchRequested { message_id: "ü".into(), ..wire() }),
            ("order_id", v1::DispatchRequested { order_id: "o\n".into(), ..wire() }),
            ("order_id", v1::DispatchRequested { order_id: "o 1".into(), ..wire() }),
            ("destination_code", v1::DispatchRequested { destination_code: "D".repeat(33), ..wire() }),
            ("customer_id", v1::DispatchRequested { customer_id: "c".repeat(129), ..wire() }),
            ("parcel_count", v1::DispatchRequested { parcel_count: 0, ..wire() }),
            ("parcel_count", v1::DispatchRequested { parcel_count: 10_001, ..wire() }),
            ("parcel_count", v1::DispatchRequested { parcel_count: -1, ..wire() }),
            ("amount.currency_code", v1::DispatchRequested { amount: money("eur", 1), ..wire() }),
            ("amount.currency_code", v1::DispatchRequested { amount: money("EURO", 1), ..wire() }),
            ("amount.minor_units", v1::DispatchRequested { amount: money("EUR", 0), ..wire() }),
            (
                "amount.minor_units",
                v1::DispatchRequested { amount: money("EUR", 1_000_000_000_000_001), ..wire() },
            ),
            ("requested_at", v1::DispatchRequested { requested_at: bad_moment, ..wire() }),
        ];
        for (field, wire) in cases {
            assert_eq!(violated(wire), [field]);
        }
    }

    #[test]
    fn the_epoch_is_no_moment() {
        let wire = v1::DispatchRequested { requested_at: Some(prost_types::Timestamp::default()), ..wire() };
        assert_eq!(Request::parse(wire, NOW).unwrap().requested_at, None);
    }
}
