//! Lines of a file at random: each is a request as it was written, or an error that names the line.

use proptest::prelude::*;
use serde_json::json;

use super::item::parse;

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() }
}

fn line() -> impl Strategy<Value = serde_json::Value> {
    let texts = prop::array::uniform4(any::<String>());
    let at = (-62_135_596_800_i64..=253_402_300_799, 0..1_000_000_000_u32);
    (texts, any::<i32>(), any::<i64>(), at).prop_map(|([message, order, destination, code], count, units, (seconds, nanos))| {
        let at = chrono::DateTime::from_timestamp(seconds, nanos).unwrap().to_rfc3339();
        json!({
            "message_id": message, "order_id": order, "destination_code": destination, "parcel_count": count,
            "amount": { "currency_code": code, "minor_units": units }, "requested_at": at,
        })
    })
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_line_is_read_as_it_was_written(written in line(), number in any::<usize>()) {
        let item = parse(number, &written.to_string()).unwrap().unwrap();
        let (read, amount) = (item.request, &written["amount"]);
        prop_assert_eq!(item.line, number);
        prop_assert_eq!(json!(read.message_id), written["message_id"].clone());
        prop_assert_eq!(json!(read.order_id), written["order_id"].clone());
        prop_assert_eq!(json!(read.destination_code), written["destination_code"].clone());
        prop_assert_eq!(json!(read.parcel_count), written["parcel_count"].clone());
        let money = read.amount.unwrap();
        prop_assert_eq!(json!(money.currency_code), amount["currency_code"].clone());
        prop_assert_eq!(json!(money.minor_units), amount["minor_units"].clone());
        let at = read.requested_at.unwrap();
        let at = chrono::DateTime::from_timestamp(at.seconds, at.nanos.try_into().unwrap()).unwrap();
        prop_assert_eq!(json!(at.to_rfc3339()), written["requested_at"].clone());
    }

    #[test]
    fn text_at_random_is_nothing_or_an_error_that_names_the_line(text in any::<String>()) {
        match parse(7, &text) {
            None => prop_assert!(text.trim().is_empty()),
            Some(Err(why)) => prop_assert!(why.starts_with("line 7: "), "{}", why),
            Some(Ok(item)) => prop_assert!(false, "taken: {:?}", item),
        }
    }

    #[test]
    fn a_line_with_one_character_exchanged_is_still_judged(
        written in line(), at in any::<prop::sample::Index>(), other in any::<char>(),
    ) {
        let mut text: Vec<char> = written.to_string().chars().collect();
        let at = at.index(text.len());
        text[at] = other;
        let text: String = text.into_iter().collect();
        if let Some(Err(why)) = parse(7, &text) {
            prop_assert!(why.starts_with("line 7: "), "{}", why);
        }
    }
}
