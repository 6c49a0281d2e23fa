//! What comes from outside, at random: whatever it is, there is an answer that names what is wrong, and what is
//! accepted is what was meant.

use proptest::{collection::vec, prelude::*};
use prost::{Message as _, Name as _};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tonic_types::StatusExt as _;
use waybill_messaging::Timestamp;
use waybill_proto::v1;

use crate::{content, http_json::read, json, page_token, request::Request};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const NOW_SECONDS: i64 = 1_700_000_000;

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Texts that fit, that are one too long, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[!-~]{1,32}", 1 => "[!-~]{31,33}|[!-~]{127,129}", 1 => any::<String>(), 1 => Just(String::new())]
}

fn moment() -> impl Strategy<Value = prost_types::Timestamp> {
    let near = (NOW_SECONDS - 400..NOW_SECONDS + 400, 0..1_000_000_000);
    prop_oneof![3 => near, 1 => any::<(i64, i32)>(), 1 => Just((0, 0))]
        .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos })
}

fn amount() -> impl Strategy<Value = v1::Money> {
    let code = prop_oneof![4 => "[A-Z]{3}", 1 => any::<String>()];
    let units = prop_oneof![4 => 1..=1_000_000_000_000_000_i64, 1 => any::<i64>()];
    (code, units).prop_map(|(currency_code, minor_units)| v1::Money { currency_code, minor_units })
}

prop_compose! {
    fn wire()(
        message_id in text(), order_id in text(), destination_code in text(), customer_id in text(),
        parcel_count in prop_oneof![4 => 1..=10_000, 1 => any::<i32>()],
        requested_at in proptest::option::of(moment()), amount in proptest::option::of(amount()),
    ) -> v1::DispatchRequested {
        v1::DispatchRequested { message_id, order_id, destination_code, parcel_count, requested_at, customer_id, amount }
    }
}

fn described() -> MessageDescriptor {
    json::CONTRACT.get_message_by_name("dispatch.v1.DispatchRequested").unwrap()
}

