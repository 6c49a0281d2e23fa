//! JSON Web Tokens over time: keys that come and go, issuers that are away.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::{Code, Status};
use waybill_gateway::auth::{Client, JwtSettings, Keys, Scope, Settings};
use waybill_proto::v1;
use waybill_test_support::{TestDatabase, patience::until};

use crate::{
    callers::{by_dispatch, client, with_token},
    rig::{Rig, order},
};

/// The keys of an issuer, published over HTTP.
struct Issuer {
    address: SocketAddr,
    set: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn publishing(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer =
            Self { address: listener.local_addr().unwrap(), set: Arc::default(), asked: Arc::default() };
        issuer.publish(keys);
        let (set, asked) = (Arc::clone(&issuer.set), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = peer.read(&mut [0; 4_096]).await.unwrap();
                let body = set.lock().unwrap().clone();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                peer.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        issuer
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        *self.set.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn settings(&self, pause: Duration) -> Settings {
        let jwt = JwtSettings {
            issuer: "https://id.example".to_owned(),
            audience: "waybill".to_owned(),
            keys: Keys::Url(format!("http://{}/keys", self.address).parse().unwrap()),
            leeway: Duration::ZERO,
            refresh: Duration::from_hours(1),
            pause,
            own_only: true,
        };
        Settings { jwt: Some(jwt), ..Settings::default() }
    }
}

struct Signer {
    id: &'static str,
    key: Ed25519KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, key: Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x })
    }

    fn token(&self, subject: &str, change: &Value) -> String {
        let mut claims = json!({ "iss": "https://id.example", "aud": "waybill", "sub": subject,
            "scope": "submit read", "exp": 4_102_444_800_u64 });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let header = json!({ "alg": "EdDSA", "kid": self.id });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(format!("{header}.{claims}").as_bytes()));
        format!("{header}.{claims}.{signature}")
    }
}

async fn ask(rig: &Rig, token: &str) -> Result<(), Status> {
    let (mut gateway, _) = with_token(rig, Some(token)).await;
    gateway.list_dispatches(v1::ListDispatchesRequest::default()).await.map(drop)
}

async fn code(rig: &Rig, token: &str) -> Code {
    ask(rig, token).await.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_jwt_says_who_asks_and_what_they_may() {
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let rig = Rig::guarded(TestDatabase::sqlite().await, issuer.settings(Duration::ZERO)).await;
    let (mut shop, mut operator) = with_token(&rig, Some(&signer.token("shop", &json!({})))).await;
    let id = shop.request_dispatch(order("1")).await.unwrap().into_inner().dispatch_id;
    assert_eq!(shop.get_dispatch(by_dispatch(&id)).await.unwrap().into_inner().client, "shop");
    let stuck = operator.list_stuck(v1::ListStuckRequest::default()).await;
    assert_eq!(stuck.unwrap_err().code(), Code::PermissionDenied);
    let (mut other, _) = with_token(&rig, Some(&signer.token("other", &json!({})))).await;
    assert_eq!(other.get_dispatch(by_dispatch(&id)).await.unwrap_err().code(), Code::NotFound);
    for bad in [json!({ "exp": 1_000 }), json!({ "aud": "other" }), json!({ "iss": "https://other.example" })]
    {
        assert_eq!(code(&rig, &signer.token("shop", &bad)).await, Code::Unauthenticated, "{bad}");
    }
    let denied = ask(&rig, &signer.token("shop", &json!({ "scope": "openid" }))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    rig.end().await;
}

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_is_worth_nothing() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let issuer = Issuer::publishing(&[&old]).await;
    let rig = Rig::guarded(TestDatabase::sqlite().await, issuer.settings(Duration::ZERO)).await;
    let (of_old, of_new) = (old.token("shop", &json!({})), new.token("shop", &json!({})));
    assert_eq!(code(&rig, &of_old).await, Code::Ok);
    assert_eq!(code(&rig, &of_new).await, Code::Unauthenticated);
    issuer.publish(&[&new]);
    assert_eq!(code(&rig, &of_old).await, Code::Ok, "nobody has looked since");
    assert_eq!(code(&rig, &of_new).await, Code::Ok);
    assert_eq!(code(&rig, &of_old).await, Code::Unauthenticated);
    // An answer that makes no sense changes nothing.
    issuer.set.lock().unwrap().clear();
    assert_eq!(code(&rig, &of_old).await, Code::Unauthenticated);
    assert_eq!(code(&rig, &of_new).await, Code::Ok);
    rig.end().await;
}

#[tokio::test]
async fn unknown_keys_do_not_make_the_issuer_be_asked_again_and_again() {
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let rig = Rig::guarded(TestDatabase::sqlite().await, issuer.settings(Duration::from_hours(1))).await;
    until("the keys", async || code(&rig, &signer.token("shop", &json!({}))).await == Code::Ok).await;
    let stranger = Signer::new("stranger").token("shop", &json!({}));
    for _ in 0..20 {
        assert_eq!(code(&rig, &stranger).await, Code::Unauthenticated);
    }
    assert_eq!(issuer.asked(), 1);
    rig.end().await;
}

#[tokio::test]
async fn while_the_issuer_is_away_nobody_knows_and_says_so() {
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    issuer.set.lock().unwrap().clear();
    let rig = Rig::guarded(TestDatabase::sqlite().await, issuer.settings(Duration::ZERO)).await;
    let token = signer.token("shop", &json!({}));
    assert_eq!(code(&rig, &token).await, Code::Unavailable);
    issuer.publish(&[&signer]);
    assert_eq!(code(&rig, &token).await, Code::Ok);
    rig.end().await;
}

#[tokio::test]
async fn a_jwt_becomes_a_client_of_the_configuration_only_where_that_says_so() {
    let signer = Signer::new("one");
    let issuer = Issuer::publishing(&[&signer]).await;
    let clients =
        vec![client("token-only", &[Scope::Read]), Client { jwt: true, ..client("both", &[Scope::Read]) }];
    let settings = Settings { clients, ..issuer.settings(Duration::ZERO) };
    let rig = Rig::guarded(TestDatabase::sqlite().await, settings).await;
    assert_eq!(code(&rig, &signer.token("token-only", &json!({}))).await, Code::Unauthenticated);
    assert_eq!(code(&rig, &signer.token("both", &json!({}))).await, Code::Ok);
    let (mut both, _) = with_token(&rig, Some(&signer.token("both", &json!({})))).await;
    let submitted = both.request_dispatch(order("1")).await.unwrap_err();
    assert_eq!(submitted.code(), Code::PermissionDenied, "the configuration does not allow it");
    rig.end().await;
}
