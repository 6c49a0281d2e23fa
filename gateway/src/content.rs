//! What "the same content" means: a hash over everything in a request but its `message_id`.

use sha2::{Digest, Sha256};
use waybill_messaging::Timestamp;

use crate::request::Request;

/// Stands first, so that another encoding can never yield the same bytes. Rows keep their hash for ever:
/// who changes what is hashed makes old requests look different when they are asked again.
const TAG: &[u8] = b"waybill.request/1";

/// SHA-256 over the content. Two requests have the same hash if and only if their content is the same:
/// every text is preceded by its length, every number has a fixed width.
pub(crate) fn hash(request: &Request) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(TAG);
    for part in [&request.order_id, &request.destination_code, &request.customer_id] {
        text(&mut hasher, part);
    }
    hasher.update(request.parcel_count.to_be_bytes());
    // Absent and zero are one: a valid amount is positive, and the epoch counts as absent.
    let (currency_code, minor_units) =
        request.amount.as_ref().map_or(("", 0), |money| (&money.currency_code, money.minor_units));
    text(&mut hasher, currency_code);
    hasher.update(minor_units.to_be_bytes());
    hasher.update(request.requested_at.map_or(0, Timestamp::micros).to_be_bytes());
    hasher.finalize().into()
}

fn text(hasher: &mut Sha256, value: &str) {
    hasher.update((value.len() as u64).to_be_bytes());
    hasher.update(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Money, tests::wire};

    fn request() -> Request {
        Request::parse(wire(), Timestamp::from_micros(1_700_000_000_000_000)).unwrap()
    }

    #[test]
    fn the_message_id_is_not_content() {
        let other = Request { message_id: "m-2".into(), ..request() };
        assert_eq!(hash(&request()), hash(&other));
    }

    #[test]
    fn every_other_field_is_content() {
        let money = |code: &str, minor_units| Some(Money { currency_code: code.into(), minor_units });
        let others = [
            Request { order_id: "o-2".into(), ..request() },
            Request { customer_id: "c-2".into(), ..request() },
            Request { destination_code: "DEHAM".into(), ..request() },
            Request { parcel_count: 4, ..request() },
            Request { amount: None, ..request() },
            Request { amount: money("USD", 1_250), ..request() },
            Request { amount: money("EUR", 1_251), ..request() },
            Request { requested_at: None, ..request() },
            Request { requested_at: Some(Timestamp::from_micros(1)), ..request() },
        ];
        for other in others {
            assert_ne!(hash(&request()), hash(&other), "{other:?}");
        }
    }

    #[test]
    fn neighbouring_texts_do_not_run_together() {
        let one = Request { order_id: "ab".into(), destination_code: "c".into(), ..request() };
        let other = Request { order_id: "a".into(), destination_code: "bc".into(), ..request() };
        assert_ne!(hash(&one), hash(&other));
    }

    #[test]
    fn the_encoding_does_not_change_between_releases() {
        let prefix = u64::from_be_bytes(hash(&request())[..8].try_into().unwrap());
        assert_eq!(prefix, 0xb6d0_83ff_adf2_6c67);
    }
}