/// A value under each name that a body has, or might have.
fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{1,5}".prop_map(Value::from),
    ];
    let name = "(message_id|orderId|destination_code|parcel_count|requested_at|amount|minor_units|currencyCode|\\PC{0,9})";
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((name, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The rules of the contract, said once more and otherwise.
fn wrong(wire: &v1::DispatchRequested) -> Vec<&'static str> {
    let id = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.chars().count()) && text.chars().all(|c| ('!'..='~').contains(&c))
    };
    let amount = wire.amount.as_ref();
    let code = |money: &v1::Money| {
        money.currency_code.chars().count() == 3
            && money.currency_code.chars().all(|c| c.is_ascii_uppercase())
    };
    let at = |at: &prost_types::Timestamp| {
        let calendar = (-62_135_596_800..=253_402_300_799).contains(&at.seconds);
        calendar
            && (0..=999_999_999).contains(&at.nanos)
            && (at.seconds, at.nanos / 1_000) <= (NOW_SECONDS + 300, 0)
    };
    let rules = [
        ("message_id", id(&wire.message_id, 1..=128)),
        ("order_id", id(&wire.order_id, 1..=128)),
        ("destination_code", id(&wire.destination_code, 1..=32)),
        ("customer_id", id(&wire.customer_id, 0..=128)),
        ("parcel_count", wire.parcel_count >= 1 && wire.parcel_count <= 10_000),
        ("amount.currency_code", amount.is_none_or(code)),
        (
            "amount.minor_units",
            amount.is_none_or(|money| money.minor_units > 0 && money.minor_units <= 1_000_000_000_000_000),
        ),
        ("requested_at", wire.requested_at.as_ref().is_none_or(at)),
    ];
    rules.into_iter().filter(|(_, holds)| !holds).map(|(field, _)| field).collect()
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_request_is_taken_as_it_was_meant_or_every_field_that_is_wrong_is_named(wire in wire()) {
        match Request::parse(wire.clone(), NOW) {
            Ok(request) => {
                prop_assert_eq!(wrong(&wire), Vec::<&str>::new());
                let again = v1::DispatchRequested::decode(request.encode()).unwrap();
                let again = Request::parse(again, NOW).unwrap();
                prop_assert_eq!(content::hash(&again), content::hash(&request));
                prop_assert_eq!(again, request);
            }
            Err(status) => {
                let details = status.get_details_bad_request().unwrap();
                let named: Vec<_> = details.field_violations.iter().map(|v| v.field.as_str()).collect();
                prop_assert_eq!(named, wrong(&wire));
                prop_assert!(!status.message().chars().any(char::is_control), "{}", status.message());
            }
        }
    }

    #[test]
    fn bytes_that_are_nearly_a_request_are_answered(
        wire in wire(), cut in any::<prop::sample::Index>(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = wire.encode_to_vec();
        bytes.truncate(cut.index(bytes.len() + 1));
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Ok(wire) = v1::DispatchRequested::decode(bytes.as_slice()) {
            prop_assert_eq!(Request::parse(wire.clone(), NOW).is_ok(), wrong(&wire).is_empty());
        }
    }

    #[test]
    fn a_page_token_leads_back_to_its_id(filters in any::<[u8; 32]>(), id in "[!-~]{1,64}") {
        prop_assert_eq!(page_token::decode(&filters, &page_token::encode(&filters, &id)), Some(id));
    }

    #[test]
    fn a_request_in_json_is_the_request_that_was_meant(wire in wire()) {
        let message = DynamicMessage::decode(described(), wire.encode_to_vec().as_slice()).unwrap();
        // A moment that there is not has no JSON.
        if let Ok(text) = json::compact(&message) {
            let again = read::message(described(), serde_json::from_str(&text).unwrap()).unwrap();
            prop_assert_eq!(v1::DispatchRequested::decode(again.encode_to_vec().as_slice()).unwrap(), wire);
        }
    }

    #[test]
    fn any_json_is_a_message_or_refused_in_one_short_line_that_names_a_field(body in body()) {
        match read::message(described(), body) {
            Ok(message) => {
                let wire = v1::DispatchRequested::decode(message.encode_to_vec().as_slice()).unwrap();
                let _ = Request::parse(wire, NOW);
            }
            Err(problem) => {
                let told = problem.to_json();
                let detail = told["detail"].as_str().unwrap();
                prop_assert!(detail.len() < 4_000 && !detail.contains(char::is_control), "{}", detail);
                prop_assert!(told["errors"][0]["field"].as_str().is_some_and(|field| !field.is_empty()), "{}", told);
            }
        }
    }

    #[test]
    fn what_is_taken_for_a_page_token_is_the_one_that_was_given(
        filters in any::<[u8; 32]>(), id in "[!-~]{1,64}", text in any::<String>(), at in any::<prop::sample::Index>(),
        other in any::<char>(),
    ) {
        prop_assert_eq!(page_token::decode(&filters, &text), None);
        let mut token: Vec<char> = page_token::encode(&filters, &id).chars().collect();
        let at = at.index(token.len());
        token[at] = other;
        let token: String = token.into_iter().collect();
        if let Some(id) = page_token::decode(&filters, &token) {
            prop_assert_eq!(page_token::encode(&filters, &id), token);
        }
    }

    #[test]
    fn any_body_is_shown_as_json_that_leads_back_to_it_or_refused_by_name(bytes in vec(any::<u8>(), 0..80), json in any::<String>()) {
        let name = v1::ReservePayment::full_name();
        match json::to_json(&name, &bytes) {
            Ok(json) => {
                let meant = v1::ReservePayment::decode(bytes.as_slice()).unwrap();
                let again = json::from_json(&name, &json).unwrap();
                prop_assert_eq!(v1::ReservePayment::decode(again.as_slice()).unwrap(), meant);
            }
            Err(why) => prop_assert!(why.contains(&name), "{}", why),
        }
        if let Err(why) = json::from_json(&name, &json) {
            prop_assert!(why.contains(&name), "{}", why);
        }
    }
}
