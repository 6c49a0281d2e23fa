//! Facts about single tokens. What keys do over time is in the tests of the gateway.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::*;

/// Made once with a key that was thrown away; it is good until 2100.
const RSA_KEY: &str = include_str!("tests/rs256.jwk.json");
const RSA_TOKEN: &str = include_str!("tests/rs256.jwt");

fn settings() -> JwtSettings {
    JwtSettings {
        issuer: "https://id.example".to_owned(),
        audience: "waybill".to_owned(),
        keys: Keys::File("nowhere".into()),
        leeway: Duration::from_secs(30),
        refresh: Duration::from_mins(10),
        pause: Duration::ZERO,
        own_only: false,
    }
}

fn jwt(keys: &[Value]) -> Jwt {
    let jwt = Jwt::new(settings());
    let set = serde_json::to_vec(&json!({ "keys": keys })).unwrap();
    *jwt.keys.write().unwrap() = Arc::new(KeySet::read(&set, &settings()).unwrap());
    jwt
}

struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "one", "x": x })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", part(header), part(claims))
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "one" })
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims() -> Value {
    json!({ "iss": "https://id.example", "aud": ["other", "waybill"], "sub": "shop", "scope": "submit openid",
        "exp": now() + 600 })
}

fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[key] = value.into();
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

async fn refusal(jwt: &Jwt, token: &str) -> String {
    let Err(status) = jwt.verify(token).await else { panic!("accepted") };
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(!status.message().contains(token));
    status.message().to_owned()
}

#[tokio::test]
async fn each_of_the_three_algorithms_is_accepted() {
    let rsa: Value = serde_json::from_str(RSA_KEY).unwrap();
    let verified = jwt(&[rsa]).verify(RSA_TOKEN.trim()).await.unwrap();
    assert_eq!((verified.name.as_str(), verified.until), ("shop", 4_102_444_830));

    let ed = Signer::new();
    let verified = jwt(&[ed.jwk()]).verify(&ed.sign(&header(), &claims())).await.unwrap();
    assert_eq!(verified.scopes, Scopes::from_iter([crate::auth::Scope::Submit]));

    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
    let point = ec.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": y });
    let text = unsigned(&json!({ "alg": "ES256", "kid": "ec" }), &claims());
    let signature = ec.sign(&random, text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    assert!(jwt(&[jwk]).verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_verified() {
    let ed = Signer::new();
    let jwt = jwt(&[ed.jwk()]);
    let none = unsigned(&json!({ "alg": "none", "kid": "one" }), &claims());
    assert_eq!(refusal(&jwt, &format!("{none}.")).await, "the token is malformed");
    // The public key as the secret of an HMAC.
    let text = unsigned(&json!({ "alg": "HS256", "kid": "one" }), &claims());
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, ed.0.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&secret, text.as_bytes()));
    let refused = refusal(&jwt, &format!("{text}.{signature}")).await;
    assert_eq!(refused, "the token is not signed as its key demands");
    let refused = refusal(&jwt, &Signer::new().sign(&header(), &claims())).await;
    assert_eq!(refused, "the signature of the token is wrong");
}

#[tokio::test]
async fn what_is_not_for_us_or_not_now_is_refused_and_says_why() {
    let ed = Signer::new();
    let jwt = jwt(&[ed.jwk()]);
    let cases = [
        (with("exp", now() - 31), "the token has expired"),
        (with("exp", "never"), "the token is malformed"),
        (with("nbf", now() + 60), "the token is not valid yet"),
        (with("nbf", "soon"), "the token is malformed"),
        (with("iss", "https://other.example"), "the token is of another issuer"),
        (with("aud", "other"), "the token is for another audience"),
        (without("exp"), "the token is malformed"),
        (without("iss"), "the token lacks exp, iss or aud"),
        (without("aud"), "the token lacks exp, iss or aud"),
        (without("sub"), "the token's sub or azp must be 1 to 100 visible ASCII characters"),
        (with("sub", "a\nb"), "the token's sub or azp must be 1 to 100 visible ASCII characters"),
        (with("sub", "x".repeat(101)), "the token's sub or azp must be 1 to 100 visible ASCII characters"),
    ];
    for (claims, expected) in cases {
        assert_eq!(refusal(&jwt, &ed.sign(&header(), &claims)).await, expected, "{claims}");
    }
    assert!(jwt.verify(&ed.sign(&header(), &with("exp", now() - 20))).await.is_ok(), "clocks differ");
}

#[tokio::test]
async fn scopes_come_as_a_text_or_as_a_list_and_the_name_as_sub_or_azp() {
    let ed = Signer::new();
    let jwt = jwt(&[ed.jwk()]);
    let mut claims = without("scope");
    assert!(jwt.verify(&ed.sign(&header(), &claims)).await.unwrap().scopes.is_empty());
    claims["scp"] = json!(["read", "operate"]);
    assert_eq!(jwt.verify(&ed.sign(&header(), &claims)).await.unwrap().scopes, Scopes::ALL);
    claims["sub"] = Value::Null;
    claims["azp"] = "robot".into();
    assert_eq!(jwt.verify(&ed.sign(&header(), &claims)).await.unwrap().name, "robot");
}

#[tokio::test]
async fn a_token_without_a_key_id_is_of_the_only_key() {
    let ed = Signer::new();
    let token = ed.sign(&json!({ "alg": "EdDSA" }), &claims());
    assert!(jwt(&[ed.jwk()]).verify(&token).await.is_ok());
    let two = jwt(&[ed.jwk(), Signer::new().jwk()]);
    assert_eq!(refusal(&two, &token).await, "the token is signed with no key that its issuer publishes");
}
