//! The issuer's public keys (RFC 7517), and where they are.

use std::{collections::HashMap, fmt, path::PathBuf, str::FromStr, sync::Arc};

use http::Uri;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::JwtSettings;

/// Where a JWK set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// In a file.
    File(PathBuf),
    /// At an `https` URL; at an `http` one only on this machine.
    Url(Uri),
}

impl FromStr for Keys {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() { Err("names no file") } else { Ok(Self::File(path.into())) };
        }
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err("must name a host, and no user");
        }
        match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(_)) | (Some("http"), Some("127.0.0.1" | "[::1]" | "localhost")) => {
                Ok(Self::Url(uri))
            }
            _ => Err("must be file:<path> or an https URL; http is for this machine only"),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Url(uri) => uri.fmt(f),
        }
    }
}

/// A key, and what a token that it signed has to be.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

/// Every key of the set that is for one of our algorithms.
#[derive(Default)]
pub(super) struct KeySet {
    by_id: HashMap<String, Arc<Key>>,
    /// What tokens without a `kid` are signed with: only where there is no choice.
    only: Option<Arc<Key>>,
    count: usize,
    hash: [u8; 32],
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Errors: it is no JWK set, or has no key that can be used.
    pub(super) fn read(text: &[u8], settings: &JwtSettings) -> Result<Self, String> {
        let usable = usable(text)?;
        let mut set = Self { count: usable.len(), hash: Sha256::digest(text).into(), ..Self::default() };
        for (jwk, algorithm, decoding) in usable {
            let key = Arc::new(Key { decoding, validation: validation(algorithm, settings) });
            set.only = (set.count == 1).then(|| Arc::clone(&key));
            if let Some(id) = jwk.common.key_id {
                set.by_id.insert(id, key);
            }
        }
        Ok(set)
    }

    pub(super) fn find(&self, id: Option<&str>) -> Option<Arc<Key>> {
        let found = match id {
            Some(id) => self.by_id.get(id),
            None => self.only.as_ref(),
        };
        found.map(Arc::clone)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

/// Whether that is a JWK set with at least one key that can be used; it says what is wrong.
pub fn check_keys(text: &[u8]) -> Result<(), String> {
    usable(text).map(|_| ())
}

fn usable(text: &[u8]) -> Result<Vec<(Jwk, Algorithm, DecodingKey)>, String> {
    let set: Set = serde_json::from_slice(text).map_err(|_| "is no JWK set".to_owned())?;
    // A key of another kind is for others; it does not spoil the set.
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let usable: Vec<_> = keys
        .filter_map(|jwk| {
            let algorithm = algorithm(&jwk)?;
            let decoding = DecodingKey::from_jwk(&jwk).ok()?;
            Some((jwk, algorithm, decoding))
        })
        .collect();
    if usable.is_empty() {
        return Err("has no key for RS256, ES256 or EdDSA".to_owned());
    }
    Ok(usable)
}

/// The one algorithm that tokens of that key may have. `None`: the key is not for us.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let is_named = jwk.common.key_algorithm.is_none_or(|other| other == named);
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    (is_named && signs).then_some(algorithm)
}

fn validation(algorithm: Algorithm, settings: &JwtSettings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = settings.leeway.as_secs();
    validation.validate_nbf = true;
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_over_a_connection_that_nobody_can_change() {
        for text in [
            "file:/etc/waybill/jwks.json",
            "https://id.example/keys",
            "http://127.0.0.1:8080/keys",
            "http://[::1]/keys",
            "http://localhost/",
        ] {
            assert_eq!(text.parse::<Keys>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "file:",
            "/etc/waybill/jwks.json",
            "http://id.example/keys",
            "http://127.0.0.1.example/keys",
            "http://127.0.0.1@id.example/keys",
            "https://user:secret@id.example/keys",
            "ftp://id.example/keys",
        ] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_for_other_algorithms_or_uses_are_left_out() {
        let okp = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
        assert!(check_keys(format!(r#"{{"keys":[{{{okp}}}]}}"#).as_bytes()).is_ok());
        for set in [
            String::new(),
            "{}".to_owned(),
            r#"{"keys":[]}"#.to_owned(),
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#.to_owned(),
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}"#.to_owned(),
            r#"{"keys":[{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}]}"#.to_owned(),
            format!(r#"{{"keys":[{{{okp},"use":"enc"}}]}}"#),
            format!(r#"{{"keys":[{{{okp},"alg":"ES256"}}]}}"#),
        ] {
            assert!(check_keys(set.as_bytes()).is_err(), "{set}");
        }
    }
}
