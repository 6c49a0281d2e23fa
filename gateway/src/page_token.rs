//! Where a list goes on. Opaque to clients, and good only with the filters that it was made for: with
//! others the page would silently begin in the wrong place.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// First byte of every token; another layout gets another number.
const LAYOUT: u8 = 1;
/// Bytes of the filters' hash that are kept. It guards against mistakes, not against malice: a forged
/// token shows its maker nothing that the same list without a token would not.
const HASH: usize = 8;

/// The token for the page after `last_id`.
pub(crate) fn encode(filters: &[u8; 32], last_id: &str) -> String {
    let mut bytes = vec![LAYOUT];
    bytes.extend_from_slice(&filters[..HASH]);
    bytes.extend_from_slice(last_id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The id after which the page begins; `None` where the token is none of ours or has other filters.
pub(crate) fn decode(filters: &[u8; 32], token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (layout, rest) = bytes.split_first()?;
    let (hash, id) = rest.split_at_checked(HASH)?;
    let is_ours = *layout == LAYOUT && *hash == filters[..HASH];
    let is_id = (1..=64).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    if is_ours && is_id { String::from_utf8(id.to_vec()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [u8; 32] = [7; 32];
    const ID: &str = "018bcfe5-6800-7000-8000-000000000000";

    #[test]
    fn a_token_leads_back_to_its_id() {
        assert_eq!(decode(&FILTERS, &encode(&FILTERS, ID)).as_deref(), Some(ID));
    }

    #[test]
    fn a_token_is_no_good_with_other_filters() {
        assert_eq!(decode(&[8; 32], &encode(&FILTERS, ID)), None);
    }

    #[test]
    fn garbage_is_no_token() {
        let good = encode(&FILTERS, ID);
        // Every prefix that cuts into the header, and every single character exchanged for one that is
        // not of the alphabet.
        for end in 0..12 {
            assert_eq!(decode(&FILTERS, &good[..end]), None, "{end}");
        }
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad.replace_range(index..=index, "!");
            assert_eq!(decode(&FILTERS, &bad), None, "{bad}");
        }
        // A small generator with fixed steps instead of randomness: a failure can be repeated.
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for length in 0..500_u64 {
            let mut bytes = Vec::new();
            for _ in 0..length % 70 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push((seed >> 56) as u8);
            }
            assert_eq!(decode(&FILTERS, &URL_SAFE_NO_PAD.encode(&bytes)), None);
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(decode(&FILTERS, &text), None);
        }
    }
}
