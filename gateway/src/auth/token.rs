//! Bearer tokens: where they stand in a call, and how they are compared. The configuration holds only their
//! hashes: who reads it cannot use it.

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::Status;

use super::unauthenticated;

/// SHA-256 of a token.
pub type HashedToken = [u8; 32];

const SCHEME: &str = "bearer ";
const FORM: &str = "authorization must be given once, as `Bearer <token>`";

/// The hash of a token, as the configuration keeps it.
pub fn hash_of(token: &str) -> HashedToken {
    Sha256::digest(token).into()
}

/// The token that a call brings. Errors: there is something else where it should stand.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<&str>, Status> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_at_checked(SCHEME.len())?;
        Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty())
    });
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(unauthenticated(FORM)),
    }
}

/// The position of the first of `known` that is `hash`. It takes the same time wherever that is, and
/// wherever it is none.
pub(super) fn find(known: &[(HashedToken, usize)], hash: &HashedToken) -> Option<usize> {
    let mut found = None;
    for (other, index) in known {
        if bool::from(other.ct_eq(hash)) {
            found = found.or(Some(*index));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, Status> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, http::HeaderValue::from_bytes(value).unwrap());
        }
        of(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_token_stands_after_its_scheme_once() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[b"Bearer abc"]).unwrap().as_deref(), Some("abc"));
        assert_eq!(read(&[b"bearer  abc "]).unwrap().as_deref(), Some("abc"));
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        let wrong: [&[&[u8]]; 7] = [
            &[b""],
            &[b"secret"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Basic c2VjcmV0"],
            &[b"Bearer \xffsecret"],
            &[b"Bearer secret", b"Bearer secret"],
        ];
        for values in wrong {
            let status = read(values).unwrap_err();
            assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, FORM));
        }
    }

    #[test]
    fn a_hash_is_found_wherever_it_stands() {
        let known: Vec<_> = (0..5).map(|n| (hash_of(&n.to_string()), n * 10)).collect();
        assert_eq!(find(&known, &hash_of("0")), Some(0));
        assert_eq!(find(&known, &hash_of("4")), Some(40));
        assert_eq!(find(&known, &hash_of("5")), None);
    }
}
